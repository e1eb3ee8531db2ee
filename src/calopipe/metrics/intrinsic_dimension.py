"""Intrinsic dimension of showers: the Levina-Bickel maximum-likelihood estimate (Reyes-González 2023, "Estimating
latent space dimensionality"; Levina and Bickel 2004, averaged as MacKay and Ghahramani 2005).

1 / d_k = 1 / (n (k - 1)) sum_i sum_{j<k} ln(T_k(x_i) / T_j(x_i)), with T_j the distance to the j-th neighbour, by
scikit-dimension; then the mean over k, as in the original paper. The estimate falls with fewer showers where the dimension
is large, so that it is compared with the same number of reference showers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from skdim import get_nn
from skdim.id import MLE

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.settings import IntrinsicDimensionConfig
from calopipe.records.scores import Score

#: MeV; keeps quotients by empty layers finite, as in preprocessing
_TINY = 1e-10


@dataclass(frozen=True)
class DimensionEstimate:
    """Dimensions (R, K) of R subsamples at K numbers of neighbours."""

    values: np.ndarray

    @property
    def value(self) -> float:
        """Mean."""
        return float(self.values.mean())

    @property
    def sampling_error(self) -> float:
        """Standard error of the mean over subsamples; 0 where there is one."""
        means = self.values.mean(axis=1)
        return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0

    @property
    def neighbour_error(self) -> float:
        """Standard deviation between numbers of neighbours; 0 for one."""
        means = self.values.mean(axis=0)
        return float(means.std(ddof=1)) if len(means) > 1 else 0.0

    @property
    def error(self) -> float:
        """Both, in quadrature."""
        return float(np.hypot(self.sampling_error, self.neighbour_error))

    def facts(self) -> dict[str, Any]:
        """What goes into a score's ``extra``."""
        return {"value": self.value, "sampling_error": self.sampling_error, "neighbour_error": self.neighbour_error}


def levina_bickel(points: np.ndarray, neighbours: list[int]) -> np.ndarray:
    """Dimension of a cloud of points at each number of neighbours.

    Args:
        points: (N, D), all different, N > max(neighbours).
        neighbours: K numbers k >= 3.

    Returns:
        (K,) estimates d_k.

    Raises:
        MetricUnavailable: too few points, or points that coincide.
    """
    if len(points) <= max(neighbours) or points.shape[1] < 2:
        raise MetricUnavailable(f"{max(neighbours)} neighbours need more points than that, found {points.shape}")
    distances, indices = get_nn(points, k=max(neighbours))
    if not distances[:, 0].min() > 0:
        raise MetricUnavailable("points coincide: distances between neighbours must not be 0")
    estimates = [
        MLE().fit(points, precomputed_knn_arrays=(distances[:, :k], indices[:, :k]), n_neighbors=k).dimension_
        for k in neighbours
    ]
    return np.array(estimates)


@dataclass(frozen=True)
class _Cloud:
    """Distinct, filled showers (n, V) of a sample in random order, their incident energies, and what was left out."""

    showers: np.ndarray
    incident: np.ndarray
    layers: Mapping[int, slice]
    removed: dict[str, int]


def _cloud(sample: Sample, filled: np.ndarray, most: int, rng: np.random.Generator) -> _Cloud:
    """At most `most` of the `filled` rows of a sample, without copies."""
    rows = np.sort(rng.permutation(filled)[:most])
    showers = sample.some_showers(rows)
    kept = rng.permutation(distinct(showers))
    removed = {"empty": sample.n - len(filled), "duplicates": len(rows) - len(kept), "of_filled": len(rows)}
    return _Cloud(showers[kept], sample.incident_energies[rows[kept]], sample.layers, removed)


def distinct(showers: np.ndarray) -> np.ndarray:
    """Numbers of the rows that are no copies of an earlier one, in order."""
    first: dict[bytes, int] = {}
    for row, shower in enumerate(showers):
        first.setdefault(hashlib.sha256(np.ascontiguousarray(shower).data).digest(), row)
    return np.array(list(first.values()), dtype=np.int64)


def preprocessed(showers: np.ndarray, incident: np.ndarray, layers: Mapping[int, slice]) -> np.ndarray:
    """(N, V + L) voxels / E_layer, then u_1 = E_tot / E_inc, u_i = E_{i-1} / sum_{j>=i-1} E_j (Ernst 2023, eq. 4).

    The same numbers as the preprocessing step ``layer_normalise`` with its defaults.
    """
    showers = showers.astype(np.float64)
    energies = np.stack([showers[:, s].sum(axis=1) for s in layers.values()], axis=1)
    fractions = [showers[:, s] / (energies[:, i, None] + _TINY) for i, s in enumerate(layers.values())]
    rest = energies[:, ::-1].cumsum(axis=1)[:, ::-1]
    u = np.concatenate([rest[:, :1] / incident[:, None], (energies / (rest + _TINY))[:, :-1]], axis=1)
    return np.concatenate([*fractions, u], axis=1)


@METRICS.register("intrinsic_dimension", config=IntrinsicDimensionConfig)
def intrinsic_dimension(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: IntrinsicDimensionConfig
) -> list[Score]:
    """``intrinsic_dimension/raw``, ``/preprocessed``, ``/log`` of the generated showers.

    Target and floor are those of the reference. The latent size of the generator, where it has one, is in ``extra``.
    """
    filled = [np.flatnonzero(s.observables["E_tot"] > 0) for s in (reference, generated)]
    repeats = max(1, min(config.subsamples, *(len(rows) // config.showers for rows in filled)))
    most = repeats * config.showers
    clouds = [_cloud(s, rows, most, rng) for s, rows in zip((reference, generated), filled, strict=True)]
    size = min(len(c.showers) // repeats for c in clouds)
    facts: dict[str, Any] = {f"removed_{k}": c.removed for k, c in zip(("reference", "generated"), clouds, strict=True)}
    if size <= max(config.neighbours):
        raise MetricUnavailable(f"{max(config.neighbours)} neighbours need more distinct showers than {size} ({facts})")
    facts |= {"neighbours": config.neighbours, "latent_size": generated.latent, "showers_per_subsample": size}
    n, out = size * repeats, []
    for kind in config.data:
        name = f"intrinsic_dimension/{kind}"
        try:
            expected, found = (_estimate(c, kind, size, repeats, config) for c in clouds)
        except MetricUnavailable as error:
            out.append(Score.absent(name, n, error, extra=facts))
            continue
        extra = {**facts, "reference": expected.facts(), "generated": found.facts(), "target": expected.value}
        out.append(Score(name, found.value, found.error, n, floor=expected.value, extra=extra))
    return out


def _estimate(cloud: _Cloud, kind: str, size: int, repeats: int, config: IntrinsicDimensionConfig) -> DimensionEstimate:
    """Dimension of `repeats` disjoint subsamples. Different showers may coincide in this space, and count once there."""
    values = []
    for i in range(repeats):
        part = slice(i * size, (i + 1) * size)
        points = cloud.showers[part].astype(np.float64)
        if kind != "raw":
            points = preprocessed(points, cloud.incident[part], cloud.layers)
        if kind == "log":
            points = np.log10(np.maximum(points, config.log_floor))
        values.append(levina_bickel(np.unique(points, axis=0), config.neighbours))
    return DimensionEstimate(np.array(values))
