"""The classifier test of a sample against the reference, from shower files to scores and curves."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.features import feature_table, thinned_rows, voxel_grid
from calopipe.evaluation.inputs import check_samples
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.classifier import ROC_GRID, ClassifierResult, classifier_test
from calopipe.records.files import write_npz
from calopipe.records.power import load_power
from calopipe.records.scores import Score, save_scores

log = logging.getLogger("calopipe")

SCORES = ("auc", "accuracy", "jsd")


def evaluate_classifier(
    reference: Path,
    generated: Path,
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    config: ClassifierConfig,
    seed: int,
    sample_name: str,
    out_json: Path,
    out_npz: Path,
    name: str | None = None,
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
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        seed: seed of the trainings.
        sample_name: what `generated` is called in the scores.
        name: what the classifier is called; by default the stem of `out_json`.
        power: file of :func:`calopipe.evaluation.power.evaluate_power`, which the score of the AUC then holds.

    Raises:
        DataError: a file does not fit the geometry or holds values that are not energies.
        NumericsError: a training diverged.
    """
    geometry = load_geometry(geometry)
    sizes = check_samples({"reference": reference, sample_name: generated}, geometry)
    rows = [thinned_rows(n, config, what) for n, what in zip(sizes.values(), ("reference", "generated"), strict=True)]
    name = name or out_json.stem
    try:
        grid = voxel_grid(geometry, config)
        features = [
            feature_table(path, geometry, threshold_MeV, config, r, what)
            for path, r, what in zip((reference, generated), rows, sizes, strict=True)
        ]
        partners = common_energies(features[0][:, 0], features[1][:, 0]) if config.folds else None
        result = classifier_test(features[0], features[1], config, seed, grid=grid, partners=partners)
    except MetricUnavailable as error:
        log.warning("classifier %s: %s", name, error)
        _write_missing(name, str(error), min(sizes.values()), seed, sample_name, out_json, out_npz)
        return
    scores = _scores(result, name, sample_name)
    if power is not None:
        scores[0].extra["power"] = load_power(power)
    save_scores(out_json, scores)
    curves = {k: getattr(result, k) for k in ("fpr", "tpr", "weights_reference", "weights_generated")}
    curves |= {
        "rows_reference": rows[0][result.rows_reference],
        "rows_generated": rows[1][result.rows_generated],
    }
    write_npz(out_npz, curves)


def common_energies(reference: np.ndarray, generated: np.ndarray) -> np.ndarray | None:
    """Row of the reference (N,) whose incident energy each generated shower (M,) was made for; None: they do not follow it.

    The workflow generates a fixed number of showers for each reference shower, one after another.
    """
    factor, rest = divmod(len(generated), len(reference))
    if rest or not np.allclose(generated, np.repeat(reference, factor), rtol=1e-6, atol=0):
        return None
    return np.repeat(np.arange(len(reference)), factor)


def _scores(result: ClassifierResult, name: str, sample_name: str) -> list[Score]:
    facts = {
        "auc": {
            "calibrated": result.auc_calibrated.tolist(),
            "calibrated_error": result.errors["auc_calibrated"],
            "resolves": 2 * result.null_error,
        },
        "accuracy": {"calibrated": result.accuracy_calibrated.tolist()},
        "jsd": {"uncalibrated": result.jsd_uncalibrated.tolist()},
    }
    floors = {"auc": 0.5, "accuracy": 0.5, "jsd": 0.0}
    scores = []
    for key in SCORES:
        values = getattr(result, key)
        scores.append(
            Score(
                name=f"classifier/{name}/{key}",
                value=float(values.mean()),
                error=result.errors[key],
                n=result.n,
                seed=result.seed,
                sample=sample_name,
                floor=floors[key],
                extra={
                    "repeats": values.tolist(),
                    "statistical_error": result.statistical[key],
                    "best_epoch": result.best_epoch.tolist(),
                    "n_test": len(result.rows_reference),
                    "n_test_generated": len(result.rows_generated),
                    **facts[key],
                },
            )
        )
    return scores


def _write_missing(name: str, reason: str, n: int, seed: int, sample_name: str, out_json: Path, out_npz: Path) -> None:
    scores = [Score.absent(f"classifier/{name}/{key}", n, reason, seed=seed, sample=sample_name) for key in SCORES]
    save_scores(out_json, scores)
    nothing, no_rows = np.empty((0, 0)), np.empty(0, dtype=np.int64)
    curves = {"fpr": ROC_GRID, "tpr": np.empty((0, len(ROC_GRID)))}
    curves |= {"weights_reference": nothing, "weights_generated": nothing}
    write_npz(out_npz, {**curves, "rows_reference": no_rows, "rows_generated": no_rows})
