"""Scores of trained classifiers and their errors.

Every score is a mean over showers of the reference and over showers of the generated sample, of contributions that each
shower makes: for the AUC the share of showers of the other sample on the right side of it (DeLong et al. 1988),
for the accuracy right or wrong, for the JSD its cross entropy. Repeats score the same
showers, so contributions are averaged over the repeats first: their variance between showers over the number of showers is
the statistical variance, which repeats do not reduce. The variance of the trainings over their number is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.isotonic import IsotonicRegression

from calopipe.metrics.classifier_split import Rows
from calopipe.metrics.roc import area_error, area_under_roc, placements, roc_on_grid

#: false-positive rates at which ROC curves are stored
ROC_GRID = np.linspace(0.0, 1.0, 201)
_CLIP = 1e-6
_KINDS = ("auc", "accuracy", "jsd", "jsd_uncalibrated", "auc_calibrated", "accuracy_calibrated")


@dataclass(frozen=True)
class ClassifierResult:
    """What R trainings (or cross-validations) say about the scored showers, T of the reference and U generated ones.

    Attributes:
        auc, accuracy, jsd: (R,) on showers that were not learned from; jsd after calibration, in units of log 2: it can be
            negative, clearly so on small samples, where an isotonic fit claims certainty that others do not confirm.
        jsd_uncalibrated: (R,) the same from the classifier's own cross entropy.
        auc_calibrated, accuracy_calibrated: (R,) after isotonic calibration, as in the challenge's table.
        statistical: score -> standard deviation of its mean over the repeats from the number of scored showers.
        errors: score -> whole error of its mean over the repeats: the statistical one and that of the trainings.
        best_epoch: (R,) epoch (from 1) whose weights were kept, or number of trees; the median of a cross-validation.
        fpr, tpr: (G,) grid and (R, G) ROC curves (generated taken for reference against reference recognised).
        rows_reference, rows_generated: (T,), (U,) rows of the input that were scored.
        weights_reference, weights_generated: (R, T), (R, U) w = p / (1 - p) of these rows, uncalibrated.
        n_reference, n_generated: showers of each sample that were used, over all parts.
        seed: seed of the trainings.
    """

    auc: np.ndarray
    accuracy: np.ndarray
    jsd: np.ndarray
    jsd_uncalibrated: np.ndarray
    auc_calibrated: np.ndarray
    accuracy_calibrated: np.ndarray
    statistical: dict[str, float]
    errors: dict[str, float]
    best_epoch: np.ndarray
    fpr: np.ndarray
    tpr: np.ndarray
    rows_reference: np.ndarray
    rows_generated: np.ndarray
    weights_reference: np.ndarray
    weights_generated: np.ndarray
    n_reference: int
    n_generated: int
    seed: int

    @property
    def n(self) -> int:
        """Showers of the smaller sample."""
        return min(self.n_reference, self.n_generated)

    @property
    def null_error(self) -> float:
        """Standard deviation of the AUC of two equal samples of the scored sizes."""
        return area_error(0.5, len(self.rows_reference), len(self.rows_generated))

    @property
    def auc_error(self) -> float:
        """Whole error of the mean AUC."""
        return self.errors["auc"]


@dataclass(frozen=True)
class Scored:
    """Logits of one trained classifier: of the parts ``val`` and ``test`` of `rows`, the reference's showers first."""

    rows: Rows
    val: np.ndarray
    test: np.ndarray
    epoch: int

    def of(self, sample: int) -> np.ndarray:
        """Logits of the scored showers of the reference (0) or the generated sample (1)."""
        n = len(self.rows["test"][0])
        return self.test[n:] if sample else self.test[:n]

    @cached_property
    def auc(self) -> float:
        """AUC of the test part."""
        return area_under_roc(self.of(0), self.of(1))

    def contributions(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Score -> what each scored shower of the reference and of the generated sample adds to it."""
        n, raw = len(self.rows["test"][0]), _sigmoid(self.test)
        calibrated = self._calibrated(raw)
        found = {"auc": placements(self.of(0), self.of(1))}
        found["auc_calibrated"] = placements(calibrated[:n], calibrated[n:])
        for name, p in (("accuracy", raw), ("accuracy_calibrated", calibrated)):
            found[name] = ((p[:n] > 0.5).astype(float), (p[n:] <= 0.5).astype(float))
        for name, p in (("jsd", calibrated), ("jsd_uncalibrated", np.clip(raw, _CLIP, 1 - _CLIP))):
            found[name] = (1 + np.log(p[:n]) / np.log(2), 1 + np.log1p(-p[n:]) / np.log(2))
        return found

    def _calibrated(self, p: np.ndarray) -> np.ndarray:
        """Isotonic calibration fitted on the validation part, interpolated to `p`, clipped to [1e-6, 1 - 1e-6]."""
        sizes = [len(r) for r in self.rows["val"]]
        weights = np.repeat([max(sizes) / n for n in sizes], sizes)
        isotonic = IsotonicRegression(y_min=_CLIP, y_max=1 - _CLIP, out_of_bounds="clip")
        return isotonic.fit(_sigmoid(self.val), np.repeat([1.0, 0.0], sizes), weights).predict(p)


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logit))


def summarise(repeats: Sequence[Sequence[Scored]], seed: int) -> ClassifierResult:
    """Scores and errors of R repeats, each of one classifier, or of several that score different showers."""
    rows = [np.unique(np.concatenate([s.rows["test"][k] for s in repeats[0]])) for k in (0, 1)]
    tables = [_gathered(scored, rows) for scored in repeats]
    values: dict[str, np.ndarray] = {}
    statistical, errors = {}, {}
    for kind in _KINDS:
        each = [np.stack([t[kind][k] for t in tables]) for k in (0, 1)]  # (R, T), (R, U)
        values[kind] = 0.5 * (each[0].mean(axis=1) + each[1].mean(axis=1))
        share = 1.0 if kind.startswith("auc") else 0.5  # both means of placements are the AUC, the others add up
        variance = sum(_variance_of_mean(share * e.mean(axis=0)) for e in each)
        trainings = np.var(values[kind], ddof=1) / len(repeats) if len(repeats) > 1 else 0.0
        statistical[kind], errors[kind] = float(np.sqrt(variance)), float(np.sqrt(variance + trainings))
    curves = [np.mean([roc_on_grid(s.of(0), s.of(1), ROC_GRID) for s in scored], axis=0) for scored in repeats]
    used = [np.unique(np.concatenate([part[k] for part in repeats[0][0].rows.values()])).size for k in (0, 1)]
    weights = [np.stack([t["weights"][k] for t in tables]) for k in (0, 1)]
    return ClassifierResult(
        **values, statistical=statistical, errors=errors, fpr=ROC_GRID, tpr=np.asarray(curves),
        best_epoch=np.array([int(np.median([s.epoch for s in scored])) for scored in repeats]),
        rows_reference=rows[0], rows_generated=rows[1], weights_reference=weights[0], weights_generated=weights[1],
        n_reference=used[0], n_generated=used[1], seed=seed,
    )  # fmt: skip


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else float("nan")


def _gathered(scored: Sequence[Scored], rows: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Score -> contributions of all scored showers of either sample, in the order of `rows`; and their ``weights``."""
    found = {kind: [np.full(len(r), np.nan) for r in rows] for kind in (*_KINDS, "weights")}
    for classifier in scored:
        parts = classifier.contributions()
        parts["weights"] = tuple(np.exp(np.clip(classifier.of(k), -80, 80)) for k in (0, 1))
        for k in (0, 1):
            at = np.searchsorted(rows[k], classifier.rows["test"][k])
            for kind, values in parts.items():
                found[kind][k][at] = values[k]
    return found
