"""The classifier test of a sample against the reference, from shower files to scores and curves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.features import feature_table, thinned_rows, voxel_grid
from calopipe.evaluation.inputs import Readout, check_samples
from calopipe.metrics.classifier import ROC_GRID, ClassifierResult, classifier_test
from calopipe.records.files import write_npz
from calopipe.records.power import load_power
from calopipe.records.samples import GENERATED, REFERENCE
from calopipe.records.scores import Score, save_scores

log = logging.getLogger("calopipe")

#: scores, and their values for two independent samples of the reference
FLOORS = {"auc": 0.5, "accuracy": 0.5, "jsd": 0.0}


def evaluate_classifier(
    reference: Path,
    generated: Path,
    readout: Readout,
    *,
    config: ClassifierConfig,
    seed: int,
    scores: Path,
    curves: Path,
    name: str | None = None,
    sample: str = GENERATED,
    power: Path | None = None,
) -> None:
    """Train the classifiers and write their scores and curves.

    Scores are ``classifier/<name>/auc``, ``/accuracy`` and ``/jsd``: mean over the repeats with its whole error, and in
    ``extra`` every repeat's value, the calibrated ones, the statistical part of the error, the numbers of scored showers and,
    for the AUC, the smallest distance from 0.5 that they resolve. The NPZ holds fpr (G,), tpr (R, G), weights_reference (R, T)
    and weights_generated (R, U) of the scored showers (large: like the reference), rows_reference (T,) and rows_generated
    (U,), their rows in the files. Where the test cannot be made, the scores say why and the curves are empty.

    Args:
        reference, generated: shower files.
        readout: what they are compared in.
        config: the classifier.
        seed: seed of the trainings.
        scores, curves: JSON and NPZ file to write.
        name: what the classifier is called; by default the stem of `scores`.
        sample: what `generated` is called in the scores.
        power: file of :func:`calopipe.evaluation.power.evaluate_power`, which the score of the AUC then holds.

    Raises:
        DataError: a file does not fit the geometry or holds values that are not energies.
        NumericsError: a training diverged.
    """
    paths = {REFERENCE: reference, sample: generated}
    sizes = list(check_samples(paths, readout.geometry).values())
    rows = [thinned_rows(n, config, what) for n, what in zip(sizes, (REFERENCE, GENERATED), strict=True)]
    prefix, about = f"classifier/{name or scores.stem}", {"seed": seed, "sample": sample}
    try:
        grid = voxel_grid(readout.geometry, config)
        first, second = (
            feature_table(path, readout, config, rows=r, what=what)
            for (what, path), r in zip(paths.items(), rows, strict=True)
        )
        partners = common_energies(first[:, 0], second[:, 0]) if config.folds else None
        result = classifier_test(first, second, config, seed, grid=grid, partners=partners)
    except MetricUnavailable as error:
        log.warning("%s: %s", prefix.replace("/", " "), error)
        save_scores(scores, [Score.absent(f"{prefix}/{key}", min(sizes), error, **about) for key in FLOORS])
        write_npz(curves, _no_curves())
        return
    found = list(_scores(result, prefix, about))
    if power is not None:
        found[0].extra["power"] = load_power(power)
    save_scores(scores, found)
    write_npz(curves, _curves(result, rows))


def common_energies(reference: np.ndarray, generated: np.ndarray) -> np.ndarray | None:
    """Row of the reference (N,) whose incident energy each generated shower (M,) was made for; None: they do not follow it.

    The workflow generates a fixed number of showers for each reference shower, one after another.
    """
    factor, rest = divmod(len(generated), len(reference))
    if rest or not np.allclose(generated, np.repeat(reference, factor), rtol=1e-6, atol=0):
        return None
    return np.repeat(np.arange(len(reference)), factor)


def _scores(result: ClassifierResult, prefix: str, about: dict[str, Any]) -> Iterator[Score]:
    facts = {
        "auc": {
            "calibrated": result.auc_calibrated.tolist(),
            "calibrated_error": result.errors["auc_calibrated"],
            "resolves": 2 * result.null_error,
        },
        "accuracy": {"calibrated": result.accuracy_calibrated.tolist()},
        "jsd": {"uncalibrated": result.jsd_uncalibrated.tolist()},
    }
    for key, floor in FLOORS.items():
        values = getattr(result, key)
        extra = {
            "repeats": values.tolist(),
            "statistical_error": result.statistical[key],
            "best_epoch": result.best_epoch.tolist(),
            "n_test": len(result.rows_reference),
            "n_test_generated": len(result.rows_generated),
            **facts[key],
        }
        value, error = float(values.mean()), result.errors[key]
        yield Score(f"{prefix}/{key}", value, error, result.n, floor=floor, extra=extra, **about)


def _curves(result: ClassifierResult, rows: list[np.ndarray]) -> dict[str, np.ndarray]:
    curves = {k: getattr(result, k) for k in ("fpr", "tpr", "weights_reference", "weights_generated")}
    return curves | {
        "rows_reference": rows[0][result.rows_reference],
        "rows_generated": rows[1][result.rows_generated],
    }


def _no_curves() -> dict[str, np.ndarray]:
    nothing, no_rows = np.empty((0, 0)), np.empty(0, dtype=np.int64)
    curves = {"fpr": ROC_GRID, "tpr": np.empty((0, len(ROC_GRID)))}
    curves |= {"weights_reference": nothing, "weights_generated": nothing}
    return curves | {"rows_reference": no_rows, "rows_generated": no_rows}
