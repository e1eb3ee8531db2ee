"""The multi-class test: one network learns to tell K samples apart, the reference among them.

It compares generators with one another (CaloChallenge, arXiv:2410.21611, multi-class classifier; the idea of a multi-model
classifier is of arXiv:2211.11765). Its softmax estimates the posterior P(k | x) of every sample for equal priors. On
held-out showers of the reference,

- the mean log posterior <log P(k | x)> ranks the generators: the higher, the closer. When nothing can be told apart it is
  -log K for all; it depends on which other samples take part;
- the divergence <log P(reference | x) - log P(k | x)> estimates the Kullback-Leibler divergence of generator k from the
  reference in nats; 0 for a perfect one, and independent of the other samples as far as the network is optimal. A network
  that learned nothing gives 0 too: read it beside the confusion matrix.

Settings are those of the two-class test. The weights kept are those of the lowest validation cross entropy, because the
scores are log posteriors and the accuracy does not care how wrong a posterior is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import MetricUnavailable
from calopipe.metrics.classifier_networks import Grid
from calopipe.metrics.classifier_split import check_tables, one_split
from calopipe.metrics.classifier_training import Task, TrainingData, train_network
from calopipe.seeds import derive

log = logging.getLogger("calopipe")


@dataclass(frozen=True)
class MulticlassResult:
    """What R trainings say about T held-out showers of each of K samples; sample 0 is the reference.

    Attributes:
        names: of the samples, (K,).
        log_posterior: (R, K, K) mean over the held-out showers of sample i of the log posterior of sample j.
        confusion: (R, K, K) held-out showers of sample i that are most likely of sample j.
        log_posterior_error: (K,) statistical standard deviation of ``log_posterior[:, 0]`` from the size of the test part.
        divergence_error: (K,) the same of the divergence of sample j.
        best_epoch: (R,) epoch (from 1) whose weights were kept.
        n: showers of each sample that were used, over all parts.
        seed: seed of the trainings.
    """

    names: tuple[str, ...]
    log_posterior: np.ndarray
    confusion: np.ndarray
    log_posterior_error: np.ndarray
    divergence_error: np.ndarray
    best_epoch: np.ndarray
    n: int
    seed: int

    @property
    def divergence(self) -> np.ndarray:
        """(R, K) mean over the reference's showers of log P(reference | x) - log P(j | x)."""
        on_reference = self.log_posterior[:, 0]
        return on_reference[:, :1] - on_reference

    @property
    def ranking(self) -> list[str]:
        """Names of the generators, the highest mean log posterior first."""
        order = np.argsort(-self.log_posterior[:, 0, 1:].mean(axis=0), kind="stable")
        return [self.names[1 + k] for k in order]


def multiclass_test(
    tables: Mapping[str, np.ndarray],
    config: ClassifierConfig,
    seed: int,
    progress: Callable[[str], None] = log.info,
    grid: Grid | None = None,
) -> MulticlassResult:
    """Train ``config.repeats`` networks on K samples of equal size and judge held-out showers.

    Args:
        tables: name -> (N_k, D) features; the reference comes first. Larger samples are thinned at random.
        config: network, training and split.
        seed: seed of initialisation, batches and dropout; the split is seeded by ``config.split.seed``.
        progress: told one line per training.
        grid: bins of the voxels among the features, which ``network: cnn`` needs.

    Raises:
        MetricUnavailable: fewer than two samples, or samples that a classifier test cannot take.
        NumericsError: features are not finite, or a training diverged.
    """
    if len(tables) < 2:
        raise MetricUnavailable(f"a multi-class test needs the reference and a generator, found {len(tables)} samples")
    samples = list(tables.values())
    check_tables(samples)
    data = TrainingData(samples, one_split([len(t) for t in samples], config), config)
    task = Task(outputs=len(tables), loss=nn.functional.cross_entropy, goodness=_minus_cross_entropy)
    posteriors, epochs = [], []
    for repeat in range(config.repeats):
        outputs, epoch = train_network(data, task, config, derive(seed, "multiclass", repeat), grid)
        posteriors.append(log_softmax(outputs["test"], axis=1))
        epochs.append(epoch)
        progress(f"multi-class training {repeat + 1}/{config.repeats}: weights of epoch {epoch}")
    return _result(tuple(tables), np.stack(posteriors), epochs, data, seed)


def _minus_cross_entropy(logits: torch.Tensor, sample: torch.Tensor) -> float:
    return -nn.functional.cross_entropy(logits, sample).item()


def _result(
    names: tuple[str, ...], log_p: np.ndarray, epochs: list[int], data: TrainingData, seed: int
) -> MulticlassResult:
    """Means and counts of log posteriors (R, K T, K), whose showers come sample by sample."""
    k, size = len(names), len(data.rows["test"][0])
    by_sample = log_p.reshape(len(log_p), k, size, k)
    taken_for = by_sample.argmax(axis=3)
    confusion = np.stack([(taken_for == j).sum(axis=2) for j in range(k)], axis=2)
    on_reference = by_sample[:, 0].mean(axis=0)  # (T, K): trainings share the showers, so they are averaged first
    ratio = on_reference[:, :1] - on_reference
    error, ratio_error = (
        values.std(axis=0, ddof=1) / np.sqrt(size) if size > 1 else np.full(k, np.nan)
        for values in (on_reference, ratio)
    )
    return MulticlassResult(
        names,
        by_sample.mean(axis=2),
        confusion,
        error,
        ratio_error,
        np.asarray(epochs),
        sum(len(r[0]) for r in data.rows.values()),
        seed,
    )
