"""The classifier test: a network is trained to tell generated from reference showers; AUC 0.5 is the floor.

Definition (CaloChallenge, arXiv:2410.21611 section 4.2; INN/VAE thesis sections 3.3.4, 3.4.2): one of the networks of
:mod:`calopipe.metrics.classifier_networks`, binary cross entropy, Adam; the weights with the best accuracy on the
validation part are kept; scores are taken on the test part, which nothing was chosen on. The label of the reference is
1, so the output p(x) estimates p_ref / (p_ref + p_gen) and w = p / (1 - p) the likelihood ratio p_ref / p_gen that
reweights generated showers.

Probabilities are calibrated by isotonic regression on the validation part, and the Jensen-Shannon divergence of the two
samples follows from the cross entropy of the calibrated output, JSD = (log 2 - BCE) / log 2. AUC and accuracy are those
of the uncalibrated output (calibration only merges ranks); the calibrated ones, which the challenge's table quotes, are
kept beside them. The repeats share the split, so that every test shower has one weight per training, and their spread
is that of the training alone; the statistical error of the AUC is reported separately.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from torch import nn

from calopipe.config.evaluation import ClassifierConfig
from calopipe.metrics.classifier_networks import Grid
from calopipe.metrics.classifier_training import Task, TrainingData, train_network
from calopipe.metrics.roc import area_error, area_under_roc, roc_on_grid
from calopipe.seeds import derive

log = logging.getLogger("calopipe")

#: false-positive rates at which ROC curves are stored
ROC_GRID = np.linspace(0.0, 1.0, 201)
_CLIP = 1e-6


@dataclass(frozen=True)
class ClassifierResult:
    """What R trainings say about T test showers of each sample.

    Attributes:
        auc, accuracy, jsd: (R,) on the test part; jsd after calibration, in units of log 2: it can be negative, clearly
            so on small samples, where an isotonic fit claims certainty that the test part does not confirm.
        jsd_uncalibrated: (R,) the same from the network's own cross entropy.
        auc_calibrated, accuracy_calibrated: (R,) after isotonic calibration, as in the challenge's table.
        auc_error: statistical standard deviation of one AUC from the size of the test part (Hanley and McNeil 1982).
        best_epoch: (R,) epoch (from 1) whose weights were kept.
        fpr, tpr: (G,) grid and (R, G) ROC curves (generated taken for reference against reference recognised).
        rows_reference, rows_generated: (T,) rows of the input that form the test part.
        weights_reference, weights_generated: (R, T) w = p / (1 - p) of these rows, uncalibrated.
        n: showers of each sample that were used, over all parts.
        seed: seed of the trainings.
    """

    auc: np.ndarray
    accuracy: np.ndarray
    jsd: np.ndarray
    jsd_uncalibrated: np.ndarray
    auc_calibrated: np.ndarray
    accuracy_calibrated: np.ndarray
    auc_error: float
    best_epoch: np.ndarray
    fpr: np.ndarray
    tpr: np.ndarray
    rows_reference: np.ndarray
    rows_generated: np.ndarray
    weights_reference: np.ndarray
    weights_generated: np.ndarray
    n: int
    seed: int


def classifier_test(
    reference_features: np.ndarray,
    generated_features: np.ndarray,
    config: ClassifierConfig,
    seed: int,
    progress: Callable[[str], None] = log.info,
    grid: Grid | None = None,
) -> ClassifierResult:
    """Train ``config.repeats`` classifiers and score them on held-out showers.

    Args:
        reference_features, generated_features: (N, D) and (M, D), e.g. from :mod:`calopipe.metrics.features`; the
            larger sample is thinned at random to the size of the smaller.
        config: network, training and split.
        seed: seed of initialisation, batches and dropout; the split is seeded by ``config.split.seed``.
        progress: told one line per training.
        grid: bins of the voxels among the features, which ``network: cnn`` needs.

    Raises:
        MetricUnavailable: fewer than 20 showers in a sample, an empty part, different numbers of features, or features
            that the network cannot take.
        NumericsError: features are not finite, or the training diverged.
    """
    data = TrainingData([reference_features, generated_features], config)
    n = data.parts["test"].size
    logits, epochs = [], []
    for repeat in range(config.repeats):
        outputs, epoch = train_network(data, _TASK, config, derive(seed, "classifier", repeat), grid)
        val_logits, test_logits = outputs["val"][:, 0], outputs["test"][:, 0]
        logits.append((val_logits, test_logits))
        epochs.append(epoch)
        auc = area_under_roc(test_logits[:n], test_logits[n:])
        progress(f"classifier training {repeat + 1}/{config.repeats}: AUC {auc:.4f} (weights of epoch {epoch})")
    return _score(logits, epochs, data, seed)


def _loss(logits: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], (sample == 0).float())


def _accuracy(logits: torch.Tensor, sample: torch.Tensor) -> float:
    return ((logits[:, 0] > 0) == (sample == 0)).double().mean().item()


#: sample 0, the reference, has label 1
_TASK = Task(outputs=1, loss=_loss, goodness=_accuracy, perfect=1.0)


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logit))


def _calibrated(val_p: np.ndarray, val_labels: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Isotonic calibration fitted on (val_p, val_labels), interpolated to `p`, clipped to [1e-6, 1 - 1e-6]."""
    isotonic = IsotonicRegression(y_min=_CLIP, y_max=1 - _CLIP, out_of_bounds="clip")
    return isotonic.fit(val_p, val_labels).predict(p)


def _divergence(p: np.ndarray, label: np.ndarray) -> float:
    """Jensen-Shannon divergence in units of log 2 that the cross entropy of `p` implies."""
    cross_entropy = -np.mean(label * np.log(p) + (1 - label) * np.log1p(-p))
    return float((np.log(2) - cross_entropy) / np.log(2))


def _score(
    logits: list[tuple[np.ndarray, np.ndarray]],
    epochs: list[int],
    data: TrainingData,
    seed: int,
) -> ClassifierResult:
    test = data.parts["test"]
    n, rows = test.size, data.rows
    val_labels = np.repeat([1.0, 0.0], data.parts["val"].size)
    label = np.repeat([1.0, 0.0], n)
    columns: dict[str, list[float]] = {k: [] for k in ("auc", "acc", "jsd", "jsd_raw", "auc_cal", "acc_cal")}
    tpr, weights = [], []
    for val_logits, test_logits in logits:
        raw = _sigmoid(test_logits)
        p = _calibrated(_sigmoid(val_logits), val_labels, raw)
        columns["auc"].append(area_under_roc(test_logits[:n], test_logits[n:]))
        columns["acc"].append(float(np.mean((test_logits > 0) == (label > 0.5))))
        columns["jsd"].append(_divergence(p, label))
        columns["jsd_raw"].append(_divergence(np.clip(raw, _CLIP, 1 - _CLIP), label))
        columns["auc_cal"].append(area_under_roc(p[:n], p[n:]))
        columns["acc_cal"].append(float(np.mean((p > 0.5) == (label > 0.5))))
        tpr.append(roc_on_grid(test_logits[:n], test_logits[n:], ROC_GRID))
        weights.append(np.exp(np.clip(test_logits, -80, 80)))
    scores = {k: np.asarray(v) for k, v in columns.items()}
    w = np.asarray(weights)
    return ClassifierResult(
        auc=scores["auc"], accuracy=scores["acc"], jsd=scores["jsd"], jsd_uncalibrated=scores["jsd_raw"],
        auc_calibrated=scores["auc_cal"], accuracy_calibrated=scores["acc_cal"],
        auc_error=area_error(float(scores["auc"].mean()), n, n), best_epoch=np.asarray(epochs),
        fpr=ROC_GRID, tpr=np.asarray(tpr), rows_reference=rows[0][test], rows_generated=rows[1][test],
        weights_reference=w[:, :n], weights_generated=w[:, n:], n=len(rows[0]), seed=seed,
    )  # fmt: skip
