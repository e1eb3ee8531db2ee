"""Receiver operating characteristic of scores of two classes: curve, area, and the area's statistical error."""

from __future__ import annotations

import numpy as np


def area_under_roc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive scores higher than a negative, ties counted half (Mann-Whitney U / (n m)).

    Args:
        positive: (n,) scores of the class that should score high.
        negative: (m,) scores of the other class.
    """
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left").astype(np.float64)
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).mean() / (2 * negative.size))


def roc_on_grid(positive: np.ndarray, negative: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True-positive rate at the false-positive rates `grid`, by linear interpolation of the ROC curve: (G,)."""
    cuts = np.unique(np.concatenate([positive, negative]))[::-1]
    tpr = 1 - np.searchsorted(np.sort(positive), cuts, side="left") / positive.size
    fpr = 1 - np.searchsorted(np.sort(negative), cuts, side="left") / negative.size
    fpr, tpr = np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])
    last = np.append(np.diff(fpr) > 0, True)  # of a vertical rise keep the top
    curve = np.interp(grid, fpr[last], tpr[last])
    curve[np.asarray(grid) <= 0] = tpr[fpr <= 0].max()
    return curve


def area_error(area: float, n: int, m: int) -> float:
    """Standard deviation of an AUC of n positives and m negatives (Hanley and McNeil, Radiology 143, 29)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)) / (n * m)
    return float(np.sqrt(max(variance, 0.0)))
