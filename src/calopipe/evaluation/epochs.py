"""How the samples of a network improve while it is trained: cheap scores of the epochs that were kept, and the best of them.

Werther 2022 follows fidelity score and FRD over the epochs of a training and chooses the epoch by hand. Here every kept
epoch generates one shower for each of the same few validation showers, and the metrics and regressors of the evaluation
judge them.

The best epoch is the one whose score is nearest to that of a perfect generator; with few showers several are as good
within errors, and all of those are named. The choice makes that score of that epoch look too good, which is why it is
made with validation showers: test showers then judge the chosen epoch (``generation.epoch: best``) without that bias.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calopipe.config.evaluation import EpochsConfig, HistogramConfig, RegressionConfig
from calopipe.errors import DataError
from calopipe.evaluation.columns import compare_columns
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.metrics import evaluate_metrics
from calopipe.evaluation.observables import evaluate_observables
from calopipe.evaluation.regression import evaluate_regression
from calopipe.geometry import Geometry
from calopipe.io import Columns, Showers, file_info, read_columns, read_showers, write_showers
from calopipe.io.temporary import scratch
from calopipe.records.files import write_json
from calopipe.records.scores import load_scores, parsed_score
from calopipe.sampling.generator import Generator
from calopipe.sampling.stages import conditions_of, sample_to_file
from calopipe.seeds import derive, generator

log = logging.getLogger("calopipe")


def score_epochs(
    epochs: Path | Mapping[int, Path],
    networks: Sequence[Path],
    reference: Path,
    readout: Readout,
    *,
    config: EpochsConfig,
    histograms: HistogramConfig,
    regression: RegressionConfig,
    regressors: Mapping[str, Path],
    seed: int,
    out: Path,
    conditions: Sequence[str] = (),
) -> None:
    """Generate from every kept epoch, score the samples, and write ``scores_by_epoch.json``.

    The file holds ``epochs``, a list of {"epoch", "scores"}; and ``best``: {"score", "epoch", "as_good"} with the epochs
    that are as good as the best within one combined standard deviation, or {"score", "missing"}.

    Args:
        epochs: folder of checkpoints ``epoch-<number>.pt``; or files of showers by number of the epoch.
        networks: checkpoints of the other networks of the chain.
        reference: validation showers; a random part of them is used.
        readout, histograms, regression: as in the evaluation of the final sample.
        regressors: name -> checkpoint of an energy regressor.
        conditions: names of further conditions of the showers.
        seed: seed of the choice of showers, of the generation and of bootstraps.

    Raises:
        DataError: the folder holds no checkpoints, or `reference` no showers.
    """
    kept = _kept(epochs) if isinstance(epochs, Path) else dict(sorted(epochs.items()))
    if not kept:
        raise DataError(f"{epochs}: no kept epochs (training.keep_every is not set, or larger than training.epochs)")
    if not file_info(reference).n_showers:
        raise DataError(f"{reference}: no validation showers to judge epochs with (split.val of the dataset is 0)")
    out.parent.mkdir(parents=True, exist_ok=True)
    with scratch("epochs", out.parent) as folder:
        base = folder / "reference.hdf5"
        write_showers(base, _part(reference, readout.geometry, config.showers, seed, conditions), readout.geometry)
        if isinstance(epochs, Path):
            samples = _generate(kept, networks, base, seed, regression.device)
        else:
            samples = {f"epoch {epoch}": path for epoch, path in kept.items()}
        compared = (base, samples, readout)
        table, files = folder / "histograms.npz", [folder / "metrics.json"]
        evaluate_observables(*compared, config=histograms, out=table)
        evaluate_metrics(*compared, metrics=config.metrics, histograms=table, seed=seed, out=files[0])
        for name, checkpoint in regressors.items():
            files.append(folder / f"{name}.json")
            evaluate_regression(
                *compared,
                checkpoint=checkpoint,
                config=regression,
                seed=seed,
                name=name,
                scores=files[-1],
                curves=folder / f"{name}.npz",
            )
        scores = [score for file in files for score in load_scores(file)]
    rows = [
        {"epoch": epoch, "scores": [asdict(s) for s in scores if s.sample == name]}
        for epoch, name in zip(kept, samples, strict=True)
    ]
    write_json(out, {"epochs": rows, "best": best_epoch(rows, config.select)})


def score_epochs_of_columns(
    epochs: Path,
    networks: Sequence[Path],
    reference: Path,
    *,
    config: EpochsConfig,
    histograms: HistogramConfig,
    device: str,
    seed: int,
    out: Path,
) -> None:
    """The same of data that are no showers: each kept epoch makes one row for the conditions of each validation row, and the
    scores of :func:`~calopipe.evaluation.columns.compare_columns` judge it: distances, moments and widths of each column.

    Where `config` leaves the score that chooses to its default, which columns do not have, it is the Wasserstein distance of the
    first column.

    Raises:
        DataError: the folder holds no checkpoints, or `reference` no rows.
    """
    kept = _kept(epochs)
    if not kept:
        raise DataError(f"{epochs}: no kept epochs (training.keep_every is not set, or larger than training.epochs)")
    base = read_columns(reference)
    if not len(base):
        raise DataError(f"{reference}: no validation rows to judge epochs with (split.val of the dataset is 0)")
    rows = generator(seed, "epochs", "rows").choice(len(base), min(config.showers, len(base)), replace=False)
    base, scored = base.select(np.sort(rows)), []
    for epoch, path in kept.items():
        drawn = Generator.load([*networks, path], device)
        torch.manual_seed(derive(seed, "epochs", epoch))
        x = drawn.sample(base.condition)
        sample = Columns(dict(zip(base.values, x.T, strict=True)), base.conditions, f"epoch {epoch}")
        scores = compare_columns(base, sample, histograms, seed)
        scored.append({"epoch": epoch, "scores": [{**asdict(s.finite()), "sample": sample.name} for s in scores]})
        log.info("epoch %d of %d judged", epoch, max(kept))
    default = config.select == EpochsConfig().select
    select = f"wasserstein/{next(iter(base.values))}" if default else config.select
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"epochs": scored, "best": best_epoch(scored, select)})


def _kept(folder: Path) -> dict[int, Path]:
    """Checkpoints of the kept epochs by number."""
    return {int(path.stem.removeprefix("epoch-")): path for path in sorted(folder.glob("epoch-*.pt"))}


def _part(path: Path, geometry: Geometry, n: int, seed: int, conditions: Sequence[str]) -> Showers:
    """A random part of a shower file, in the file's order."""
    total = file_info(path).n_showers
    rows = np.sort(generator(seed, "epochs", "showers").choice(total, min(n, total), replace=False))
    return read_showers(path, rows=rows, geometry=geometry, conditions=conditions)


def _generate(
    checkpoints: Mapping[int, Path], networks: Sequence[Path], base: Path, seed: int, device: str
) -> dict[str, Path]:
    samples = {}
    for epoch, path in checkpoints.items():
        name = f"epoch {epoch}"
        samples[name] = base.parent / f"{path.stem}.hdf5"
        drawn = Generator.load([*networks, path], device)
        conditions = conditions_of(base, drawn.data)
        sample_to_file(drawn, conditions, samples[name], len(conditions), seed)
    return samples


def best_epoch(rows: Sequence[Mapping[str, Any]], select: str) -> dict[str, Any]:
    """The epoch whose score `select` is nearest to a perfect generator's, and those as good within errors.

    Args:
        rows: {"epoch", "scores"} per epoch.
    """
    found: dict[int, tuple[float, float]] = {}
    reason = f"no score called '{select}'"
    for row in rows:
        for item in row["scores"]:
            score = parsed_score(item)
            if score.name == select and score.value is not None:
                found[row["epoch"]] = abs(score.value - score.target), score.error or 0.0
            elif score.name == select:
                reason = score.missing or reason
    if not found:
        return {"score": select, "missing": reason}
    best = min(found, key=lambda epoch: found[epoch][0])
    value, error = found[best]
    as_good = [epoch for epoch, (v, e) in found.items() if v - value <= math.hypot(e, error)]
    return {"score": select, "epoch": best, "as_good": as_good}
