"""The inverse of a flow of RQS coupling blocks, row by row, by one compiled function: see :mod:`calopipe.models.flows.few_rows`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from calopipe.compiled_code import compiled_once
from calopipe.models.dense_kernels import network
from calopipe.models.splines.jobs import OUT, RAW, gather, scatter, transform_tile
from calopipe.models.splines.kernels import LANES, ROWS_A, ROWS_F, load


class Blocks(NamedTuple):
    """B coupling blocks in the order in which data pass them.

    weights: of each block, each of its linear layers: weights (inputs, outputs), then bias. columns: of each block those that it transforms,
    then those that its network sees. widths: (B, H + 2), of the inputs, the H hidden layers and the outputs. starts: (B, 2), of a block in `weights` and in
    `columns`. sizes: (B, 2), columns that are transformed and that are seen. constants: (B, 6), as splines take them, and the
    slope of the activation below 0.
    """

    weights: np.ndarray
    columns: np.ndarray
    widths: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    constants: np.ndarray


def entry(digest: str) -> Callable[..., None]:
    """The compiled function; its cache belongs to this `digest` of the sources.

    It takes z (N, D) in float64, which becomes x, conditions (N, C) in float32, the :class:`Blocks` and log-determinants (N,), to which it adds.
    """

    def invert(z, cond, blocks, logdet):
        rows, dim = z.shape
        bins = (blocks.widths[0, -1] // blocks.sizes[0, 0] + 1) // 3
        A, F = np.zeros(LANES * ROWS_A), np.zeros(LANES * (ROWS_F + 5 * bins + 2), np.float32)
        one, two = np.empty(blocks.widths.max(), np.float32), np.empty(blocks.widths.max(), np.float32)
        flat = z.reshape(-1)
        for row in range(rows):
            for block in range(len(blocks.sizes) - 1, -1, -1):
                size, seen = blocks.sizes[block]
                start, columns = blocks.starts[block, 0], blocks.columns[blocks.starts[block, 1] :]
                for k in range(seen):
                    one[k] = z[row, columns[size + k]]
                for k in range(cond.shape[1]):
                    one[seen + k] = cond[row, k]
                con = blocks.constants[block]
                numbers = network(blocks.weights[start:], blocks.widths[block], np.float32(con[5]), one, two)
                for first in range(0, size, LANES):
                    count = min(LANES, size - first)
                    load(F, numbers, 0, first, count, bins, size)
                    gather(A, RAW, flat, columns, row, first, count, dim, size)
                    transform_tile(F, A, logdet, con, row, first, count, bins, size, True)
                    scatter(A, OUT, flat, columns, row, first, count, dim, size)

    return compiled_once(invert, digest)
