"""Average showers with their spread, their cross sections, and example showers: what the report shows as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calopipe.geometry import Geometry
from calopipe.io import read_showers
from calopipe.observables import central_rows, row_moments
from calopipe.records.histograms import AverageShowers, CrossSections, Examples
from calopipe.records.slices import Slice

#: blocks of showers whose means are kept for jackknife errors
BLOCKS = 20
#: showers whose squares are taken at once
_ROWS = 256


class Sums:
    """Sums over the showers of one sample from which mean, standard deviation and block means follow.

    Args:
        n_voxels: V.
        blocks: showers are dealt to so many blocks in turn (1: no errors of cross sections).
    """

    def __init__(self, n_voxels: int, blocks: int = 1) -> None:
        self.n = 0
        self.first = np.zeros((blocks, n_voxels))
        self.origin: np.ndarray | None = None
        self.moments = np.zeros((2, n_voxels))
        self.counts = np.zeros(blocks, dtype=np.int64)

    def add(self, showers: np.ndarray) -> None:
        """Add showers (n, V) in MeV. The result does not depend on how a sample is cut into pieces."""
        blocks = len(self.first)
        for i in range(min(blocks, len(showers))):
            block = (self.n + i) % blocks
            part = showers[i::blocks]
            self.first[block] += part.sum(axis=0, dtype=np.float64)
            self.counts[block] += len(part)
        if len(showers) and self.origin is None:
            self.origin = showers[0].astype(np.float64)
        for start in range(0, len(showers), _ROWS):
            # about a shower, not about 0: squares of energies that hardly fluctuate would cancel
            about = showers[start : start + _ROWS] - self.origin
            self.moments[0] += about.sum(axis=0)
            self.moments[1] += np.einsum("ij,ij->j", about, about)
        self.n += len(showers)

    def mean(self) -> np.ndarray:
        """(V,) mean energies."""
        return self.first.sum(axis=0) / self.n

    def std(self) -> np.ndarray:
        """(V,) standard deviations between showers (n - 1 in the denominator); 0 for a single shower."""
        if self.n < 2:
            return np.zeros_like(self.moments[1])
        first, second = self.moments
        return np.sqrt(np.maximum(second - first**2 / self.n, 0.0) / (self.n - 1))

    def block_means(self) -> np.ndarray:
        """(K, V) means of the blocks that have showers."""
        kept = self.counts > 0
        return self.first[kept] / self.counts[kept, None]

    def left_out(self) -> np.ndarray:
        """(K, V) means without one block each, K the blocks with showers; for a jackknife."""
        kept = self.counts > 0
        if kept.sum() < 2:
            return np.empty((0, self.first.shape[1]))
        return (self.first.sum(axis=0) - self.first[kept]) / (self.n - self.counts[kept, None])


def average_showers(sums: Mapping[str, Sums], part: Slice | None) -> AverageShowers:
    """Mean showers; of a sample without showers there is none."""
    used = {name: s for name, s in sums.items() if s.n}
    return AverageShowers(
        mean={name: s.mean() for name, s in used.items()},
        n={name: s.n for name, s in used.items()},
        part=part,
        std={name: s.std() for name, s in used.items()},
    )


def cross_sections(sums: Mapping[str, Sums], geometry: Geometry) -> list[CrossSections]:
    """Cross sections of the average showers of all samples, layer by layer.

    Errors of positions and widths are jackknife errors over blocks of showers.
    """
    used = {name: s for name, s in sums.items() if s.n}
    mean = {name: s.mean() for name, s in used.items()}
    std = {name: s.std() for name, s in used.items()}
    left_out = {name: s.left_out() for name, s in used.items()}
    found = []
    for rows in central_rows(geometry):
        moments = {name: _moments(mean[name][rows.voxels], left_out[name][:, rows.voxels], rows.edges) for name in used}
        found.append(
            CrossSections(
                layer=geometry.layer_ids[rows.layer],
                axis=rows.axis,
                edges=rows.edges,
                offsets=rows.offsets,
                mean={name: m[rows.voxels] for name, m in mean.items()},
                std={name: s[rows.voxels] for name, s in std.items()},
                n={name: s.n for name, s in used.items()},
                position={name: m[0] for name, m in moments.items()},
                width={name: m[1] for name, m in moments.items()},
            )
        )
    return found


def _moments(mean: np.ndarray, left_out: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and widths (2, R) with their errors, of rows (R, B) and their jackknife replicas (K, R, B)."""
    values = row_moments(mean, edges)
    if not len(left_out):
        missing = np.full(len(mean), np.nan)
        return np.stack([values[0], missing]), np.stack([values[1], missing])
    k = len(left_out)
    errors = [np.sqrt((k - 1) / k * ((r - r.mean(axis=0)) ** 2).sum(axis=0)) for r in row_moments(left_out, edges)]
    return np.stack([values[0], errors[0]]), np.stack([values[1], errors[1]])


def pick_examples(
    paths: Mapping[str, Path], incident: Mapping[str, np.ndarray], reference: str, count: int, threshold_MeV: float
) -> Examples | None:
    """A few showers of each sample, at the same incident energies; None where `count` is 0.

    Args:
        paths: sample name -> shower file.
        incident: sample name -> (N,) incident energies of the file, in MeV.
        reference: the sample that fixes the energies: evenly spread quantiles of its own.
        count: showers per sample.
        threshold_MeV: voxels below are zero.

    Of the other samples the same rows are taken where the incident energies agree (samples are generated for, or
    reconstructed from, the reference row by row), else those whose incident energy is nearest.
    """
    energies = incident[reference]
    count = min(count, len(energies))
    if not count:
        return None
    order = np.argsort(energies, kind="stable")
    wanted = order[((np.arange(count) + 0.5) / count * len(energies)).astype(int)]
    rows, found, showers = {}, {}, {}
    for name, path in paths.items():
        rows[name] = _nearest(energies[wanted], wanted, incident[name])
        picked = read_showers(path, np.unique(rows[name]))
        back = np.searchsorted(np.unique(rows[name]), rows[name])
        found[name] = picked.incident_energies[back, 0]
        showers[name] = np.where(picked.showers >= np.float32(threshold_MeV), picked.showers, np.float32(0))[back]
    return Examples(rows, found, showers)


def _nearest(energies: np.ndarray, rows: np.ndarray, incident: np.ndarray) -> np.ndarray:
    same = rows < len(incident)
    same[same] = np.isclose(incident[rows[same]], energies[same], rtol=1e-6)
    nearest = np.array([np.argmin(np.abs(incident - e)) for e in energies])
    return np.where(same, rows, nearest)
