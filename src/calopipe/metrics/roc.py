"""Receiver operating characteristic of scores of two classes: curve, area, and the area's statistical error."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score, roc_curve


def area_under_roc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores higher than a negative, ties counted half (scikit-learn's roc_auc_score).

    Args:
        positive: (n,) scores of the class that should score high.
        negative: (m,) scores of the other class.
    """
    return float(roc_auc_score(*_labelled(positive, negative)))


def roc_on_grid(positive: np.ndarray, negative: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True-positive rate at the false-positive rates `grid`, by linear interpolation of the ROC curve: (G,)."""
    fpr, tpr, _ = roc_curve(*_labelled(positive, negative), drop_intermediate=False)
    last = np.append(np.diff(fpr) > 0, True)  # of a vertical rise keep the top
    curve = np.interp(grid, fpr[last], tpr[last])
    curve[np.asarray(grid) <= 0] = tpr[fpr <= 0].max()
    return curve


def _labelled(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of both classes in one array each."""
    return np.concatenate([np.ones(positive.size), np.zeros(negative.size)]), np.concatenate([positive, negative])


def area_error(area: float, n: int, m: int) -> float:
    """Standard deviation of an AUC of n positives and m negatives (Hanley and McNeil 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)
    return float(np.sqrt(max(variance, 0.0)))


def placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each positive the fraction of negatives below it, of each negative that of positives above it; ties count half.

    The mean of either is the AUC, and var(first) / n + var(second) / m its variance (DeLong et al. 1988).

    Args:
        positive: (n,) scores of the class that should score high.
        negative: (m,) scores of the other class.
    """
    below = (rankdata(np.concatenate([positive, negative]))[: positive.size] - rankdata(positive)) / negative.size
    above = 1 - (rankdata(np.concatenate([positive, negative]))[positive.size :] - rankdata(negative)) / positive.size
    return below, above
