"""Settings of data that the workflow makes itself: toy distributions, and a detector's smearing of electrons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from calopipe.config.base import Section
from calopipe.config.bounds import DISTINCT, PositiveEnergy, Scale, Seed, increasing

Number = Annotated[float, Field(ge=-1e6, le=1e6)]
AbsoluteEta = Annotated[
    tuple[Annotated[float, Field(ge=0, le=2.5)], Annotated[float, Field(ge=0, le=2.5)]],
    Field(strict=False),
    AfterValidator(increasing),
]
Rows = Annotated[int, Field(ge=10, le=10**8)]


class _Recipe(Section):
    #: names of the columns it makes, and of the conditions
    makes: ClassVar[tuple[str, ...]] = ("x",)
    given: ClassVar[tuple[str, ...]] = ()

    rows: Rows = Field(
        10_000, description="rows that are made (detector_smearing: electrons that are shot, some outside of it)"
    )
    seed: Seed = Field(0, description="seed of the random numbers")


class GaussianRecipe(_Recipe):
    """x of a normal distribution."""

    recipe: Literal["gaussian"] = Field(description="x of a normal distribution")
    mean: Number = Field(0.0, description="its mean")
    sigma: Scale = Field(1.0, description="its standard deviation")


class BetaRecipe(_Recipe):
    """x of a Beta distribution."""

    recipe: Literal["beta"] = Field(description="x of a Beta distribution")
    a: Scale = Field(2.0, description="its first exponent plus 1")
    b: Scale = Field(5.0, description="its second exponent plus 1")


class ConditionalGaussianRecipe(_Recipe):
    """x of normal distributions around the condition mu, which takes a few values equally often."""

    given: ClassVar[tuple[str, ...]] = ("mu",)

    recipe: Literal["conditional_gaussian"] = Field(description="x of normal distributions around the condition mu")
    means: Annotated[list[Number], Field(min_length=1, max_length=1000), DISTINCT] = Field(
        default_factory=lambda: [0.0, 5.0, 10.0], description="values of mu, equally often"
    )
    sigma: Scale = Field(1.0, description="standard deviation")


class DetectorSmearingRecipe(_Recipe):
    """True minus measured transverse momentum of electrons in a parametrised detector, in MeV, given eta, phi and the true one."""

    makes: ClassVar[tuple[str, ...]] = ("pt_residual",)
    given: ClassVar[tuple[str, ...]] = ("eta", "phi", "pt")

    recipe: Literal["detector_smearing"] = Field(
        description="true minus measured transverse momentum (pt_residual, MeV) given eta, phi and the true one (pt, MeV)"
    )
    terms: Literal["both", "track", "ecal"] = Field(
        "both",
        description="resolution of the track, of the calorimeter, or of their mean weighted with inverse variances",
    )
    max_energy: PositiveEnergy = Field(
        50_000.0, gt=10, description="highest energy in MeV; log10 E is uniform from 10 MeV on"
    )
    energies: Annotated[list[PositiveEnergy], Field(min_length=1, max_length=1000), DISTINCT] | None = Field(
        None, description="these energies in MeV, equally often, instead"
    )
    eta: Annotated[list[AbsoluteEta], Field(min_length=1, max_length=100), DISTINCT] | None = Field(
        None,
        description="keep only electrons with |eta| in one of these ranges; null: below 2.5, all that the card knows",
    )


def _name(value: Any) -> str | None:
    name = value.get("recipe") if isinstance(value, Mapping) else getattr(value, "recipe", None)
    return f"[{name}]" if name in NAMES else None


NAMES = ("gaussian", "beta", "conditional_gaussian", "detector_smearing")

#: how data are made
Recipe = Annotated[
    Annotated[GaussianRecipe, Tag("[gaussian]")]
    | Annotated[BetaRecipe, Tag("[beta]")]
    | Annotated[ConditionalGaussianRecipe, Tag("[conditional_gaussian]")]
    | Annotated[DetectorSmearingRecipe, Tag("[detector_smearing]")],
    Discriminator(
        _name,
        custom_error_type="recipe",
        custom_error_message=f"expected how data are made, {{recipe: {', '.join(NAMES)}}}",
    ),
]
