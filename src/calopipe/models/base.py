"""The contract of networks, said once: what they are built from, and what the training loop and sampling ask of them.

A network is built as ``cls(config, inputs)`` and sees tensors only. What a base class marks MUST has to be defined by its
subclasses; what it marks CAN has a default that fits most networks: one optimiser that minimises one loss. Preprocessing is
no part of a network: x (N, dim) and cond (N, cond_dim) are what its chain of steps makes of data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from calopipe.geometry.layer import regular_grid


@dataclass(frozen=True)
class Inputs:
    """What a network may know of its data when it is built.

    Attributes:
        dim: columns of x.
        conditions: names of the columns of cond. The first is ``incident_energy``; ``u_<layer>`` are ratios of layer energies,
            ``hits_<layer>`` numbers of hits h = (n + r) / (V_l + 1), r in [0, 1), of layers with V_l voxels. Layers count from 0.
        layer_shapes: cells of each layer along its first and second index; the columns of x are the layers one after another,
            the second index running fastest. Further columns may follow the voxels. Empty where columns are no voxels.
        centres: (V, 3) float32: of each voxel, the position along the beam in mm (the number of the layer where a geometry
            does not know its depth) and the two transverse coordinates eta and phi in mm; None where columns are no voxels.
        periodic: of each layer, whether its first index is an angle, whose ends are neighbours.
        threshold_MeV: readout threshold of the showers.
        n_train: rows of the training split.
        seed: of whatever is drawn when the network is built (weights are drawn from torch's global generator).
    """

    dim: int
    conditions: tuple[str, ...] = ("incident_energy",)
    layer_shapes: tuple[tuple[int, int], ...] = ()
    centres: Tensor | None = field(default=None, compare=False, repr=False)
    periodic: tuple[bool, ...] = ()
    threshold_MeV: float = 0.0
    n_train: int = 0
    seed: int = 0

    @property
    def cond_dim(self) -> int:
        """Columns of cond."""
        return len(self.conditions)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Voxels of each layer."""
        return tuple(a * b for a, b in self.layer_shapes)

    @property
    def n_voxels(self) -> int:
        """Voxels of a shower; 0 where columns are no voxels."""
        return sum(self.layer_sizes)

    @property
    def hits_given(self) -> bool:
        """Whether the last columns of cond are the numbers of hits of the layers."""
        hits = tuple(f"hits_{i}" for i in range(len(self.layer_shapes)))
        return bool(hits) and self.conditions[-len(hits) :] == hits

    @property
    def grid(self) -> tuple[int, int, int]:
        """Layers, and cells along the first and second index. Raises GeometryError where the layers are not alike."""
        return regular_grid(self.layer_shapes, "the detector")


@dataclass(frozen=True)
class Now:
    """Where a training stands when a step is made; everything counts from 0.

    Attributes:
        epoch, epochs: the epoch, of so many.
        step, steps: the batch since the training began, of so many. The steps of all objectives on one batch have the same.
        n_train: rows that are learned in an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    n_train: int


@dataclass(frozen=True)
class Objective:
    """What one optimiser moves.

    Attributes:
        parameters: each parameter of the network belongs to one objective at most; those of none stay as they were drawn.
        every: the optimiser moves with every so many batches: with those whose :attr:`Now.step` it divides.
    """

    parameters: Sequence[nn.Parameter]
    every: int = 1


class Learner(nn.Module):
    """What the training loop asks of every network.

    Args:
        config: the network's settings.
        inputs: what it may know of its data.

    Attributes:
        dim, cond_dim: columns of x and of cond, those of `inputs`.
        likelihood: the loss is the mean of -log p(x | cond) in nats, so that the log-det of a learnable preprocessing step
            belongs into it. A mark: to be said in the class body of each network that has one.
    """

    likelihood: ClassVar[bool] = False

    def __init__(self, config: Any, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.dim, self.cond_dim = inputs.dim, inputs.cond_dim

    def fit_input(self, x: Tensor, cond: Tensor) -> None:
        """CAN set buffers from training data (scales, standardisation). Called once before training, without gradients."""

    def objectives(self) -> dict[str, Objective]:
        """CAN name several optimisers; they are moved in this order on every batch. The names are those that the settings
        class lists, so that each can have its own learning rate.
        """
        return {"loss": Objective(list(self.parameters()))}

    def step(self, objective: str, x: Tensor, cond: Tensor, now: Now) -> dict[str, Tensor]:
        """CAN say what an objective minimises: named scalars of one batch, of which ``loss`` is minimised and all are logged.

        Only gradients of the objective's own parameters are used; those of others may be computed and are thrown away.
        Batches are drawn anew in each epoch and have a fixed number of rows. Random numbers come from torch's global generator.
        """
        return self.loss(x, cond)

    def validate(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """CAN give other named scalars for a batch of the validation split. They are averaged over rows.

        Called in evaluation mode, without gradients (what needs them enables them for itself), with the same random numbers
        after every epoch. Without ``loss`` among them no epoch is the best one, and training ends with its last weights.
        """
        return self.loss(x, cond)

    def loss(self, x: Tensor, cond: Tensor) -> dict[str, Tensor]:
        """MUST be given unless ``step`` and ``validate`` are: named scalars, of which ``loss`` is minimised.

        x (N, dim), cond (N, cond_dim).
        """
        raise NotImplementedError


class GenerativeModel(Learner):
    """A conditional density that can be sampled.

    Attributes:
        noise_dim: columns of the noise that samples are made of; `dim` unless a subclass sets another.
        weight_draws: its weights are distributions: evaluation uses one draw of them, which :meth:`use_weights` chooses. A mark:
            to be said in the class body of each network that has them.
        maps_noise: samples are what :meth:`draw` makes of noise. A network that draws step by step says False, and MUST give
            :meth:`sample` instead.
        rows_at_once: rows that :meth:`sample` should be asked for at once on a CPU; None: what fits its cache. A mark, for networks of
            many small steps.
    """

    weight_draws: ClassVar[bool] = False
    maps_noise: ClassVar[bool] = True
    rows_at_once: ClassVar[int | None] = None

    def __init__(self, config: Any, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.noise_dim = inputs.dim

    def log_prob(self, x: Tensor, cond: Tensor) -> Tensor:
        """MUST be given where :attr:`likelihood` is marked: log p(x | cond) per row (N,), in nats."""
        raise NotImplementedError

    def to_noise(self, x: Tensor, cond: Tensor) -> Tensor | None:
        """CAN give the noise (N, noise_dim) that ``draw`` maps to x, where the network can be inverted; None: it cannot."""
        return None

    def draw(self, noise: Tensor, cond: Tensor) -> Tensor:
        """MUST, unless :attr:`maps_noise` is False, map standard normal noise (N, noise_dim) to x (N, dim), row by row in order and free
        of randomness.
        """
        raise NotImplementedError

    def use_weights(self, number: int | None) -> None:
        """MUST be given where :attr:`weight_draws` is marked: let evaluation use draw `number` of the weights, from 0 on and
        the same one for the same number, or their means (None).
        """

    @property
    def prior_log_variance(self) -> float:
        """MUST be given where :attr:`weight_draws` is marked: ln of the variance of the weights' prior."""
        raise NotImplementedError

    def log_variances(self) -> Tensor:
        """MUST be given where :attr:`weight_draws` is marked: ln of the variances of all weights that are distributions (N,)."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(self, cond: Tensor) -> Tensor:
        """x (N, dim) drawn for cond (N, cond_dim), row by row in order."""
        return self.draw(torch.randn(len(cond), self.noise_dim, device=cond.device, dtype=cond.dtype), cond)


class Autoencoder(Learner):
    """An encoder to a Gaussian latent distribution and a decoder back, both conditioned.

    Attributes:
        latent_dim: columns of the latent space, as the settings say.
        as_shower: maps reconstructions (N, dim), given cond, to what they are once they have become showers: preprocessing
            undone, the readout threshold applied, preprocessed again. For losses that compare showers; the identity until
            the network is put together with its preprocessing.
        layer_energies: maps cond to the energies of the layers (N, L) in MeV, where it holds them; for losses of energies. 1 in
            every layer until then.
    """

    def __init__(self, config: Any, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.latent_dim: int = config.latent_dim
        self.as_shower: Callable[[Tensor, Tensor], Tensor] = _unchanged
        self.layer_energies: Callable[[Tensor], Tensor] = _ones

    def encode(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """MUST give mean and log variance of the latent distribution, (N, latent_dim) each."""
        raise NotImplementedError

    def decode(self, z: Tensor, cond: Tensor) -> Tensor:
        """MUST give x (N, dim) of latents z (N, latent_dim); draws from the decoder's distribution where there is one."""
        raise NotImplementedError

    def prior(self, cond: Tensor) -> Tensor:
        """CAN draw z (N, latent_dim) of another prior than the standard normal, for showers that nothing else gives latents."""
        return torch.randn(len(cond), self.latent_dim, device=cond.device, dtype=cond.dtype)


class Refiner(Learner):
    """Maps showers that another network made, preprocessed by the refiner's own chain, to better ones.

    In training (``loss``, ``step``, ``validate``, ``fit_input``) x are the true showers, and cond holds behind the conditions
    the `dim` columns of the showers to be refined: :meth:`apart` takes it apart. `cond_dim` counts the conditions alone.
    """

    def refine(self, x: Tensor, cond: Tensor) -> Tensor:
        """MUST map showers (N, dim), given cond (N, cond_dim), to showers (N, dim), row by row in order."""
        raise NotImplementedError

    def apart(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """The conditions (N, cond_dim), and the showers to be refined (N, dim), of what training gives as cond."""
        return cond[:, : self.cond_dim], cond[:, self.cond_dim :]


class EnergyRegressor(Learner):
    """A network that reads the incident energy off a shower. Its features are the last layer before the energy.

    x are voxel energies (N, dim) in MeV, without preprocessing: steps that use the incident energy would give it away. cond
    are incident energies (N, 1) in MeV, what is to be learned.
    """

    def features(self, x: Tensor) -> Tensor:
        """MUST give the activations (N, F) of the last hidden layer."""
        raise NotImplementedError

    def energy(self, features: Tensor) -> Tensor:
        """MUST give incident energies (N,) in MeV of features (N, F)."""
        raise NotImplementedError


def _unchanged(x: Tensor, cond: Tensor) -> Tensor:
    return x


def _ones(cond: Tensor) -> Tensor:
    return cond.new_ones(len(cond), 1)
