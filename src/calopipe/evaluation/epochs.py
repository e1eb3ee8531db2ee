"""How the samples of a network improve while it is trained: cheap scores of the epochs that were kept, and the best of them.

Werther 2022 follows fidelity score and FRD over the epochs of a training and chooses the epoch by hand. Here every kept
epoch generates one shower for each of the same few validation showers, and the metrics and regressors of the evaluation
judge them.

The best epoch is the one whose score is nearest to that of a perfect generator; with few showers several are as good
within errors, and all of those are named. The choice makes that score of that epoch look too good, which is why it is
made with validation showers: test showers then judge the chosen epoch (``generation.epoch: best``) without that bias.
``epochs.reference: training`` compares with the showers that were learned instead, as Bieringer 2022 does, who has only 1000.
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
from calopipe.evaluation.columns import column_histograms, compare_columns
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.metrics import evaluate_metrics
from calopipe.evaluation.observables import evaluate_observables
from calopipe.evaluation.regression import evaluate_regression
from calopipe.io import Columns, file_info, read_columns, read_showers, write_showers
from calopipe.io.temporary import scratch
from calopipe.records.files import write_json
from calopipe.records.histograms import load_cross_sections, load_histograms, save_histograms
from calopipe.records.scores import load_scores, parsed_score
from calopipe.sampling.generator import Generator
from calopipe.sampling.stages import conditions_of, sample_to_file
from calopipe.seeds import derive, generator
from calopipe.training.data import own_block, shower_rows
from calopipe.training.job import Learned

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
    learned: Learned | None = None,
    kept_histograms: Path | None = None,
) -> None:
    """Generate from every kept epoch, score the samples, and write ``scores_by_epoch.json``.

    The file holds ``reference``, what they were compared with; ``epochs``, a list of {"epoch", "scores"}; and ``best``: {"score",
    "epoch", "as_good"} with the epochs that are as good as the best within one combined standard deviation, or {"score", "missing"}.

    Args:
        epochs: folder of checkpoints ``epoch-<number>.pt``; or files of showers by number of the epoch.
        networks: checkpoints of the other networks of the chain.
        reference: prepared showers of the split that the epochs are compared with; a random part of them is used.
        readout, histograms, regression: as in the evaluation of the final sample.
        regressors: name -> checkpoint of an energy regressor.
        conditions: names of further conditions of the showers.
        learned: which showers of `reference` the training learned, where they are compared with those; None: with all.
        seed: seed of the choice of showers, of the generation and of bootstraps.
        kept_histograms: file to write: histograms, average showers and cross sections of all epochs, as samples ``epoch <number>``.

    Raises:
        DataError: the folder holds no checkpoints, or `reference` no showers.
    """
    kept = _kept(epochs) if isinstance(epochs, Path) else dict(sorted(epochs.items()))
    if not kept:
        raise DataError(f"{epochs}: no kept epochs (training.keep_every is not set, or larger than training.epochs)")
    if not file_info(reference).n_showers:
        raise DataError(f"{reference}: no validation showers to judge epochs with (split.val of the dataset is 0)")
    rows = _rows(reference, config, seed, learned)
    out.parent.mkdir(parents=True, exist_ok=True)
    with scratch("epochs", out.parent) as folder:
        base = folder / "reference.hdf5"
        part = read_showers(reference, rows=rows, geometry=readout.geometry, conditions=conditions)
        write_showers(base, part, readout.geometry)
        if isinstance(epochs, Path):
            samples = _generate(kept, networks, base, seed, regression.device, config.factor)
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
        if kept_histograms is not None:
            filled, averages = load_histograms(table)
            averages = [average for average in averages if average.part is None]
            save_histograms(kept_histograms, filled, averages, load_cross_sections(table))
    found = [
        {"epoch": epoch, "scores": [asdict(s) for s in scores if s.sample == name]}
        for epoch, name in zip(kept, samples, strict=True)
    ]
    _write(out, found, config, config.select)


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
    learned: Learned | None = None,
    kept_histograms: Path | None = None,
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
    if learned is not None:
        block = own_block(reference, len(base), learned)
        base = base.select(np.arange(block.start, block.stop))
    rows = generator(seed, "epochs", "rows").choice(len(base), min(config.showers, len(base)), replace=False)
    base, scored, samples = base.select(np.sort(rows)), [], {}
    asked = base.select(np.repeat(np.arange(len(base)), config.factor))
    for epoch, path in kept.items():
        drawn = Generator.load([*networks, path], device)
        torch.manual_seed(derive(seed, "epochs", epoch))
        x = drawn.sample(asked.condition)
        sample = Columns(dict(zip(base.values, x.T, strict=True)), asked.conditions, f"epoch {epoch}")
        scores, samples[sample.name] = compare_columns(base, sample, histograms, seed), sample
        scored.append({"epoch": epoch, "scores": [{**asdict(s.finite()), "sample": sample.name} for s in scores]})
        log.info("epoch %d of %d judged", epoch, max(kept))
    default = config.select == EpochsConfig().select
    select = f"wasserstein/{next(iter(base.values))}" if default else config.select
    out.parent.mkdir(parents=True, exist_ok=True)
    if kept_histograms is not None:
        save_histograms(kept_histograms, list(column_histograms(base, samples, histograms)))
    _write(out, scored, config, select)


def _kept(folder: Path) -> dict[int, Path]:
    """Checkpoints of the kept epochs by number."""
    return {int(path.stem.removeprefix("epoch-")): path for path in sorted(folder.glob("epoch-*.pt"))}


def _rows(path: Path, config: EpochsConfig, seed: int, learned: Learned | None) -> np.ndarray:
    """The rows of a shower file that epochs are compared with: a random part, in the file's order."""
    every = np.arange(file_info(path).n_showers)
    found = every if learned is None else every[shower_rows(path, learned)]
    chosen = generator(seed, "epochs", "showers").choice(len(found), min(config.showers, len(found)), replace=False)
    return found[np.sort(chosen)]


def _write(out: Path, rows: Sequence[Mapping[str, Any]], config: EpochsConfig, select: str) -> None:
    best = best_epoch(rows, select, config.select_from)
    write_json(out, {"reference": config.reference, "epochs": rows, "best": best})


def _generate(
    checkpoints: Mapping[int, Path], networks: Sequence[Path], base: Path, seed: int, device: str, factor: int
) -> dict[str, Path]:
    samples = {}
    for epoch, path in checkpoints.items():
        name = f"epoch {epoch}"
        samples[name] = base.parent / f"{path.stem}.hdf5"
        drawn = Generator.load([*networks, path], device)
        conditions = conditions_of(base, drawn.data)
        asked = np.repeat(conditions, factor, axis=0)
        sample_to_file(drawn, asked, samples[name], len(conditions), seed)
    return samples


def best_epoch(rows: Sequence[Mapping[str, Any]], select: str, first: int = 1) -> dict[str, Any]:
    """The epoch whose score `select` is nearest to a perfect generator's, and those as good within errors.

    Args:
        rows: {"epoch", "scores"} per epoch.
        first: earlier epochs are not chosen.
    """
    found: dict[int, tuple[float, float]] = {}
    late = [row for row in rows if row["epoch"] >= first]
    reason = f"no score called '{select}'" if late else f"no epoch from {first} on was kept"
    for row in late:
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
