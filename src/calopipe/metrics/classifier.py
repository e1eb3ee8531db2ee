"""The classifier test: a network is trained to tell generated from reference showers; AUC 0.5 is the floor.

Definition (CaloChallenge, arXiv:2410.21611 section 4.2; INN/VAE thesis sections 3.3.4, 3.4.2): fully connected network
with LeakyReLU, binary cross entropy, Adam; the weights with the best accuracy on the validation part are kept; scores
are taken on the test part, which nothing was chosen on. The label of the reference is 1, so the output p(x) estimates
p_ref / (p_ref + p_gen) and w = p / (1 - p) the likelihood ratio p_ref / p_gen that reweights generated showers.

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

from calopipe.config.schema import ClassifierConfig
from calopipe.errors import MetricUnavailable, NumericsError
from calopipe.metrics.roc import area_error, area_under_roc, roc_on_grid
from calopipe.seeds import derive, generator

log = logging.getLogger("calopipe")

#: false-positive rates at which ROC curves are stored
ROC_GRID = np.linspace(0.0, 1.0, 201)
_CLIP = 1e-6
_MIN_PER_CLASS = 20


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
) -> ClassifierResult:
    """Train ``config.repeats`` classifiers and score them on held-out showers.

    Args:
        reference_features, generated_features: (N, D) and (M, D), e.g. from :mod:`calopipe.metrics.features`; the
            larger sample is thinned at random to the size of the smaller.
        config: network, training and split.
        seed: seed of initialisation, batches and dropout; the split is seeded by ``config.split.seed``.
        progress: told one line per training.

    Raises:
        MetricUnavailable: fewer than 20 showers in a sample, an empty part, or different numbers of features.
        NumericsError: features are not finite, or the training diverged.
    """
    device = torch.device(_device(config.device))
    rows, parts = _split(reference_features, generated_features, config)
    data = _tensors(reference_features, generated_features, rows, parts, config, device)
    test = parts["test"]
    logits, epochs = [], []
    for repeat in range(config.repeats):
        val_logits, test_logits, epoch = _train(data, config, derive(seed, "classifier", repeat))
        logits.append((val_logits, test_logits))
        epochs.append(epoch)
        auc = area_under_roc(test_logits[: test.size], test_logits[test.size :])
        progress(f"classifier training {repeat + 1}/{config.repeats}: AUC {auc:.4f} (weights of epoch {epoch})")
    return _score(logits, epochs, data["val"][1].cpu().numpy(), rows, test, seed)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _split(
    reference: np.ndarray, generated: np.ndarray, config: ClassifierConfig
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
    """Row permutations of both samples, equally long, and the positions in them of each part."""
    if reference.ndim != 2 or generated.ndim != 2 or reference.shape[1] != generated.shape[1]:
        raise MetricUnavailable(f"features {reference.shape} and {generated.shape} do not match")
    n = min(len(reference), len(generated), config.max_per_class or len(reference))
    if n < _MIN_PER_CLASS:
        raise MetricUnavailable(f"a classifier test needs {_MIN_PER_CLASS} showers of each sample, found {n}")
    rng = generator(config.split.seed, "classifier split")
    rows = rng.permutation(len(reference))[:n], rng.permutation(len(generated))[:n]
    first, second = int(n * config.split.train + 1e-9), int(n * (config.split.train + config.split.val) + 1e-9)
    parts = dict(zip(("train", "val", "test"), np.split(np.arange(n), [first, second]), strict=True))
    for name, part in parts.items():
        if part.size == 0:
            raise MetricUnavailable(f"the {name} part of the classifier's split is empty")
    return rows, parts


def _tensors(
    reference: np.ndarray,
    generated: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    parts: dict[str, np.ndarray],
    config: ClassifierConfig,
    device: torch.device,
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Part -> (features (2n, D), labels (2n,)), reference (label 1) first."""
    arrays = {}
    for name, part in parts.items():
        x = np.concatenate([reference[rows[0][part]], generated[rows[1][part]]]).astype(np.float32, copy=False)
        if not np.isfinite(x).all():
            raise NumericsError("features of the classifier test are not finite")
        arrays[name] = x
    if config.standardise:
        mean, deviation = arrays["train"].mean(axis=0), arrays["train"].std(axis=0)
        arrays = {name: (x - mean) / np.where(deviation > 0, deviation, 1) for name, x in arrays.items()}
    labels = {name: np.repeat(np.float32([1, 0]), part.size) for name, part in parts.items()}
    return {
        name: (torch.from_numpy(x).to(device), torch.from_numpy(labels[name]).to(device)) for name, x in arrays.items()
    }


def build_network(n_features: int, config: ClassifierConfig) -> nn.Sequential:
    """The classifier: (N, D) features -> (N, 1) logit of being a reference shower."""
    layers: list[nn.Module] = []
    width = n_features
    for hidden in config.hidden:
        layers += [nn.Linear(width, hidden), nn.LeakyReLU(config.negative_slope, inplace=True)]
        if config.dropout > 0:
            layers.append(nn.Dropout(config.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 1))


def _train(
    data: dict[str, tuple[torch.Tensor, torch.Tensor]], config: ClassifierConfig, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Train one network; return its logits on the validation and test parts and the epoch it was taken from."""
    x, y = data["train"]
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = build_network(x.shape[1], config).to(x.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=10)
        best, best_epoch, kept = -1.0, 0, {}
        for epoch in range(1, config.epochs + 1):
            _train_epoch(network, optimizer, x, y, config.batch_size)
            val_logits = _predict(network, data["val"][0])
            accuracy = ((val_logits > 0) == (data["val"][1] > 0.5)).double().mean().item()
            if accuracy > best:
                best, best_epoch = accuracy, epoch
                kept = {k: v.detach().clone() for k, v in network.state_dict().items()}
            if accuracy == 1.0:
                break
            if config.plateau:
                plateau.step(nn.functional.binary_cross_entropy_with_logits(val_logits, data["val"][1]))
        network.load_state_dict(kept)
        outputs = [_predict(network, data[part][0]).double().cpu().numpy() for part in ("val", "test")]
    if not all(np.isfinite(o).all() for o in outputs):
        raise NumericsError("the classifier's training diverged: its output is not finite")
    return outputs[0], outputs[1], best_epoch


def _train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, batch_size: int
) -> None:
    network.train()
    order = torch.randperm(len(x)).to(x.device)
    for batch in order.split(batch_size):
        loss = nn.functional.binary_cross_entropy_with_logits(network(x[batch]).squeeze(1), y[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _predict(network: nn.Module, x: torch.Tensor, rows: int = 10_000) -> torch.Tensor:
    network.eval()
    return torch.cat([network(part).squeeze(1) for part in x.split(rows)])


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
    val_labels: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    seed: int,
) -> ClassifierResult:
    n = test.size
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
