"""Settings of the terms that losses of autoencoders are put together of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from calopipe.config.base import Section
from calopipe.config.bounds import Epochs, Fraction, LogVariances, PositiveEnergy, Scale, Tiny
from calopipe.errors import repeated


class Term(Section):
    """Base of the settings of terms."""

    weight: Scale = Field(1.0, description="factor; the sum of all terms is halved, like the KL term")


class Smearing(Section):
    """Every voxel takes in its neighbours in the layer, in showers and reconstructions, before they are compared."""

    own: Fraction = Field(0.6, description="factor on the voxel")
    neighbours: Fraction = Field(
        0.05,
        description="factor on each of its up to 8 neighbours; angles are periodic, the innermost ring is joined to its opposite cells",
    )


class SmearedTerm(Term):
    """A term that can be of smeared showers."""

    smearing: Smearing | None = Field(
        None, description="compare smeared showers ({}: with its defaults); null: as they are"
    )


class DataMSE(SmearedTerm):
    """Mean squared error of the voxels."""

    term: Literal["data_mse"] = "data_mse"
    by: Literal["layers", "voxel_means", "shower_mean"] = Field(
        "layers",
        description="what voxels are divided by: the energy of their layer; their mean over the training showers; or the square root "
        "of the mean voxel of the shower (both in MeV)",
    )
    floor: Tiny = Field(1e-4, description="voxel_means: smallest mean, of the largest one")
    balance_after: Epochs | None = Field(
        None,
        description="after so many epochs, multiply the weight by (sum of the weighted logit terms) / (sum of this weighted term) of "
        "these epochs; null: never",
    )


class RegularisedTerm(SmearedTerm):
    """A term of a function of voxels that has no value at 0 or 1: of alpha_0 + x (1 - alpha_0 - alpha_1), x a fraction."""

    alpha_0: Annotated[Tiny, Field(lt=0.5)] = Field(1e-6, description="regularisation at 0")
    alpha_1: Annotated[Tiny, Field(lt=0.5)] = Field(0.1, description="regularisation at 1")


class LogitTerm(RegularisedTerm):
    """A term of logits of voxels."""


class LogitMAE(LogitTerm):
    """Mean absolute error of the logits."""

    term: Literal["logit_mae"] = "logit_mae"


class LogitMSE(LogitTerm):
    """Mean squared error of the logits."""

    term: Literal["logit_mse"] = "logit_mse"


class PoleMSE(RegularisedTerm):
    """Mean squared error of k - 1 / k - 10 log(1 - k), k the regularised fraction (Ernst 2023, section 4.4.1)."""

    term: Literal["pole_mse"] = "pole_mse"
    alpha_0: Annotated[Tiny, Field(lt=0.5)] = Field(
        1e-3,
        description="regularisation at 0: an empty voxel is at -1 / alpha_0, so it weighs voxels against each other and has to be tuned "
        "with the weight for each incident energy",
    )


class Activity(Term):
    """Squared error of the shower's activity, the fraction of voxels above a threshold, softened by a sigmoid."""

    term: Literal["activity"] = "activity"
    threshold_MeV: PositiveEnergy = Field(0.1, description="the threshold t in MeV")
    softness: Scale = Field(0.2, description="s of 1 / (1 + exp(-(v - t) / (s t)))")


class Centroid(Term):
    """Squared error of the layers' centroids along eta and phi, in mm^2."""

    term: Literal["centroid"] = "centroid"


class DecoderWidth(Term):
    """Squared error over a variance that the decoder says for every voxel, plus its logarithm."""

    term: Literal["decoder_width"] = "decoder_width"
    log_var_range: LogVariances = Field((-10.0, 10.0), description="clip of log s^2")


class BCE(Term):
    """Binary cross entropy of the voxels."""

    term: Literal["bce"] = "bce"


class ContinuousBCE(Term):
    """-log of the continuous Bernoulli density of the voxels, of which reconstructions are the mean."""

    term: Literal["continuous_bce"] = "continuous_bce"
    start: Annotated[int, Field(ge=0, le=10**6)] = Field(
        50, description="epochs without the normaliser log C: plain BCE"
    )
    rise: Epochs = Field(
        50,
        description="epochs after these in which its weight rises from 0 to 1; losses of these epochs are not alike: take weights: last",
    )


TERMS = (DataMSE, LogitMAE, LogitMSE, PoleMSE, Activity, Centroid, DecoderWidth, BCE, ContinuousBCE)
NAMES = [str(cls.model_fields["term"].default) for cls in TERMS]


def _name(value: Any) -> str | None:
    """The tag of a term; its brackets keep it out of the keys that messages name."""
    name = value.get("term") if isinstance(value, Mapping) else getattr(value, "term", None)
    return f"[{name}]" if name in NAMES else None


def _each_once(terms: list[AnyTerm]) -> list[AnyTerm]:
    names = [term.term for term in terms]
    again = repeated(names)
    if again is not None:
        raise ValueError(f"expected each term once, found '{again}' twice")
    both = {"continuous_bce"} < set(names) and next((name for name in ("bce", "decoder_width") if name in names), None)
    if both:
        raise ValueError(f"expected continuous_bce without another distribution of the voxels, found {both} beside it")
    balanced = any(isinstance(term, DataMSE) and term.balance_after is not None for term in terms)
    if balanced and not any(isinstance(term, LogitTerm) for term in terms):
        raise ValueError("expected logit_mae or logit_mse beside a data_mse with balance_after, found none")
    return terms


AnyTerm = Annotated[
    Annotated[DataMSE, Tag("[data_mse]")]
    | Annotated[LogitMAE, Tag("[logit_mae]")]
    | Annotated[LogitMSE, Tag("[logit_mse]")]
    | Annotated[PoleMSE, Tag("[pole_mse]")]
    | Annotated[Activity, Tag("[activity]")]
    | Annotated[Centroid, Tag("[centroid]")]
    | Annotated[DecoderWidth, Tag("[decoder_width]")]
    | Annotated[BCE, Tag("[bce]")]
    | Annotated[ContinuousBCE, Tag("[continuous_bce]")],
    Discriminator(
        _name,
        custom_error_type="term",
        custom_error_message=f"expected a term of the loss, {{term: {', '.join(NAMES)}}}",
    ),
]
#: terms of a loss, each once
Losses = Annotated[list[AnyTerm], Field(min_length=1, max_length=len(TERMS)), AfterValidator(_each_once)]
