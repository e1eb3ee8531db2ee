"""The contract of a preprocessing step, and the chain that applies steps in order.

A step maps ``(x, cond)`` to ``(x', cond', log|det dx'/dx|)`` and back. ``x`` is (N, D), ``cond`` is (N, C); at the
start
of a chain ``x`` holds voxel energies and ``cond`` the incident energy, both in MeV. Steps that draw random numbers
(noise, the filling of empty voxels) draw new ones at every call; their inverse removes what they added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from calopipe import hits
from calopipe.config.parts import STEPS
from calopipe.config.parts import steps as parse
from calopipe.errors import CheckpointError, ConfigError
from calopipe.geometry import Geometry


@dataclass(frozen=True)
class Layout:
    """What steps and networks may know of the detector.

    Attributes:
        layer_shapes: cells of each layer along its first and second index, (n_alpha, n_r) or (n_x, n_y).
        threshold_MeV: readout threshold.
        centres: (V, 3) float32: of each voxel, the middle of its layer along the beam in mm (the layer's index where the geometry
            does not know its depth), eta and phi in mm; None where they are not known.
        periodic: of each layer, whether its first index is an angle.
    """

    layer_shapes: tuple[tuple[int, int], ...]
    threshold_MeV: float
    centres: Tensor | None = field(default=None, compare=False, repr=False)
    periodic: tuple[bool, ...] = ()

    @classmethod
    def of(cls, geometry: Geometry, threshold_MeV: float) -> Layout:
        """The layout of a geometry."""
        along = np.arange(geometry.n_layers) if geometry.z is None else geometry.z
        columns = np.stack([along[geometry.layer_index], geometry.eta, geometry.phi], axis=1)
        periodic = (geometry.kind == "cylindrical",) * geometry.n_layers
        return cls(geometry.layer_shapes, threshold_MeV, torch.from_numpy(columns.astype(np.float32)), periodic)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Voxels per layer, in file order."""
        return tuple(a * b for a, b in self.layer_shapes)

    @property
    def n_voxels(self) -> int:
        """Number of voxels."""
        return sum(self.layer_sizes)

    def energies(self, showers: Tensor) -> Tensor:
        """Layer energies (N, L) of showers (N, V)."""
        return hits.sums(showers, self.layer_sizes)

    def cut(self, showers: Tensor) -> Tensor:
        """Showers (N, V) in MeV with the voxels below the readout threshold set to 0."""
        return torch.where(showers < self.threshold_MeV, torch.zeros_like(showers), showers)


class Step(nn.Module):
    """Base of all steps. Subclasses MUST define ``forward`` and ``inverse`` as exact inverses of each other (up to
    noise
    they add and remove), MUST NOT change the order or number of rows, and SHOULD set ``dim_out`` and ``cond_dim_out``.

    Args:
        config: the step's settings.
        layout: voxels per layer and threshold.
        dim, cond_dim: columns of x and cond on entry.

    Attributes:
        learnable: the step has parameters that are trained with the network behind it. Its log-det then enters the loss,
            so that network must have a likelihood (:attr:`calopipe.models.base.GenerativeModel.likelihood`).
        bijective: no two x (of all real numbers) are mapped to one, and the log-det is exact for each; a learnable step may
            have such steps behind it. Both are marks: repeat them in the class body where they are inherited.
    """

    learnable: ClassVar[bool] = False
    bijective: ClassVar[bool] = False

    def __init__(self, config: Any, layout: Layout, dim: int, cond_dim: int) -> None:
        super().__init__()
        self.config = config
        self.layout = layout
        self.dim, self.cond_dim = dim, cond_dim
        self.dim_out, self.cond_dim_out = dim, cond_dim

    def fit(self, x: Tensor, cond: Tensor) -> None:
        """Set buffers from the training split; called once, with the output of the steps before."""

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (x', cond', log-det (N,))."""
        raise NotImplementedError

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, cond) of the step's input."""
        raise NotImplementedError

    def volume_of(self, x: Tensor, cond: Tensor, after: Tensor, logdet: Tensor) -> Tensor:
        """CAN give log|det| (N,) of the map of data, and of what the step adds to them, where that is not what ``forward`` gives.

        x, cond: input of the step; after, logdet: what ``forward`` made of it. What is drawn to fill in for data counts with its
        density, log q subtracted: the mean of exp(log p) over draws is then the density of the data.

        Raises:
            DataError: the step has no such map.
        """
        return logdet

    def condition(self, cond: Tensor) -> Tensor:
        """The forward map of the condition alone, for sampling; only steps that need no x to make it support this."""
        return cond

    def conditions(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the columns of cond' for those of cond; a step that appends columns says what they are called."""
        return names


class Chain(nn.Module):
    """Steps in order. ``forward``, ``inverse`` and ``condition`` as in :class:`Step`.

    The steps compute in float64, whatever comes in, and results go out in the type that came in: layer energies hang on
    1 - u where u is within 1e-5 of 1, which float32 rounds. Next to any network the cost is not seen.

    Args:
        steps: the steps; the output widths of each are the input widths of the next.
    """

    def __init__(self, steps: Sequence[Step], dim: int, cond_dim: int) -> None:
        super().__init__()
        self.steps = cast("Sequence[Step]", nn.ModuleList(steps))
        self.dim, self.cond_dim = dim, cond_dim
        self.dim_out = steps[-1].dim_out if steps else dim
        self.cond_dim_out = steps[-1].cond_dim_out if steps else cond_dim

    @torch.no_grad()
    def fit(self, x: Tensor, cond: Tensor) -> None:
        """Fit every step on the training split (all of it, or a random part of it when it is large)."""
        if not self.steps:
            return
        x, cond = x.double(), cond.double()
        for step in self.steps:
            step.fit(x, cond)
            x, cond, _ = step(x, cond)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply all steps; the log-dets are summed."""
        if not self.steps:
            return x, cond, x.new_zeros(x.shape[0])
        kind = x.dtype
        x, cond = x.double(), cond.double()
        logdet = x.new_zeros(x.shape[0])
        for step in self.steps:
            x, cond, ld = step(x, cond)
            logdet = logdet + ld
        return x.to(kind), cond.to(kind), logdet.to(kind)

    def volume(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``forward``, in float64, with the log-det of the map of data (:meth:`Step.volume_of`)."""
        x, cond = x.double(), cond.double()
        total = x.new_zeros(x.shape[0])
        for step in self.steps:
            after, cond_after, logdet = step(x, cond)
            total = total + step.volume_of(x, cond, after, logdet)
            x, cond = after, cond_after
        return x, cond, total

    def inverse(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Undo all steps, last first."""
        kind = x.dtype
        x, cond = x.double(), cond.double()
        for step in reversed(self.steps):
            x, cond = step.inverse(x, cond)
        return x.to(kind), cond.to(kind)

    def condition(self, cond: Tensor) -> Tensor:
        """Map raw conditions (N, C) to the network's."""
        kind = cond.dtype
        cond = cond.double()
        for step in self.steps:
            cond = step.condition(cond)
        return cond.to(kind)

    def conditions(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the columns of the network's condition, for those of the raw one."""
        for step in self.steps:
            names = step.conditions(names)
        return names


def build_chain(settings: Sequence[Any], layout: Layout, dim: int, cond_dim: int) -> Chain:
    """Build the chain of a configuration's ``preprocessing`` list: parts, or what they are made of (``{step: name, ...}``).

    Raises:
        ConfigError: unknown steps or settings. CheckpointError: steps that do not fit the columns.
    """
    steps: list[Step] = []
    width, cond_width = dim, cond_dim
    try:
        found = parse(list(settings))
    except ValueError as error:
        raise ConfigError(f"preprocessing{error}") from None
    for item in found:
        step = STEPS.get(item.name)(item.settings, layout, width, cond_width)
        steps.append(step)
        width, cond_width = step.dim_out, step.cond_dim_out
    return Chain(steps, dim, cond_dim)


def require_at_least(step: str, found: int, voxels: int) -> None:
    """Raise CheckpointError when fewer than `voxels` columns reach a step that acts on all voxels."""
    if found < voxels:
        raise CheckpointError(f"preprocessing step {step}: expected at least {voxels} columns, found {found}")


def require_width(step: str, found: int, expected: int) -> None:
    """Raise CheckpointError when `found` columns reach a step that needs `expected`."""
    if found != expected:
        raise CheckpointError(f"preprocessing step {step}: expected {expected} columns, found {found}")
