"""The classifier test: a classifier is trained to tell generated from reference showers; AUC 0.5 is the floor.

Definition (CaloChallenge, arXiv:2410.21611 section 4.2; Ernst 2023, sections 3.3.4, 3.4.2): one of the networks of
:mod:`calopipe.metrics.classifier_networks`, binary cross entropy, Adam, or trees (:mod:`calopipe.metrics.classifier_trees`);
the weights that do best on the validation part are kept; scores are taken on the test part, which nothing was chosen on.
The label of the reference is 1, so the output p(x) estimates p_ref / (p_ref + p_gen) and w = p / (1 - p) the likelihood
ratio p_ref / p_gen that reweights generated showers.

Probabilities are calibrated by isotonic regression on the validation part, and the Jensen-Shannon divergence of the two
samples follows from the cross entropy of the calibrated output, JSD = (log 2 - BCE) / log 2. AUC and accuracy are those
of the uncalibrated output (calibration only merges ranks); the calibrated ones, which the challenge's table quotes, are
kept beside them.

One split is shared by all repeats, as published. With ``folds`` each repeat is a cross-validation with a split of its own,
in which every shower is scored once, by a classifier that did not learn from it; AUCs are taken within the parts.

Errors (:mod:`calopipe.metrics.classifier_scores`) are those of the mean over the repeats, and whole: spread of the trainings
and number of scored showers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from calopipe.config.evaluation import ClassifierConfig
from calopipe.metrics.classifier_networks import Grid
from calopipe.metrics.classifier_scores import ROC_GRID, ClassifierResult, Scored, summarise
from calopipe.metrics.classifier_split import Rows, check_tables, one_split, turns
from calopipe.metrics.classifier_training import Task, TrainingData, train_network
from calopipe.metrics.classifier_trees import train_trees
from calopipe.metrics.roc import area_under_roc
from calopipe.seeds import derive

log = logging.getLogger("calopipe")

__all__ = ["ROC_GRID", "ClassifierResult", "classifier_test"]


def classifier_test(
    reference_features: np.ndarray,
    generated_features: np.ndarray,
    config: ClassifierConfig,
    seed: int,
    *,
    progress: Callable[[str], None] = log.info,
    grid: Grid | None = None,
    partners: np.ndarray | None = None,
) -> ClassifierResult:
    """Train ``config.repeats`` classifiers (or, with ``config.folds``, sets of them) and score showers they have not seen.

    Args:
        reference_features, generated_features: (N, D) and (M, D), e.g. from :mod:`calopipe.metrics.features`; with one
            split the larger sample is thinned at random to the size of the smaller.
        config: network, training and split.
        seed: seed of initialisation, batches and dropout, and of cross-validation; one split is seeded by
            ``config.split.seed``.
        progress: told one line per repeat.
        grid: bins of the voxels among the features, which ``network: cnn`` needs.
        partners: (M,) row of the reference whose incident energy each generated shower has; None: none has.

    Raises:
        MetricUnavailable: fewer than 20 showers in a sample, an empty part, different numbers of features, or features
            that the network cannot take.
        NumericsError: features are not finite, or the training diverged.
    """
    tables = [reference_features, generated_features]
    check_tables(tables)
    sizes = [len(t) for t in tables]
    split = None if config.folds else one_split(sizes, config)
    repeats, data = [], None
    for repeat in range(config.repeats):
        training = derive(seed, "classifier", repeat)
        if split is None:
            parts = turns(sizes, config.folds or 0, derive(training, "folds"), partners)
            scored = [_train(tables, rows, None, config, derive(training, k), grid) for k, rows in enumerate(parts)]
        else:
            if data is None and config.network != "trees":
                data = TrainingData(tables, split, config)
            scored = [_train(tables, split, data, config, training, grid)]
        repeats.append(scored)
        auc, kept = np.mean([s.auc for s in scored]), [s.epoch for s in scored]
        progress(f"classifier training {repeat + 1}/{config.repeats}: AUC {auc:.4f} (weights of epoch {_range(kept)})")
    return summarise(repeats, seed)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _train(
    tables: Sequence[np.ndarray],
    rows: Rows,
    data: TrainingData | None,
    config: ClassifierConfig,
    seed: int,
    grid: Grid | None,
) -> Scored:
    """One training; `data` holds what `rows` says where it is at hand."""
    if config.network == "trees":
        outputs, epoch = train_trees(tables, rows, config, seed)
    else:
        data = data or TrainingData(tables, rows, config)
        logits, epoch = train_network(data, _task(rows, config), config, seed, grid)
        outputs = {part: values[:, 0] for part, values in logits.items()}
    return Scored(rows, outputs["val"], outputs["test"], epoch)


def _task(rows: Rows, config: ClassifierConfig) -> Task:
    """Sample 0, the reference, has label 1; classes of different size are weighted to equal ones."""
    sizes = [len(r) for r in rows["train"]]
    weights = None if sizes[0] == sizes[1] else torch.tensor([sum(sizes) / (2 * n) for n in sizes])

    def loss(logits: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        weight = None if weights is None else weights.to(logits)[sample]
        return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], (sample == 0).float(), weight)

    def minus_loss(logits: torch.Tensor, sample: torch.Tensor) -> float:
        return -loss(logits, sample).item()

    if config.choose == "loss":
        return Task(outputs=1, loss=loss, goodness=minus_loss)
    if config.choose == "auc":
        return Task(outputs=1, loss=loss, goodness=_auc, perfect=1.0)
    return Task(outputs=1, loss=loss, goodness=_accuracy, perfect=1.0)


def _auc(logits: torch.Tensor, sample: torch.Tensor) -> float:
    output = logits[:, 0].double().cpu().numpy()
    reference = (sample == 0).cpu().numpy()
    return area_under_roc(output[reference], output[~reference]) if np.isfinite(output).all() else float("nan")


def _accuracy(logits: torch.Tensor, sample: torch.Tensor) -> float:
    return ((logits[:, 0] > 0) == (sample == 0)).double().mean().item()
