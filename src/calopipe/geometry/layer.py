"""One layer of a calorimeter: its bin edges and its place along the beam."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

from calopipe.errors import GeometryError


@dataclass(frozen=True)
class Layer:
    """One calorimeter layer.

    Args:
        id: the detector's number of the layer (set 1 of the CaloChallenge: ATLAS samplings 0, 1, 2, 3, 12, ...).
        first_edges: bin edges along the first index: alpha in rad (cylindrical) or x in mm (cartesian).
        second_edges: bin edges along the second, fastest index: r in mm (cylindrical) or y in mm (cartesian).
        z: (front, back) of the layer along the beam in mm, or None when it is not known.

    Raises:
        GeometryError: edges that are not finite and strictly increasing, or fewer than two of them.
    """

    id: int
    first_edges: tuple[float, ...]
    second_edges: tuple[float, ...]
    z: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("first_edges", "second_edges"):
            object.__setattr__(self, name, _edges(getattr(self, name), f"layer {self.id}: {name}"))
        if self.z is not None:
            z = _edges(self.z, f"layer {self.id}: z")
            if len(z) != 2:
                raise GeometryError(f"layer {self.id}: z must be two numbers (front, back) in mm, found {self.z}")
            object.__setattr__(self, "z", z)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins (first, second): (n_alpha, n_r) or (n_x, n_y)."""
        return len(self.first_edges) - 1, len(self.second_edges) - 1

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def pooled(self, kernel: tuple[int, int]) -> Layer:
        """The layer with bins merged in groups of `kernel`; an axis that does not divide evenly is left as it is."""
        first, second = (
            edges[::step] if (len(edges) - 1) % step == 0 else edges
            for edges, step in zip((self.first_edges, self.second_edges), kernel, strict=True)
        )
        return replace(self, first_edges=first, second_edges=second)

    def cropped(self, window: tuple[int, int]) -> Layer:
        """The layer's central bins, so many along each axis; see :meth:`calopipe.geometry.Geometry.cropped`."""
        starts = [(n - kept) // 2 for n, kept in zip(self.shape, window, strict=True)]
        first, second = (
            edges[start : start + kept + 1]
            for edges, start, kept in zip((self.first_edges, self.second_edges), starts, window, strict=True)
        )
        return replace(self, first_edges=first, second_edges=second)


def _edges(values: Any, where: str) -> tuple[float, ...]:
    try:
        edges = tuple(float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise GeometryError(f"{where} must be a list of numbers, found {values!r}") from error
    if len(edges) < 2 or not all(map(math.isfinite, edges)) or any(b <= a for a, b in itertools.pairwise(edges)):
        raise GeometryError(f"{where} must be two or more finite, increasing numbers, found {list(edges)}")
    return edges
