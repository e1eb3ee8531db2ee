"""Bounded numbers for settings. Every number of every settings class has both bounds (``tests/test_config_bounds.py``).

The upper bounds are far beyond use. They keep a slip of the keyboard from asking for terabytes, and a number from
overflowing the type that torch, numpy or HDF5 puts it into, hours after the study was started. Sections are strict: a
boolean is no integer, a text no number.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from calopipe.errors import repeated, shown

T = TypeVar("T")


def _distinct(value: list[T]) -> list[T]:
    again = repeated(tuple(item) if isinstance(item, list) else item for item in value)
    if again is not None:
        raise ValueError(f"expected each entry once, found {shown(again)} twice")
    return value


def increasing(value: tuple[float, float]) -> tuple[float, float]:
    """For pairs: a lower and a higher end."""
    if value[0] >= value[1]:
        raise ValueError(f"expected a lower and a higher end, found {list(value)}")
    return value


def _not_falling(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected a lower and a higher end, found {list(value)}")
    return value


def _network_fits(value: list[int]) -> list[int]:
    weights = sum(a * b for a, b in zip(value, value[1:], strict=False))
    if weights > MAX_WEIGHTS:
        raise ValueError(f"expected at most {MAX_WEIGHTS:.0e} weights between hidden layers, found {weights:.1e}")
    return value


#: weights of one network, at most: 4 GB in float32, and three times as much while Adam trains them
MAX_WEIGHTS = 10**9

#: for lists: no entry twice
DISTINCT = AfterValidator(_distinct)

# ---- integers -----------------------------------------------------------------------------------------------------
#: 63 bits: what numpy, torch and the integers of HDF5 hold
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Showers = Annotated[int, Field(ge=1, le=10**9)]
#: of a layer of a geometry, from 0
LayerNumber = Annotated[int, Field(ge=0, lt=10_000)]
Epochs = Annotated[int, Field(ge=1, le=10**6)]
BatchSize = Annotated[int, Field(ge=1, le=10**6)]
Width = Annotated[int, Field(ge=1, le=2**15)]
Widths = Annotated[list[Width], Field(max_length=32), AfterValidator(_network_fits)]
Bins = Annotated[int, Field(ge=2, le=10**4)]
Channels = Annotated[int, Field(ge=1, le=4096)]
#: repetitions of something: trainings, resamplings, random halves
Times = Annotated[int, Field(ge=1, le=10**4)]
Resamplings = Annotated[int, Field(ge=2, le=10**4)]
#: of voxels along an axis
Cells = Annotated[int, Field(ge=1, le=10**4)]
#: of showers that matter one by one, e.g. pictures
Few = Annotated[int, Field(ge=0, le=100)]

# ---- numbers ------------------------------------------------------------------------------------------------------
Fraction = Annotated[float, Field(ge=0, le=1)]
#: a fraction that numbers are multiplied by, and divided by again
Share = Annotated[float, Field(ge=1e-3, le=1)]
#: a fraction of what may not all be lost
Dropout = Annotated[float, Field(ge=0, le=0.99)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
#: factors on energies and losses; the bounds keep products of two of them within float32
Scale = Annotated[float, Field(ge=1e-6, le=1e6)]
#: of one term of a loss beside others; 0: without it
Weight = Annotated[float, Field(ge=0, le=1e6)]
#: added where a logarithm or a division would see 0
Tiny = Annotated[float, Field(ge=1e-30, lt=1)]
#: slope of LeakyReLU below 0
Slope = Annotated[float, Field(ge=0, le=1)]
#: last activation of a network
Output = Literal["linear", "relu", "leaky_relu", "sigmoid", "tanh"]
Energy = Annotated[float, Field(ge=0, le=1e9)]
PositiveEnergy = Annotated[float, Field(ge=1e-12, le=1e9)]

# ---- pairs (lists of two in YAML) ---------------------------------------------------------------------------------
#: both ends belong to it: [50000, 50000] is one of several discrete energies
EnergySlice = Annotated[tuple[Energy, Energy], Field(strict=False), AfterValidator(_not_falling)]
EnergyRange = Annotated[tuple[Energy, Energy], Field(strict=False), AfterValidator(increasing)]
EnergySlices = Annotated[list[EnergySlice], Field(max_length=100), DISTINCT]
#: of a condition other than the incident energy: an angle in rad, for example
ConditionSlice = Annotated[
    tuple[Annotated[float, Field(ge=-1e9, le=1e9)], Annotated[float, Field(ge=-1e9, le=1e9)]],
    Field(strict=False),
    AfterValidator(_not_falling),
]
ConditionSlices = Annotated[list[ConditionSlice], Field(min_length=1, max_length=100), DISTINCT]
RatioRange = Annotated[
    tuple[Annotated[float, Field(ge=-1e6, le=1e6)], Annotated[float, Field(ge=-1e6, le=1e6)]],
    Field(strict=False),
    AfterValidator(increasing),
]
#: natural logarithms of a variance
LogVariances = Annotated[
    tuple[Annotated[float, Field(ge=-30, le=30)], Annotated[float, Field(ge=-30, le=30)]],
    Field(strict=False),
    AfterValidator(increasing),
]
CellPair = Annotated[tuple[Cells, Cells], Field(strict=False)]
#: numbers of a cell along two indices, from 0
CellNumbers = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=10**4)], Annotated[int, Field(ge=0, lt=10**4)]], Field(strict=False)
]
CellTriple = Annotated[tuple[Cells, Cells, Cells], Field(strict=False)]
#: the same of a layer, and of a cell along two indices
LayerCellNumbers = Annotated[tuple[LayerNumber, LayerNumber, LayerNumber], Field(strict=False)]
ChannelTriple = Annotated[tuple[Channels, Channels, Channels], Field(strict=False)]
