"""Observables of a shower seen as one image: E_vis, E_peak, E_pixel, CG_x and CG_y (Calomplification, arXiv:2202.07352,
sections 2 and 3, eq. 2.2), for any geometry.

The paper has images of 10 x 10 pixels: 3D showers summed along the beam and pooled, then cut at 0.1 MeV. `image_pool` does
so here; without it pixels are the voxels of the geometry, and the centres of gravity are of all layers that are resolved in
two dimensions. Everything follows from
:func:`calopipe.observables.compute.compute`, so that E_vis is E_tot and an empty shower has its centre at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from calopipe.config.calomplification import ImageObservable
from calopipe.errors import DataError
from calopipe.geometry import Geometry
from calopipe.io.pooling import image_showers
from calopipe.observables.compute import EPSILON_MEV, compute

#: name -> axis label
IMAGE_LABELS: dict[str, str] = {
    "E_vis": r"$E_\mathrm{vis}$",
    "E_peak": r"$E_\mathrm{peak}$",
    "E_pixel": r"$E_\mathrm{pixel}$",
    "CG_x": r"$CG_x$",
    "CG_y": r"$CG_y$",
}
assert set(IMAGE_LABELS) == set(get_args(ImageObservable))


@dataclass(frozen=True, eq=False)
class ImageObservables:
    """Observables of N showers with P active pixels altogether.

    Attributes:
        columns: ``E_vis``, ``E_peak`` in MeV, ``CG_x``, ``CG_y`` in mm, (N,) float64 each.
        pixels: (P,) energies of the pixels above the cut in MeV, shower after shower.
        offsets: (N + 1,) where the pixels of each shower start.
    """

    columns: dict[str, np.ndarray]
    pixels: np.ndarray
    offsets: np.ndarray

    @property
    def n(self) -> int:
        """Number of showers."""
        return len(self.offsets) - 1

    def values(self, names: Sequence[str]) -> np.ndarray:
        """(N, D) values of D observables, or (P, 1) for E_pixel, which goes with no other."""
        if "E_pixel" in names:
            if len(names) > 1:
                raise DataError("E_pixel has several values per shower: it has no joint distribution with others")
            return self.pixels[:, None]
        return np.stack([self.columns[name] for name in names], axis=1)

    def starts(self, names: Sequence[str]) -> np.ndarray:
        """(N + 1,) row of :meth:`values` at which each shower starts."""
        return self.offsets if "E_pixel" in names else np.arange(self.n + 1)

    @classmethod
    def joined(cls, parts: Iterable[ImageObservables]) -> ImageObservables:
        """The showers of all parts, in order."""
        parts = list(parts)
        columns = {k: np.concatenate([p.columns[k] for p in parts]) for k in parts[0].columns}
        counts = np.concatenate([np.diff(p.offsets) for p in parts])
        return cls(columns, np.concatenate([p.pixels for p in parts]), np.concatenate([[0], np.cumsum(counts)]))

    def select(self, first: int, last: int) -> ImageObservables:
        """Showers `first` to `last` (excluded)."""
        offsets = self.offsets[first : last + 1]
        columns = {k: v[first:last] for k, v in self.columns.items()}
        return ImageObservables(columns, self.pixels[offsets[0] : offsets[-1]], offsets - offsets[0])


def image_observables(
    showers: np.ndarray,
    incident_energies: np.ndarray,
    geometry: Geometry,
    threshold_MeV: float | None = None,
    *,
    pixel_cut_MeV: float = 0.0,
    image_pool: Sequence[int] | None = None,
    image_threshold_MeV: float | None = None,
) -> ImageObservables:
    """Compute E_vis (sum), E_peak (largest voxel), E_pixel (every voxel above the cut), CG_x, CG_y of N showers.

    Args:
        showers: (N, V) voxel energies in MeV.
        incident_energies: (N,) or (N, 1) in MeV.
        geometry: the voxels' layers and centres.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        pixel_cut_MeV: E_pixel holds pixels of at least this energy (the paper: 5 MeV), and never empty ones.
        image_pool: sum over the layers and patches of so many cells first (the paper: 3 x 3); None: pixels are voxels.
        image_threshold_MeV: with `image_pool`, pixels below are zero (the paper: 0.1 MeV); None: none are.

    Raises:
        GeometryError: `image_pool` does not fit the geometry.
        DataError: like :func:`calopipe.observables.compute`, or no layer is resolved in two dimensions.
    """
    if not geometry.alpha_layers:
        raise DataError(
            f"geometry '{geometry.name}': no layer is resolved in two dimensions, so there is no CG_x, CG_y"
        )
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    if image_pool is not None:
        kept = np.where(showers >= np.float32(threshold), showers, np.float32(0))
        showers = image_showers(kept, geometry, image_pool)
        geometry, threshold = geometry.image(image_pool), image_threshold_MeV or 0.0
    out = compute(showers, incident_energies, geometry, threshold, brightest=1)
    weights = out["E_layer"][:, list(geometry.alpha_layers)]
    norm = weights.sum(axis=1) + EPSILON_MEV
    eta, phi = ((weights * out[f"EC_{axis}"]).sum(axis=1) / norm for axis in ("eta", "phi"))
    x, y = (eta, phi) if geometry.eta_axis == 0 else (phi, eta)
    active = (showers > 0) & (showers >= np.float32(max(threshold, pixel_cut_MeV)))
    return ImageObservables(
        {"E_vis": out["E_tot"], "E_peak": out["brightest"][:, :, 0].max(axis=1), "CG_x": x, "CG_y": y},
        np.asarray(showers)[active],
        np.concatenate([[0], np.cumsum(active.sum(axis=1))]),
    )
