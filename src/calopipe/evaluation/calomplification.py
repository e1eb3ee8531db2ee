"""The amplification study of a generator, from shower files to divergence curves and amplification factors
(Calomplification, arXiv:2202.07352).

The end of the test split is the truth. Training split and the rest of the test split, in this order, are a pool of
Geant4 showers that is cut into disjoint samples of every size; those of the training size begin with the showers that the
generators learned: the whole training split, or a block of it for each training. Estimators are fitted to them too.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.evaluation import CalomplificationConfig, ImageObservable
from calopipe.errors import DataError, MetricUnavailable
from calopipe.evaluation.inputs import check_samples, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.amplification import equivalent_size_with_error
from calopipe.metrics.density import FITS
from calopipe.metrics.quantiles import QuantilePartition, allowed_levels, expected_divergence, jackknife_error
from calopipe.observables.image import ImageObservables, image_observables
from calopipe.records.divergences import DivergenceCurve, save_divergences
from calopipe.records.scores import Score, save_scores
from calopipe.seeds import generator

log = logging.getLogger("calopipe")

#: blocks of a single sample that are left out in turn for its statistical error
BLOCKS = 20
#: scores of each set of observables and number of quantiles
KEYS = ("jsd", "amplification")


@dataclass(frozen=True)
class _Study:
    """Samples of a study, and what is needed to judge them."""

    truth: ImageObservables
    pool: ImageObservables
    subjects: Mapping[str, Sequence[ImageObservables]]
    n_train: int
    own_sets: bool
    config: CalomplificationConfig
    seed: int


@dataclass(frozen=True)
class _Line:
    """Divergences of the samples of one kind: values (R, K) and the statistical error (K,) of a single one.

    `n` is the size of the Geant4 samples, or how many showers were learned from; `n_samples` what is judged.
    """

    kind: str
    name: str
    n: int
    quantiles: np.ndarray
    values: np.ndarray
    single_error: np.ndarray
    settings: tuple[Mapping[str, Any], ...] = ()
    n_samples: int = 0

    @property
    def errors(self) -> np.ndarray:
        return self.values.std(axis=0, ddof=1) if len(self.values) > 1 else self.single_error


def evaluate_calomplification(
    train: Path,
    test: Path,
    subjects: Mapping[str, Sequence[Path]],
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    config: CalomplificationConfig,
    seed: int,
    out_json: Path,
    out_npz: Path,
    training_showers: int | None = None,
) -> None:
    """Compare generators with Geant4 samples of several sizes and with density estimators, in quantiles of the truth.

    Scores are ``calomplification/<observables>/<quantiles>/jsd`` and ``.../amplification`` of every subject and
    estimator; the divergences of the Geant4 samples and of the showers that were learned are in ``extra``. The target
    of an amplification is that of equally many true showers. The NPZ is that of
    :func:`calopipe.records.divergences.save_divergences`.

    Args:
        train: the showers that the generators were trained on, or blocks of it.
        test: independent showers of the same kind, many.
        subjects: name -> shower files of one generator; several files are several trainings. Those of ``generated`` are on
            one training set unless `training_showers` is given, those of others on a training set each.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        seed: seed of fits and draws.
        training_showers: showers that each training learned, a block of `train` of its own; None: all of `train`.

    Raises:
        DataError: a file does not fit the geometry or holds values that are not energies; or the test sample has fewer
            showers than the truth shall have.
    """
    geometry = load_geometry(geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    files = {f"{name} {i}": path for name, paths in subjects.items() for i, path in enumerate(paths)}
    check_samples({"training": train, "test": test, **files}, geometry)

    def read(path: Path, what: str) -> ImageObservables:
        chunks = stream(path, geometry, f"observables of {what}")
        settings = (config.pixel_cut_MeV, config.image_pool, config.image_threshold_MeV)
        parts = (image_observables(c.showers, c.incident_energies, geometry, threshold, *settings) for c in chunks)
        return ImageObservables.joined(parts)

    training, rest = read(train, "training showers"), read(test, "test showers")
    n_truth = (3 * rest.n) // 4 if config.truth is None else config.truth
    if n_truth > rest.n:
        raise DataError(f"test sample {test}: {rest.n} showers, but the truth shall be {n_truth} of them (key truth)")
    pool = ImageObservables.joined([training, rest.select(0, rest.n - n_truth)])
    samples = {name: [read(path, name) for path in paths] for name, paths in subjects.items()}
    n_train, own_sets = training_showers or training.n, training_showers is not None
    study = _Study(rest.select(rest.n - n_truth, rest.n), pool, samples, n_train, own_sets, config, seed)
    curves, scores = [], []
    for names in config.observables:
        found = _judge(study, names)
        curves += found[0]
        scores += found[1]
        log.info("calomplification in %s: done", "+".join(names))
    save_scores(out_json, scores)
    save_divergences(out_npz, curves, n_truth)


def _judge(study: _Study, names: Sequence[ImageObservable]) -> tuple[list[DivergenceCurve], list[Score]]:
    """Curves and scores in one set of observables."""
    top = min(study.config.max_quantiles.bit_length() - 1, allowed_levels(study.truth.n))
    try:
        partition = QuantilePartition.fit(study.truth.values(names), top)
        geant4 = list(_geant4_lines(study, partition, names))
        lines = [*_subject_lines(study, partition, names)]
    except MetricUnavailable as error:
        log.warning("calomplification in %s: %s", "+".join(names), error)
        return [], list(_missing(study, names, str(error)))
    lines += _estimator_lines(study, partition, names)
    found = [(line, _curve(line, geant4, study, names)) for line in lines]
    scores = [s for line, curve in found for s in _scores(line, curve, geant4, study)]
    known = [*geant4, *_floor_line(study, partition, names)]
    return [_curve(line, geant4, study, names) for line in known] + [curve for _, curve in found], scores


# ---- samples ------------------------------------------------------------------------------------------------------
def _geant4_lines(study: _Study, partition: QuantilePartition, names: Sequence[ImageObservable]) -> Iterator[_Line]:
    """Disjoint samples of the pool of each size; of few showers there may be less than `sets` of them."""
    for n in sorted({study.n_train, *study.config.sizes}):
        sets = min(study.config.sets, study.pool.n // n)
        if sets and allowed_levels(n) >= 1:
            parts = [study.pool.select(i * n, (i + 1) * n) for i in range(sets)]
            yield _line("geant4", "geant4", n, parts, partition, names)


def _floor_line(study: _Study, partition: QuantilePartition, names: Sequence[ImageObservable]) -> Iterator[_Line]:
    """What infinitely many true showers would give; not of E_pixel, whose values in one shower hang together."""
    if "E_pixel" not in names:
        quantiles = 2 ** np.arange(1, partition.levels + 1)
        values = expected_divergence(quantiles, np.inf, study.truth.n)
        yield _Line("floor", "truth", study.truth.n, quantiles, values[None], np.full(len(values), np.nan))


def _subject_lines(study: _Study, partition: QuantilePartition, names: Sequence[ImageObservable]) -> Iterator[_Line]:
    for name, parts in study.subjects.items():
        yield _line("generator", name, study.n_train, parts, partition, names)


def _line(
    kind: str,
    name: str,
    n: int,
    samples: Sequence[ImageObservables],
    partition: QuantilePartition,
    names: Sequence[ImageObservable],
) -> _Line:
    """Divergences of samples, and the error of one of them by leaving out blocks of its showers."""
    size = min(s.n for s in samples)
    found = []
    for sample in samples:
        cells, starts = partition.cells(sample.values(names)), sample.starts(names)
        found.append([partition.counts(c) for c in np.split(cells, starts[_block_bounds(sample.n)])])
    blocks = np.array(found)
    quantiles, values = partition.curve(blocks.sum(axis=1), size)
    single = np.sqrt(np.mean([jackknife_error(partition, b, size) ** 2 for b in blocks], axis=0))
    return _Line(kind, name, n, quantiles, values, single, n_samples=size)


def _block_bounds(n: int) -> np.ndarray:
    return np.linspace(0, n, BLOCKS + 1).astype(int)[1:-1]


def _estimator_lines(study: _Study, partition: QuantilePartition, names: Sequence[ImageObservable]) -> Iterator[_Line]:
    """Estimators fitted to disjoint samples of the pool. Not of E_pixel: spectra over decades are beyond them."""
    if "E_pixel" in names:
        return
    m = study.config.estimator_samples
    sizes = sorted(set(study.config.estimator_sizes or [study.n_train]))
    for kind, n in itertools.product(study.config.estimators, sizes):
        counts, settings = [], []
        for i in range(min(study.config.sets, study.pool.n // n)):
            rng = generator(study.seed, "calomplification", kind, n, i, *names)
            try:
                fit = FITS[kind](study.pool.select(i * n, (i + 1) * n).values(names), rng)
            except MetricUnavailable as error:
                log.warning("calomplification, %s in %s: %s", kind, "+".join(names), error)
                break
            counts.append(partition.counts(partition.cells(fit.draw(m, rng))))
            settings.append(fit.settings)
        if counts:
            quantiles, values = partition.curve(np.array(counts), m)
            unknown = np.full(len(quantiles), np.nan)
            yield _Line(kind, kind, n, quantiles, values, unknown, tuple(settings), m)


# ---- results ------------------------------------------------------------------------------------------------------
def _curve(line: _Line, geant4: Sequence[_Line], study: _Study, names: Sequence[ImageObservable]) -> DivergenceCurve:
    """Mean, errors and amplification factors of one line at all its numbers of quantiles."""
    values, errors = line.values.mean(axis=0), line.errors
    factors, extrapolated = np.full((2, len(values)), np.nan), np.zeros(len(values), dtype=bool)
    rng = generator(study.seed, "calomplification", "amplification", line.name, line.n, *names)
    for k in range(0 if line.kind in ("geant4", "floor") else len(values)):
        points = _points(geant4, k)
        if not points or values[k] <= 0:
            continue
        sample = (float(values[k]), float(np.nan_to_num(errors[k])))
        found = equivalent_size_with_error(sample, *np.array(points).T, study.truth.n, rng)
        factors[:, k], extrapolated[k] = (found.n / line.n, found.error / line.n), found.extrapolated
    factors[~np.isfinite(factors)] = np.nan
    label = "+".join(names)
    sets = len(line.values)
    return DivergenceCurve(
        label, line.kind, line.name, line.n, sets, line.quantiles, values, errors, *factors, extrapolated
    )


def _points(geant4: Sequence[_Line], k: int) -> list[tuple[int, float, float]]:
    """(n, mean divergence, error of the mean) of the Geant4 samples that have a k-th number of quantiles.

    Few samples may agree by chance: the error of one is at least the statistical one.
    """
    found = []
    for g in geant4:
        if k < len(g.quantiles) and (mean := float(g.values[:, k].mean())) > 0:
            found.append((g.n, mean, float(max(g.errors[k], g.single_error[k]) / np.sqrt(len(g.values)))))
    return found


def _scores(line: _Line, curve: DivergenceCurve, geant4: Sequence[_Line], study: _Study) -> Iterator[Score]:
    """Divergence and amplification at the numbers of quantiles that the configuration asks for."""
    n = min(line.n_samples, study.truth.n)
    sample = line.name if line.kind == "generator" else f"{line.name}_{line.n}"
    for wanted in study.config.quantiles:
        name = f"calomplification/{curve.observables}/{wanted}"
        if wanted not in line.quantiles:
            most = int(line.quantiles[-1])
            reason = f"{wanted} quantiles need {10 * wanted} showers (n/10 rule); {n} allow {most}"
            for key in KEYS:
                yield Score.absent(f"{name}/{key}", n, reason, seed=study.seed, sample=sample)
            continue
        k = int(np.flatnonzero(line.quantiles == wanted)[0])
        extra = {"n_training": line.n, "n_samples": line.n_samples, "n_truth": study.truth.n}
        extra["trainings"] = len(line.values)
        extra["error_of"] = _error_of(line, study)
        extra["geant4"] = [dict(zip(("n", "jsd", "error"), p, strict=True)) for p in _points(geant4, k)]
        extra |= {"fits": [dict(s) for s in line.settings]} if line.settings else {}
        one_value = "E_pixel" not in curve.observables  # several values of one shower are not independent
        floor = float(expected_divergence(wanted, line.n_samples, study.truth.n)) if one_value else None
        error = _finite(curve.errors[k])
        yield Score(
            f"{name}/jsd", float(curve.values[k]), error, n, seed=study.seed, sample=sample, floor=floor, extra=extra
        )
        yield _amplification(f"{name}/amplification", curve, k, n, sample, study, extra)


def _error_of(line: _Line, study: _Study) -> str:
    """What the errors of a line are the scatter of."""
    if len(line.values) == 1:
        return "finite sample"
    return "training sets" if study.own_sets or line.name != "generated" else "trainings on one set"


def _amplification(
    name: str, curve: DivergenceCurve, k: int, n: int, sample: str, study: _Study, extra: Mapping[str, Any]
) -> Score:
    """Score of the amplification factor; its target is what equally many true showers would reach."""
    value, error, missing = _finite(curve.amplification[k]), _finite(curve.amplification_errors[k]), None
    facts = {**extra, "target": extra["n_samples"] / curve.n}
    if value is not None:
        facts |= {"equivalent_n": value * curve.n, "extrapolated": bool(curve.extrapolated[k])}
    elif extra["geant4"]:
        missing, error = f"closer to the truth than {study.truth.n} true showers can resolve", None
    else:
        missing, error = "no Geant4 sample has enough showers for so many quantiles (n/10 rule)", None
    return Score(name, value, error, n, seed=study.seed, sample=sample, floor=None, missing=missing, extra=facts)


def _missing(study: _Study, names: Sequence[ImageObservable], reason: str) -> Iterator[Score]:
    for sample, wanted, key in itertools.product(study.subjects, study.config.quantiles, KEYS):
        name = f"calomplification/{'+'.join(names)}/{wanted}/{key}"
        yield Score.absent(name, study.truth.n, reason, seed=study.seed, sample=sample)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
