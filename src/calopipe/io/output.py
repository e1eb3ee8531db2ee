"""The file object HDF5 writes into, so that a full disk ends in an error message and not in a crash.

When the HDF5 library cannot flush (disk full, quota, file size limit), closing the file crashes the interpreter. It
therefore writes through :class:`OutputFile`, which never fails towards the library: after the first error it remembers
the error, keeps what follows in memory (by then only what the library had cached), and the caller raises.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from calopipe.errors import DataError
from calopipe.io.stored import writing
from calopipe.io.temporary import temporary_beside


class OutputFile:
    """A binary file for h5py's file-object driver that records its first error in `error` and carries on.

    Args:
        path: file to create or overwrite. Raises OSError when that is not possible.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115  (closed by close)
        self._position = 0
        self._late: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset; see io.RawIOBase."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            late = [start + len(data) for start, data in self._late]
            offset += max([os.fstat(self._file.fileno()).st_size, *late])
        self._position = offset
        return offset

    def tell(self) -> int:
        """The current offset."""
        return self._position

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data` at the current offset, on disk or, after an error, in memory."""
        view = memoryview(data).cast("B")
        done = 0
        while self.error is None and done < len(view):
            try:
                done += os.pwrite(self._file.fileno(), view[done:], self._position + done)
            except OSError as error:
                self.error = error
        if done < len(view):
            self._late.append((self._position + done, bytes(view[done:])))
        self._position += len(view)
        return len(view)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from the current offset; bytes that were never written are zero."""
        view = memoryview(buffer).cast("B")
        data = os.pread(self._file.fileno(), len(view), self._position)
        view[:] = data + bytes(len(view) - len(data))
        for start, late in self._late:
            first, last = max(start, self._position), min(start + len(late), self._position + len(view))
            if first < last:
                view[first - self._position : last - self._position] = late[first - start : last - start]
        self._position += len(view)
        return len(view)

    def read(self, size: int) -> bytes:
        """Return `size` bytes from the current offset."""
        buffer = bytearray(size)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def truncate(self, size: int) -> int:
        """Cut or extend the file."""
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Close the file on disk; an error is recorded."""
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error


def check_target(path: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Raise DataError unless a file may be written as `path`: a new one, or in place of a plain file.

    Renaming a finished file over a device, a pipe or a link would replace that itself, not write to where it leads.

    Args:
        inputs: files that are being read, which stay as they are (under any of their names).
    """
    with writing(path):
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if not stat.S_ISREG(mode):
            kinds = {stat.S_ISLNK: "a symbolic link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe"}
            kinds |= {stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
            kind = next(text for test, text in kinds.items() if test(mode))
            raise DataError(f"{path}: is {kind}, which is not replaced; give the name of a file")
        for other in inputs:
            if other is not None and other.exists() and os.path.samefile(path, other):
                same = "" if other == path else f", the same file as {other},"
                raise DataError(f"{path}{same} is being read and cannot be the output too")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` on success, remove it on failure.

    Left-overs of killed jobs that wrote `path` are removed (:mod:`calopipe.io.temporary`).

    Raises:
        DataError: `path` is there and no plain file (:func:`check_target`), or its folder cannot be written; errors of
            the body pass unchanged.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    check_target(path)
    temporary = temporary_beside(path)
    try:
        yield temporary
        with writing(path):
            check_target(path)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def filling(folder: Path, last: str, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield a temporary folder; on success move its files into `folder`, the one called `last` at the end.

    A file `last` that is there already is removed before the first new file arrives. So where it exists, all files of
    one run do; a run that fails or is interrupted leaves `folder` as it was. Left-overs of killed jobs are removed.

    Raises:
        DataError: `folder` cannot be written, or holds a link, a device or one of the `inputs` under the name of a new file.
    """
    folder = Path(os.path.abspath(folder))  # the name of "." and ".." is that of the folder
    # inside where it can be: `folder` may be a link, or where another disk is mounted
    beside, inside = temporary_beside(folder), temporary_beside(folder / folder.name)
    temporary = inside if folder.is_dir() else beside
    with writing(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with writing(folder):
            folder.mkdir(exist_ok=True)
            new = sorted(temporary.iterdir(), key=lambda p: (p.name == last, p.name))
            for path in new:
                check_target(folder / path.name, inputs)
            (folder / last).unlink(missing_ok=True)
            for path in new:
                os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class HDF5Output:
    """An HDF5 file being written: `file` is the h5py.File, :meth:`check` raises DataError once a write has failed."""

    def __init__(self, path: Path, temporary: Path) -> None:
        import h5py

        self.path = path
        with writing(path):
            self._output = OutputFile(temporary)
        # earliest: readable by every HDF5 release. The large chunk cache collects small pieces before packing
        self.file = h5py.File(self._output, "w", libver="earliest", rdcc_nbytes=8 * 2**20)

    def check(self) -> None:
        """Raise DataError naming the file when any write has failed so far."""
        with writing(self.path):
            if self._output.error is not None:
                raise self._output.error

    def close(self) -> None:
        """Close both files; never raises for a failed write, see :meth:`check`."""
        self.file.close()
        self._output.close()


@contextmanager
def hdf5_output(path: str | Path) -> Iterator[HDF5Output]:
    """Write an HDF5 file that appears under its name only when the body and all writes succeeded; else DataError."""
    path = Path(path)
    with replacing(path) as temporary:
        output = HDF5Output(path, temporary)
        try:
            yield output
        finally:
            output.close()
        output.check()
