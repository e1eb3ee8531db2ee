"""Geometries made from others: some of the layers, a window of the cells, one image of all layers, coarser cells.

The names tell how they were made: "_layers0-1+3", "_crop30x30" (or "_crop15x15at15x15"), "_image" and "_pool2x1", in the order of the steps,
which `load_geometry` understands.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from calopipe.errors import GeometryError, shown
from calopipe.geometry.layer import Layer

if TYPE_CHECKING:
    from calopipe.geometry.core import Geometry


def selected(geometry: Geometry, numbers: Sequence[int]) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.selected`."""
    n, found = geometry.n_layers, list(numbers)
    whole = all(isinstance(i, int | np.integer) and not isinstance(i, bool) and 0 <= i < n for i in found)
    if not found or not whole or any(b <= a for a, b in itertools.pairwise(found)):
        expected = f"numbers from 0 to {n - 1} that increase (geometry '{geometry.name}' has {n} layers)"
        raise GeometryError(f"layers: expected {expected}, found {shown(found)}")
    name = f"{geometry.name}_layers{_runs([int(i) for i in found])}"
    return replace(geometry, name=name, layers=tuple(geometry.layers[i] for i in found))


def listed(text: str) -> list[int]:
    """The layer numbers of the end of a name: ``0-1+3`` is [0, 1, 3]."""
    ends = ([int(end) for end in part.split("-")] for part in text.split("+"))
    return [i for run in ends for i in range(run[0], run[-1] + 1)]


def _runs(numbers: Sequence[int]) -> str:
    """Increasing numbers as text, the inverse of :func:`listed`."""
    runs: list[list[int]] = []
    for i in numbers:
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return "+".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def pooled(geometry: Geometry, kernel: Sequence[int]) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.pooled`."""
    steps = _pair(geometry, kernel, "pooling kernel")
    layers = tuple(layer.pooled(steps) for layer in geometry.layers)
    if layers == geometry.layers and steps != (1, 1):
        shapes = geometry.layer_shapes
        raise GeometryError(f"kernel {steps} divides no layer of '{geometry.name}' (shapes {shapes})")
    return replace(geometry, name=f"{geometry.name}_pool{steps[0]}x{steps[1]}", layers=layers)


def cropped(geometry: Geometry, window: Sequence[int], centre: Sequence[int] | None = None) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.cropped`."""
    starts, (first, second) = window_of(geometry, window, centre)
    layers = tuple(layer.cropped(starts, (first, second)) for layer in geometry.layers)
    _, *cells = geometry.grid
    name = f"{geometry.name}_crop{first}x{second}"
    if any(2 * start != n - kept for start, kept, n in zip(starts, (first, second), cells, strict=True)):
        name += f"at{starts[0] + first // 2}x{starts[1] + second // 2}"
    return replace(geometry, name=name, layers=layers)


def window_of(
    geometry: Geometry, window: Sequence[int], centre: Sequence[int] | None = None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First cells of a window along both axes, and its numbers of cells; see :meth:`calopipe.geometry.Geometry.cropped`."""
    kept = _pair(geometry, window, "window")
    middle = (None, None) if centre is None else _pair(geometry, centre, "centre", lowest=0)
    _, *cells = geometry.grid
    starts = []
    for axis, k, n, cell in zip(("first", "second"), kept, cells, middle, strict=True):
        try:
            starts.append(window_start(k, n, cell, axis))
        except ValueError as error:
            found = f"{cells[0]} x {cells[1]} cells: a window of {kept[0]} x {kept[1]} cells"
            raise GeometryError(f"geometry '{geometry.name}' has {found} {error}") from None
    return (starts[0], starts[1]), kept


def window_start(kept: int, n: int, middle: int | None, axis: str) -> int:
    """First of the `kept` cells of a window among `n` along an index (`axis`: its name), around the cell `middle`.

    Raises:
        ValueError: what is wrong with the window, and what was expected.
    """
    if kept > n:
        raise ValueError(f"is too large along the {axis} index; expected at most {n} cells")
    if middle is None:
        if (n - kept) % 2:
            expected = f"{n} cells less an even number, or the centre of the window"
            raise ValueError(f"cannot be in their centre along the {axis} index; expected {expected}")
        return (n - kept) // 2
    if not 0 <= middle - kept // 2 <= n - kept:
        expected = f"a centre from {kept // 2} to {n - kept + kept // 2}"
        raise ValueError(f"around cell {middle} reaches over the edge along the {axis} index; expected {expected}")
    return middle - kept // 2


def summed(geometry: Geometry) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.summed`."""
    _require_cartesian(geometry, "summing the layers")
    _ = geometry.grid  # raises GeometryError where layers are not alike
    first = geometry.layers[0]
    edges = {(layer.first_edges, layer.second_edges) for layer in geometry.layers}
    if len(edges) > 1:
        raise GeometryError(f"geometry '{geometry.name}': cells of its layers are not behind one another")
    return replace(geometry, name=f"{geometry.name}_image", layers=(Layer(0, first.first_edges, first.second_edges),))


def image(geometry: Geometry, kernel: Sequence[int]) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.image`."""
    steps, one = _pair(geometry, kernel, "pooling kernel"), summed(geometry)
    _, *cells = one.grid
    if any(n % step for n, step in zip(cells, steps, strict=True)):
        found = f"{cells[0]} x {cells[1]} cells"
        raise GeometryError(f"geometry '{geometry.name}': {found} cannot be pooled by {steps[0]} x {steps[1]}")
    return pooled(one, steps)


def pooled_in_turn(
    geometry: Geometry, kernels: Sequence[Sequence[int]]
) -> list[tuple[tuple[int, int], Geometry, Geometry]]:
    """Pooling with one kernel after the other (Ernst 2023, section 4.2.3: (2, 1) and (1, 2), again and again).

    Returns:
        (kernel, geometry before, geometry after) of each step. Of several kernels those that have nothing left to merge
        (CaloGAN's layers with 3 rows) are left out.

    Raises:
        GeometryError: see :meth:`calopipe.geometry.Geometry.pooled`; none of the kernels merges anything.
    """
    steps: list[tuple[tuple[int, int], Geometry, Geometry]] = []
    for kernel in kernels:
        pair = _pair(geometry, kernel, "pooling kernel")
        if len(kernels) == 1 or any(layer.pooled(pair) != layer for layer in geometry.layers):
            steps.append((pair, geometry, pooled(geometry, pair)))
            geometry = steps[-1][2]
    if kernels and not steps:
        shapes = geometry.layer_shapes
        raise GeometryError(
            f"none of the kernels {list(kernels)} divides a layer of '{geometry.name}' (shapes {shapes})"
        )
    return steps


def prepared(
    geometry: Geometry,
    layers: Sequence[int] | None = None,
    crop: Sequence[int] | None = None,
    sum_layers: bool = False,
    pool: Sequence[Sequence[int]] | None = None,
    *,
    centre: Sequence[int] | None = None,
) -> Geometry:
    """The geometry of some layers of showers, which are cropped, then summed, then pooled with one kernel after the other.

    `crop` and `centre` are the window's, see :meth:`calopipe.geometry.Geometry.cropped`.

    Raises:
        GeometryError: the geometry has no such layers, or cannot be cropped, summed or pooled so.
    """
    geometry = geometry if layers is None else selected(geometry, layers)
    geometry = geometry if crop is None else cropped(geometry, crop, centre)
    geometry = summed(geometry) if sum_layers else geometry
    return pooled_in_turn(geometry, pool)[-1][2] if pool else geometry


def _pair(geometry: Geometry, value: Sequence[int], what: str, lowest: int = 1) -> tuple[int, int]:
    _require_cartesian(geometry, "pooling" if what == "pooling kernel" else "cropping")
    numbers = tuple(value)
    if len(numbers) != 2 or any(not isinstance(k, int | np.integer) or k < lowest for k in numbers):
        raise GeometryError(f"{what} must be two integers >= {lowest}, found {value!r}")
    return int(numbers[0]), int(numbers[1])


def _require_cartesian(geometry: Geometry, doing: str) -> None:
    if geometry.kind != "cartesian":
        raise GeometryError(f"{doing} needs a cartesian geometry; '{geometry.name}' is {geometry.kind}")
