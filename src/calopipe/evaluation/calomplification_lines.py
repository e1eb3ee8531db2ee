"""What an amplification study compares: divergences of Geant4 samples, generators and estimators from the truth.

A line is the divergences of the samples of one kind in one set of observables, against the number of quantiles.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calopipe.config.calomplification import CalomplificationConfig, ImageObservable
from calopipe.errors import MetricUnavailable
from calopipe.metrics.density import FITS
from calopipe.metrics.quantiles import QuantilePartition, allowed_levels, expected_divergence, jackknife_error
from calopipe.observables.image import ImageObservables
from calopipe.seeds import generator

log = logging.getLogger("calopipe")

#: blocks of a single sample that are left out in turn for its statistical error
BLOCKS = 20


@dataclass(frozen=True)
class Study:
    """Samples of a study, and what is needed to judge them.

    Attributes:
        truth: the showers that all others are compared with.
        pool: Geant4 showers that samples of each size are cut from.
        subjects: name -> showers of one generator, one sample per training.
        n_train: showers that each training learned.
        own_sets: whether each training learned showers of its own.
    """

    truth: ImageObservables
    pool: ImageObservables
    subjects: Mapping[str, Sequence[ImageObservables]]
    n_train: int
    own_sets: bool
    config: CalomplificationConfig
    seed: int


@dataclass(frozen=True)
class Space:
    """A set of observables, and the quantiles of the truth in it."""

    names: Sequence[ImageObservable]
    partition: QuantilePartition

    @classmethod
    def of(cls, study: Study, names: Sequence[ImageObservable]) -> Space:
        """As many quantiles as the truth allows. Raises MetricUnavailable where it allows none."""
        top = min(study.config.max_quantiles.bit_length() - 1, allowed_levels(study.truth.n))
        return cls(names, QuantilePartition.fit(study.truth.values(names), top))


@dataclass(frozen=True)
class Line:
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
        """(K,) standard deviation between the samples, or the statistical error of a single one."""
        return self.values.std(axis=0, ddof=1) if len(self.values) > 1 else self.single_error

    @classmethod
    def of(cls, space: Space, samples: Sequence[ImageObservables], **about: Any) -> Line:
        """Divergences of samples, and the error of one of them by leaving out blocks of its showers."""
        size = min(s.n for s in samples)
        found = []
        for sample in samples:
            cells, starts = space.partition.cells(sample.values(space.names)), sample.starts(space.names)
            found.append([space.partition.counts(c) for c in np.split(cells, starts[_block_bounds(sample.n)])])
        blocks = np.array(found)
        quantiles, values = space.partition.curve(blocks.sum(axis=1), size)
        single = np.sqrt(np.mean([jackknife_error(space.partition, b, size) ** 2 for b in blocks], axis=0))
        return cls(quantiles=quantiles, values=values, single_error=single, n_samples=size, **about)


def _block_bounds(n: int) -> np.ndarray:
    return np.linspace(0, n, BLOCKS + 1).astype(int)[1:-1]


def geant4_lines(study: Study, space: Space) -> Iterator[Line]:
    """Disjoint samples of the pool of each size; of few showers there may be less than `sets` of them."""
    for n in sorted({study.n_train, *study.config.sizes}):
        sets = min(study.config.sets, study.pool.n // n)
        if sets and allowed_levels(n) >= 1:
            parts = [study.pool.select(i * n, (i + 1) * n) for i in range(sets)]
            yield Line.of(space, parts, kind="geant4", name="geant4", n=n)


def floor_line(study: Study, space: Space) -> Iterator[Line]:
    """What infinitely many true showers would give; not of E_pixel, whose values in one shower hang together."""
    if "E_pixel" not in space.names:
        quantiles = 2 ** np.arange(1, space.partition.levels + 1)
        values = expected_divergence(quantiles, np.inf, study.truth.n)
        yield Line("floor", "truth", study.truth.n, quantiles, values[None], np.full(len(values), np.nan))


def subject_lines(study: Study, space: Space) -> Iterator[Line]:
    """Every generator."""
    for name, parts in study.subjects.items():
        yield Line.of(space, parts, kind="generator", name=name, n=study.n_train)


def estimator_lines(study: Study, space: Space) -> Iterator[Line]:
    """Estimators fitted to disjoint samples of the pool. Not of E_pixel: spectra over decades are beyond them."""
    if "E_pixel" in space.names:
        return
    m = study.config.estimator_samples
    sizes = sorted(set(study.config.estimator_sizes or [study.n_train]))
    for kind, n in itertools.product(study.config.estimators, sizes):
        counts, settings = [], []
        for i in range(min(study.config.sets, study.pool.n // n)):
            rng = generator(study.seed, "calomplification", kind, n, i, *space.names)
            try:
                fit = FITS[kind](study.pool.select(i * n, (i + 1) * n).values(space.names), rng)
            except MetricUnavailable as error:
                log.warning("calomplification, %s in %s: %s", kind, "+".join(space.names), error)
                break
            counts.append(space.partition.counts(space.partition.cells(fit.draw(m, rng))))
            settings.append(fit.settings)
        if counts:
            quantiles, values = space.partition.curve(np.array(counts), m)
            unknown = np.full(len(quantiles), np.nan)
            yield Line(kind, kind, n, quantiles, values, unknown, tuple(settings), m)
