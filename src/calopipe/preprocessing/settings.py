"""Settings of the preprocessing steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from calopipe.config.bounds import DISTINCT, Energy, EnergyRange, PositiveEnergy, RatioRange, Scale, Share, Tiny
from calopipe.config.chains import Columns, StepSettings


class LayerNormaliseConfig(StepSettings):
    """Settings of ``layer_normalise``."""

    extras: Literal["data", "condition", "given", "energies"] = Field(
        "data",
        description="append u to x (INN), or to the condition (VAE); given: the network is given the layer energies, and its "
        "condition holds u in their place; energies: it is given them, and they stay as they are (for log_layer_energies)",
    )
    scale: Share = Field(1.0, description="sum of a layer's fractions (0.9 in the published VAE)")
    ratio_scale: Share = Field(
        1.0,
        description="factor on u_1 = E_tot / E_inc: below 1 where showers exceed E_inc, because a logit behind it ends at 1 "
        "(0.9 in most presets; Ernst 2023 has none for CaloGAN, and halves all energies for CaloChallenge 1: 0.45)",
    )
    extras_scale: Share = Field(1.0, description="factor on the other u (0.9 in the published VAE)")
    fill_layers: bool = Field(
        False,
        description="give empty layers a random energy, in u only: below the threshold or, with hits, which tell them apart, like "
        "that of layers with few hits",
    )
    hits: bool = Field(
        False,
        description="append the number of hits of each layer too; x are then shares of what a layer's hits have above the "
        "threshold, and the inverse keeps just so many voxels, the largest ones",
    )
    voxels: Literal["fractions", "energies"] = Field(
        "fractions",
        description="fractions of the layer's energy; or energies as they are, whose hits the inverse scales to the layer's "
        "energy: the threshold, and edges of the spectrum, are then at one place for all showers (the step censored needs that); "
        "with hits the numbers are told, and nothing makes voxels meet them",
    )

    def widths(self, dim: int, cond_dim: int, n_layers: int) -> tuple[int, int]:
        """Columns of x and of the condition that leave the step."""
        n = self.n_extras(n_layers)
        if self.extras == "data":
            return dim + n, cond_dim
        return dim, cond_dim + (n if self.extras == "condition" else 0)

    @property
    def given(self) -> bool:
        """Whether the network is given the layer energies."""
        return self.extras in ("given", "energies")

    def n_extras(self, n_layers: int) -> int:
        """Columns that the step appends."""
        return (2 if self.hits else 1) * n_layers

    def after(self, given: Columns) -> Columns:
        if not given.energies or given.dim != given.n_voxels:
            raise ValueError("needs voxel energies in MeV, found columns that other steps made of them, or latents")
        if not given.raw_energy:
            raise ValueError("needs the incident energy in MeV, found its logarithm; expected log_condition after it")
        dim, cond_dim = self.widths(given.dim, given.cond_dim, given.n_layers)
        if (self.hits or self.voxels == "energies") and given.threshold_MeV <= 0:
            raise ValueError("needs a readout threshold above 0, found 0")
        if self.hits and self.given:
            raise ValueError(f"needs hits: false beside extras: {self.extras}, found both")
        if self.given and not given.given_energies:
            raise ValueError(
                f"needs layer energies among what the network is given (extras: {self.extras}), found none"
            )
        if not self.given and given.given_energies:
            raise ValueError(f"needs extras: given in a network that is given the layer energies, found {self.extras}")
        data, energies = self.extras == "data", self.voxels == "energies"
        return replace(
            given, dim=dim, cond_dim=cond_dim, energies=energies, fractions=not energies, extras=data, unit_extras=data,
            hits=self.hits and data, given_energies=self.extras == "energies",
        )  # fmt: skip


class EnergyRatiosConfig(StepSettings):
    """Settings of ``energy_ratios``."""

    of: Literal["data", "condition"] = Field("data", description="layer energies that are learned, or that are given")
    ratio_scale: Share = Field(1.0, description="factor on u_1 = E_tot / E_inc: below 1 where showers exceed E_inc")
    fill_layers: bool = Field(False, description="give empty layers a random energy below the threshold")

    def after(self, given: Columns) -> Columns:
        if not given.raw_energy:
            raise ValueError("needs the incident energy in MeV, found its logarithm; expected log_condition after it")
        if self.of == "data" and not given.layer_energies:
            raise ValueError("needs layer energies in MeV (a network that learns layer_energies), found other columns")
        if self.of == "condition" and not given.given_energies:
            raise ValueError("needs layer energies among what the network is given, found none")
        if self.of == "data":
            return replace(given, layer_energies=False, fractions=True)
        return replace(given, given_energies=False)


class LogitConfig(StepSettings):
    """Settings of ``logit``."""

    alpha: Annotated[Tiny, Field(lt=0.5)] = Field(
        1e-6, description="regularisation at 0 (and at 1 unless alpha_1 is given)"
    )
    alpha_1: Tiny | None = Field(None, description="regularisation at 1; the split form alpha + x (1 - alpha_1)")
    columns: Literal["all", "extras", "extras_and_hits"] = Field(
        "all",
        description="all columns; or only the energy ratios u at their end; or u and the numbers of hits after them",
    )

    @model_validator(mode="after")
    def _leaves_room(self) -> LogitConfig:
        if self.alpha_1 is not None and self.alpha + self.alpha_1 > 0.9:
            raise ValueError(f"expected alpha + alpha_1 of at most 0.9, found {self.alpha + self.alpha_1:g}")
        return self

    def after(self, given: Columns) -> Columns:
        if self.columns != "all" and (self.columns == "extras_and_hits") != given.hits and given.extras:
            raise ValueError(f"needs columns: {'extras_and_hits' if given.hits else 'extras'}, found {self.columns}")
        if self.columns != "all" and not given.unit_extras:
            what = "none" if not given.extras else "some that another step has mapped already"
            raise ValueError(f"needs energy ratios u in its last columns (layer_normalise makes them), found {what}")
        if self.columns == "all" and not (given.fractions and (given.unit_extras or not given.extras)):
            what = "energies in MeV" if given.energies else "values below 0 and above 1"
            raise ValueError(f"needs fractions in [0, 1] (after layer_normalise), found {what}")
        return given.mapped("all" if self.columns == "all" else "extras")


class VoxelMapConfig(StepSettings):
    """Settings of a map of what is not negative: of all columns, or of the voxels alone."""

    columns: Literal["all", "voxels"] = Field("all", description="all columns, or the voxels alone")

    def after(self, given: Columns) -> Columns:
        if self.columns == "voxels" and not (given.energies or given.fractions):
            raise ValueError("needs voxels as energies or fractions, found what other steps made of them, or latents")
        if self.columns == "all" and given.negative:
            raise ValueError("needs values that are not negative, found columns that may be")
        return replace(given.mapped(), power=self.power if given.energies else None)

    @property
    def power(self) -> float:
        """What energies are taken to; 0: logarithms."""
        raise NotImplementedError


class LogConfig(VoxelMapConfig):
    """Settings of ``log``."""

    alpha: Annotated[float, Field(gt=0, le=1e3)] = Field(
        1e-6, description="added before the logarithm, in the unit of x"
    )

    @property
    def power(self) -> float:
        return 0.0


class PowerConfig(VoxelMapConfig):
    """Settings of ``power``."""

    exponent: Annotated[float, Field(ge=0.05, le=1)] = Field(0.5, description="power; 0.5: the square root")
    alpha: Annotated[float, Field(gt=0, le=1e3)] = Field(
        1e-6, description="added before the power, in the unit of x; its power is subtracted again"
    )

    def after(self, given: Columns) -> Columns:
        return replace(super().after(given), positive=self.columns == "all")

    @property
    def power(self) -> float:
        return self.exponent


class StandardiseConfig(StepSettings):
    """Settings of ``standardise``."""

    clip: Scale | None = Field(None, description="inverse: clip to this many standard deviations first")
    floor: Scale = Field(1e-6, description="smallest standard deviation divided by")

    def after(self, given: Columns) -> Columns:
        return given.mapped()


class LearnableAffineConfig(StepSettings):
    """No settings."""

    def after(self, given: Columns) -> Columns:
        return given.mapped()


class StandardiseConditionConfig(StepSettings):
    """No settings."""


class LogConditionConfig(StepSettings):
    """Settings of ``log_condition``."""

    reference: PositiveEnergy | None = Field(
        None,
        description="log10 of the incident energy over this, in MeV (33.3 GeV in CaloFlow); null: its logarithm standardised",
    )

    def after(self, given: Columns) -> Columns:
        if not given.raw_energy:
            raise ValueError("needs the incident energy in MeV, found its logarithm; expected it once")
        return replace(given, raw_energy=False)


class IncidentFractionsConfig(StepSettings):
    """Settings of ``incident_fractions``."""

    factor: Scale = Field(
        1.0,
        description="f of E / (f E_inc), so large that no voxel exceeds 1: 3.1 for photons and 7 for pions of CaloChallenge 1, 2 for "
        "electrons (CaloMan)",
    )
    above_threshold: bool = Field(
        False,
        description="fractions of the energy that hits have above the readout threshold, which the inverse adds: no hit that a network "
        "draws is lost to the threshold",
    )

    def after(self, given: Columns) -> Columns:
        if not given.energies or given.dim != given.n_voxels:
            raise ValueError("needs voxel energies in MeV, found columns that other steps made of them, or latents")
        if self.above_threshold and given.threshold_MeV <= 0:
            raise ValueError("with above_threshold needs a readout threshold above 0, found 0")
        if not given.raw_energy:
            raise ValueError(
                "needs the incident energy in MeV, found another scale; expected its own step after this one"
            )
        return replace(given, energies=False, fractions=True)


class MinMaxConditionConfig(StepSettings):
    """Settings of ``min_max_condition``."""

    ends: EnergyRange | None = Field(
        (256.0, 4_194_304.0),
        description="incident energies in MeV that become the ends of `to` (default: CaloChallenge 1); null: the extremes of the "
        "training split, of every condition",
    )
    to: RatioRange = Field((0.0, 1.0), description="what the ends become")

    def after(self, given: Columns) -> Columns:
        if self.ends is None:
            return given
        if not given.raw_energy:
            raise ValueError("needs the incident energy in MeV, found another scale; expected one step for it")
        return replace(given, raw_energy=False)


class MinMaxConfig(StepSettings):
    """Settings of ``min_max``."""

    ends: RatioRange | None = Field(
        None, description="values that become the ends of `to`; null: the extremes of the training split"
    )
    to: RatioRange = Field((0.0, 1.0), description="what the ends become")
    of: Literal["column", "all"] = Field(
        "column", description="extremes of each column, or of all: pixels of an image keep their proportions"
    )

    def after(self, given: Columns) -> Columns:
        return given.mapped()


ConditionNumber = Annotated[int, Field(ge=0, le=10_000)]


class DivideByConditionConfig(StepSettings):
    """Settings of ``divide_by_condition``."""

    condition: ConditionNumber = Field(0, description="number of the condition, from 0; it must be above 0 in the data")
    power: float = Field(
        1.0, ge=-4, le=4, description="power of the condition: 0.5 for residuals that grow with its square root"
    )
    eta: ConditionNumber | None = Field(
        None,
        description="number of a condition that is a pseudorapidity, where the condition is a transverse momentum: the unit is the power of the energy "
        "pt cosh(eta), over cosh(eta), which is what a resolution of energies that grows with that power makes of transverse momenta",
    )

    def after(self, given: Columns) -> Columns:
        _there(self.condition, given)
        if self.eta is not None:
            _there(self.eta, given)
        return given.mapped()


class LogConditionsConfig(StepSettings):
    """Settings of ``log_conditions``."""

    conditions: Annotated[list[ConditionNumber], Field(min_length=1, max_length=10_000), DISTINCT] = Field(
        default_factory=lambda: [0], description="numbers of the conditions, from 0; they must be above 0 in the data"
    )

    def after(self, given: Columns) -> Columns:
        for number in self.conditions:
            _there(number, given)
        return replace(given, raw_energy=given.raw_energy and 0 not in self.conditions)


def _there(number: int, given: Columns) -> None:
    if number >= given.cond_dim:
        raise ValueError(f"needs a condition no. {number} (from 0), found {given.cond_dim} of them")


class LogLayerEnergiesConfig(StepSettings):
    """Settings of ``log_layer_energies``."""

    offset: PositiveEnergy = Field(1e-3, description="added to each layer energy, in MeV (1 keV in CaloFlow)")
    reference: PositiveEnergy = Field(1e5, description="what the sum is divided by, in MeV (100 GeV in CaloFlow)")

    def after(self, given: Columns) -> Columns:
        if not given.given_energies:
            raise ValueError("needs layer energies among what the network is given, found none")
        return replace(given, given_energies=False)


class NoiseConfig(StepSettings):
    """Settings of ``noise``."""

    width: PositiveEnergy = Field(
        description="upper end of the uniform noise, in the units of x at this place of the chain"
    )
    removal: Literal["threshold", "subtract_mean", "none"] = Field(
        "threshold", description="inverse: zero below the threshold; also subtract width / 2 from the rest; or nothing"
    )
    threshold: Energy | None = Field(None, description="values below become 0 in the inverse; null: the noise width")
    redraw: bool = Field(
        True, description="draw new noise for every batch; false: one draw per shower, the same whenever it is seen"
    )
    restore_total: bool = Field(
        False,
        description="inverse: at last multiply each shower so that it has the total that it had before the removal, less the mean "
        "of the noise (Ernst 2023, section 4.3.2)",
    )

    @model_validator(mode="after")
    def _removes(self) -> NoiseConfig:
        if self.restore_total and self.removal == "none":
            raise ValueError("restore_total: expected false where nothing is removed (removal: none), found true")
        return self

    def after(self, given: Columns) -> Columns:
        if self.restore_total and not given.energies:
            raise ValueError("needs restore_total: false where columns are not voxel energies in MeV, found true")
        if given.negative and self.removal != "none":
            found = f"removal '{self.removal}', which sets what is below the threshold to 0"
            raise ValueError(f"needs removal 'none' where values may be negative, found {found}")
        return replace(given, drawn=(*given.drawn, "noise"))


class FillEmptyConfig(StepSettings):
    """Settings of ``fill_empty``."""

    gap: float = Field(
        0.0, ge=0, le=30, description="decades between the threshold and the centre of the filled energies"
    )
    decades: float = Field(1.0, ge=1e-3, le=10, description="standard deviation of the filled energies, in decades")
    threshold: PositiveEnergy | None = Field(None, description="in MeV; null: the dataset's readout threshold")

    def after(self, given: Columns) -> Columns:
        if not given.energies:
            raise ValueError("needs voxel energies in MeV, found columns that other steps made of them, or latents")
        if self.threshold is None and given.threshold_MeV <= 0:
            raise ValueError(
                "needs a readout threshold above 0, found none in the dataset and no 'threshold' of its own"
            )
        return replace(given, drawn=(*given.drawn, "fill_empty"))


class CensoredConfig(StepSettings):
    """Settings of ``censored``."""

    prior: float = Field(
        10.0, gt=0, le=1e6, description="showers and hits of the layer's average cell that are added to each cell's own"
    )
    edge: Annotated[Tiny, Field(lt=0.5)] = Field(1e-4, description="smallest probability of a hit, and of none")

    def after(self, given: Columns) -> Columns:
        if not given.energies:
            raise ValueError(
                "needs voxel energies in MeV (layer_normalise: voxels: energies), found what other steps made"
            )
        if not given.raw_energy:
            raise ValueError("needs the incident energy in MeV, found its logarithm; expected log_condition after it")
        if given.threshold_MeV <= 0:
            raise ValueError("needs a readout threshold above 0, found 0")
        return replace(given, energies=False)
