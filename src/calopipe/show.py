"""What is in a shower file: a summary in words and numbers, and pictures of showers (``calopipe show``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calopipe import provenance
from calopipe.errors import DataError, GeometryError, printable
from calopipe.evaluation.health import Census, check_file
from calopipe.geometry import Geometry, available_geometries, load_geometry
from calopipe.io import FileInfo, file_info, iter_showers, read_showers
from calopipe.io.conditions import TrainedRange

#: incident energies are listed one by one when a file has at most this many different ones
MAX_LISTED = 20


def find_geometry(info: FileInfo, geometry: str | Path | Geometry | None = None) -> tuple[Geometry | None, str]:
    """The geometry of a file, and in words where it comes from.

    Given: that one. Else the file's attribute, if it names a known geometry with as many voxels; else the only built-in
    geometry with as many voxels; else None.

    Raises:
        GeometryError: the geometry given is unknown or has another number of voxels.
    """
    if geometry is not None:
        found = load_geometry(geometry)
        if found.n_voxels != info.n_voxels:
            raise GeometryError(
                f"{info.path}: {info.n_voxels} voxels per shower, but geometry '{found.name}' has {found.n_voxels}"
            )
        return found, "as given"
    named = info.attributes.get("geometry")
    if isinstance(named, str):
        try:
            found = load_geometry(named, files=False)
            if found.n_voxels == info.n_voxels:
                return found, "named in the file"
        except GeometryError:
            pass
    fitting = [g for g in map(load_geometry, available_geometries()) if g.n_voxels == info.n_voxels]
    if len(fitting) == 1:
        return fitting[0], f"guessed: the built-in one with {info.n_voxels} voxels"
    if fitting:
        return None, f"not known: {', '.join(g.name for g in fitting)} all have {info.n_voxels} voxels"
    return None, f"not known: no built-in one has {info.n_voxels} voxels"


@dataclass
class _Totals:
    """Sums over the showers of a file, in float64."""

    n: int = 0
    voxels: NDArray[np.float64] | float = 0.0
    hits: int = 0
    empty: int = 0
    largest: float = 0.0
    ratio: float = 0.0  # mean of E_tot / E_inc so far
    ratio_squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    energies: set[float] = field(default_factory=set)

    def add(self, incident: NDArray[Any], showers: NDArray[Any], threshold: float) -> None:
        """Add a piece of showers (n, V) with incident energies (n,), in MeV."""
        total = showers.sum(axis=1, dtype=np.float64)
        ratio = total / incident
        self.n += len(showers)
        self.voxels = self.voxels + showers.sum(axis=0, dtype=np.float64)
        self.hits += int(np.count_nonzero(showers >= threshold if threshold > 0 else showers > 0))
        self.empty += int((total == 0).sum())
        self.largest = max(self.largest, float(showers.max(initial=0.0)))
        mean, size = float(ratio.mean()), len(ratio)
        # squares about the mean of each piece, then of all: about 0 they would cancel
        shift = mean - self.ratio
        self.ratio_squares += float(((ratio - mean) ** 2).sum()) + shift**2 * size * (self.n - size) / self.n
        self.ratio += shift * size / self.n
        self.low, self.high = min(self.low, float(incident.min())), max(self.high, float(incident.max()))
        if len(self.energies) <= MAX_LISTED:
            self.energies |= set(np.unique(incident).tolist())


def _read(path: str | Path, threshold: float, census: Census | None = None) -> _Totals:
    totals = _Totals()
    for piece in iter_showers(path):
        totals.add(piece.incident_energies[:, 0].astype(np.float64), piece.showers, threshold)
        if census is not None:
            census.add(piece)
    if totals.n == 0:
        raise DataError(f"{path}: no showers")
    return totals


def summarise(path: str | Path, geometry: str | Path | Geometry | None = None) -> str:
    """Describe a shower file: layout, size, attributes, energies, occupancy, response, mean energy of each layer.

    What is unusual comes first, as warnings of :mod:`calopipe.evaluation.health`: energies and responses that look like
    other units, copies, many empty showers, energies that a generator was not trained on. The file is streamed; a few bytes
    per shower stay in memory.

    Args:
        path: HDF5 file in the CaloChallenge's or CaloGAN's layout.
        geometry: its geometry; by default the one it names, or the built-in one with as many voxels.

    Raises:
        DataError: the file is missing, malformed or empty, or holds values that are not energies.
        GeometryError: the geometry given does not fit.
    """
    info = file_info(path)
    found, origin = find_geometry(info, geometry)
    threshold = _threshold(info, found)
    census = Census("", found, threshold, trained=TrainedRange.from_attributes(info.attributes))
    totals = _read(path, threshold, census)
    spread = np.sqrt(totals.ratio_squares / totals.n)
    at = f"at or above {threshold:g} MeV" if threshold > 0 else "above zero"
    lines = [
        f"{printable(Path(path).name)}: {info.n_showers} showers of {info.n_voxels} voxels, {info.layout} layout",
        *(f"  warning           {finding.text}" for finding in check_file(census)),
        f"  geometry          {found.name if found else '-'} ({origin})",
        f"  incident energy   {_energies(totals)}",
        f"  E_tot / E_inc     mean {totals.ratio:.4g}, standard deviation {spread:.3g}",
        f"  occupancy         {totals.hits / (totals.n * info.n_voxels):.4g} of the voxels {at}",
        f"  largest voxel     {totals.largest:.4g} MeV",
        f"  empty showers     {totals.empty}",
    ]
    named = ((printable(name, 200), printable(str(value), 1000)) for name, value in sorted(info.attributes.items()))
    lines += [f"  {name:<17} {value}" for name, value in named if name != "geometry"]
    if found is not None:
        lines += _layer_lines(found, np.asarray(totals.voxels) / totals.n)
    return "\n".join(lines)


def _threshold(info: FileInfo, geometry: Geometry | None) -> float:
    written = info.attributes.get("threshold_MeV")
    if isinstance(written, int | float | np.number):
        return float(written)
    return geometry.threshold_MeV if geometry is not None else 0.0


def _energies(totals: _Totals) -> str:
    if totals.low == totals.high:
        return f"{totals.low:g} MeV"
    text = f"{totals.low:g} to {totals.high:g} MeV"
    if len(totals.energies) <= MAX_LISTED and len(totals.energies) < totals.n:
        text += f" ({len(totals.energies)} values: {', '.join(f'{e:g}' for e in sorted(totals.energies))})"
    return text


def _layer_lines(geometry: Geometry, mean: NDArray[np.float64]) -> list[str]:
    energies = [float(mean[part].sum()) for part in geometry.layer_slices]
    total = sum(energies) or 1.0
    lines = [f"  {'layer':>7} {'bins':>9} {'mean energy [MeV]':>18} {'share':>8}"]
    for i, energy in enumerate(energies):
        shape = "{} x {}".format(*geometry.layer_shape(i))
        lines.append(f"  {geometry.layer_ids[i]:>7} {shape:>9} {energy:>18.4g} {energy / total:>8.2%}")
    return lines


def event_pictures(
    path: str | Path,
    out_dir: str | Path,
    rows: Sequence[int] = (0, 1, 2),
    geometry: str | Path | Geometry | None = None,
    dpi: int = 150,
    pdf: bool = False,
) -> list[Path]:
    """Draw single showers (layer by layer, and in three dimensions) and the average shower of a file.

    Args:
        path: shower file.
        out_dir: folder of the pictures; created where missing.
        rows: rows to draw.
        geometry: as in :func:`summarise`.
        dpi: resolution of the PNG files.
        pdf: write a PDF beside every PNG.

    Returns:
        The files written.

    Raises:
        DataError: as :func:`summarise`, or a row that the file does not have.
        GeometryError: the geometry is not known, or does not fit.
    """
    from calopipe.plots.events import event_figure
    from calopipe.plots.showers import layers_figure
    from calopipe.plots.style import literal, save_figure

    info = file_info(path)
    found, origin = find_geometry(info, geometry)
    if found is None:
        raise GeometryError(f"{path}: geometry {origin}; say which one it is, by name, YAML or XML file")
    beyond = [row for row in rows if not 0 <= row < info.n_showers]
    if beyond:
        raise DataError(f"{path}: row {beyond[0]} asked for, but there are {info.n_showers} showers")
    record = provenance.collect(f"calopipe show {Path(path).name}", {"geometry": found.to_dict()}, [path])
    name, written = Path(path).stem, []
    events = read_showers(path, sorted(set(rows)))
    for row, energy, shower in zip(
        sorted(set(rows)), events.incident_energies[:, 0].tolist(), events.showers, strict=True
    ):
        title = f"{literal(name)}, shower {row}: $E_\\mathrm{{inc}}$ = {energy / 1e3:.4g} GeV"
        figures = {"layers": layers_figure(found, shower, title)}
        if found.n_layers > 1:
            figures["3d"] = event_figure(found, shower, title)
        for kind, figure in figures.items():
            target = Path(out_dir) / f"{name}_{row}_{kind}"
            written += save_figure(figure, target, record, dpi=dpi, pdf=pdf)
    return written + _average_pictures(path, found, Path(out_dir), record, dpi, pdf)


def _average_pictures(
    path: str | Path, geometry: Geometry, out: Path, record: dict[str, str], dpi: int, pdf: bool
) -> list[Path]:
    from calopipe.plots.showers import layers_figure
    from calopipe.plots.style import literal, save_figure

    totals = _read(path, 0.0)
    mean = np.asarray(totals.voxels) / totals.n
    title = f"{literal(Path(path).stem)}: mean of {totals.n} showers"
    figure = layers_figure(geometry, mean, title, r"$\langle E\rangle$ [MeV]")
    return save_figure(figure, out / f"{Path(path).stem}_average", record, dpi=dpi, pdf=pdf)
