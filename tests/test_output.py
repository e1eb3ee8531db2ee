"""Files that are written: what they may replace, and what killed jobs leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from calopipe.errors import DataError
from calopipe.io import Showers, read_showers, temporary, write_showers
from calopipe.io.output import check_target, filling, replacing
from calopipe.io.prepare import prepare
from calopipe.io.temporary import scratch, sweep, temporary_beside


def showers(n: int = 10, n_voxels: int = 504) -> Showers:
    rng = np.random.default_rng(0)
    return Showers(rng.uniform(1e3, 1e4, (n, 1)), rng.exponential(5.0, (n, n_voxels)))


# ---- what may be replaced ---------------------------------------------------------------------------------------------
def test_only_plain_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    kinds = {"link": "a symbolic link", "gone": "a symbolic link", "folder": "a folder", "pipe": "a pipe"}
    before = sorted(os.listdir(tmp_path))
    for name, kind in {**kinds, "socket": "a socket"}.items():
        mode = os.lstat(tmp_path / name).st_mode
        with pytest.raises(DataError, match=f"{name}: is {kind}, which is not replaced"), replacing(tmp_path / name):
            pytest.fail("the body must not run")
        with pytest.raises(DataError, match="is not replaced"):
            write_showers(tmp_path / name, showers())
        assert os.lstat(tmp_path / name).st_mode == mode
    assert sorted(os.listdir(tmp_path)) == before
    with pytest.raises(DataError, match="/dev/null: is a device"):
        check_target(Path("/dev/null"))
    with replacing(tmp_path / "file") as part:
        part.write_text("b")
    assert (tmp_path / "file").read_text() == (tmp_path / "link").read_text() == "b"


def test_target_that_became_a_link_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="symbolic link"), replacing(tmp_path / "a") as part:
        part.write_text("new")
        (tmp_path / "a").symlink_to("b")
    assert os.listdir(tmp_path) == ["a"]


def test_inputs_are_not_replaced(tmp_path: Path) -> None:
    raw = tmp_path / "raw.hdf5"
    write_showers(raw, showers(50), "calogan")
    os.link(raw, tmp_path / "other_name.hdf5")
    before = raw.read_bytes()
    for name in ("raw.hdf5", "other_name.hdf5"):
        with pytest.raises(DataError, match=f"{name}.* is being read and cannot be the output"):
            check_target(tmp_path / name, [raw])
        outputs = {"train": tmp_path / name, "val": tmp_path / "v", "test": tmp_path / "t"}
        with pytest.raises(DataError, match="is being read"):
            prepare(raw, outputs, "calogan")
    assert raw.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["other_name.hdf5", "raw.hdf5"]


def test_a_folder_with_an_input_is_not_filled_over_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("input")
    inputs = [tmp_path / "out" / "a.png"]
    with pytest.raises(DataError, match="is being read"), filling(tmp_path / "out", "z", inputs) as folder:
        (folder / "a.png").write_text("new")
    assert (tmp_path / "out" / "a.png").read_text() == "input" and os.listdir(tmp_path / "out") == ["a.png"]


def test_folder_behind_a_link_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    monkeypatch.chdir(tmp_path / "disk")
    for out in (tmp_path / "out", Path(".")):
        with filling(out, "last") as folder:
            assert os.path.samefile(folder.parent, tmp_path / "disk")  # no rename from one disk to another
            (folder / "last").write_text(str(out))
        assert (tmp_path / "disk" / "last").read_text() == str(out)
    assert os.listdir(tmp_path / "disk") == ["last"]


def test_longest_names(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127):
        with replacing(tmp_path / name) as part:
            part.write_text("x")
        assert (tmp_path / name).read_text() == "x"
    with pytest.raises(DataError, match="File name too long"), replacing(tmp_path / ("n" * 256)):
        pass


# ---- left-overs -------------------------------------------------------------------------------------------------------
@pytest.fixture
def dead() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_left_overs_of_the_dead_are_removed_and_no_others(tmp_path: Path, dead: int) -> None:
    host, me = temporary._host(), os.getpid()
    old = time.time() - 2 * temporary.ABANDONED_S
    gone = [f".a.{host}.{dead}.part", f".a.{host}.{dead}.xy_z.part", ".a.01234567.1.part", f".a.{me}.part"]
    kept = [
        f".a.{host}.{os.getppid()}.part",  # alive
        f".a.{host}.{me}.part",  # this process
        ".a.89abcdef.1.part",  # another host's, of this week
        f".ab.{host}.{dead}.part",  # of another file
        f".a.b.{host}.{dead}.part",
        f"a.{host}.{dead}.part",
    ]
    for name in (*gone, *kept):
        (tmp_path / name).write_text("x")
    (tmp_path / gone[1]).unlink()
    (tmp_path / gone[1]).mkdir()
    (tmp_path / gone[1] / "inside").write_text("x")
    for name in gone[2:]:
        os.utime(tmp_path / name, (old, old))
    sweep(tmp_path, "a")
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_folder_of_another_host_is_kept_while_something_in_it_changes(tmp_path: Path) -> None:
    folder = tmp_path / ".a.01234567.1.part"
    folder.mkdir()
    (folder / "new").write_text("x")
    old = time.time() - 2 * temporary.ABANDONED_S
    os.utime(folder, (old, old))
    sweep(tmp_path, "a")
    assert folder.exists()
    os.utime(folder / "new", (old, old))
    sweep(tmp_path, "a")
    assert not folder.exists()


def test_left_over_link_is_removed_and_not_followed(tmp_path: Path, dead: int) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    (tmp_path / f".a.{temporary._host()}.{dead}.part").symlink_to("precious")
    sweep(tmp_path, "a")
    assert sorted(os.listdir(tmp_path)) == ["precious"] and (tmp_path / "precious" / "data").exists()


def test_scratch_folders(tmp_path: Path, dead: int) -> None:
    left = tmp_path / f".job.{temporary._host()}.{dead}.abc.part"
    left.mkdir()
    with scratch("job", tmp_path) as one, scratch("job", tmp_path) as other:
        assert one != other and one.is_dir() and not left.exists()
    assert os.listdir(tmp_path) == []


PREPARE = """
import sys
from pathlib import Path
import calopipe.io.write as write
from calopipe.io.prepare import prepare
if sys.argv[2] == "slow":  # stop where all temporary files are there
    def wait(self, showers, append=write.ShowerWriter.append):
        append(self, showers)
        print("ready", flush=True)
        sys.stdin.read()
    write.ShowerWriter.append = wait
folder = Path(sys.argv[1])
prepare(folder / "raw.hdf5", {n: folder / "data" / f"{n}.hdf5" for n in ("train", "val", "test")}, "calogan")
"""


def test_a_killed_prepare_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    write_showers(tmp_path / "raw.hdf5", showers(200), "calogan")
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    with subprocess.Popen([*command, "slow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None and job.stdout.readline() == b"ready\n"
        job.send_signal(signal.SIGKILL)
    left = sorted(os.listdir(tmp_path / "data"))
    assert [name.split(".")[1] for name in left] == ["prepare", "train"], left
    subprocess.run([*command, "all"], check=True)
    assert sorted(os.listdir(tmp_path / "data")) == ["test.hdf5", "train.hdf5", "val.hdf5"]
    assert len(read_showers(tmp_path / "data" / "train.hdf5")) == 140


WRITE = """
import sys
from pathlib import Path
from calopipe.io import ShowerWriter, read_showers
path = Path(sys.argv[1])
with ShowerWriter(path / "generated.hdf5", "calogan") as out:
    out.append(read_showers(path / "raw.hdf5"))
    print("ready", flush=True)
    if sys.argv[2] == "slow":
        sys.stdin.read()
"""


def test_a_live_job_keeps_its_file_and_a_killed_one_does_not(tmp_path: Path) -> None:
    write_showers(tmp_path / "raw.hdf5", showers(200), "calogan")
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen([*command, "slow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None and job.stdout.readline() == b"ready\n"
        part = next(tmp_path.glob(".generated.hdf5.*.part"))
        subprocess.run([*command, "all"], check=True, stdout=subprocess.DEVNULL)
        assert part.exists()
        job.send_signal(signal.SIGKILL)
    subprocess.run([*command, "all"], check=True, stdout=subprocess.DEVNULL)
    assert sorted(os.listdir(tmp_path)) == ["generated.hdf5", "raw.hdf5"]


def test_temporary_names_differ_by_process(tmp_path: Path) -> None:
    assert str(os.getpid()) in temporary_beside(tmp_path / "a").name
