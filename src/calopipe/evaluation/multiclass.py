"""The multi-class test of all generated samples of a dataset, from shower files to scores and a confusion matrix."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from math import log as ln
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.evaluation.features import feature_table, thinned_rows, voxel_grid
from calopipe.evaluation.inputs import Readout, check_samples, with_reference
from calopipe.metrics.multiclass import MulticlassResult, multiclass_test
from calopipe.records.files import write_npz
from calopipe.records.scores import Score, save_scores

log = logging.getLogger("calopipe")


#: scores of each sample
KINDS = ("log_posterior", "divergence")


def evaluate_multiclass(
    reference: Path,
    samples: Mapping[str, Path],
    readout: Readout,
    *,
    config: ClassifierConfig,
    seed: int,
    scores: Path,
    confusion: Path,
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
        readout: what they are compared in.
        config: the classifier.
        seed: seed of the trainings.
        scores, confusion: JSON and NPZ file to write.

    Raises:
        ConfigError: a sample is called ``reference``.
        DataError: a file does not fit the geometry or holds values that are not energies.
        NumericsError: a training diverged.
    """
    paths = with_reference(reference, samples)
    sizes = check_samples(paths, readout.geometry)
    # no file gives more showers than the smallest: what is beyond would be read in vain
    smallest = min(sizes.values())
    few = config.model_copy(update={"max_per_class": min(config.max_per_class or smallest, smallest)})
    try:
        grid = voxel_grid(readout.geometry, config)
        tables = {
            name: feature_table(path, readout, few, rows=thinned_rows(sizes[name], few, name), what=name)
            for name, path in paths.items()
        }
        result = multiclass_test(tables, few, seed, grid=grid)
    except MetricUnavailable as error:
        log.warning("multi-class test: %s", error)
        every = itertools.product(samples, KINDS)
        missing = [Score.absent(f"multiclass/{k}", smallest, error, seed=seed, sample=name) for name, k in every]
        save_scores(scores, missing)
        none = np.empty((0, 0, 0))
        write_npz(confusion, {"names": np.array(list(paths)), "confusion": none, "log_posterior": none})
        return
    save_scores(scores, list(_scores(result)))
    arrays = {"confusion": result.confusion, "log_posterior": result.log_posterior}
    write_npz(confusion, {"names": np.array(result.names), **arrays})


def _scores(result: MulticlassResult) -> Iterator[Score]:
    ranks = {name: rank for rank, name in enumerate(result.ranking, start=1)}
    kinds = {
        "log_posterior": (result.log_posterior[:, 0], result.log_posterior_error, None),
        "divergence": (result.divergence, result.divergence_error, 0.0),
    }
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
            about: dict[str, Any] = {"seed": result.seed, "sample": name, "floor": floor, "extra": extra}
            yield Score(f"multiclass/{kind}", float(mine.mean()), error, result.n, **about)
