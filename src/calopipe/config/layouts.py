"""How other people's shower files are laid out: where energies, voxels and conditions stand, in which order and unit.

Presets, and what they were read off:

- ``calochallenge``: the CaloChallenge's contract (Krause 2024), which needs no layout: it is recognised.
- ``lemurs``: McKeown 2025, and Geant4's Par04 example: voxels (N, r, alpha, layer), MeV; its authors' generator turns them into the
  CaloChallenge's order by transposing (0, 3, 2, 1).
- ``hgcal``: Amram 2023, the files of the code OzAmram/HGCalShowers: ``gen_info`` (N, 3) holds energy in GeV, eta and phi of the
  photon, ``showers`` (N, layer, cell) GeV in silicon, unscaled (the code multiplies by 200, here ``energy_scale``); layers with
  fewer cells than the widest are padded with zeros.
- ``getting_high``: Buhmann 2021, code FLC-QU-hep/getting_high: a group called after the cells of a layer, in it ``energy`` (N, 1) in
  GeV and ``layers`` (N, layer, x, y) in MeV.
- ``l2lflows``: Buss 2024, code FLC-QU-hep/ConvL2LFlow: the same group for CaloChallenge 3, whose script swaps the last two axes:
  (N, layer, r, alpha).
- ``showerdata``: the package of that name (Buss 2026): point clouds (x, y in mm, number of the layer, energy in GeV, maybe time), with
  the direction of the incident particle as a unit vector and its PDG number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from calopipe.config.base import Section, merge
from calopipe.config.bounds import Cells
from calopipe.config.texts import Condition, DatasetPath
from calopipe.errors import nearest, shown
from calopipe.units import GeV, MeV, TeV, eV, keV, rad

#: what a number in a file is multiplied by to be in calopipe's units
UNITS: Mapping[str, float] = {
    "eV": eV, "keV": keV, "MeV": MeV, "GeV": GeV, "TeV": TeV, "rad": rad, "deg": 0.017453292519943295,
}  # fmt: skip
EnergyUnit = Literal["eV", "keV", "MeV", "GeV", "TeV"]
Axis = Literal["voxel", "layer", "cell", "alpha", "r", "x", "y"]
#: axes of a shower, in calopipe's order
ORDERS: tuple[tuple[Axis, ...], ...] = (
    ("voxel",),
    ("layer", "cell"),
    ("layer", "alpha", "r"),
    ("layer", "x", "y"),
    ("alpha", "r"),
    ("x", "y"),
)

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "calochallenge": {"energies": {"key": "incident_energies"}, "showers": {"key": "showers"}},
    "lemurs": {
        "energies": {"key": "incident_energy"},
        "showers": {"key": "showers", "axes": ["r", "alpha", "layer"]},
        "conditions": {a: {"key": a, "unit": "rad"} for a in ("incident_theta", "incident_phi")},
    },
    "hgcal": {
        "energies": {"key": "gen_info", "column": 0, "unit": "GeV"},
        "showers": {"key": "showers", "axes": ["layer", "cell"], "unit": "GeV"},
        "conditions": {
            "incident_eta": {"key": "gen_info", "column": 1},
            "incident_phi": {"key": "gen_info", "column": 2, "unit": "rad"},
        },
    },
    "getting_high": {
        "energies": {"key": "30x30/energy", "unit": "GeV"},
        "showers": {"key": "30x30/layers", "axes": ["layer", "x", "y"], "shape": [30, 30, 30]},
    },
    "l2lflows": {
        "energies": {"key": "18x50/energy", "unit": "GeV"},
        "showers": {"key": "18x50/layers", "axes": ["layer", "r", "alpha"], "shape": [45, 18, 50]},
    },
    "showerdata": {
        "energies": {"key": "energies", "unit": "GeV"},
        "points": {"key": "showers", "shape": "shape", "numbers": "num_points", "unit": "GeV"},
        "conditions": {
            **{f"direction_{axis}": {"key": "directions", "column": i} for i, axis in enumerate("xyz")},
            "pdg": {"key": "pdg"},
        },
    },
}


class Column(Section):
    """One number per row of a file."""

    key: DatasetPath = Field(description="dataset (N,) or (N, 1); `a/b` lies in the group a")
    column: Annotated[int, Field(ge=0, le=10**6)] | None = Field(
        None, description="number of the column, from 0, where the dataset is (N, columns)"
    )
    unit: Literal["eV", "keV", "MeV", "GeV", "TeV", "rad", "deg"] | None = Field(
        None, description="what is in the file, turned into MeV or rad; null: taken as it is"
    )

    @property
    def factor(self) -> float:
        """What a number in the file is multiplied by."""
        return 1.0 if self.unit is None else UNITS[self.unit]


class VoxelArray(Section):
    """Voxel energies as one array."""

    key: DatasetPath = Field(description="dataset (N, ...); `a/b` lies in the group a")
    axes: list[Axis] = Field(
        ["voxel"],
        description="what the array's axes after the first are: [voxel] (flat, in calopipe's order), [layer, cell], or layer, "
        "alpha, r or layer, x, y in any order (without layer for a single one)",
    )
    shape: list[Cells] | None = Field(None, description="expected lengths of these axes; null: those that are there")
    unit: EnergyUnit = Field("MeV", description="of the voxels")
    cells: Annotated[list[Cells], Field(min_length=1, max_length=10_000)] | None = Field(
        None,
        description="[layer, cell]: cells of each layer; what stands after them is padding, which must be 0. null: no padding",
    )

    @property
    def order(self) -> tuple[Axis, ...]:
        """The same axes in calopipe's order."""
        return next(order for order in ORDERS if sorted(order) == sorted(self.axes))

    @model_validator(mode="after")
    def _known(self) -> VoxelArray:
        if not any(sorted(order) == sorted(self.axes) for order in ORDERS):
            known = "; ".join(", ".join(order) for order in ORDERS)
            raise ValueError(
                f"axes: expected one of these in any order: {known}; found {', '.join(self.axes) or 'none'}"
            )
        if self.shape is not None and len(self.shape) != len(self.axes):
            raise ValueError(f"shape: expected {len(self.axes)} lengths, one of each axis, found {len(self.shape)}")
        if self.cells is not None and "cell" not in self.axes:
            raise ValueError("cells: expected axes [layer, cell] with it")
        return self


class PointClouds(Section):
    """Showers as point clouds of variable length (x and y in mm, number of the layer from 0, energy, ...): summed up in the
    voxels of the geometry. What lies outside it is lost, and counted.
    """

    key: DatasetPath = Field(description="dataset (N,) of sequences: the points of a shower one after the other")
    shape: DatasetPath = Field(
        "shape", description="dataset of three numbers, the last of which is the numbers per point"
    )
    numbers: DatasetPath | None = Field("num_points", description="dataset (N,) of the numbers of points; null: none")
    unit: EnergyUnit = Field("GeV", description="of the energies")


class Layout(Section):
    """How the files of a dataset are laid out; each key not given is the preset's."""

    preset: str | None = Field(None, description=f"one of {', '.join(PRESETS)}; null: everything is given here")
    energies: Column = Field(description="incident energies; without a unit in MeV")
    showers: VoxelArray | None = Field(None, description="voxel energies (or `points`)")
    points: PointClouds | None = Field(None, description="point clouds (or `showers`)")
    conditions: dict[Condition, Column] = Field(
        default_factory=dict,
        description="where conditions stand that have another name in the file, or share a dataset",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        value = {"preset": value} if isinstance(value, str) else value
        if not isinstance(value, Mapping) or value.get("preset") is None:
            return value
        name = value["preset"]
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(f"preset: no layout {shown(name)}{nearest(name, PRESETS)}; known: {', '.join(PRESETS)}")
        return merge(PRESETS[name], value)

    @field_validator("energies")
    @classmethod
    def _energy(cls, value: Column) -> Column:
        if value.unit in ("rad", "deg"):
            raise ValueError(f"expected a unit of energy, found {value.unit}")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Layout:
        if (self.showers is None) == (self.points is None):
            raise ValueError("expected either showers or points")
        return self

    @property
    def name(self) -> str:
        """What the layout is called."""
        return self.preset or "mapped"
