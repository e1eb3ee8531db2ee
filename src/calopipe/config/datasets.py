"""Settings of datasets: where showers, or other data, come from, and how they are prepared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from calopipe.config.base import Section
from calopipe.config.bounds import (
    DISTINCT,
    CellNumbers,
    CellPair,
    Energy,
    Fraction,
    LayerNumber,
    PositiveEnergy,
    Scale,
    Seed,
    Showers,
)
from calopipe.config.layouts import Column, Layout
from calopipe.config.recipes import Recipe
from calopipe.config.texts import Checksum, ColumnName, Condition, FilePath, Name, Url
from calopipe.errors import nearest

#: settings of a dataset that say how long Geant4 takes for one of its showers
GEANT4_TIME = ("geant4_ms_per_GeV", "geant4_ms", "geant4_source")


class Source(Section):
    """Where a dataset's files come from."""

    kind: Literal["bundled", "local", "download", "made"] = Field(description="how the files are obtained")
    name: Name | None = Field(None, description="bundled sample (resources/<name>.hdf5) or registered download")
    paths: Annotated[list[FilePath], DISTINCT] = Field(
        default_factory=list, description="local files, pooled in this order"
    )
    urls: Annotated[list[Url], DISTINCT] = Field(
        default_factory=list, description="files to download when not registered by name"
    )
    checksums: list[Checksum] = Field(default_factory=list, description="one 'sha256:...' or 'md5:...' per file")
    made: Recipe | None = Field(
        None, description="how columns are made by the workflow itself, e.g. {recipe: gaussian}"
    )

    @model_validator(mode="after")
    def _complete(self) -> Source:
        used = {
            "bundled": ("name",),
            "local": ("paths", "checksums"),
            "download": ("name", "urls", "checksums"),
            "made": ("made",),
        }
        for key in ("name", "paths", "urls", "checksums", "made"):
            if getattr(self, key) and key not in used[self.kind]:
                raise ValueError(f"a {self.kind} source has no '{key}', found {getattr(self, key)!r}")
        if self.name and (self.urls or self.checksums):
            raise ValueError(
                "a registered download has its own addresses and checksums: expected 'name' or 'urls' alone"
            )
        if self.kind == "bundled" and not self.name:
            raise ValueError("a bundled source needs 'name'")
        if self.kind == "local" and not self.paths:
            raise ValueError("a local source needs 'paths'")
        if self.kind == "made" and self.made is None:
            raise ValueError("a source that is made needs 'made'")
        if self.kind == "download" and not (self.name or self.urls):
            raise ValueError("a download needs 'name' (a registered dataset) or 'urls'")
        files = self.paths or self.urls
        if self.checksums and files and len(self.checksums) != len(files):
            raise ValueError(f"{len(self.checksums)} checksums for {len(files)} files")
        return self


class Split(Section):
    """Seeded split into training, validation and test showers."""

    train: Fraction = Field(0.7, description="fraction used to fit networks and preprocessing")
    val: Fraction = Field(0.1, description="fraction used to choose weights")
    test: Fraction = Field(0.2, description="fraction held out: the reference of every evaluation")
    seed: Seed = Field(0, description="seed of the permutation")

    @model_validator(mode="after")
    def _sums_to_one(self) -> Split:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(f"train + val + test must be 1, found {self.train + self.val + self.test:g}")
        for part in ("train", "val"):
            if getattr(self, part) == 0:
                raise ValueError(f"{part}: networks need showers of their own here; expected above 0, found 0")
        return self


class EnergySelection(Section):
    """Incident energies of the showers that are used: some of discrete ones, or a range. A list alone is `values`."""

    values: Annotated[list[PositiveEnergy], Field(max_length=1000), DISTINCT] = Field(
        default_factory=list, description="these energies in MeV, e.g. [256, 8192]; within 0.1 %"
    )
    low: PositiveEnergy | None = Field(None, description="lower end of a range in MeV, which belongs to it")
    high: PositiveEnergy | None = Field(None, description="upper end of a range in MeV, which belongs to it")
    outside: bool = Field(False, description="use all but the range")

    @model_validator(mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return {"values": value} if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _one_way(self) -> EnergySelection:
        if bool(self.values) == (self.low is not None or self.high is not None):
            raise ValueError("expected either a list of energies or a range {low: ..., high: ...}")
        if self.outside and self.values:
            raise ValueError("outside: expected only with a range {low: ..., high: ...}, found a list of energies")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low: expected at most high ({self.high:g}), found {self.low:g}")
        return self


#: a selection, or a list of energies; the selection itself reads the list, this says so to the JSON schema
Energies = Annotated[
    EnergySelection,
    BeforeValidator(lambda value: value, json_schema_input_type=EnergySelection | list[PositiveEnergy]),
]


class _AnyKind(Section):
    source: Source = Field(description="files to learn from")
    reference: Source | None = Field(
        None, description="separate files for the test split (CaloChallenge); else split off"
    )
    split: Split = Field(default_factory=Split, description="how rows are split")

    @model_validator(mode="after")
    def _test_rows(self) -> _AnyKind:
        if self.reference is None and self.split.test == 0:
            raise ValueError("split.test: expected above 0 (or a separate reference), found 0")
        return self

    def made_sources(self) -> list[tuple[str, Any]]:
        """(key, recipe) of the sources that are made."""
        sources = {"source": self.source, "reference": self.reference}
        return [(key, source.made) for key, source in sources.items() if source is not None and source.made is not None]


class Crop(Section):
    """A window of the cells of each layer. A pair of numbers alone is its size, in the middle of the layer."""

    window: CellPair = Field(description="cells that are kept (first, second index)")
    centre: CellNumbers | None = Field(
        None,
        description="number from 0 (first, second index) of the cell in the middle of the window, of an even window the one behind its "
        "middle: [15, 15] is where the beam hits 30 x 30 cells of the ILD, and the window's middle is then half a cell off "
        "that of the layer; null: the window is in the middle of the layer",
    )

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        """``[30, 30]`` is ``{window: [30, 30]}``."""
        return {"window": value} if isinstance(value, list | tuple) else value

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> Any:
        """The short form of a window in the middle."""
        plain = handler(self)
        return plain["window"] if self.centre is None else plain


def window_and_centre(crop: Crop | None) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Window and centre of a crop, as geometries take them."""
    return (None, None) if crop is None else (crop.window, crop.centre)


class Dataset(_AnyKind):
    """Showers of one particle in one calorimeter."""

    kind: Literal["showers"] = Field("showers", description="what a row is: a shower")
    geometry: FilePath = Field(description="built-in geometry name, geometry YAML, or CaloChallenge binning XML")
    layout: Layout | None = Field(
        None,
        description="how the files are laid out: the name of a preset, or a mapping (see Layout); null: the CaloChallenge's layout "
        "or CaloGAN's, whichever is found",
    )
    conditions: Annotated[list[Condition], Field(max_length=16), DISTINCT] = Field(
        default_factory=list,
        description="what the showers depend on beside the incident energy: names of columns (N,) or (N, 1) of the files, "
        "e.g. [incident_theta, incident_phi] (angles in rad); in this order",
    )
    threshold_MeV: Energy | None = Field(
        None, description="voxels below are zero; null: the geometry's readout threshold"
    )
    evaluation_threshold_MeV: Energy | None = Field(
        None,
        description="the threshold of all that judges showers, where it is higher than that of training; null: threshold_MeV",
    )
    energy_scale: Scale = Field(1.0, description="factor on voxel energies, kept in all files from then on")
    energies_MeV: Energies | None = Field(
        None,
        description="use only showers of these incident energies: a list of discrete ones, [256, 8192], or {low: 1000, high: "
        "5000}; in source and reference",
    )
    negative: Literal["refuse", "zero"] = Field(
        "refuse",
        description="voxels of negative energy (electronic noise, tracks of negative weights): an error, or set to 0 before "
        "anything else; how many, and their sum, is logged and an attribute of the prepared files",
    )
    max_showers: Showers | None = Field(
        None, description="use only the first showers of the files (of those with the chosen energies)"
    )
    geant4_ms_per_GeV: PositiveEnergy | None = Field(
        None, description="Geant4's time in ms per GeV of incident energy, where known, to compare timings with"
    )
    geant4_ms: PositiveEnergy | None = Field(
        None, description="the same in ms per shower, of data that have one incident energy"
    )
    geant4_source: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="where Geant4's time is from: machine or publication, for the report",
    )
    layers: Annotated[list[LayerNumber], Field(min_length=1)] | None = Field(
        None,
        description="keep these layers only, by their numbers from 0, e.g. [2] or [0, 1], before all that follows; E_tot is "
        "then theirs; null: all",
    )
    crop: Crop | None = Field(
        None,
        description="keep so many cells in the centre of each layer (first, second index) of a regular cartesian grid, e.g. "
        "[30, 30] of 32 x 32, or around a cell, {window: [15, 15], centre: [15, 15]}; energy outside is lost",
    )
    sum_layers: bool = Field(
        False,
        description="sum the layers along the beam into one image (cartesian layers whose cells lie behind one another); after "
        "the crop. The threshold then cuts the pixels of the finished image, not the cells",
    )
    pool: Annotated[list[CellPair], Field(min_length=1, max_length=8)] | None = Field(
        None,
        description="pooling kernel (first, second index), e.g. [2, 1], or several, [[2, 1], [1, 2]], applied in turn; after "
        "crop and sum_layers. In each layer a kernel merges along the axes that it divides",
    )
    pool_by: Literal["mean", "sum"] = Field("mean", description="what pooling makes of the merged cells")

    @model_validator(mode="after")
    def _not_made(self) -> Dataset:
        for key, recipe in self.made_sources():
            raise ValueError(f"{key}: recipe {recipe.recipe} makes columns; expected a dataset of kind: columns")
        return self

    @model_validator(mode="after")
    def _one_time(self) -> Dataset:
        if self.geant4_ms is not None and self.geant4_ms_per_GeV is not None:
            raise ValueError("geant4_ms: expected one time of Geant4, found geant4_ms_per_GeV too")
        if self.geant4_source is not None and self.geant4_ms is None and self.geant4_ms_per_GeV is None:
            raise ValueError("geant4_source: expected with geant4_ms or geant4_ms_per_GeV, found neither")
        return self

    @field_validator("layout", mode="before", json_schema_input_type=Layout | str | None)
    @classmethod
    def _named_layout(cls, value: Any) -> Any:
        return value

    @field_validator("crop", mode="before", json_schema_input_type=CellPair | Crop | None)
    @classmethod
    def _window(cls, value: Any) -> Any:
        return value

    @field_validator("pool", mode="before", json_schema_input_type=CellPair | list[CellPair] | None)
    @classmethod
    def _one_kernel(cls, value: Any) -> Any:
        """``[2, 1]`` is ``[[2, 1]]``."""
        single = isinstance(value, list | tuple) and value and not any(isinstance(k, list | tuple) for k in value)
        return [value] if single else value


class ColumnsDataset(_AnyKind):
    """Rows of real numbers given conditions: toys, the smearing of a detector, or single numbers of showers."""

    kind: Literal["columns"] = Field(description="what a row is: numbers")
    columns: Annotated[list[ColumnName], Field(min_length=1, max_length=10_000), DISTINCT] = Field(
        description="what is learned: names of columns (N,) or (N, 1) of the files; with a `geometry`, of numbers of showers"
    )
    conditions: Annotated[list[ColumnName], Field(max_length=10_000), DISTINCT] = Field(
        default_factory=list, description="what it depends on: names of further columns, in this order"
    )
    layout: dict[ColumnName, Column] = Field(
        default_factory=dict,
        description="where columns stand that have another name in the files, share a dataset or have a unit",
    )
    geometry: FilePath | None = Field(
        None,
        description="of files of showers: columns and conditions are then numbers of each shower above the geometry's threshold, "
        "E_inc, u_1 (E_tot / E_inc), u_2, ..., E_layer_0, ..., voxel_0, ... (MeV)",
    )
    shower_layout: Layout | None = Field(
        None,
        description="with a `geometry`: how the files of showers are laid out, like `layout` of a dataset of showers",
    )
    max_rows: Showers | None = Field(None, description="use only the first rows of the files")

    @field_validator("shower_layout", mode="before", json_schema_input_type=Layout | str | None)
    @classmethod
    def _named_layout(cls, value: Any) -> Any:
        return value

    @model_validator(mode="after")
    def _names(self) -> ColumnsDataset:
        both = next((name for name in self.conditions if name in self.columns), None)
        if both is not None:
            raise ValueError(f"conditions: expected other names than those of columns, found '{both}'")
        names = [*self.columns, *self.conditions]
        other = next((name for name in self.layout if name not in names), None)
        if other is not None:
            raise ValueError(f"layout: no column '{other}'{nearest(other, names)}; there are {', '.join(names)}")
        if self.layout and self.geometry is not None:
            raise ValueError("layout: expected shower_layout where a geometry is given, found places of columns")
        if self.shower_layout is not None and self.geometry is None:
            raise ValueError("shower_layout: expected a geometry beside it, found none")
        return self

    @property
    def showers(self) -> Dataset | None:
        """The showers that the numbers are of; None: the files hold columns."""
        if self.geometry is None:
            return None
        return Dataset(
            kind="showers",
            source=self.source,
            reference=self.reference,
            split=self.split,
            geometry=self.geometry,
            layout=self.shower_layout,
            max_showers=self.max_rows,
        )

    @model_validator(mode="after")
    def _made_names(self) -> ColumnsDataset:
        for key, recipe in self.made_sources():
            there = [*recipe.makes, *recipe.given]
            for name in (*self.columns, *self.conditions):
                if name not in there:
                    raise ValueError(
                        f"{key}: recipe {recipe.recipe} makes {', '.join(there)}, found '{name}' among the columns"
                    )
        return self


def _kind(value: Any) -> str | None:
    """The tag of a dataset's kind; its brackets keep it out of the keys that messages name."""
    kind = value.get("kind", "showers") if isinstance(value, Mapping) else getattr(value, "kind", "showers")
    return f"[{kind}]" if kind in ("showers", "columns") else None


#: a dataset of either kind
AnyDataset = Annotated[
    Annotated[Dataset, Tag("[showers]")] | Annotated[ColumnsDataset, Tag("[columns]")],
    Discriminator(
        _kind, custom_error_type="kind", custom_error_message="expected a dataset of kind showers (default) or columns"
    ),
]
