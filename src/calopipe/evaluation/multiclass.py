"""The multi-class test of all generated samples of a dataset, from shower files to scores and a confusion matrix."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from math import log as ln
from pathlib import Path

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import ConfigError, MetricUnavailable
from calopipe.evaluation.features import feature_table, thinned_rows, voxel_grid
from calopipe.evaluation.inputs import check_samples
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.multiclass import MulticlassResult, multiclass_test
from calopipe.records.files import write_npz
from calopipe.records.samples import REFERENCE
from calopipe.records.scores import Score, save_scores

log = logging.getLogger("calopipe")


def evaluate_multiclass(
    reference: Path,
    samples: Mapping[str, Path],
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    config: ClassifierConfig,
    seed: int,
    out_json: Path,
    out_npz: Path,
) -> None:
    """Train a classifier of all samples and the reference, and write scores and confusion matrices.

    Scores, one of each per sample (``sample`` is its name): ``multiclass/log_posterior`` and ``multiclass/divergence``, mean
    and standard deviation over the repeats; ``extra`` holds every training's value, the statistical error and the rank (1:
    closest to the reference). The reference has a log posterior too. The NPZ holds names (K,), the reference first,
    confusion (R, K, K) counts and log_posterior (R, K, K), true sample first. Where the test cannot be made, the scores say
    why and the arrays are empty.

    Args:
        reference: shower file.
        samples: name -> shower file of each generator.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        seed: seed of the trainings.

    Raises:
        ConfigError: a sample is called ``reference``.
        DataError: a file does not fit the geometry or holds values that are not energies.
        NumericsError: a training diverged.
    """
    if REFERENCE in samples:
        raise ConfigError(f"a sample cannot be called '{REFERENCE}'")
    geometry = load_geometry(geometry)
    paths = {REFERENCE: reference, **samples}
    sizes = check_samples(paths, geometry)
    # no file gives more showers than the smallest: what is beyond would be read in vain
    smallest = min(sizes.values())
    few = config.model_copy(update={"max_per_class": min(config.max_per_class or smallest, smallest)})
    try:
        grid = voxel_grid(geometry, config)
        tables = {
            name: feature_table(path, geometry, threshold_MeV, few, thinned_rows(sizes[name], few, name), name)
            for name, path in paths.items()
        }
        result = multiclass_test(tables, few, seed, grid=grid)
    except MetricUnavailable as error:
        log.warning("multi-class test: %s", error)
        save_scores(out_json, _missing(list(samples), str(error), smallest, seed))
        none = np.empty((0, 0, 0))
        write_npz(out_npz, {"names": np.array(list(paths)), "confusion": none, "log_posterior": none})
        return
    save_scores(out_json, _scores(result))
    arrays = {"confusion": result.confusion, "log_posterior": result.log_posterior}
    write_npz(out_npz, {"names": np.array(result.names), **arrays})


def _scores(result: MulticlassResult) -> list[Score]:
    ranks = {name: rank for rank, name in enumerate(result.ranking, start=1)}
    kinds = {
        "log_posterior": (result.log_posterior[:, 0], result.log_posterior_error, None),
        "divergence": (result.divergence, result.divergence_error, 0.0),
    }
    scores = []
    for k, name in enumerate(result.names):
        for kind, (values, statistical, floor) in kinds.items():
            if k == 0 and kind == "divergence":  # of the reference from itself
                continue
            mine = values[:, k]
            extra = {
                "repeats": mine.tolist(),
                "statistical_error": float(statistical[k]) if np.isfinite(statistical[k]) else None,
                "best_epoch": result.best_epoch.tolist(),
                "n_test": int(result.confusion[0, 0].sum()),
                "samples": list(result.names),
                "indistinguishable": -ln(len(result.names)) if kind == "log_posterior" else 0.0,
                "rank": ranks.get(name),
            }
            error = float(mine.std(ddof=1)) if len(mine) > 1 else None
            where = f"multiclass/{kind}"
            scores.append(
                Score(
                    where, float(mine.mean()), error, result.n, seed=result.seed, sample=name, floor=floor, extra=extra
                )
            )
    return scores


def _missing(names: list[str], reason: str, n: int, seed: int) -> list[Score]:
    kinds = ("log_posterior", "divergence")
    return [Score.absent(f"multiclass/{kind}", n, reason, seed=seed, sample=name) for name in names for kind in kinds]
