"""The power of a classifier test: what it finds in Geant4 showers of which a little is wrong, at the sizes it is used at.

A score of 0.5 of a test that does not see 10 % more hits either is no praise. So the same classifier is trained to tell
reference showers from other reference showers that were distorted (:mod:`calopipe.metrics.distortions`), and from others as
they are: that is its floor. Showers of the training split serve as the others; where there are none the reference is halved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.features import feature_table, thinned_rows, voxel_grid
from calopipe.evaluation.inputs import check_samples, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.distortions import DISTORTIONS, Distortion, hit_layer
from calopipe.records.files import write_json
from calopipe.seeds import generator

log = logging.getLogger("calopipe")

#: a distortion is seen when its AUC is farther from 0.5 than so many errors
SEEN = 2.0


def measure_power(
    reference: Path,
    others: Path | None,
    factor: int,
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    config: ClassifierConfig,
    seed: int,
    name: str,
) -> dict[str, Any]:
    """What the test finds in distorted showers.

    Args:
        reference: shower file; one class.
        others: showers of the same kind, which are distorted; None: the reference is halved.
        factor: how many times as many generated as reference showers the test is used with; the distorted ones are so many,
            as far as there are.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        config: the classifier; one repeat is made.
        seed: seed of distortions and trainings.
        name: of the classifier, in messages.

    Returns:
        ``n_reference``, ``n_distorted``: showers; ``floor`` and, by the name of the distortion, ``distortions``: each with
        ``text``, ``auc`` and whole ``error``, and ``seen``; or ``missing`` with the reason.

    Raises:
        DataError: a file does not fit the geometry.
        NumericsError: a training diverged.
    """
    geometry = load_geometry(geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    config = config.model_copy(update={"repeats": 1})
    first, second, files = _rows(reference, others, factor, geometry, config, seed)
    sizes = {"n_reference": len(first), "n_distorted": len(second)}
    try:
        grid = voxel_grid(geometry, config)
        table = feature_table(files[0], geometry, threshold, config, first, "the reference")

        def test(transform: Callable[[np.ndarray], np.ndarray] | None, text: str) -> dict[str, Any]:
            other = feature_table(files[1], geometry, threshold, config, second, text, transform)
            result = classifier_test(table, other, config, seed, progress=lambda line: None, grid=grid)
            auc, error = float(result.auc.mean()), result.errors["auc"]
            log.info("classifier %s, %s: AUC %.4f +- %.4f", name, text, auc, error)
            return {"text": text, "auc": auc, "error": error, "seen": abs(auc - 0.5) > SEEN * error}

        found = {"floor": test(None, "two samples of the reference")}
        layer = hit_layer(_mean_hits(files[0], first, geometry, threshold))
        distorted = {}
        for key, distortion in DISTORTIONS.items():
            rng = generator(seed, "distortion", key)
            text = distortion.text.format(layer=geometry.layer_ids[layer])
            distorted[key] = test(_transform(distortion, geometry, rng, threshold, layer), text)
        return {**sizes, **found, "distortions": distorted}
    except MetricUnavailable as error:
        log.warning("power of classifier %s: %s", name, error)
        return {**sizes, "missing": str(error)}


def evaluate_power(*arguments: Any, out: Path, **keywords: Any) -> None:
    """Write what :func:`measure_power` returns as JSON."""
    write_json(out, measure_power(*arguments, **keywords))


def _rows(
    reference: Path, others: Path | None, factor: int, geometry: Geometry, config: ClassifierConfig, seed: int
) -> tuple[np.ndarray, np.ndarray, tuple[Path, Path]]:
    """Rows of the reference, rows of the showers to be distorted, and the files they are of."""
    rng = generator(seed, "power")
    if others is None:
        n = check_samples({"reference": reference}, geometry)["reference"]
        n = min(n, 2 * (config.max_per_class or n))
        order = rng.permutation(n)
        return np.sort(order[: n // 2]), np.sort(order[n // 2 :]), (reference, reference)
    n, m = check_samples({"reference": reference, "training": others}, geometry).values()
    first = thinned_rows(n, config, "reference")
    wanted = len(first) if config.folds is None else factor * len(first)
    second = np.sort(rng.permutation(m)[: min(wanted, config.max_per_class or wanted)])
    return first, second, (reference, others)


def _transform(
    distortion: Distortion, geometry: Geometry, rng: np.random.Generator, threshold: float, layer: int
) -> Callable[[np.ndarray], np.ndarray]:
    where = layer if distortion.one_layer else None
    return lambda showers: distortion.apply(showers, geometry, rng, threshold, distortion.strength, where)


def _mean_hits(path: Path, rows: np.ndarray, geometry: Geometry, threshold: float) -> np.ndarray:
    """(L,) mean number of hits of each layer."""
    total, n = np.zeros(geometry.n_layers), 0
    for chunk in stream(path, geometry, "hits of the reference", rows=rows):
        hit = (chunk.showers >= threshold) & (chunk.showers > 0)
        total += [hit[:, s].sum() for s in geometry.layer_slices]
        n += len(chunk)
    return total / n
