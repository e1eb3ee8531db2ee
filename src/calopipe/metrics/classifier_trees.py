"""Gradient-boosted trees as a classifier: fast, strong on observables, and at home with undefined values (NaN).

scikit-learn's HistGradientBoostingClassifier (after LightGBM, Ke et al. 2017). ``epochs`` is the largest number of
trees; the number of the lowest cross entropy on the validation part is kept. Half of the features, drawn at random, are
looked at for each split of a tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from calopipe.config.evaluation import ClassifierConfig
from calopipe.metrics.classifier_split import Rows


def train_trees(
    tables: Sequence[np.ndarray], rows: Rows, config: ClassifierConfig, seed: int
) -> tuple[dict[str, np.ndarray], int]:
    """Train trees on two samples.

    Args:
        tables: (N, D) and (M, D) features, NaN where undefined.
        rows: see :mod:`calopipe.metrics.classifier_split`.

    Returns:
        Logits of the parts ``val`` and ``test`` for the first sample, (n,), and the number of trees.
    """
    x, y, w = {}, {}, {}
    for part, chosen in rows.items():
        x[part] = np.concatenate([t[r] for t, r in zip(tables, chosen, strict=True)])
        y[part] = np.repeat([1.0, 0.0], [len(r) for r in chosen])
        w[part] = np.repeat([0.5 / len(r) for r in chosen], [len(r) for r in chosen])
    trees = HistGradientBoostingClassifier(
        learning_rate=config.lr,
        max_iter=config.epochs,
        max_leaf_nodes=config.leaves,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.5,
        early_stopping=True,
        n_iter_no_change=config.patience or config.epochs,
        random_state=seed % 2**32,
    )
    trees.fit(
        x["train"],
        y["train"],
        w["train"] * len(w["train"]),
        X_val=x["val"],
        y_val=y["val"],
        sample_weight_val=w["val"] * len(w["val"]),
    )
    best, count, logits = np.inf, 0, {}
    staged = zip(*(_staged_logits(trees, x[part]) for part in ("val", "test")), strict=True)
    for number, (val, test) in enumerate(staged, start=1):
        loss = w["val"] @ np.logaddexp(0, np.where(y["val"] > 0, -val, val))
        if loss < best:
            best, count, logits = loss, number, {"val": val.copy(), "test": test.copy()}
    return logits, count


def _staged_logits(trees: HistGradientBoostingClassifier, x: np.ndarray) -> Iterator[np.ndarray]:
    return (raw.ravel() for raw in trees.staged_decision_function(x))
