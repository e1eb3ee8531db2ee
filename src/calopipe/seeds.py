"""Seeds: every random number of a study descends from a named stream of one integer seed.

Two streams with different names are independent; the same (seed, names) gives the same numbers on the same machine.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed for the stream called `names` from `seed` (SHA-256, stable across platforms and versions)."""
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator for the stream called `names`."""
    return np.random.default_rng(derive(seed, *names))
