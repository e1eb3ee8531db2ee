"""What the two-class and the multi-class test share: the data without copies, one training of a network.

Feature tables can be large (set 3 of the CaloChallenge: 160 kB a shower), so they are used where they lie: parts of a
split are row numbers, and only batches are gathered and standardised. On a GPU the tables move there when they take less
than half of its free memory, else batches do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from calopipe.config.evaluation import ClassifierConfig
from calopipe.convolutions import check_gradients
from calopipe.devices import pick_device
from calopipe.errors import NumericsError
from calopipe.metrics.classifier_networks import Grid, build_network
from calopipe.metrics.classifier_split import Rows

_BLOCK = 1000


@dataclass(frozen=True)
class Task:
    """What a network learns.

    Attributes:
        outputs: logits per shower.
        loss: (logits (n, outputs), number of each shower's sample (n,)) -> scalar.
        goodness: same arguments -> figure of the validation part whose largest value chooses the weights.
        perfect: `goodness` that nothing can exceed: training ends there.
    """

    outputs: int
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    goodness: Callable[[torch.Tensor, torch.Tensor], float]
    perfect: float = float("inf")


class TrainingData:
    """The parts of K samples; each part holds its showers sample by sample, in the order of `tables`.

    Args:
        tables: (N_k, D) features of each sample; float32 tables are not copied.
        rows: part -> row numbers of each sample, see :mod:`calopipe.metrics.classifier_split`.
        config: device, and whether features are standardised (by the moments of the training part).

    Attributes:
        rows: as given.
        labels: part -> number of each shower's sample.

    Raises:
        NumericsError: a feature is not finite.
    """

    def __init__(self, tables: Sequence[np.ndarray], rows: Rows, config: ClassifierConfig) -> None:
        self.rows = rows
        for table in tables:
            if not (np.isfinite(table.min()) and np.isfinite(table.max())):
                raise NumericsError("features of the classifier test are not finite")
        self.device = pick_device(config.device)
        self._tables = _placed([torch.from_numpy(np.asarray(t, dtype=np.float32)) for t in tables], self.device)
        home = self._tables[0].device
        self._rows = {part: torch.from_numpy(np.concatenate(chosen)).to(home) for part, chosen in rows.items()}
        self.labels = {
            part: torch.arange(len(tables)).repeat_interleave(torch.tensor([len(r) for r in chosen])).to(self.device)
            for part, chosen in rows.items()
        }
        self._mean = self._scale = None
        if config.standardise:
            self._mean, self._scale = self._moments()

    @property
    def n_features(self) -> int:
        """D."""
        return self._tables[0].shape[1]

    def batch(self, part: str, positions: torch.Tensor) -> torch.Tensor:
        """(b, D) features of the showers at these positions (b,) of a part, on the device that computes."""
        home = self._tables[0].device
        positions = positions.to(home)
        rows, sample = self._rows[part][positions], self.labels[part].to(home)[positions]
        x = torch.empty(len(rows), self.n_features, device=home)
        for k, table in enumerate(self._tables):
            mine = torch.nonzero(sample == k)[:, 0]
            x[mine] = table[rows[mine]]
        x = x.to(self.device)
        return x if self._mean is None or self._scale is None else (x - self._mean) / self._scale

    def blocks(self, part: str, size: int) -> list[torch.Tensor]:
        """Consecutive positions of a whole part, at most `size` at once."""
        return list(torch.arange(len(self.labels[part])).split(size))

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each feature of the training part; 1 where it does not vary."""
        total = torch.zeros(2, self.n_features, dtype=torch.float64, device=self.device)
        blocks = self.blocks("train", _BLOCK)
        origin = self.batch("train", blocks[0][:1]).double()  # about a shower, not about 0, where squares would cancel
        for block in blocks:
            x = self.batch("train", block).double() - origin
            total += torch.stack([x.sum(dim=0), (x**2).sum(dim=0)])
        shift, square = total / len(self.labels["train"])
        mean, deviation = origin[0] + shift, (square - shift**2).clamp(min=0).sqrt()
        varies = deviation > 1e-7 * mean.abs()
        return mean.float(), torch.where(varies, deviation, 1.0).float()


def _placed(tables: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    if device.type == "cuda" and sum(t.nbytes for t in tables) < 0.5 * torch.cuda.mem_get_info(device)[0]:
        return [t.to(device) for t in tables]
    return tables


def train_network(
    data: TrainingData, task: Task, config: ClassifierConfig, seed: int, grid: Grid | None = None
) -> tuple[dict[str, np.ndarray], int]:
    """Train one network; the weights that do best on the validation part are kept.

    Returns:
        The logits of the parts ``val`` and ``test``, float64 (n, outputs), and the epoch (from 1) of the weights.

    Raises:
        MetricUnavailable: the network does not fit the features.
        NumericsError: the training diverged, or this machine computes gradients of convolutions wrongly.
    """
    with torch.random.fork_rng(devices=[data.device] if data.device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = build_network(data.n_features, config, task.outputs, grid).to(data.device)
        check_gradients(network, lambda: network(data.batch("train", torch.arange(2))))
        optimizer = _optimizer(network, config)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=10)
        best, best_epoch, kept = -float("inf"), 0, {}
        for epoch in range(1, config.epochs + 1):
            _train_epoch(network, optimizer, data, task, config.batch_size)
            logits = _predict(network, data, "val", config.batch_size)
            goodness = task.goodness(logits, data.labels["val"])
            if goodness > best:
                best, best_epoch = goodness, epoch
                kept = {k: v.detach().clone() for k, v in network.state_dict().items()}
            if goodness >= task.perfect or (config.patience and epoch - best_epoch >= config.patience):
                break
            if config.plateau:
                plateau.step(task.loss(logits, data.labels["val"]))
        if not kept:
            raise NumericsError("the classifier's training diverged: its loss is not finite")
        network.load_state_dict(kept)
        outputs = {p: _predict(network, data, p, config.batch_size).double().cpu().numpy() for p in ("val", "test")}
    if not all(np.isfinite(o).all() for o in outputs.values()):
        raise NumericsError("the classifier's training diverged: its output is not finite")
    return outputs, best_epoch


def _optimizer(network: nn.Module, config: ClassifierConfig) -> torch.optim.Optimizer:
    """Adam; with weight decay AdamW (Loshchilov and Hutter, arXiv:1711.05101)."""
    if config.weight_decay > 0:
        return torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay, fused=True)
    return torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)


def _train_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, data: TrainingData, task: Task, batch_size: int
) -> None:
    network.train()
    labels = data.labels["train"]
    for positions in torch.randperm(len(labels)).split(batch_size):
        if len(positions) == 1:  # a last batch of one shower has no variance to normalise by
            continue
        loss = task.loss(network(data.batch("train", positions)), labels[positions.to(labels.device)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _predict(network: nn.Module, data: TrainingData, part: str, batch_size: int) -> torch.Tensor:
    network.eval()
    return torch.cat([network(data.batch(part, block)) for block in data.blocks(part, max(batch_size, _BLOCK))])
