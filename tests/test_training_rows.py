"""Rows that a training learns: windows on disk hold what memory would, in an order fixed by the seed, and no more of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from calopipe.training.rows import BLOCKS, FIT_ROWS, Batches, InMemory, OnDisk, fit_rows, rows_of, windows


def numbered(n: int) -> tuple[Tensor, Tensor]:
    """x (n, 2) whose rows know their number, and conditions (n, 1)."""
    x = torch.arange(n, dtype=torch.float32)
    return torch.stack([x, -x], dim=1), x[:, None] + 0.5


class Disk:
    """Rows that count what is read of them."""

    def __init__(self, n: int, window: int) -> None:
        self.tensors, self.read = numbered(n), []
        self.rows = OnDisk(self.tensors[1], window, self.fetch)

    def fetch(self, part: slice) -> tuple[Tensor, ...]:
        self.read.append(part)
        return tuple(tensor[part].clone() for tensor in self.tensors)


def numbers(batches: Batches) -> list[int]:
    found = []
    for x, cond in batches:
        assert torch.equal(x[:, :1] + 0.5, cond) and torch.equal(x[:, 0], -x[:, 1])
        found += x[:, 0].int().tolist()
    return found


def test_rows_in_memory_come_once_in_seeded_order() -> None:
    rows = InMemory(numbered(10))
    first = numbers(Batches(rows, 3, seed=1))
    assert len(first) == 9 and len(set(first)) == 9 and first != sorted(first)
    assert first == numbers(Batches(rows, 3, seed=1)) != numbers(Batches(rows, 3, seed=2))
    assert numbers(Batches(rows, 3)) == list(range(10))


@pytest.mark.parametrize(
    ("n", "window", "size"), [(1000, 96, 10), (1003, 96, 7), (1000, 16, 50), (50, 3, 8), (97, 96, 96)]
)
def test_rows_on_disk_come_once_in_seeded_order(n: int, window: int, size: int) -> None:
    """Also where windows are smaller than batches, and where nothing divides anything."""
    rows = Disk(n, window).rows
    batches = Batches(rows, size, seed=1)
    found = [len(x) for x, _ in batches]
    assert found == [size] * (n // size) and len(batches) == n // size
    first = numbers(batches)
    assert len(set(first)) == len(first) and first != sorted(first)
    assert first == numbers(Batches(Disk(n, window).rows, size, seed=1)) != numbers(Batches(rows, size, seed=2))
    assert numbers(Batches(rows, size)) == list(range(n))
    assert [len(x) for x, _ in Batches(rows, size)] == [len(x) for x, _ in Batches(InMemory(numbered(n)), size)]


def test_windows_hold_other_rows_in_every_epoch() -> None:
    """Rows of one window in one epoch are spread over the windows of the next."""
    generator = torch.Generator().manual_seed(0)
    first, second = (
        [
            {row for block in window for row in range(block.start, block.stop)}
            for window in windows(3200, 320, generator)
        ]
        for _ in range(2)
    )
    assert all(len(window) == 320 for window in first) and set.union(*first) == set(range(3200))
    assert max(len(a & b) for a in first for b in second) < 200


def test_no_more_is_read_ahead_than_the_next_window() -> None:
    disk = Disk(3200, 320)
    batches = iter(Batches(disk.rows, 32, seed=0))
    next(batches)
    assert sum(part.stop - part.start for part in disk.read) <= 2 * 320
    assert len(disk.read) <= 2 * BLOCKS
    batches.close()


def test_what_cannot_be_read_fails_the_training_that_wants_it() -> None:
    def fails(part: slice) -> tuple[Tensor, ...]:
        if part.start > 200:
            raise OSError("unreadable")
        return tuple(tensor[part] for tensor in numbered(400))

    with pytest.raises(OSError, match="unreadable"):
        list(Batches(OnDisk(numbered(400)[1], 64, fails), 10))


def test_reflections_are_drawn_for_rows_from_disk() -> None:
    swap = torch.tensor([[0, 1], [1, 0]])
    found = torch.cat([x[:, 0] for x, _ in Batches(Disk(1000, 96).rows, 10, 1, swap)])
    assert 300 < (found < 0).sum() < 700
    assert sorted(found.abs().int().tolist()) == list(range(1000))


def test_what_fits_into_a_window_is_held_in_memory() -> None:
    x, cond = numbered(1000)
    fetch: Callable[[slice], tuple[Tensor, ...]] = lambda part: (x[part], cond[part])  # noqa: E731
    assert isinstance(rows_of(cond, 12, 0.012, fetch), InMemory)
    small = rows_of(cond, 12, 0.006, fetch)
    assert isinstance(small, OnDisk) and small.window == 500
    assert rows_of(cond, 12, 1e-9, fetch).window == 1


def test_preprocessing_is_fitted_on_a_fair_choice_of_rows() -> None:
    n = FIT_ROWS + 1000
    some = fit_rows(InMemory(numbered(n)), 3)[0][:, 0]
    assert len(some) == FIT_ROWS and torch.equal(some, some.sort().values)
    found = fit_rows(Disk(100_000, 6400).rows, 3)[0][:, 0]
    assert len(found) == len(set(found.tolist())) == 1600
    assert torch.equal(found, fit_rows(Disk(100_000, 6400).rows, 3)[0][:, 0])
    assert abs(found.mean() - 50_000) < 4 * 100_000 / math.sqrt(12 * BLOCKS)
    assert torch.equal(fit_rows(InMemory(numbered(7)), 0)[0], numbered(7)[0])
