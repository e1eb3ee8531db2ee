"""Virtual datasets: views of datasets in other files, which HDF5 fills with zeros where a source is missing.

They are read only where every value comes from a source that is there, complete and in the folder of the view itself: a
view of /home/somebody/private.hdf5 would carry that file's contents into results that are passed on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.errors import DataError
from calopipe.io.hdf5 import dataset, open_hdf5
from calopipe.io.storage import check_stored, n_values, unwritten

if TYPE_CHECKING:
    import h5py

#: virtual datasets of virtual datasets of ...
_MAX_DEPTH = 8
#: pieces of a virtual dataset, and cells that their edges cut it into
_MAX_PIECES = 100_000
_MAX_CELLS = 10**8
#: views that this process wrote, whose sources may lie anywhere: real path -> real paths of the sources
_OWN_VIEWS: dict[str, frozenset[str]] = {}


@contextmanager
def own_view(target: Path, sources: Sequence[Path]) -> Iterator[None]:
    """While the body runs, virtual datasets of `target` may lie in `sources`, in any folder."""
    key = os.path.realpath(target)
    _OWN_VIEWS[key] = frozenset(map(os.path.realpath, sources))
    try:
        yield
    finally:
        del _OWN_VIEWS[key]


def check_view(found: h5py.Dataset, path: Path, key: str, depth: int) -> set[float]:
    """Every value comes from a source that is there, is complete itself, and lies where it may."""
    place = f"dataset '{key}'"
    if depth > _MAX_DEPTH:
        raise DataError(f"{path}: {place} is a view of views of views ... ({_MAX_DEPTH} deep)")
    if os.environ.get("HDF5_VDS_PREFIX"):
        raise DataError(f"{path}: {place} is virtual, and HDF5_VDS_PREFIX moves its sources; unset that variable")
    pieces = found.virtual_sources()
    if len(pieces) > _MAX_PIECES:
        raise DataError(f"{path}: {place} is a view of {len(pieces)} pieces, more than {_MAX_PIECES}")
    sources: dict[tuple[str, str], list[Any]] = {}
    for piece in pieces:
        sources.setdefault((piece.file_name, piece.dset_name), []).append(piece)
    fills = set()
    for (name, inner), parts in sources.items():
        fills |= _check_source(found, path, key, depth, name, inner, parts)
    missing = _uncovered([_masks(piece.vspace, path, place) for piece in pieces], found.shape, path, place)
    if missing:
        raise DataError(f"{path}: {place} is incomplete: {unwritten(missing, found)}")
    return fills


def _check_source(
    found: h5py.Dataset, path: Path, key: str, depth: int, name: str, inner: str, parts: list[Any]
) -> set[float]:
    """Check one source dataset, from which `parts` of a view are taken."""
    place = f"dataset '{key}'"
    if name == ".":
        target = dataset(found.file, path, inner)
        _check_fits(target.shape, parts, path, f"'{inner}'")
        return check_stored(target, path, inner, depth + 1)
    source = _source_file(path, place, name)
    with _named(path, place), open_hdf5(source) as file:
        target = dataset(file, source, inner)
        _check_fits(target.shape, parts, source, f"'{inner}'")
        return check_stored(target, source, inner, depth + 1)


@contextmanager
def _named(path: Path, place: str) -> Iterator[None]:
    """Let what is wrong with a source begin with the name of the view."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {place} is a view of another file; {error}") from error


def _source_file(path: Path, place: str, name: str) -> Path:
    """Where HDF5 finds a source: in the folder of the view; only for our own views elsewhere."""
    if re.search(r"(?<!%)(?:%%)*%\d*b", name):
        raise DataError(f"{path}: {place} is a view of a series of files ('{name}'); such series are not read")
    name = name.replace("%%", "%")
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    candidate = os.path.join(folder, name) if not os.path.isabs(name) or os.path.exists(name) else _beside(folder, name)
    target = os.path.realpath(candidate)
    if not os.path.lexists(candidate):
        raise DataError(f"{path}: {place} is a view of {name}, which is missing (HDF5 would read zeros)")
    if target in _OWN_VIEWS.get(real, ()):
        return Path(target)
    if os.path.dirname(os.path.normpath(candidate)) != folder or os.path.dirname(target) != folder:
        raise DataError(f"{path}: {place} is a view of {name}; only files in its own folder are read")
    return Path(candidate)


def _beside(folder: str, name: str) -> str:
    """HDF5 takes a file of that name in the view's folder where the absolute path is gone."""
    beside = os.path.join(folder, os.path.basename(name))
    return beside if os.path.exists(beside) else name


def _check_fits(shape: tuple[int, ...], parts: list[Any], source: Path, place: str) -> None:
    import h5py

    for part in parts:
        if part.src_space.get_select_type() == h5py.h5s.SEL_ALL:
            fits = n_values(shape) == part.vspace.get_select_npoints()
            wanted = f"{part.vspace.get_select_npoints()} values"
        else:
            ends = part.src_space.get_select_bounds()[1]
            fits = len(ends) == len(shape) and all(end < n for end, n in zip(ends, shape, strict=True))
            wanted = f"values up to {tuple(int(end) for end in ends)}"
        if not fits:
            raise DataError(f"{source}: {place} has shape {shape}, but the view takes {wanted}")


def _masks(space: Any, path: Path, place: str) -> list[list[NDArray[np.int64]]]:
    """A selection as boxes: per box and axis the ranges (k, 2) from first to end, whose product it is."""
    import h5py

    dims = space.get_simple_extent_dims()
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL:
        return [[np.array([[0, n]]) for n in dims]]
    if kind != h5py.h5s.SEL_HYPERSLABS:
        raise DataError(f"{path}: {place} is a view of single points, which is not read")
    if space.is_regular_hyperslab():
        axes = list(zip(*space.get_regular_hyperslab(), strict=True))
        if any(
            max(count, block) >= 2**62 or (block < stride and count > _MAX_PIECES) for _, stride, count, block in axes
        ):
            raise DataError(f"{path}: {place} is a view without limits, or of too many pieces")
        return [[_ranges(*axis) for axis in axes]]
    if space.get_select_hyper_nblocks() > _MAX_PIECES:
        raise DataError(f"{path}: {place} is a view of too many pieces")
    blocks = space.get_select_hyper_blocklist()
    return [[np.array([[a, b + 1]]) for a, b in zip(first, last, strict=True)] for first, last in blocks]


def _ranges(start: int, stride: int, count: int, block: int) -> NDArray[np.int64]:
    if block >= stride or count == 1:
        return np.array([[start, start + (count - 1) * stride + block]])
    first = start + stride * np.arange(count)
    return np.stack([first, first + block], axis=1)


def _uncovered(
    selections: list[list[list[NDArray[np.int64]]]], shape: tuple[int, ...], path: Path, place: str
) -> list[tuple[int, int]]:
    """Ranges of rows in which the selections together do not hold every value."""
    if not n_values(shape):
        return []
    boxes = [box for selection in selections for box in selection]
    edges = []
    for axis, n in enumerate(shape):
        inner = [np.clip(box[axis], 0, n).ravel() for box in boxes]
        edges.append(np.unique(np.concatenate([[0, n], *inner])))
    if n_values([len(e) - 1 for e in edges]) > _MAX_CELLS:
        raise DataError(f"{path}: {place} is a view of too many pieces")
    covered = np.zeros([len(e) - 1 for e in edges], dtype=bool)
    for box in boxes:
        inside = [_inside(ranges, e) for ranges, e in zip(box, edges, strict=True)]
        covered[np.ix_(*inside)] = True
    rows = covered.reshape(len(covered), -1).all(axis=1)
    holes = np.flatnonzero(~rows)
    starts = edges[0]
    found: list[tuple[int, int]] = []
    for i in holes:
        first, end = int(starts[i]), int(starts[i + 1])
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found


def _inside(ranges: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cells between `edges` that the ranges (k, 2) hold; every end of a range is an edge."""
    first, last = np.searchsorted(edges, ranges[:, 0]), np.searchsorted(edges, ranges[:, 1])
    if len(first) == 1:
        return np.arange(first[0], last[0])
    return np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
