"""Which showers of two or more samples a classifier learns from, is chosen by, and is scored on.

One split (the published tests) holds equally many showers of each sample, the larger ones thinned at random. With
``ClassifierConfig.folds`` every shower is used and scored: the samples are cut into F parts, and F classifiers take
turns: one part is scored, the next one chooses the weights, the others are learned from. Classes of different size are
then weighted to equal ones. Generated showers that belong to the incident energy of a reference shower come into the same
part as it: a classifier that learned the energies of one could otherwise recognise the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.seeds import generator

PARTS = ("train", "val", "test")
_MIN_PER_CLASS = 20

#: part -> row numbers of each sample
Rows = dict[str, list[np.ndarray]]


def check_tables(tables: Sequence[np.ndarray]) -> None:
    """Raise MetricUnavailable when samples have different numbers of features, or fewer than 20 showers."""
    if any(t.ndim != 2 or t.shape[1] != tables[0].shape[-1] for t in tables):
        raise MetricUnavailable(f"features {' and '.join(str(t.shape) for t in tables)} do not match")
    n = min(len(t) for t in tables)
    if n < _MIN_PER_CLASS:
        raise MetricUnavailable(f"a classifier test needs {_MIN_PER_CLASS} showers of each sample, found {n}")


def one_split(sizes: Sequence[int], config: ClassifierConfig) -> Rows:
    """Equally many random rows of each sample in each part.

    Raises:
        MetricUnavailable: fewer than 20 showers of a sample, or an empty part.
    """
    n = min(*sizes, config.max_per_class or sizes[0])
    if n < _MIN_PER_CLASS:
        raise MetricUnavailable(f"a classifier test needs {_MIN_PER_CLASS} showers of each sample, found {n}")
    rng = generator(config.split.seed, "classifier split")
    rows = [rng.permutation(size)[:n] for size in sizes]
    first, second = int(n * config.split.train + 1e-9), int(n * (config.split.train + config.split.val) + 1e-9)
    parts = dict(zip(PARTS, np.split(np.arange(n), [first, second]), strict=True))
    for name, part in parts.items():
        if part.size == 0:
            raise MetricUnavailable(f"the {name} part of the classifier's split is empty")
    return {name: [r[part] for r in rows] for name, part in parts.items()}


def turns(sizes: Sequence[int], folds: int, seed: int, partners: np.ndarray | None = None) -> list[Rows]:
    """F splits of all rows, so that each row is in the part ``test`` once.

    Args:
        sizes: showers of each sample.
        folds: F, at least 3.
        seed: of the permutation.
        partners: (M,) row of the first sample that each row of the second one belongs to; None: they are independent.
    """
    rng = np.random.default_rng(seed)
    fold_of = [rng.permutation(np.arange(size) % folds) for size in sizes]
    if partners is not None:
        fold_of[1] = fold_of[0][partners]
    found = []
    for k in range(folds):
        test, val = ([f == i for f in fold_of] for i in (k, (k + 1) % folds))
        train = [~(t | v) for t, v in zip(test, val, strict=True)]
        found.append(
            {p: [np.flatnonzero(m) for m in masks] for p, masks in zip(PARTS, (train, val, test), strict=True)}
        )
    return found
