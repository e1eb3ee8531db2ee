"""What flows through a chain of preprocessing steps, told by the settings alone.

Each step's settings say what the step needs of its input and what it makes of it (:meth:`StepSettings.after`), each model's
what it can take (:meth:`ModelSettings.takes`). So a chain that cannot work is an error before anything runs, and before
torch is imported. Steps and models whose settings derive from :class:`~calopipe.config.base.Section` alone promise to take
anything and to change nothing that is described here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from calopipe.config.base import Section
from calopipe.errors import GeometryError
from calopipe.geometry.layer import regular_grid


@dataclass(frozen=True)
class Columns:
    """The columns of x and of the condition at one place of a chain.

    Attributes:
        layer_shapes: cells of the detector's layers along their first and second index.
        threshold_MeV: the readout threshold.
        dim: columns of x; None: not known (a latent space).
        cond_dim: columns of the condition; the first belongs to the incident energy.
        energies: x are voxel energies in MeV.
        fractions: x are fractions, in [0, 1].
        extras: the last `n_layers` columns of x are the ratios u of layer energies, which are apart from what is before.
        unit_extras: these are still in [0, 1].
        hits: the ratios u are followed by as many columns of numbers of hits (part of the extras).
        raw_energy: the incident energy is in MeV.
        layer_energies: x are layer energies in MeV, one column per layer.
        given_energies: the condition ends with the layer energies in MeV.
        positive: x are other numbers that are not below 0.
        power: x, but for the extras, are voxel energies to this power, or their logarithms (0); None: other columns.
        drawn: names of the steps that have added random numbers to x, in order.
    """

    layer_shapes: tuple[tuple[int, int], ...]
    threshold_MeV: float
    dim: int | None
    cond_dim: int = 1
    energies: bool = False
    fractions: bool = False
    extras: bool = False
    unit_extras: bool = False
    hits: bool = False
    raw_energy: bool = True
    layer_energies: bool = False
    given_energies: bool = False
    positive: bool = False
    power: float | None = None
    drawn: tuple[str, ...] = ()

    @property
    def n_layers(self) -> int:
        """Layers of the detector."""
        return len(self.layer_shapes)

    @property
    def n_voxels(self) -> int:
        """Voxels of the detector."""
        return sum(a * b for a, b in self.layer_shapes)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Layers, and cells along the first and second index. Raises ValueError where the layers are not alike."""
        try:
            return regular_grid(self.layer_shapes, "the detector")
        except GeometryError as error:
            raise ValueError(str(error)) from None

    @property
    def negative(self) -> bool:
        """Whether x may be below 0."""
        known = self.energies or self.fractions or self.layer_energies or self.positive
        return not known or (self.extras and not self.unit_extras)

    def mapped(self, part: str = "all") -> Columns:
        """After a map to all real numbers, of all columns or of the extras."""
        if part != "all":
            return replace(self, unit_extras=False)
        return replace(
            self,
            unit_extras=False,
            energies=False,
            fractions=False,
            layer_energies=False,
            positive=False,
            power=None,
        )


def showers(
    layer_shapes: Sequence[tuple[int, int]], threshold_MeV: float, conditions: int = 1, given: bool = False
) -> Columns:
    """Voxel energies in MeV, and so many conditions; with the layer energies after them where they are `given`."""
    shapes = tuple(layer_shapes)
    found = Columns(
        shapes, threshold_MeV, sum(a * b for a, b in shapes), conditions, energies=True, given_energies=given
    )
    return replace(found, cond_dim=conditions + found.n_layers) if given else found


def shower_numbers(columns: Sequence[str], conditions: Sequence[str]) -> Columns:
    """Numbers of showers (:mod:`calopipe.io.shower_columns`), none of them negative; ratios u of energies alone are fractions."""
    ratios, first = all(name.startswith("u_") for name in columns), conditions[:1]
    return Columns(
        (), 0.0, len(columns), len(conditions), fractions=ratios, raw_energy=list(first) == ["E_inc"], positive=True
    )


def layer_energies(of: Columns) -> Columns:
    """The layer energies of showers."""
    return replace(of, dim=of.n_layers, energies=False, layer_energies=True)


def latents(of: Columns, extras: bool, hits: bool = False) -> Columns:
    """What an encoder of showers `of` makes of them: latents of any sign, and u (and hits) where its condition held them."""
    return replace(of, dim=None, energies=False, extras=extras, unit_extras=extras, hits=hits)


class StepSettings(Section):
    """Base of the settings of preprocessing steps."""

    def after(self, given: Columns) -> Columns:
        """What leaves the step. Raises ValueError, "needs ..., found ...", where the step cannot work on `given`."""
        return given


class ModelSettings(Section):
    """Base of the settings of networks.

    Attributes:
        objectives: names of the network's objectives (:meth:`calopipe.models.base.Learner.objectives`), each of which can have
            a learning rate of its own.
    """

    objectives: ClassVar[tuple[str, ...]] = ("loss",)

    def takes(self, given: Columns) -> None:
        """Raise ValueError, "needs ..., found ...", where the network cannot work on `given`."""


class AutoencoderSettings(ModelSettings):
    """Base of the settings of autoencoders."""

    @property
    def latent_dim(self) -> int:
        """Columns of the latent space."""
        raise NotImplementedError


class FractionsModel(ModelSettings):
    """Base of the settings of networks that learn layer fractions, given the layers' energies in the condition."""

    def takes(self, given: Columns) -> None:
        if not given.fractions or given.extras:
            found = "ratios u behind them (extras: data)" if given.fractions else "other values"
            raise ValueError(f"needs layer fractions alone (layer_normalise with extras: condition), found {found}")


class ImagesModel(ModelSettings):
    """Base of the settings of networks that learn showers as images of a regular grid, with entries of 0 or more."""

    def takes(self, given: Columns) -> None:
        if given.dim != given.n_voxels:
            raise ValueError(f"needs voxels alone, found {given.dim} columns of {given.n_voxels} voxels")
        if given.negative:
            raise ValueError("needs voxels that are not negative (energies, or fractions), found columns that may be")
        if given.grid == (1, 1, 1):
            raise ValueError("needs images of several cells, found one cell")


def walk(steps: list[tuple[str, Section | None]], given: Columns) -> Columns:
    """`given` after all steps, (name, settings) each. Raises ValueError naming the step (from 0) that cannot work."""
    for i, (name, settings) in enumerate(steps):
        if not isinstance(settings, StepSettings):
            continue
        try:
            given = settings.after(given)
        except ValueError as error:
            raise ValueError(f"preprocessing.{i}: step '{name}' {error}") from None
    return given
