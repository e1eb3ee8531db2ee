"""Samples as metrics see them: arrays that are read from shower files when a metric first asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calopipe.config.calomplification import ImageSettings
from calopipe.errors import GeometryError, MetricUnavailable
from calopipe.evaluation.averages import BLOCKS, Sums
from calopipe.evaluation.inputs import Readout, check_samples, conditions_of, stream
from calopipe.io import Showers, iter_stored
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.observables import all_specs, columns, compute_all, middle_row_moments, voxel_counts, voxel_spectrum
from calopipe.observables.challenge import challenge_edges, challenge_values, layer_maxima, voxel_edges
from calopipe.observables.image import ImageObservables, image_observables
from calopipe.records.histograms import load_histograms
from calopipe.records.slices import Slice

#: blocks of showers of the challenge's histograms; more than bins, since a bootstrap draws from them
HISTOGRAM_BLOCKS = 100


def load_sample(
    name: str,
    path: Path,
    readout: Readout,
    *,
    histograms: Path,
    reference: Sample | None = None,
    latent: int | None = None,
    part: Slice | None = None,
) -> Sample:
    """A sample, or a slice of it.

    Args:
        name: what it is called in `histograms`.
        path: shower file.
        histograms: what :func:`calopipe.evaluation.observables.evaluate_observables` wrote for it.
        reference: the sample that this one is compared with; the challenge's bins follow it. None: this is it.
        latent: size of its generator's latent space.
        part: the slice; None: all showers.

    Raises:
        DataError: the file does not fit the geometry, or has no condition of the slice's name.
    """
    files = _Files(name, path, readout, histograms, part)
    geometry = readout.geometry
    layers = dict(zip(geometry.layer_ids, geometry.layer_slices, strict=True))
    loaders = {key: getattr(files, key) for key in OFFERED}
    sample = Sample(files.n, readout.threshold_MeV, layers, loaders, latent)
    files.sample, files.reference = sample, reference or sample
    return sample


def images_of(pieces: Iterable[Showers], readout: Readout, settings: ImageSettings) -> ImageObservables:
    """Observables of the showers of all pieces, seen as images."""
    what = {k: getattr(settings, k) for k in ImageSettings.model_fields}
    return ImageObservables.joined(
        image_observables(c.showers, c.incident_energies, readout.geometry, readout.threshold_MeV, **what)
        for c in pieces
    )


class _Files:
    """Reads one sample, or those of its showers that are in `part`; methods are called like what Sample offers."""

    sample: Sample
    reference: Sample

    def __init__(self, name: str, path: Path, readout: Readout, histograms: Path, part: Slice | None) -> None:
        self.name, self.path, self.readout, self.file, self.part = name, path, readout, histograms, part
        self.geometry = readout.geometry
        total = check_samples({name: path}, self.geometry)[name]
        self.rows = None if part is None else np.flatnonzero(part.holds(conditions_of(path, part.condition)))
        self.n = total if self.rows is None else len(self.rows)
        self.passed: dict[str, Any] = {}
        self.seen: dict[tuple[Any, ...], ImageObservables] = {}

    def _stream(self, what: str, rows: np.ndarray | None = None) -> Iterator[Showers]:
        """The sample's showers, or those in `rows` of it."""
        if rows is None:
            rows = self.rows
        elif self.rows is not None:
            rows = self.rows[rows]
        return stream(self.path, self.geometry, f"{what} of {self.name}", rows=rows)

    def _stored(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Incident energies (n, 1) and showers (n, V) in the type that the file has."""
        start = 0
        for incident, showers in iter_stored(self.path, self.geometry):
            if self.rows is None:
                yield incident, showers
            else:
                first, last = np.searchsorted(self.rows, [start, start + len(showers)])
                here = self.rows[first:last] - start
                yield incident[here], showers[here]
            start += len(showers)

    # ---- observables, energies, block means and the largest voxel: one pass over the file for all of them
    def _of_one_pass(self, key: str) -> Any:
        if not self.passed:
            self.passed = self._one_pass()
        return self.passed.pop(key)

    def _one_pass(self) -> dict[str, Any]:
        pieces, energies, largest = [], [], 0.0
        sums = Sums(self.geometry.n_voxels, BLOCKS)
        for chunk in self._stream("observables"):
            energies.append(chunk.incident_energies[:, 0].astype(np.float64))
            pieces.append(compute_all(chunk.showers, energies[-1], self.geometry, self.readout.threshold_MeV))
            kept = self.readout.kept(chunk.showers)
            largest = max(largest, float(kept.max()))
            sums.add(kept)
        return {
            "observables": {k: np.concatenate([p.pop(k) for p in pieces]) for k in list(pieces[0])},
            "incident_energies": np.concatenate(energies),
            "block_means": sums.block_means(),
            "largest_voxel": largest,
        }

    def observables(self) -> dict[str, np.ndarray]:
        return self._of_one_pass("observables")

    def incident_energies(self) -> np.ndarray:
        return self._of_one_pass("incident_energies")

    def block_means(self) -> np.ndarray:
        return self._of_one_pass("block_means")

    def largest_voxel(self) -> float:
        return self._of_one_pass("largest_voxel")

    # ---- showers
    def showers(self) -> np.ndarray:
        return self.some_showers(None)

    def some_showers(self, rows: np.ndarray | None) -> np.ndarray:
        n = self.n if rows is None else len(rows)
        out, start = np.empty((n, self.geometry.n_voxels), dtype=np.float32), 0
        for chunk in self._stream("showers", rows):
            kept = out[start : start + len(chunk)]
            kept[:] = chunk.showers
            kept[kept < np.float32(self.readout.threshold_MeV)] = 0
            start += len(chunk)
        return out

    def layer_shapes(self) -> dict[int, tuple[int, int]]:
        return {k: self.geometry.layer_shape(i) for i, k in enumerate(self.geometry.layer_ids)}

    def row_moments(self) -> Callable[[np.ndarray], Mapping[Any, Any]]:
        return partial(middle_row_moments, geometry=self.geometry)

    # ---- images
    def images(self) -> Callable[[ImageSettings], ImageObservables]:
        return self._images

    def _images(self, settings: ImageSettings) -> ImageObservables:
        """Those of one kind of image stay: a reference is compared with many samples."""
        key = tuple(getattr(settings, k) for k in ImageSettings.model_fields)
        if key not in self.seen:
            if not self.geometry.alpha_layers:
                raise MetricUnavailable(f"no layer of '{self.geometry.name}' is resolved in two dimensions")
            try:
                if settings.image_pool is not None:
                    self.geometry.image(settings.image_pool)
            except GeometryError as error:
                raise MetricUnavailable(f"image_pool: {error}") from None
            self.seen[key] = images_of(self._stream("images"), self.readout, settings)
        return self.seen[key]

    # ---- conditions
    def condition(self) -> Callable[[str], np.ndarray]:
        return self._condition

    def _condition(self, name: str) -> np.ndarray:
        values = conditions_of(self.path, name)
        return values if self.rows is None else values[self.rows]

    # ---- histograms
    def histograms(self) -> dict[str, BinnedCounts]:
        found = [h for h in load_histograms(self.file)[0] if h.part == self.part and self.name in h.counts]
        return {h.name: BinnedCounts(h.edges, h.counts[self.name], h.totals[self.name]) for h in found}

    def shower_bins(self) -> dict[str, np.ndarray]:
        """Bins of the observables, of the values in float32 as the histograms are filled with."""
        out, sample = {}, self.sample
        for column in columns(self.geometry, sample.observables, specs=all_specs()):
            if column.key in sample.histograms:
                edges = sample.histograms[column.key].edges
                values = sample.observables[column.name].reshape(sample.n, -1)[:, column.index]
                values = values.astype(np.float32).astype(np.float64)
                index = np.searchsorted(edges, values, side="right") - 1
                index[values == edges[-1]] = len(edges) - 2
                out[column.key] = np.where(index < len(edges) - 1, index, -1).astype(np.int32)
        return out

    def voxel_counts(self) -> np.ndarray:
        if "voxels" not in self.sample.histograms:
            raise MetricUnavailable("there is no histogram of voxel energies")
        edges, threshold = self.sample.histograms["voxels"].edges, self.readout.threshold_MeV
        return np.concatenate([voxel_counts(chunk.showers, edges, threshold) for chunk in self._stream("voxels")])

    # ---- the challenge's
    def challenge_values(self) -> dict[str, np.ndarray]:
        """(N,) challenge's observables of a file, computed in the file's own type, and ``voxels``: its largest voxel (1,)."""
        geometry, threshold = self.geometry, self.readout.threshold_MeV
        if geometry.kind != "cylindrical":
            raise MetricUnavailable(f"the challenge's histograms need a cylindrical geometry; '{geometry.name}' is not")
        if not threshold > 0:
            raise MetricUnavailable("the challenge's logarithmic bins begin at the readout threshold, which is 0 here")
        pieces, largest = [], []
        for incident, showers in self._stored():
            pieces.append(challenge_values(showers, incident, geometry, threshold))
            largest.append(showers.max(initial=0))
        values = {k: np.concatenate([p.pop(k) for p in pieces]) for k in list(pieces[0])}
        return values | {"voxels": np.array([max(largest)])}

    def challenge_histograms(self) -> dict[str, BinnedCounts]:
        """The voxels' in a pass of its own, since its bins end at the reference's."""
        values, bounds = self.sample.challenge_values, self.reference.challenge_values
        threshold, blocks = self.readout.threshold_MeV, min(HISTOGRAM_BLOCKS, self.n)
        out = {}
        for key, edges in challenge_edges(self.geometry, threshold, layer_maxima(bounds, self.geometry)):
            parts = np.stack([np.histogram(values[key][i::blocks], edges)[0] for i in range(blocks)])
            out[key] = BinnedCounts(edges, parts.sum(axis=0), self.n, parts)
        edges = voxel_edges(threshold, bounds["voxels"][0])
        parts, filled, start = np.zeros((blocks, len(edges) - 1), dtype=np.int64), 0, 0
        for _, showers in self._stored():
            filled += int(np.count_nonzero(showers >= showers.dtype.type(threshold)))
            for i in range(min(blocks, len(showers))):
                parts[(start + i) % blocks] += voxel_spectrum(showers[i::blocks], edges, threshold)
            start += len(showers)
        return {**out, "voxels": BinnedCounts(edges, parts.sum(axis=0), filled, parts)}


#: what metrics may ask for
OFFERED = tuple(name for name in vars(_Files) if not name.startswith("_"))
