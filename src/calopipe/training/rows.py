"""Rows that a training learns, in memory or on disk, and reproducible batches of them.

What fits into one window is held in memory. Of more, blocks of neighbouring rows are drawn in a random order, as many at once as
a window holds; rows are shuffled within the window, and the next window is read in a thread while the network learns from
this one. Prepared files are shuffled already, so that every window is a fair sample of the data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from calopipe import seeds

#: rows that preprocessing and input standardisation are fitted on, at most
FIT_ROWS = 50_000
#: blocks that a window is made of
BLOCKS = 16
MB = 10**6

Tensors = tuple[Tensor, ...]


class Rows(Protocol):
    """Tensors with the same number of rows, which may be on disk.

    Attributes:
        conditions: (N, C) what the rows depend on; always in memory.
        window: rows that are held in memory at once.
    """

    @property
    def conditions(self) -> Tensor: ...

    @property
    def window(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, part: slice) -> Tensors:
        """The tensors of some neighbouring rows."""


@dataclass(frozen=True)
class InMemory:
    """Rows in memory; the last tensor is the condition."""

    tensors: Tensors

    @property
    def conditions(self) -> Tensor:
        return self.tensors[-1]

    @property
    def window(self) -> int:
        return max(1, len(self))

    def __len__(self) -> int:
        return len(self.tensors[0])

    def read(self, part: slice) -> Tensors:
        return tuple(tensor[part] for tensor in self.tensors)


@dataclass(frozen=True)
class OnDisk:
    """Rows that `fetch` reads from disk when they are wanted."""

    conditions: Tensor
    window: int
    fetch: Callable[[slice], Tensors]

    def __len__(self) -> int:
        return len(self.conditions)

    def read(self, part: slice) -> Tensors:
        return self.fetch(part)


def rows_of(conditions: Tensor, row_bytes: int, window_MB: float, fetch: Callable[[slice], Tensors]) -> Rows:
    """Rows of so many bytes that `fetch` reads: in memory where one window of `window_MB` (1e6 bytes) holds them all."""
    window, n = max(1, int(window_MB * MB) // row_bytes), len(conditions)
    return InMemory(fetch(slice(0, n))) if n <= window else OnDisk(conditions, window, fetch)


def fit_rows(rows: Rows, seed: int) -> Tensors:
    """Rows to fit preprocessing on: a seeded random choice of FIT_ROWS; blocks of a quarter of a window where not all are in memory."""
    n, rng = len(rows), seeds.generator(seed, "fit rows")
    if n > rows.window:
        size = max(1, min(FIT_ROWS, rows.window // 4) // BLOCKS)
        chosen = np.sort(rng.choice(n // size, min(BLOCKS, n // size), replace=False)) * size
        return _filled(rows, [slice(int(start), int(start) + size) for start in chosen])
    tensors = rows.read(slice(0, n))
    if n <= FIT_ROWS:
        return tensors
    picked = torch.from_numpy(np.sort(rng.choice(n, FIT_ROWS, replace=False)))
    return tuple(tensor[picked] for tensor in tensors)


class Batches:
    """Batches of rows, in an order fixed by `seed`; the last, incomplete training batch is dropped.

    Args:
        rows: the rows.
        batch_size: rows per batch.
        seed: seed of the order, or None for file order and no dropped rows.
        permutations: (P, V) column permutations, one drawn per row for the first tensor; None for none.
    """

    def __init__(
        self, rows: Rows, batch_size: int, seed: int | None = None, permutations: Tensor | None = None
    ) -> None:
        self.rows, self.seed, self.permutations = rows, seed, permutations
        self.batch_size = min(batch_size, len(rows))

    def __len__(self) -> int:
        n = len(self.rows)
        return n // self.batch_size if self.seed is not None else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Tensors]:
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        left: Tensors | None = None  # the beginning of the next batch
        for found in _ahead(windows(len(self.rows), self.rows.window, generator), self._read):
            n, missing = len(found[0]), self.batch_size - (0 if left is None else len(left[0]))
            order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
            for rows in order.tensor_split(tuple(range(missing, n, self.batch_size))):
                batch = tuple(tensor[rows] for tensor in found)
                batch, left = batch if left is None else _joined([left, batch]), None
                if len(batch[0]) == self.batch_size:
                    yield self._reflected(batch, generator)
                else:
                    left = batch
            del found
        if generator is None and left is not None:
            yield left

    def _read(self, blocks: Sequence[slice]) -> Tensors:
        return self.rows.read(blocks[0]) if len(blocks) == 1 else _filled(self.rows, blocks)

    def _reflected(self, tensors: Tensors, generator: torch.Generator | None) -> Tensors:
        if self.permutations is None or generator is None:
            return tensors
        first, *rest = tensors
        choice = torch.randint(len(self.permutations), (len(first),), generator=generator)
        return (first.gather(1, self.permutations[choice]), *rest)


def windows(n: int, window: int, generator: torch.Generator | None = None) -> Iterator[list[slice]]:
    """The blocks of each window of n rows: all in one where they fit, else blocks in random order, or one after the other."""
    if n <= window:
        yield [slice(0, n)]
        return
    size = max(1, window // BLOCKS)
    blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    if generator is not None:
        blocks = [blocks[i] for i in torch.randperm(len(blocks), generator=generator).tolist()]
    each = max(1, window // size)
    for start in range(0, len(blocks), each):
        yield blocks[start : start + each]


def _ahead(parts: Iterable[Sequence[slice]], read: Callable[[Sequence[slice]], Tensors]) -> Iterator[Tensors]:
    """What `read` makes of each part; the next one is read in a thread while this one, held by the caller alone, is used."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[Tensors]] = deque()
        for part in parts:
            pending.append(pool.submit(read, part))
            if len(pending) > 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _filled(rows: Rows, blocks: Sequence[slice]) -> Tensors:
    """The rows of blocks one after the other; no more is in memory than they and one block."""
    total, start = sum(block.stop - block.start for block in blocks), 0
    out: list[Tensor] = []
    for block in blocks:
        found = rows.read(block)
        out = out or [tensor.new_empty(total, *tensor.shape[1:]) for tensor in found]
        for whole, part in zip(out, found, strict=True):
            whole[start : start + len(part)] = part
        start += block.stop - block.start
    return tuple(out)


def _joined(parts: Sequence[Tensors]) -> Tensors:
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
