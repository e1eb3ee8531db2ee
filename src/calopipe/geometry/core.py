"""The voxelisation of a calorimeter: which voxel lies where, and how a flat shower unfolds into layers.

Two kinds exist. In a *cylindrical* geometry a layer is binned in alpha and r (CaloChallenge, arXiv:2410.21611, sec. 2);
in a *cartesian* one in x and y (CaloGAN, arXiv:1712.10321; ILD; images). The flat voxel order is layer, then the first
axis (alpha or x), then the second (r or y), which runs fastest.

Voxel centres: r is the middle of its two edges, the alpha bins split (-pi, pi] evenly and alpha is the middle of its
bin, eta = r cos(alpha), phi = r sin(alpha), all in mm (the CaloChallenge's names for the two transverse directions).
In a cartesian geometry `eta_axis` says which index runs along eta, because published formats differ.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import GeometryError, repeated
from calopipe.geometry import derived
from calopipe.geometry.layer import Layer, regular_grid
from calopipe.geometry.neighbours import Neighbours, layer_pairs

KINDS = ("cylindrical", "cartesian")
MAX_LAYERS, MAX_VOXELS = 10_000, 2_000_000


@dataclass(frozen=True)
class Geometry:
    """A frozen calorimeter voxelisation of V voxels in L layers; every array it returns is read-only.

    Args:
        name: name of the geometry, e.g. "calochallenge2".
        kind: "cylindrical" (layers binned in alpha, r) or "cartesian" (x, y).
        layers: the layers that hold voxels, in the order of the flat shower.
        threshold_MeV: default readout threshold: smaller voxel energies count as zero.
        eta_axis: cartesian only: 0 when the first index (x) runs along eta, 1 when the second (y) does.
        description: one line for the reader.

    Raises:
        GeometryError: on an unknown kind, no layers, repeated layer ids, negative radii or a negative threshold.
    """

    name: str
    kind: str
    layers: tuple[Layer, ...]
    threshold_MeV: float = 0.0
    eta_axis: int = 0
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        where = f"geometry '{self.name}'"
        if self.kind not in KINDS:
            raise GeometryError(f"{where}: kind must be one of {', '.join(KINDS)}, found {self.kind!r}")
        if not self.layers:
            raise GeometryError(f"{where}: no layer holds voxels")
        if len(self.layers) > MAX_LAYERS or self.n_voxels > MAX_VOXELS:
            found = f"{len(self.layers)} layers, {self.n_voxels} voxels"
            raise GeometryError(f"{where}: expected at most {MAX_LAYERS} layers and {MAX_VOXELS} voxels, found {found}")
        again = repeated(self.layer_ids)
        if again is not None:
            raise GeometryError(f"{where}: layer ids must differ, found {again} more than once")
        if self.kind == "cylindrical" and any(layer.second_edges[0] < 0 for layer in self.layers):
            raise GeometryError(f"{where}: r_edges must not be negative")
        if isinstance(self.eta_axis, bool) or self.eta_axis not in (0, 1):
            raise GeometryError(f"{where}: eta_axis must be 0 or 1, found {self.eta_axis!r}")
        if not (math.isfinite(self.threshold_MeV) and self.threshold_MeV >= 0):
            raise GeometryError(f"{where}: threshold_MeV must be a number >= 0, found {self.threshold_MeV!r}")

    # ---- layers -----------------------------------------------------------------------------------------------
    @property
    def layer_ids(self) -> tuple[int, ...]:
        """The detector's number of each layer, length L."""
        return tuple(layer.id for layer in self.layers)

    @property
    def n_layers(self) -> int:
        """Number of layers L."""
        return len(self.layers)

    @property
    def n_voxels(self) -> int:
        """Number of voxels V of a shower."""
        return sum(self.layer_sizes)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Number of voxels of each layer, length L."""
        return tuple(layer.size for layer in self.layers)

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape of each layer, (n_alpha, n_r) or (n_x, n_y), length L."""
        return tuple(layer.shape for layer in self.layers)

    @cached_property
    def layer_slices(self) -> tuple[slice, ...]:
        """The slice of the flat shower that belongs to each layer, length L."""
        ends = np.cumsum((0, *self.layer_sizes)).tolist()
        return tuple(slice(a, b) for a, b in itertools.pairwise(ends))

    @cached_property
    def layer_index(self) -> NDArray[np.int64]:
        """Index (0 to L - 1, not the id) of each voxel's layer, shape (V,)."""
        return _frozen(np.repeat(np.arange(self.n_layers), self.layer_sizes))

    @property
    def alpha_layers(self) -> tuple[int, ...]:
        """Indices of the layers with transverse structure in two dimensions: binned in alpha, or cartesian."""
        return tuple(i for i, la in enumerate(self.layers) if self.kind == "cartesian" or la.shape[0] > 1)

    def layer_shape(self, i: int) -> tuple[int, int]:
        """Shape of layer index `i`: (n_alpha, n_r) or (n_x, n_y)."""
        return self.layers[i].shape

    @property
    def grid(self) -> tuple[int, int, int]:
        """Shape (L, n_first, n_second) of a shower as one block of cells. GeometryError when layers are not alike."""
        return regular_grid(self.layer_shapes, f"geometry '{self.name}'")

    def edges(self, i: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bin edges of layer index `i`: (alpha in rad, r in mm) or (x, y) in mm."""
        return _frozen(np.array(self.layers[i].first_edges)), _frozen(np.array(self.layers[i].second_edges))

    def reshape_layer(self, showers: Any, i: int) -> Any:
        """Cut layer index `i` out of flat showers (..., V) and unfold it: (..., n_alpha, n_r) or (..., n_x, n_y).

        Works on numpy arrays and on torch tensors. Raises GeometryError when the last axis is not V long.
        """
        if showers.shape[-1] != self.n_voxels:
            found = tuple(showers.shape)
            raise GeometryError(f"geometry '{self.name}' has {self.n_voxels} voxels; showers have shape {found}")
        return showers[..., self.layer_slices[i]].reshape(*showers.shape[:-1], *self.layer_shape(i))

    # ---- voxel centres ----------------------------------------------------------------------------------------
    @cached_property
    def _centres(self) -> tuple[NDArray[np.float64], ...]:
        """(eta, phi, r, alpha) of all voxels."""
        parts = []
        for i in range(self.n_layers):
            first, second = (0.5 * (edges[:-1] + edges[1:]) for edges in self.edges(i))
            a, b = (grid.ravel() for grid in np.meshgrid(first, second, indexing="ij"))
            if self.kind == "cylindrical":
                parts.append((b * np.cos(a), b * np.sin(a), b, a))
            else:
                eta, phi = (a, b) if self.eta_axis == 0 else (b, a)
                parts.append((eta, phi, np.hypot(eta, phi), np.arctan2(phi, eta)))
        return tuple(_frozen(np.concatenate(columns)) for columns in zip(*parts, strict=True))

    @property
    def eta(self) -> NDArray[np.float64]:
        """Transverse coordinate eta of the voxel centres in mm, shape (V,)."""
        return self._centres[0]

    @property
    def phi(self) -> NDArray[np.float64]:
        """Transverse coordinate phi of the voxel centres in mm, shape (V,)."""
        return self._centres[1]

    @property
    def r(self) -> NDArray[np.float64]:
        """Distance of the voxel centres from the beam axis in mm, shape (V,)."""
        return self._centres[2]

    @property
    def alpha(self) -> NDArray[np.float64]:
        """Azimuth of the voxel centres around the beam axis in rad, shape (V,)."""
        return self._centres[3]

    @cached_property
    def z(self) -> NDArray[np.float64] | None:
        """Middle of each layer along the beam in mm, shape (L,), or None when any layer's depth is not known."""
        edges = [layer.z for layer in self.layers]
        if any(pair is None for pair in edges):
            return None
        return _frozen(np.array(edges, dtype=np.float64).mean(axis=1))

    def neighbours(self) -> Neighbours:
        """The 8-neighbourhood of every voxel within its layer, in compressed sparse rows.

        Cylindrical layers are periodic in alpha, and opposite innermost cells touch across the axis, so that voxels
        have 8 neighbours, the outermost ones 5 (Ernst 2023, section 4.3.2, figure 27).
        """
        return self._neighbours

    @cached_property
    def _neighbours(self) -> Neighbours:
        periodic = self.kind == "cylindrical"
        pairs = [
            layer_pairs(
                self.layer_shape(i),
                periodic and self.layers[i].second_edges[0] == 0,
                periodic,
            )
            + part.start
            for i, part in enumerate(self.layer_slices)
        ]
        return Neighbours.from_pairs(np.concatenate(pairs, axis=1), self.n_voxels)

    # ---- derived geometries, identity, text -------------------------------------------------------------------
    def selected(self, numbers: Sequence[int]) -> Geometry:
        """The geometry of the layers `numbers` alone (indices from 0, not the detector's ids, which they keep).

        The name gains "_layers0-1+3", which `load_geometry` understands. Source: Ernst 2023, section 4.2.2.

        Raises:
            GeometryError: no numbers, ones that do not increase, or one of a layer that does not exist.
        """
        return derived.selected(self, numbers)

    def pooled(self, kernel: Sequence[int]) -> Geometry:
        """The geometry after pooling each layer with `kernel` = (first axis, second axis), strides equal to the kernel.

        An axis whose bin number is not a multiple of the kernel is left unpooled in that layer, so that no voxel is
        dropped (CaloGAN's first layer has 3 rows, which (2, 1) cannot pair up). The name gains "_pool2x1", which
        `load_geometry` understands. The threshold is kept. Source: Ernst 2023, section 4.2.3.

        Raises:
            GeometryError: not cartesian, a kernel that is not two integers >= 1, or one that changes no layer.
        """
        return derived.pooled(self, kernel)

    def cropped(self, window: Sequence[int], centre: Sequence[int] | None = None) -> Geometry:
        """The geometry of a `window` = (cells along the first axis, along the second) of every layer.

        The name gains "_crop30x30", or "_crop15x15at15x15" where the window is not central, which `load_geometry` understands.
        What lies outside the window is lost.

        Args:
            window: numbers of cells.
            centre: the cell (from 0, along the first axis and the second) in the middle of the window, of an even number of cells the
                one behind its middle; None: the window is in the middle of the layer.

        Raises:
            GeometryError: not cartesian, layers that are not alike, a window that is larger than a layer or reaches over its edge, or
                one without a centre that cannot lie in the middle (an odd number of cells less).
        """
        return derived.cropped(self, window, centre)

    def summed(self) -> Geometry:
        """The geometry of one image: all layers summed along the beam. The name gains "_image", which `load_geometry`
        understands; the threshold is kept.

        Raises:
            GeometryError: not cartesian, or layers whose cells do not lie behind one another.
        """
        return derived.summed(self)

    def image(self, kernel: Sequence[int]) -> Geometry:
        """The geometry of one image: all layers summed along the beam, its cells pooled with `kernel` (Calomplification,
        arXiv:2202.07352, section 2).

        Raises:
            GeometryError: not cartesian, layers whose cells do not lie behind one another, or a kernel that does not
                divide their numbers.
        """
        return derived.image(self, kernel)

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the SHA-256 of what defines the voxels: kind, axes, layer ids and edges (to 9 digits).

        Name, description, threshold and z do not enter: a geometry read from the CaloChallenge's XML has the hash of
        the built-in one.
        """
        content = [self.kind, self.eta_axis] + [
            [
                layer.id,
                *([format(e, ".9g") for e in edges] for edges in (layer.first_edges, layer.second_edges)),
            ]
            for layer in self.layers
        ]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain content (str, float, list) for YAML, JSON or a checkpoint; :meth:`from_dict` is the inverse."""
        layers = [
            {
                "id": layer.id,
                "first_edges": list(layer.first_edges),
                "second_edges": list(layer.second_edges),
                "z": None if layer.z is None else list(layer.z),
            }
            for layer in self.layers
        ]
        return {
            "name": self.name,
            "kind": self.kind,
            "threshold_MeV": self.threshold_MeV,
            "eta_axis": self.eta_axis,
            "description": self.description,
            "layers": layers,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Geometry:
        """Rebuild a geometry from :meth:`to_dict`. Raises GeometryError when a key is missing or unknown."""
        try:
            layers = tuple(Layer(**layer) for layer in content["layers"])
            return cls(**{**content, "layers": layers})
        except (KeyError, TypeError) as error:
            raise GeometryError(f"not the content of a geometry: {error}") from error

    def summary(self) -> str:
        """A table of the layers for people."""
        head = [f"{self.name}: {self.kind}, {self.n_layers} layers, {self.n_voxels} voxels, hash {self.hash}"]
        head += [self.description] if self.description else []
        head.append(f"default threshold {self.threshold_MeV:g} MeV")
        axes = ("alpha", "r") if self.kind == "cylindrical" else ("x", "y")
        rows = [
            f"{'layer':>5} {'id':>3} {'n_' + axes[0]:>8} {'n_' + axes[1]:>5} {axes[1] + ' [mm]':>18} {'z [mm]':>15}"
        ]
        for i, layer in enumerate(self.layers):
            span = f"{layer.second_edges[0]:g} .. {layer.second_edges[-1]:g}"
            depth = "unknown" if layer.z is None else f"{layer.z[0]:g} .. {layer.z[1]:g}"
            rows.append(f"{i:>5} {layer.id:>3} {layer.shape[0]:>8} {layer.shape[1]:>5} {span:>18} {depth:>15}")
        return "\n".join(head + rows)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
