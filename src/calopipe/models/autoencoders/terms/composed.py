"""The loss of an autoencoder as a weighted sum of named terms (Ernst 2023, sections 4.3 and 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calopipe.models.autoencoders.terms.settings import (
    AnyTerm,
    ContinuousBCE,
    DataMSE,
    LogitTerm,
    PoleMSE,
    SmearedTerm,
    Term,
)
from calopipe.models.base import Inputs
from calopipe.models.building import alpha_logit
from calopipe.models.losses import (
    activity_loss,
    bernoulli_loss,
    centroid_loss,
    decoder_width_loss,
    log_normaliser,
    mae,
    mse,
    pole_map,
    smeared,
)

_TINY = 1e-10


@dataclass(frozen=True)
class Compared:
    """Showers and reconstructions that the terms compare.

    Attributes:
        x, x_hat: fractions of the layers' energies (N, V).
        energies: gives the energies of the layers (N, L) in MeV.
        log_var: of the decoder (N, V), where it has one.
    """

    x: Tensor
    x_hat: Tensor
    energies: Callable[[], Tensor]
    log_var: Tensor | None = None


class ComposedLoss(nn.Module):
    """Half the weighted sum of terms, each of which is returned by its name.

    What the course of a training changes (the epoch that warm-ups look at, the balance of data and logit terms) is kept in
    buffers, so that it is part of every checkpoint: a training that goes on, and a validation, have it.
    """

    epoch: Tensor
    balance: Tensor
    sums: Tensor
    voxel_means: Tensor

    def __init__(self, terms: Sequence[AnyTerm], inputs: Inputs) -> None:
        super().__init__()
        self.terms: dict[str, Any] = {term.term: term for term in terms}
        self.inputs = inputs
        self.data = next((term for term in terms if isinstance(term, DataMSE)), None)
        for name, value in (("epoch", torch.zeros(())), ("balance", torch.ones(())), ("sums", torch.zeros(2))):
            self.register_buffer(name, value)
        if self.data is not None and self.data.by == "voxel_means":
            self.register_buffer("voxel_means", torch.ones(inputs.n_voxels))

    @property
    def learns_widths(self) -> bool:
        """Whether the decoder has to say log variances."""
        return "decoder_width" in self.terms

    def fit(self, x: Tensor, energies: Callable[[], Tensor]) -> None:
        """Take the mean of each voxel from training showers x (N, V), fractions of the layers' energies."""
        if self.data is not None and self.data.by == "voxel_means":
            means = self._in_MeV(x, energies()).double().mean(0)
            self.voxel_means.copy_(means.clamp(min=(self.data.floor * means.max()).clamp(min=_TINY)))

    def begin(self, epoch: int) -> None:
        """Tell the epoch of the step that follows, and balance the data term when it is time to."""
        self.epoch.fill_(epoch)
        after = None if self.data is None else self.data.balance_after
        if after is not None and epoch >= after and self.sums[0] > 0:
            self.balance.copy_(self.sums[1] / self.sums[0])

    def remember(self, losses: dict[str, Tensor]) -> None:
        """Add up the weighted data and logit terms of a step, until the data term is balanced."""
        after = None if self.data is None else self.data.balance_after
        if after is None or self.epoch >= after:
            return
        for name, term in self.terms.items():
            if isinstance(term, DataMSE | LogitTerm):
                self.sums[int(isinstance(term, LogitTerm))] += term.weight * losses[name].detach()

    def forward(self, compared: Compared) -> dict[str, Tensor]:
        """``loss``, and every term without its weight."""
        found = {name: getattr(self, f"_{name}")(term, compared) for name, term in self.terms.items()}
        factors = {name: term.weight for name, term in self.terms.items()}
        loss = compared.x.new_zeros(())
        for name, value in found.items():
            own = factors[name] * (self.balance if self.terms[name] is self.data else 1.0)
            loss = loss + 0.5 * own * value
        return {"loss": loss, **{name: value.detach() for name, value in found.items()}}

    def _in_MeV(self, x: Tensor, energies: Tensor) -> Tensor:
        sizes = self.inputs.layer_sizes
        energies = energies.expand(len(x), len(sizes))
        parts = zip(x.split(sizes, 1), energies.T, strict=True)
        return torch.cat([part * (e / part.sum(1).clamp(min=_TINY))[:, None] for part, e in parts], dim=1)

    def _both(self, compared: Compared) -> tuple[Tensor, Tensor]:
        energies = compared.energies()
        return self._in_MeV(compared.x, energies), self._in_MeV(compared.x_hat, energies)

    def _smeared(self, term: SmearedTerm, *showers: Tensor) -> tuple[Tensor, ...]:
        if term.smearing is None:
            return showers
        return tuple(smeared(x, self.inputs, term.smearing.own, term.smearing.neighbours) for x in showers)

    def _data_mse(self, term: DataMSE, compared: Compared) -> Tensor:
        x, x_hat = (compared.x, compared.x_hat) if term.by == "layers" else self._both(compared)
        if term.by == "voxel_means":
            x, x_hat = x / self.voxel_means, x_hat / self.voxel_means
        elif term.by == "shower_mean":
            norm = x.mean(1, keepdim=True).clamp(min=_TINY).sqrt()
            x, x_hat = x / norm, x_hat / norm
        return mse(*self._smeared(term, x, x_hat))

    def _logits(self, term: LogitTerm, compared: Compared) -> tuple[Tensor, ...]:
        logits = [alpha_logit(x, term.alpha_0, term.alpha_1) for x in (compared.x, compared.x_hat)]
        return self._smeared(term, *logits)

    def _logit_mae(self, term: LogitTerm, compared: Compared) -> Tensor:
        return mae(*self._logits(term, compared))

    def _logit_mse(self, term: LogitTerm, compared: Compared) -> Tensor:
        return mse(*self._logits(term, compared))

    def _pole_mse(self, term: PoleMSE, compared: Compared) -> Tensor:
        mapped = [pole_map(x, term.alpha_0, term.alpha_1) for x in (compared.x, compared.x_hat)]
        return mse(*self._smeared(term, *mapped))

    def _activity(self, term: Any, compared: Compared) -> Tensor:
        return activity_loss(*self._both(compared), term.threshold_MeV, term.softness)

    def _centroid(self, term: Term, compared: Compared) -> Tensor:
        return centroid_loss(compared.x, compared.x_hat, self.inputs)

    def _decoder_width(self, term: Term, compared: Compared) -> Tensor:
        assert compared.log_var is not None
        return decoder_width_loss(compared.x, compared.x_hat, compared.log_var)

    def _bce(self, term: Term, compared: Compared) -> Tensor:
        return bernoulli_loss(compared.x.clamp(0, 1), compared.x_hat)

    def _continuous_bce(self, term: ContinuousBCE, compared: Compared) -> Tensor:
        warm = ((self.epoch - term.start) / term.rise).clamp(0, 1)
        return self._bce(term, compared) - warm * log_normaliser(compared.x_hat).mean()
