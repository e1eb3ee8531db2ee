"""Geometries made from others: a window of the cells, coarser cells, one image of all layers.

The names tell how they were made: "_crop30x30" and "_pool2x1", in the order of the steps, which `load_geometry`
understands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from calopipe.errors import GeometryError
from calopipe.geometry.layer import Layer

if TYPE_CHECKING:
    from calopipe.geometry.core import Geometry


def pooled(geometry: Geometry, kernel: Sequence[int]) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.pooled`."""
    steps = _pair(geometry, kernel, "pooling kernel")
    layers = tuple(layer.pooled(steps) for layer in geometry.layers)
    if layers == geometry.layers and steps != (1, 1):
        shapes = [layer.shape for layer in geometry.layers]
        raise GeometryError(f"kernel {steps} divides no layer of '{geometry.name}' (shapes {shapes})")
    return replace(geometry, name=f"{geometry.name}_pool{steps[0]}x{steps[1]}", layers=layers)


def cropped(geometry: Geometry, window: Sequence[int]) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.cropped`."""
    first, second = _pair(geometry, window, "window")
    _, *cells = geometry.grid
    for kept, n, axis in zip((first, second), cells, ("first", "second"), strict=True):
        if kept > n or (n - kept) % 2:
            raise GeometryError(
                f"geometry '{geometry.name}' has {cells[0]} x {cells[1]} cells: a window of {first} x {second} cells "
                f"{'is too large' if kept > n else 'cannot be in their centre'} along the {axis} index; expected "
                f"{n} cells less an even number"
            )
    layers = tuple(layer.cropped((first, second)) for layer in geometry.layers)
    return replace(geometry, name=f"{geometry.name}_crop{first}x{second}", layers=layers)


def image(geometry: Geometry, kernel: Sequence[int]) -> Geometry:
    """See :meth:`calopipe.geometry.Geometry.image`."""
    steps = _pair(geometry, kernel, "pooling kernel")
    _, *cells = geometry.grid
    first = geometry.layers[0]
    edges = {(layer.first_edges, layer.second_edges) for layer in geometry.layers}
    if len(edges) > 1:
        raise GeometryError(f"geometry '{geometry.name}': cells of its layers are not behind one another")
    if any(n % step for n, step in zip(cells, steps, strict=True)):
        found = f"{cells[0]} x {cells[1]} cells"
        raise GeometryError(f"geometry '{geometry.name}': {found} cannot be pooled by {steps[0]} x {steps[1]}")
    one = replace(geometry, name=f"{geometry.name}_image", layers=(Layer(0, first.first_edges, first.second_edges),))
    return pooled(one, steps)


def _pair(geometry: Geometry, value: Sequence[int], what: str) -> tuple[int, int]:
    if geometry.kind != "cartesian":
        doing = "pooling" if what == "pooling kernel" else "cropping"
        raise GeometryError(f"{doing} needs a cartesian geometry; '{geometry.name}' is {geometry.kind}")
    numbers = tuple(value)
    if len(numbers) != 2 or any(not isinstance(k, int | np.integer) or k < 1 for k in numbers):
        raise GeometryError(f"{what} must be two integers >= 1, found {value!r}")
    return int(numbers[0]), int(numbers[1])
