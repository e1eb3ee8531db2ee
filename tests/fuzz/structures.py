"""HDF5 files that are odd on purpose, by name: each function writes one, ``refused`` says whether a reader must refuse it.

They hold, or pretend to hold, 40 showers of 504 voxels in the CaloChallenge's layout. Sources lie beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

N, V = 40, 504
RNG = np.random.default_rng(7)
ENERGIES = RNG.uniform(1e3, 2e4, (N, 1)).astype("f4")
VOXELS = (RNG.exponential(10.0, (N, V)) * (RNG.random((N, V)) < 0.4)).astype("f4")

Build = Callable[[h5py.File, Path], None]
#: name -> (what writes it, whether it must be refused)
STRUCTURES: dict[str, tuple[Build, bool]] = {}


def refused(build: Build) -> Build:
    """Register a structure that no reader may take."""
    STRUCTURES[build.__name__] = build, True
    return build


def read(build: Build) -> Build:
    """Register a structure that holds all of the showers and is to be read."""
    STRUCTURES[build.__name__] = build, False
    return build


def make(name: str, path: Path) -> None:
    """Write the structure `name` to `path`, with what it needs beside it."""
    build = STRUCTURES[name][0]
    with h5py.File(path, "w", libver="latest" if "latest" in name else "earliest") as file:
        build(file, path)


def plain(path: Path, rows: slice = slice(None)) -> None:
    """An ordinary shower file."""
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = ENERGIES[rows], VOXELS[rows]


def _create(file: h5py.File, key: str, shape: tuple[int, ...], layout: int, **options: object) -> h5py.Dataset:
    """A dataset through the low-level interface, for layouts and allocation times that the other one does not offer."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(layout)
    for name, value in options.items():
        getattr(plist, name)(*value if isinstance(value, tuple | list) else (value,))
    space = h5py.h5s.create_simple(shape)
    return h5py.Dataset(h5py.h5d.create(file.id, key.encode(), h5py.h5t.IEEE_F32LE, space, plist))


def _view(file: h5py.File, key: str, pieces: list[tuple[object, str, str, tuple[int, ...], object]]) -> None:
    """A virtual dataset (N, V): (rows of the view, file, dataset, its shape, rows of it) per piece."""
    layout = h5py.VirtualLayout((N, V), dtype="f4")
    for rows, name, inner, shape, taken in pieces:
        layout[rows] = h5py.VirtualSource(name, inner, shape)[taken]
    file.create_virtual_dataset(key, layout)


# ---- links and kinds of objects ---------------------------------------------------------------------------------------
@refused
def dangling_soft_link(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, h5py.SoftLink("/gone")


@refused
def soft_link_through_nothing(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, h5py.SoftLink("/a/b/c")


@refused
def link_to_itself(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, h5py.SoftLink("/showers")


@refused
def links_in_a_loop(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file["showers"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/showers")


@read
def soft_link_inside(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["data/v"], file["showers"] = ENERGIES, VOXELS, h5py.SoftLink("/data/v")


@refused
def external_link_to_nothing(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, h5py.ExternalLink("nowhere.hdf5", "showers")


@refused
def external_link(file: h5py.File, path: Path) -> None:
    plain(path.with_name("other.hdf5"))
    file["incident_energies"], file["showers"] = ENERGIES, h5py.ExternalLink("other.hdf5", "showers")


@refused
def external_link_to_a_device(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, h5py.ExternalLink("/dev/zero", "showers")


@refused
def soft_link_through_an_external_one(file: h5py.File, path: Path) -> None:
    plain(path.with_name("other.hdf5"))
    file["incident_energies"], file["out"] = ENERGIES, h5py.ExternalLink("other.hdf5", "/")
    file["showers"] = h5py.SoftLink("/out/showers")


@refused
def group_for_dataset(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_group("showers")


@refused
def cyclic_groups(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file["showers"] = file["/"]


@refused
def named_type_for_dataset(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, np.dtype("f4")


@refused
def energies_are_a_group(file: h5py.File, path: Path) -> None:
    file["showers"] = VOXELS
    file.create_group("incident_energies")


# ---- data spaces and types --------------------------------------------------------------------------------------------
@refused
def null_space(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, h5py.Empty("f4")


@refused
def null_energies(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = h5py.Empty("f4"), VOXELS


@refused
def scalars(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = 1.0, 2.0


@refused
def compound(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, np.zeros((N, V), [("a", "f4"), ("b", "i4")])


@refused
def strings(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), h5py.string_dtype())


@refused
def opaque(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, np.zeros((N, V), "V7")


@refused
def complex_numbers(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, VOXELS.astype("c8")


@refused
def references(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), h5py.ref_dtype)


@refused
def ragged(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), h5py.vlen_dtype(np.float32))


@refused
def odd_float(file: h5py.File, path: Path) -> None:
    kind = h5py.h5t.IEEE_F64LE.copy()
    kind.set_fields(62, 40, 21, 0, 40)
    kind.set_ebias(999_999)
    space = h5py.h5s.create_simple((N, V))
    h5py.h5d.create(file.id, b"showers", kind, space)
    file["incident_energies"] = ENERGIES


@read
def half_and_big_endian(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES.astype(">f8"), VOXELS.astype(">f8")


@read
def names_and_attributes_of_others(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, VOXELS
    h5py.h5g.create(file.id, b"\xff\xfe group")
    file.attrs["empty"] = h5py.Empty("f4")
    file.attrs["reference"] = file["showers"].ref
    file.attrs["table"] = np.zeros(3, [("a", "f4"), ("b", "S3")])
    file.attrs["escape"] = "\x1b[31m red \x07"
    file.attrs["text"] = np.array(["a", "b"], dtype=h5py.string_dtype())
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5a.create(file.id, b"\xff name", h5py.h5t.NATIVE_INT8, space).write(np.array(1, "i1"))


@refused
def three_axes(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, VOXELS.reshape(N, 6, 84)


# ---- values ---------------------------------------------------------------------------------------------------------
@refused
def overflowing_sum(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, np.full((N, V), 3e38, "f4")


@refused
def overflowing_sum_of_wide_numbers(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = ENERGIES, np.full((N, V), 1e300)


@refused
def overflowing_energy(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["showers"] = np.full((N, 1), 3e38, "f4"), VOXELS


# ---- raw data elsewhere ----------------------------------------------------------------------------------------------
@refused
def external_storage(file: h5py.File, path: Path) -> None:
    raw = path.with_name("raw.bin")
    raw.write_bytes(VOXELS.tobytes())
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])


@refused
def external_storage_of_energies(file: h5py.File, path: Path) -> None:
    raw = path.with_name("raw.bin")
    raw.write_bytes(ENERGIES.tobytes())
    file["showers"] = VOXELS
    file.create_dataset("incident_energies", (N, 1), "f4", external=[("raw.bin", 0, ENERGIES.nbytes)])


# ---- views ----------------------------------------------------------------------------------------------------------
def _halves(path: Path) -> None:
    plain(path.with_name("first.hdf5"), slice(0, 20))
    plain(path.with_name("second.hdf5"), slice(20, N))


HALF = (20, V)


@read
def view_of_two_files(file: h5py.File, path: Path) -> None:
    _halves(path)
    file["incident_energies"] = ENERGIES
    pieces = [
        (np.s_[:20], "first.hdf5", "showers", HALF, np.s_[:]),
        (np.s_[20:], "second.hdf5", "showers", HALF, np.s_[:]),
    ]
    _view(file, "showers", pieces)


@read
def view_by_absolute_names(file: h5py.File, path: Path) -> None:
    _halves(path)
    file["incident_energies"] = ENERGIES
    names = (str(path.resolve().with_name(f"{name}.hdf5")).replace("%", "%%") for name in ("first", "second"))
    rows = (np.s_[:20], np.s_[20:])
    _view(file, "showers", [(r, n, "showers", HALF, np.s_[:]) for r, n in zip(rows, names, strict=True)])


@read
def view_of_the_same_file(file: h5py.File, path: Path) -> None:
    file["incident_energies"], file["data"] = ENERGIES, VOXELS
    _view(file, "showers", [(np.s_[:], ".", "data", (N, V), np.s_[:])])


@read
def view_of_every_second_row(file: h5py.File, path: Path) -> None:
    plain(path.with_name("evens.hdf5"), slice(0, N, 2))
    plain(path.with_name("odds.hdf5"), slice(1, N, 2))
    file["incident_energies"] = ENERGIES
    pieces = [
        (np.s_[::2], "evens.hdf5", "showers", HALF, np.s_[:]),
        (np.s_[1::2], "odds.hdf5", "showers", HALF, np.s_[:]),
    ]
    _view(file, "showers", pieces)


@read
def view_of_a_view(file: h5py.File, path: Path) -> None:
    plain(path.with_name("first.hdf5"))
    with h5py.File(path.with_name("middle.hdf5"), "w") as middle:
        _view(middle, "v", [(np.s_[:], "first.hdf5", "showers", (N, V), np.s_[:])])
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "middle.hdf5", "v", (N, V), np.s_[:])])


@refused
def view_with_missing_source(file: h5py.File, path: Path) -> None:
    _halves(path)
    file["incident_energies"] = ENERGIES
    pieces = [
        (np.s_[:20], "first.hdf5", "showers", HALF, np.s_[:]),
        (np.s_[20:], "moved_away.hdf5", "showers", HALF, np.s_[:]),
    ]
    _view(file, "showers", pieces)


@refused
def view_with_missing_energies(file: h5py.File, path: Path) -> None:
    file["showers"] = VOXELS
    layout = h5py.VirtualLayout((N, 1), dtype="f4")
    layout[:] = h5py.VirtualSource("moved_away.hdf5", "incident_energies", (N, 1))
    file.create_virtual_dataset("incident_energies", layout, fillvalue=1000.0)


@refused
def view_of_missing_dataset(file: h5py.File, path: Path) -> None:
    plain(path.with_name("first.hdf5"))
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "first.hdf5", "voxels", (N, V), np.s_[:])])


@refused
def view_of_a_shorter_dataset(file: h5py.File, path: Path) -> None:
    plain(path.with_name("first.hdf5"), slice(0, 30))
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "first.hdf5", "showers", (N, V), np.s_[:])])


@refused
def view_with_a_hole(file: h5py.File, path: Path) -> None:
    _halves(path)
    file["incident_energies"] = ENERGIES
    pieces = [
        (np.s_[:20], "first.hdf5", "showers", HALF, np.s_[:]),
        (np.s_[25:], "second.hdf5", "showers", HALF, np.s_[5:]),
    ]
    _view(file, "showers", pieces)


@refused
def view_with_a_hole_in_each_row(file: h5py.File, path: Path) -> None:
    plain(path.with_name("first.hdf5"))
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:, :500], "first.hdf5", "showers", (N, V), np.s_[:, :500])])


@refused
def view_twice_of_the_same_rows(file: h5py.File, path: Path) -> None:
    _halves(path)
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:20], "first.hdf5", "showers", HALF, np.s_[:])] * 2)


@refused
def view_of_nothing(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_virtual_dataset("showers", h5py.VirtualLayout((N, V), dtype="f4"))


@refused
def view_of_itself(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], ".", "showers", (N, V), np.s_[:])])


@refused
def view_of_another_folder(file: h5py.File, path: Path) -> None:
    folder = path.with_name("elsewhere")
    folder.mkdir(exist_ok=True)
    plain(folder / "first.hdf5")
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "elsewhere/first.hdf5", "showers", (N, V), np.s_[:])])


@refused
def view_of_a_folder_above(file: h5py.File, path: Path) -> None:
    plain(path.with_name("first.hdf5"))
    file["incident_energies"] = ENERGIES
    name = f"../{path.resolve().parent.name}/../first.hdf5"
    _view(file, "showers", [(np.s_[:], name.replace("%", "%%"), "showers", (N, V), np.s_[:])])


@refused
def view_through_a_symbolic_link(file: h5py.File, path: Path) -> None:
    folder, link = path.with_name("elsewhere"), path.with_name("link.hdf5")
    folder.mkdir(exist_ok=True)
    plain(folder / "first.hdf5")
    link.unlink(missing_ok=True)
    link.symlink_to(folder / "first.hdf5")
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "link.hdf5", "showers", (N, V), np.s_[:])])


@refused
def view_of_external_storage(file: h5py.File, path: Path) -> None:
    path.with_name("raw.bin").write_bytes(VOXELS.tobytes())
    with h5py.File(path.with_name("first.hdf5"), "w") as other:
        other.create_dataset("showers", (N, V), "f4", external=[("raw.bin", 0, VOXELS.nbytes)])
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "first.hdf5", "showers", (N, V), np.s_[:])])


@refused
def view_of_an_external_link(file: h5py.File, path: Path) -> None:
    plain(path.with_name("first.hdf5"))
    with h5py.File(path.with_name("middle.hdf5"), "w") as middle:
        middle["v"] = h5py.ExternalLink("first.hdf5", "showers")
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "middle.hdf5", "v", (N, V), np.s_[:])])


@refused
def view_of_an_unwritten_dataset(file: h5py.File, path: Path) -> None:
    with h5py.File(path.with_name("first.hdf5"), "w") as other:
        other.create_dataset("showers", (N, V), "f4", chunks=(10, V))[:20] = VOXELS[:20]
    file["incident_energies"] = ENERGIES
    _view(file, "showers", [(np.s_[:], "first.hdf5", "showers", (N, V), np.s_[:])])


@refused
def view_of_a_series_latest(file: h5py.File, path: Path) -> None:
    plain(path.with_name("part_0.hdf5"))
    file["incident_energies"] = ENERGIES
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    whole = h5py.h5s.create_simple((N, V), (h5py.h5s.UNLIMITED, V))
    whole.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), stride=(N, V), block=(N, V))
    plist.set_virtual(whole, b"part_%b.hdf5", b"showers", h5py.h5s.create_simple((N, V)))
    space = h5py.h5s.create_simple((N, V), (h5py.h5s.UNLIMITED, V))
    h5py.h5d.create(file.id, b"showers", h5py.h5t.IEEE_F32LE, space, plist)


# ---- never written --------------------------------------------------------------------------------------------------
@refused
def chunks_never_written(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", chunks=(10, V))


@refused
def last_chunks_never_written(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", chunks=(10, V), compression="gzip")[:20] = VOXELS[:20]


@refused
def last_chunks_never_written_latest(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", chunks=(10, V))[:20] = VOXELS[:20]


@refused
def middle_chunk_never_written(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    showers = file.create_dataset("showers", (N, V), "f4", chunks=(10, 252), maxshape=(None, V))
    showers[:] = 0
    showers.id.get_offset()
    again = file.create_dataset("other", (N, V), "f4", chunks=(10, 252))
    again[:20], again[30:], again[20:30, :252] = VOXELS[:20], VOXELS[30:], VOXELS[20:30, :252]
    del file["showers"]
    file.move("other", "showers")


@refused
def grown_after_writing(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    showers = file.create_dataset("showers", (20, V), "f4", chunks=(10, V), maxshape=(None, V), data=VOXELS[:20])
    showers.resize(N, axis=0)


@refused
def contiguous_never_written(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4")


@refused
def energies_never_written(file: h5py.File, path: Path) -> None:
    file["showers"] = VOXELS
    file.create_dataset("incident_energies", (N, 1), "f4", fillvalue=1000.0)


@refused
def rows_of_fill_value(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", chunks=(N, V), fillvalue=0.5)[:30] = VOXELS[:30]


@refused
def rows_of_fill_value_in_a_compact_dataset(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES[:10]
    value = np.array(0.5, "f4")
    showers = _create(file, "showers", (10, V), h5py.h5d.COMPACT, set_fill_value=value)
    showers[:5] = VOXELS[:5]


@refused
def rows_of_nan(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", chunks=(N, V), fillvalue=np.nan)[:30] = VOXELS[:30]


@read
def fill_value_that_is_not_used(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, V), "f4", chunks=(7, V), fillvalue=0.5)[:] = VOXELS


@read
def chunks_of_all_kinds_latest(file: h5py.File, path: Path) -> None:
    file.create_dataset("incident_energies", data=ENERGIES, chunks=(N, 1), compression="gzip")
    file.create_dataset("showers", data=VOXELS, chunks=(7, 100), maxshape=(None, None), shuffle=True, fletcher32=True)


@read
def chunks_allocated_early_latest(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    early = h5py.h5d.ALLOC_TIME_EARLY
    showers = _create(file, "showers", (N, V), h5py.h5d.CHUNKED, set_chunk=((7, 100),), set_alloc_time=early)
    showers[:] = VOXELS


# ---- declared sizes -------------------------------------------------------------------------------------------------
@refused
def bomb_of_rows(file: h5py.File, path: Path) -> None:
    file.create_dataset("incident_energies", (10**9, 1), "f4", chunks=(1000, 1), fillvalue=1000.0)
    file.create_dataset("showers", (10**9, V), "f4", chunks=(100, V))[:10] = 1.0


@refused
def bomb_of_rows_contiguous(file: h5py.File, path: Path) -> None:
    file.create_dataset("incident_energies", (10**9, 1), "f4")
    file.create_dataset("showers", (10**9, V), "f4")


@refused
def bomb_of_fewer_rows(file: h5py.File, path: Path) -> None:
    n = 5 * 10**7
    file.create_dataset("incident_energies", (n, 1), "f4", chunks=(1000, 1), fillvalue=1000.0)
    file.create_dataset("showers", (n, V), "f4", chunks=(100, V))[:10] = 1.0


@refused
def bomb_of_voxels(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, 10**12), "f4", chunks=(1, 1000))


@refused
def bomb_of_a_view(file: h5py.File, path: Path) -> None:
    file.create_dataset("incident_energies", (10**8, 1), "f4", chunks=(1000, 1), fillvalue=1000.0)
    file.create_virtual_dataset("showers", h5py.VirtualLayout((10**8, V), dtype="f4"))


@refused
def bomb_of_one_chunk(file: h5py.File, path: Path) -> None:
    n = 2 * 10**6
    file.create_dataset("incident_energies", (n, 1), "f4", chunks=(n, 1), fillvalue=1000.0, compression="gzip")
    file.create_dataset("showers", (n, V), "f4", chunks=(n, V), compression="gzip")


@refused
def bomb_of_axes(file: h5py.File, path: Path) -> None:
    file["incident_energies"] = ENERGIES
    file.create_dataset("showers", (N, *[2**20] * 3), "f4", chunks=(1, 1, 1, 1000))
