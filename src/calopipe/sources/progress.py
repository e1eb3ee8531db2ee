"""Progress of a download: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self

from calopipe.errors import printable

Log = Callable[[str], None]

#: seconds between two lines where there is no terminal
_EVERY_S = 15.0


def to_stderr(line: str) -> None:
    """Print a line to standard error at once."""
    print(printable(line), file=sys.stderr, flush=True)


class Progress:
    """Count bytes of one file. Use as a context manager and call :meth:`add`.

    Args:
        name: what is being downloaded.
        start: bytes that were there before.
        total: bytes of the whole file, None when the server does not say.
        log: receives the lines when standard error is not a terminal.
    """

    def __init__(self, name: str, start: int, total: int | None, log: Log) -> None:
        self._name, self._done, self._total, self._log = name, start, total, log
        self._next = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, leave=True)

    def __enter__(self) -> Self:
        return self

    def add(self, n: int) -> None:
        """Count `n` more bytes."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        elif time.monotonic() >= self._next or self._done == self._total:
            share = f" of {self._total / 1e6:.1f} MB ({self._done / self._total:.0%})" if self._total else ""
            self._log(f"{self._name}: {self._done / 1e6:.1f} MB{share}")
            self._next = time.monotonic() + _EVERY_S

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
