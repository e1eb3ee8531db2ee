"""One layer of a calorimeter: its bin edges and its place along the beam."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calopipe.errors import GeometryError, shown

#: bins along one axis, at most
MAX_BINS = 100_000
#: mm; beyond it differences of edges are no longer exact
MAX_LENGTH = 1e9


def number(value: Any, where: str) -> float:
    """`value` as float. Raises GeometryError where it is no finite number of at most `MAX_LENGTH`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise GeometryError(f"{where} must be a number, found {shown(value)}")
    # an integer of 400 digits has no float, but it is compared with one
    if not -MAX_LENGTH <= value <= MAX_LENGTH:
        raise GeometryError(f"{where} must be finite and at most {MAX_LENGTH:.0e}, found {shown(value)}")
    return float(value)


def count(value: Any, where: str, minimum: int = 1, maximum: int = MAX_BINS) -> int:
    """`value`, an integer within bounds, or GeometryError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not minimum <= value <= maximum:
        raise GeometryError(f"{where} must be an integer >= {minimum} and <= {maximum}, found {shown(value)}")
    return int(value)


def alpha_edges(n_alpha: int) -> tuple[float, ...]:
    """Edges in rad of `n_alpha` equal bins of (-pi, pi]."""
    return tuple(np.linspace(-np.pi, np.pi, n_alpha + 1).tolist())


def regular_grid(shapes: Sequence[tuple[int, int]], where: str) -> tuple[int, int, int]:
    """(L, n_first, n_second) of L layers of equal shapes. GeometryError, of `where`, when they are not alike."""
    if len(set(shapes)) != 1:
        found = ", ".join(f"{a} x {b}" for a, b in sorted(set(shapes))) or "no"
        raise GeometryError(f"{where} is no regular grid: its layers have {found} cells")
    return (len(shapes), *shapes[0])


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
        object.__setattr__(self, "id", count(self.id, "layer id", minimum=-1, maximum=2**31 - 1))
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

    def cropped(self, starts: tuple[int, int], window: tuple[int, int]) -> Layer:
        """The bins from `starts` on, so many along each axis; see :meth:`calopipe.geometry.Geometry.cropped`."""
        first, second = (
            edges[start : start + kept + 1]
            for edges, start, kept in zip((self.first_edges, self.second_edges), starts, window, strict=True)
        )
        return replace(self, first_edges=first, second_edges=second)


def _edges(values: Any, where: str) -> tuple[float, ...]:
    if isinstance(values, str | bytes | dict) or not hasattr(values, "__len__"):
        raise GeometryError(f"{where} must be a list of numbers, found {shown(values)}")
    if len(values) > MAX_BINS + 1:
        raise GeometryError(f"{where}: expected at most {MAX_BINS} bins, found {len(values) - 1}")
    edges = tuple(number(value, where) for value in values)
    if len(edges) < 2 or any(b <= a for a, b in itertools.pairwise(edges)):
        raise GeometryError(f"{where} must be two or more increasing numbers, found {shown(list(edges))}")
    return edges
