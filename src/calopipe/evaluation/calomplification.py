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

from calopipe.config.calomplification import CalomplificationConfig, ImageObservable
from calopipe.errors import DataError, MetricUnavailable
from calopipe.evaluation.calomplification_lines import (
    Line,
    Space,
    Study,
    estimator_lines,
    floor_line,
    geant4_lines,
    subject_lines,
)
from calopipe.evaluation.inputs import Readout, check_samples, stream
from calopipe.evaluation.samples import images_of
from calopipe.metrics.amplification import equivalent_size_with_error
from calopipe.metrics.quantiles import expected_divergence
from calopipe.observables.image import ImageObservables
from calopipe.records.divergences import DivergenceCurve, save_divergences
from calopipe.records.scores import Score, save_scores
from calopipe.seeds import generator

log = logging.getLogger("calopipe")

#: scores of each set of observables and number of quantiles
KEYS = ("jsd", "amplification")


def evaluate_calomplification(
    train: Path,
    test: Path,
    subjects: Mapping[str, Sequence[Path]],
    readout: Readout,
    *,
    config: CalomplificationConfig,
    seed: int,
    scores: Path,
    curves: Path,
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
        readout: what they are compared in.
        seed: seed of fits and draws.
        scores, curves: JSON and NPZ file to write.
        training_showers: showers that each training learned, a block of `train` of its own; None: all of `train`.

    Raises:
        DataError: a file does not fit the geometry or holds values that are not energies; or the test sample has fewer
            showers than the truth shall have.
    """
    files = {f"{name} {i}": path for name, paths in subjects.items() for i, path in enumerate(paths)}
    check_samples({"training": train, "test": test, **files}, readout.geometry)
    training, rest = (_read(p, f"{what} showers", readout, config) for p, what in ((train, "training"), (test, "test")))
    n_truth = (3 * rest.n) // 4 if config.truth is None else config.truth
    if n_truth > rest.n:
        raise DataError(f"test sample {test}: {rest.n} showers, but the truth shall be {n_truth} of them (key truth)")
    study = Study(
        truth=rest.select(rest.n - n_truth, rest.n),
        pool=ImageObservables.joined([training, rest.select(0, rest.n - n_truth)]),
        subjects={name: [_read(path, name, readout, config) for path in paths] for name, paths in subjects.items()},
        n_train=training_showers or training.n,
        own_sets=training_showers is not None,
        config=config,
        seed=seed,
    )
    found = [_judge(study, names) for names in config.observables]
    save_scores(scores, [score for _, some in found for score in some])
    save_divergences(curves, [curve for some, _ in found for curve in some], n_truth)


def _read(path: Path, what: str, readout: Readout, config: CalomplificationConfig) -> ImageObservables:
    return images_of(stream(path, readout.geometry, f"observables of {what}"), readout, config)


def _judge(study: Study, names: Sequence[ImageObservable]) -> tuple[list[DivergenceCurve], list[Score]]:
    """Curves and scores in one set of observables."""
    text = "+".join(names)
    try:
        space = Space.of(study, names)
        results = _Results(study, text, list(geant4_lines(study, space)))
        lines = [*subject_lines(study, space)]
    except MetricUnavailable as error:
        log.warning("calomplification in %s: %s", text, error)
        return [], list(_missing(study, text, error))
    lines += estimator_lines(study, space)
    curves = [results.curve(line) for line in lines]
    scores = [s for line, curve in zip(lines, curves, strict=True) for s in results.scores(line, curve)]
    known = [results.curve(line) for line in (*results.geant4, *floor_line(study, space))]
    log.info("calomplification in %s: done", text)
    return known + curves, scores


@dataclass(frozen=True)
class _Results:
    """Curves and scores of lines in one set of observables (`text`), from those of the Geant4 samples."""

    study: Study
    text: str
    geant4: Sequence[Line]

    def curve(self, line: Line) -> DivergenceCurve:
        """Mean, errors and amplification factors of one line at all its numbers of quantiles."""
        values, errors, truth = line.values.mean(axis=0), line.errors, self.study.truth.n
        factors, extrapolated = np.full((2, len(values)), np.nan), np.zeros(len(values), dtype=bool)
        rng = generator(self.study.seed, "calomplification", "amplification", line.name, line.n, *self.text.split("+"))
        for k in range(0 if line.kind in ("geant4", "floor") else len(values)):
            points = self.points(k)
            if not points or values[k] <= 0:
                continue
            sample = (float(values[k]), float(np.nan_to_num(errors[k])))
            sizes, divergences, scatter = np.array(points).T
            found = equivalent_size_with_error(sample, sizes, divergences, scatter, truth, rng)
            factors[:, k], extrapolated[k] = (found.n / line.n, found.error / line.n), found.extrapolated
        factors[~np.isfinite(factors)] = np.nan
        return DivergenceCurve(
            observables=self.text,
            kind=line.kind,
            name=line.name,
            n=line.n,
            n_sets=len(line.values),
            quantiles=line.quantiles,
            values=values,
            errors=errors,
            amplification=factors[0],
            amplification_errors=factors[1],
            extrapolated=extrapolated,
        )

    def points(self, k: int) -> list[tuple[int, float, float]]:
        """(n, mean divergence, error of the mean) of the Geant4 samples that have a k-th number of quantiles.

        Few samples may agree by chance: the error of one is at least the statistical one.
        """
        found = []
        for g in self.geant4:
            if k < len(g.quantiles) and (mean := float(g.values[:, k].mean())) > 0:
                found.append((g.n, mean, float(max(g.errors[k], g.single_error[k]) / np.sqrt(len(g.values)))))
        return found

    def scores(self, line: Line, curve: DivergenceCurve) -> Iterator[Score]:
        """Divergence and amplification at the numbers of quantiles that the configuration asks for."""
        n = min(line.n_samples, self.study.truth.n)
        sample = line.name if line.kind == "generator" else f"{line.name}_{line.n}"
        about: dict[str, Any] = {"seed": self.study.seed, "sample": sample}
        for wanted in self.study.config.quantiles:
            name = f"calomplification/{self.text}/{wanted}"
            if wanted not in line.quantiles:
                most = int(line.quantiles[-1])
                reason = f"{wanted} quantiles need {10 * wanted} showers (n/10 rule); {n} allow {most}"
                yield from (Score.absent(f"{name}/{key}", n, reason, **about) for key in KEYS)
                continue
            k = int(np.flatnonzero(line.quantiles == wanted)[0])
            facts = self._facts(line, k)
            one_value = "E_pixel" not in self.text  # several values of one shower are not independent
            floor = float(expected_divergence(wanted, line.n_samples, self.study.truth.n)) if one_value else None
            value, error = float(curve.values[k]), _finite(curve.errors[k])
            yield Score(f"{name}/jsd", value, error, n, floor=floor, extra=facts, **about)
            factor = self._amplification(curve, k)
            facts = {**facts, "target": line.n_samples / line.n, **factor.pop("facts", {})}
            yield Score(f"{name}/amplification", n=n, extra=facts, **factor, **about)

    def _facts(self, line: Line, k: int) -> dict[str, Any]:
        """What the scores of a line at its k-th number of quantiles rest on."""
        if len(line.values) == 1:
            scatter = "finite sample"
        else:
            own = self.study.own_sets or line.name != "generated"
            scatter = "training sets" if own else "trainings on one set"
        facts: dict[str, Any] = {"n_training": line.n, "n_samples": line.n_samples, "n_truth": self.study.truth.n}
        facts |= {"trainings": len(line.values), "error_of": scatter}
        facts["geant4"] = [dict(zip(("n", "jsd", "error"), p, strict=True)) for p in self.points(k)]
        return facts | ({"fits": [dict(s) for s in line.settings]} if line.settings else {})

    def _amplification(self, curve: DivergenceCurve, k: int) -> dict[str, Any]:
        """Value and error of the amplification factor with further facts, or why it is missing."""
        value, error = _finite(curve.amplification[k]), _finite(curve.amplification_errors[k])
        if value is not None:
            facts = {"equivalent_n": value * curve.n, "extrapolated": bool(curve.extrapolated[k])}
            return {"value": value, "error": error, "facts": facts}
        if self.points(k):
            reason = f"closer to the truth than {self.study.truth.n} true showers can resolve"
            return {"value": None, "error": None, "missing": reason}
        reason = "no Geant4 sample has enough showers for so many quantiles (n/10 rule)"
        return {"value": None, "error": error, "missing": reason}


def _missing(study: Study, text: str, reason: Exception) -> Iterator[Score]:
    for sample, wanted, key in itertools.product(study.subjects, study.config.quantiles, KEYS):
        name = f"calomplification/{text}/{wanted}/{key}"
        yield Score.absent(name, study.truth.n, reason, seed=study.seed, sample=sample)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
