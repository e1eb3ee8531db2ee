"""The power of a classifier test: what it finds in Geant4 showers of which a little is wrong, at the sizes it is used at.

A score of 0.5 of a test that does not see 10 % more hits either is no praise. So the same classifier is trained to tell
reference showers from other reference showers that were distorted (:mod:`calopipe.metrics.distortions`), and from others as
they are: that is its floor. Showers of the training split serve as the others; where there are none, or where the reference is
from a source of its own (which may have other incident energies), the reference is halved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.features import feature_table, thinned_rows, voxel_grid
from calopipe.evaluation.inputs import Readout, check_samples, stream
from calopipe.metrics.classifier import classifier_test
from calopipe.metrics.distortions import DISTORTIONS, Distortion, hit_layer
from calopipe.records.files import write_json
from calopipe.records.power import finding
from calopipe.records.samples import REFERENCE
from calopipe.seeds import generator

log = logging.getLogger("calopipe")


Transform = Callable[[np.ndarray], np.ndarray]


def evaluate_power(
    reference: Path,
    others: Path | None,
    readout: Readout,
    *,
    config: ClassifierConfig,
    seed: int,
    name: str,
    out: Path,
    factor: int = 1,
) -> None:
    """Write what :func:`measure_power` returns as JSON."""
    write_json(out, measure_power(reference, others, readout, config=config, seed=seed, name=name, factor=factor))


def measure_power(
    reference: Path,
    others: Path | None,
    readout: Readout,
    *,
    config: ClassifierConfig,
    seed: int,
    name: str,
    factor: int = 1,
) -> dict[str, Any]:
    """What the test finds in distorted showers.

    Args:
        reference: shower file; one class.
        others: showers of the same kind, which are distorted; None: the reference is halved.
        readout: what they are compared in.
        config: the classifier; one repeat is made.
        seed: seed of distortions and trainings.
        name: of the classifier, in messages.
        factor: how many times as many generated as reference showers the test is used with; the distorted ones are so many,
            as far as there are.

    Returns:
        ``n_reference``, ``n_distorted``: showers; ``floor`` and, by the name of the distortion, ``distortions``: each with
        ``text``, ``auc`` and whole ``error``, and ``seen``; or ``missing`` with the reason.

    Raises:
        DataError: a file does not fit the geometry.
        NumericsError: a training diverged.
    """
    config = config.model_copy(update={"repeats": 1})
    rng = generator(seed, "power")
    if others is None:
        first, second = _halves(reference, readout, config, rng)
    else:
        first, second = _pair(reference, others, readout, config, factor, rng)
    sizes = {"n_reference": len(first.rows), "n_distorted": len(second.rows)}
    try:
        test = _Test(first, second, readout, config, seed, name)
        found = {"floor": test.judge(None, "two samples of the reference")}
        layer = hit_layer(_mean_hits(first, readout))
        distorted = {}
        for key, distortion in DISTORTIONS.items():
            rng = generator(seed, "distortion", key)
            text = distortion.text.format(layer=readout.geometry.layer_ids[layer])
            distorted[key] = test.judge(_transform(distortion, readout, rng, layer), text)
        return {**sizes, **found, "distortions": distorted}
    except MetricUnavailable as error:
        log.warning("power of classifier %s: %s", name, error)
        return {**sizes, "missing": str(error)}


@dataclass(frozen=True)
class _Part:
    """Some rows (n,) of a shower file."""

    path: Path
    rows: np.ndarray


class _Test:
    """The classifier test of the showers of `second`, as they are or distorted, against those of `first`."""

    def __init__(
        self, first: _Part, second: _Part, readout: Readout, config: ClassifierConfig, seed: int, name: str
    ) -> None:
        self.second, self.readout, self.config, self.seed, self.name = second, readout, config, seed, name
        self.grid = voxel_grid(readout.geometry, config)
        self.table = feature_table(first.path, readout, config, rows=first.rows, what="the reference")

    def judge(self, transform: Transform | None, text: str) -> dict[str, Any]:
        """AUC with its error, and whether `transform` is seen; `text` says what it does."""
        other = feature_table(
            self.second.path, self.readout, self.config, rows=self.second.rows, what=text, transform=transform
        )
        result = classifier_test(self.table, other, self.config, self.seed, progress=lambda line: None, grid=self.grid)
        auc, error = float(result.auc.mean()), result.errors["auc"]
        log.info("classifier %s, %s: AUC %.4f +- %.4f", self.name, text, auc, error)
        return finding(text, auc, error)


def _halves(reference: Path, readout: Readout, config: ClassifierConfig, rng: np.random.Generator) -> list[_Part]:
    """Two random halves of the reference."""
    n = check_samples({REFERENCE: reference}, readout.geometry)[REFERENCE]
    n = min(n, 2 * (config.max_per_class or n))
    order = rng.permutation(n)
    return [_Part(reference, np.sort(order[: n // 2])), _Part(reference, np.sort(order[n // 2 :]))]


def _pair(
    reference: Path, others: Path, readout: Readout, config: ClassifierConfig, factor: int, rng: np.random.Generator
) -> list[_Part]:
    """Showers of the reference as the test uses them, and as many of the others as of a generated sample."""
    n, m = check_samples({REFERENCE: reference, "training": others}, readout.geometry).values()
    first = thinned_rows(n, config, REFERENCE)
    wanted = len(first) if config.folds is None else factor * len(first)
    second = np.sort(rng.permutation(m)[: min(wanted, config.max_per_class or wanted)])
    return [_Part(reference, first), _Part(others, second)]


def _transform(distortion: Distortion, readout: Readout, rng: np.random.Generator, layer: int) -> Transform:
    where = layer if distortion.one_layer else None
    known = (readout.geometry, rng, readout.threshold_MeV, distortion.strength, where)
    return lambda showers: distortion.apply(showers, *known)


def _mean_hits(part: _Part, readout: Readout) -> np.ndarray:
    """(L,) mean number of hits of each layer."""
    total, n = np.zeros(readout.geometry.n_layers), 0
    for chunk in stream(part.path, readout.geometry, "hits of the reference", rows=part.rows):
        hit = (chunk.showers >= readout.threshold_MeV) & (chunk.showers > 0)
        total += [hit[:, s].sum() for s in readout.geometry.layer_slices]
        n += len(chunk)
    return total / n
