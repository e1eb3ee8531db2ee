"""HDF5 files that are damaged, incomplete or hostile: one clear line, and nothing read that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from calopipe.errors import DataError
from calopipe.io import file_info, iter_showers, joined_showers, read_incident_energies, read_showers, write_showers
from calopipe.io.hdf5 import open_hdf5
from calopipe.io.showers import ENERGY_LIMIT_MEV, Showers

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from structures import ENERGIES, STRUCTURES, VOXELS, N, V, make, plain


def refusal(path: Path) -> str:
    """The one line with which a file is refused, at once and without reading all of what it declares."""
    start = time.process_time()
    with pytest.raises(DataError) as caught:
        for _ in iter_showers(path):
            pass
    assert time.process_time() - start < 5
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


@pytest.mark.parametrize("name", [name for name, (_, bad) in STRUCTURES.items() if bad])
def test_refused(tmp_path: Path, name: str) -> None:
    make(name, tmp_path / "odd.hdf5")
    refusal(tmp_path / "odd.hdf5")


@pytest.mark.parametrize("name", [name for name, (_, bad) in STRUCTURES.items() if not bad])
def test_read(tmp_path: Path, name: str) -> None:
    make(name, tmp_path / "odd.hdf5")
    found = read_showers(tmp_path / "odd.hdf5")
    np.testing.assert_array_equal(found.showers, VOXELS)
    np.testing.assert_array_equal(found.incident_energies, ENERGIES)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dangling_soft_link", "'showers' is a link to '/gone', which the file does not have"),
        ("external_link", "external link to 'showers' of other.hdf5"),
        ("links_in_a_loop", "leads in a loop"),
        ("view_with_missing_source", "is a view of moved_away.hdf5, which is missing"),
        ("view_of_another_folder", "only files in its own folder are read"),
        ("external_storage", "dataset 'showers' stores its data in other files"),
        ("last_chunks_never_written", "20 of 40 rows were never written (rows 20 to 39)"),
        ("middle_chunk_never_written", "10 of 40 rows were never written (rows 20 to 29)"),
        ("view_with_a_hole", "5 of 40 rows were never written (rows 20 to 24)"),
        ("rows_of_fill_value", "row 30 holds the fill value 0.5 in every voxel"),
        ("view_of_a_shorter_dataset", "'showers' has shape (30, 504), but the view takes"),
        ("bomb_of_fewer_rows", "50000000 of 50000000 rows were never written"),
        ("group_for_dataset", "'showers' must be a dataset, found a group"),
        ("overflowing_sum", "1e+15 MeV"),
    ],
)
def test_messages(tmp_path: Path, name: str, words: str) -> None:
    make(name, tmp_path / "odd.hdf5")
    assert words in refusal(tmp_path / "odd.hdf5")


def test_files_of_the_field(shared: Path) -> None:
    for path in sorted((shared / "cases" / "damaged_hdf5").glob("*.hdf5")):
        if path.name != "keep-flip-15.hdf5":  # its flipped byte lies where nothing is stored
            refusal(path)


def test_attribute_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    plain(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        kind = h5py.h5t.create(h5py.h5t.COMPOUND, 8)
        kind.insert(b"t", 0, h5py.h5t.UNIX_D32LE)
        h5py.h5a.create(file.id, b"when", kind, h5py.h5s.create(h5py.h5s.SCALAR))
    assert "attribute 'when'" in refusal(tmp_path / "a.hdf5")


def test_environment_does_not_move_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("view_of_two_files", tmp_path / "view.hdf5")
    monkeypatch.setenv("HDF5_VDS_PREFIX", str(tmp_path / "elsewhere"))
    assert "HDF5_VDS_PREFIX" in refusal(tmp_path / "view.hdf5")


def test_view_found_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make("view_of_two_files", tmp_path / "data" / "view.hdf5")
    (tmp_path / "link.hdf5").symlink_to(tmp_path / "data" / "view.hdf5")
    np.testing.assert_array_equal(read_showers(tmp_path / "link.hdf5").showers, VOXELS)


def test_joined_files_are_read_until_the_block_ends(tmp_path: Path) -> None:
    parts = [tmp_path / "eff_50%b {x}" / "a %d$.hdf5", tmp_path / "é" / "b%%.hdf5"]
    for path, rows in zip(parts, (slice(0, 10), slice(10, N)), strict=True):
        path.parent.mkdir()
        plain(path, rows)
    (tmp_path / "other").mkdir()
    target = tmp_path / "other" / "joined.hdf5"
    with joined_showers(parts, target) as joined:
        np.testing.assert_array_equal(read_showers(joined).showers, VOXELS)
        np.testing.assert_array_equal(read_incident_energies(joined), ENERGIES)
    assert "only files in its own folder" in refusal(target)


def test_many_chunks_are_checked_quickly(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["incident_energies"] = np.ones((20_000, 1), "f4")
        file.create_dataset("showers", data=np.ones((20_000, 4), "f4"), chunks=(1, 4))
    start = time.process_time()
    assert file_info(tmp_path / "a.hdf5").n_showers == 20_000
    assert time.process_time() - start < 1


HEAP = """
import sys
from calopipe.errors import DataError
from calopipe.io import file_info
try:
    print(file_info(sys.argv[1]).attributes["b"])
except DataError as error:
    print(error)
"""


def test_a_damaged_heap_does_not_hang(tmp_path: Path) -> None:
    """The HDF5 library would look for the next object in a heap without end."""
    plain(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file.attrs["a"], file.attrs["b"] = "x" * 16, "y"
    content = bytearray((tmp_path / "a.hdf5").read_bytes())
    heap = content.find(b"GCOL")
    for place, value in ((None, 0), (heap + 24, 0xD0), (heap + 25, 1), (heap + 31, 0xFF), (heap + 14, 1)):
        damaged = bytearray(content)
        if place is not None:
            damaged[place] = value
        (tmp_path / "b.hdf5").write_bytes(damaged)
        command = [sys.executable, "-c", HEAP, str(tmp_path / "b.hdf5")]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        assert found == "y\n" if place is None else f"damaged global heap at byte {heap}" in found


def test_no_pipe_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no plain file" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize("limit", ["voxel", "sum", "incident"])
def test_more_energy_than_any_particle_has(limit: str) -> None:
    incident, voxels = np.full((3, 1), 1e3), np.zeros((3, 4))
    if limit == "voxel":
        voxels[1, 2] = 2 * ENERGY_LIMIT_MEV
    elif limit == "sum":
        voxels[1] = 0.5 * ENERGY_LIMIT_MEV
    else:
        incident[1] = 2 * ENERGY_LIMIT_MEV
    with pytest.raises(DataError, match=r"row 1.*\(at most 1e\+15 MeV"):
        Showers(incident, voxels)


def test_calogan_layout_with_other_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = [rng.exponential(1000, (5, *s)).astype("f4") for s in ((3, 96), (12, 12), (12, 6))]
    for name, extra, shape in [
        ("a", {"layer_energies": np.ones((5, 3)), "layer_": np.ones(2), "layer_0_mask": np.ones((5, 1))}, None),
        ("b", {"layer_3": np.ones((5, 12, 6))}, None),
        ("c", {}, (..., None)),  # channels last, as image libraries want it
    ]:
        with h5py.File(tmp_path / name, "w") as file:
            file["energy"] = np.ones((5, 1))
            for i, layer in enumerate(layers):
                file[f"layer_{i}"] = layer if shape is None else layer[shape]
            for key, value in extra.items():
                file[key] = value
        assert file_info(tmp_path / name).layout == "calogan"
        np.testing.assert_array_equal(
            read_showers(tmp_path / name).showers, np.hstack([x.reshape(5, -1) for x in layers])
        )


def test_layers_of_another_calorimeter_are_all_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w") as file:
        file["energy"] = np.ones((5, 1))
        for i in range(4):
            file[f"layer_{i}"] = np.ones((5, 2, 3))
    assert file_info(tmp_path / "a").n_voxels == 24


def test_errors_of_the_caller_pass(tmp_path: Path) -> None:
    write_showers(tmp_path / "a", Showers(ENERGIES, VOXELS))
    with pytest.raises(KeyError), open_hdf5(tmp_path / "a"):
        raise KeyError("x")
    assert read_showers(tmp_path / "a").n_voxels == V


def test_fuzz_in_small(tmp_path: Path) -> None:
    """The trials of docs/reliability.md, a few of them."""
    import hdf5 as fuzz

    counts, failures = fuzz.run(30, 1, tmp_path)
    assert failures == []
    assert sum(counts.values(), Counter())["refused"] > 100


EVERY_BYTE = """
import sys
from pathlib import Path
import h5py
import numpy as np
from calopipe.errors import DataError
from calopipe.io import read_showers
path, found = Path(sys.argv[1]), {"read": 0, "refused": 0}
with h5py.File(path, "w") as file:
    file["incident_energies"], file["showers"] = np.ones((4, 1), "f4"), np.ones((4, 6), "f4")
    start = h5py.h5o.get_info(file["incident_energies"].id).addr
content = path.read_bytes()
for place in range(start, start + 272):
    path.write_bytes(content[:place] + bytes([255]) + content[place + 1 :])
    try:
        read_showers(path)
        found["read"] += 1
    except DataError:
        found["refused"] += 1
print(found)
"""


def test_no_byte_of_a_header_crashes_the_library(tmp_path: Path) -> None:
    """One made HDF5 look for a fill value where there is none, and crash."""
    done = subprocess.run([sys.executable, "-c", EVERY_BYTE, str(tmp_path / "a")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'read': 0" not in done.stdout and "'refused': 0" not in done.stdout
