"""Histograms and average showers of one slice of a sample, or of all of it, filled piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calopipe.evaluation.averages import BLOCKS, Sums
from calopipe.evaluation.inputs import Readout
from calopipe.observables import Column, voxel_spectrum
from calopipe.observables.spectrum import LABEL as VOXEL_LABEL
from calopipe.records.histograms import Histogram
from calopipe.records.slices import Slice


class Page:
    """The histograms and average showers of one slice (None: of all showers).

    Args:
        part: the slice.
        columns: the observables that have histograms here.
        edges: their bins.
        voxels: bins of the voxel energies, and what showers are read out with; None: there are neither voxel spectra nor
            average showers.
        averages: average showers are wanted where there are voxels.
    """

    def __init__(
        self,
        part: Slice | None,
        columns: Sequence[Column],
        edges: Sequence[np.ndarray],
        voxels: tuple[np.ndarray, Readout] | None = None,
        averages: bool = True,
    ) -> None:
        self.part, self.columns, self.edges, self.voxels = part, columns, edges, voxels
        self.counts: dict[str, list[np.ndarray]] = {}
        self.spectrum: dict[str, np.ndarray] = {}
        self.filled: dict[str, int] = {}
        self.sums: dict[str, Sums] = {}
        self.n: dict[str, int] = {}
        self.averages = averages
        self.draws: dict[str, list[Page]] = {}

    def fill(self, name: str, rows: np.ndarray, showers: np.ndarray, values: Mapping[str, np.ndarray] | None) -> None:
        """Add those of the showers (n, V) that `rows` (n,) selects and, when given, their observables."""
        self.n[name] = self.n.get(name, 0) + int(rows.sum())
        if values is not None:
            self.fill_values(name, values, rows)
        if self.voxels is None:
            return
        edges, readout = self.voxels
        kept = readout.kept(showers if rows.all() else showers[rows])
        if self.averages:
            self.sums.setdefault(name, Sums(kept.shape[1], BLOCKS if self.part is None else 1)).add(kept)
        self.spectrum[name] = self.spectrum.get(name, 0) + voxel_spectrum(kept, edges)
        self.filled[name] = self.filled.get(name, 0) + int(np.count_nonzero(kept))

    def fill_draws(
        self,
        name: str,
        which: np.ndarray,
        draws: int,
        rows: np.ndarray,
        showers: np.ndarray,
        values: Mapping[str, np.ndarray],
    ) -> None:
        """Add the showers that `rows` (n,) selects to the histograms of the draw of the weights, `which` (n,), that made them."""
        pages = self.draws.setdefault(
            name, [Page(self.part, self.columns, self.edges, self.voxels, averages=False) for _ in range(draws)]
        )
        for number, page in enumerate(pages):
            page.fill(name, rows & (which == number), showers, values)

    def fill_values(self, name: str, values: Mapping[str, np.ndarray], rows: np.ndarray) -> None:
        """Add observables (n, columns) of the showers selected by `rows` (n,)."""
        new = [
            np.histogram(values[c.name][rows, c.index].astype(np.float64), edges)[0]
            for c, edges in zip(self.columns, self.edges, strict=True)
        ]
        old = self.counts.get(name)
        self.counts[name] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]

    def histograms(self) -> Iterator[Histogram]:
        """The observables in the order of SPECS, then the voxel spectrum (its total: voxels that are not zero)."""
        for i, (column, edges) in enumerate(zip(self.columns, self.edges, strict=True)):
            yield Histogram(
                name=column.key,
                group=column.spec.group,
                label=column.label,
                edges=edges,
                counts={name: counts[i] for name, counts in self.counts.items()},
                totals=dict(self.n),
                log_x=column.spec.log_x,
                log_y=column.spec.log_y,
                part=self.part,
                draws={name: np.stack([page.counts[name][i] for page in pages]) for name, pages in self.draws.items()},
                draw_totals={name: np.array([page.n[name] for page in pages]) for name, pages in self.draws.items()},
            )
        if self.voxels is not None:
            yield Histogram(
                name="voxels",
                group="voxels",
                label=VOXEL_LABEL,
                edges=self.voxels[0],
                counts=self.spectrum,
                totals=dict(self.filled),
                log_x=True,
                log_y=True,
                part=self.part,
                draws={name: np.stack([page.spectrum[name] for page in pages]) for name, pages in self.draws.items()},
                draw_totals={
                    name: np.array([page.filled[name] for page in pages]) for name, pages in self.draws.items()
                },
            )
