"""Seeds: every random number of a study descends from a named stream of one integer seed.

Two streams with different names are independent; the same (seed, names) gives the same numbers on the same machine.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed for the stream called `names` from `seed` (SHA-256, stable across platforms and versions)."""
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator for the stream called `names`."""
    return np.random.default_rng(derive(seed, *names))


@dataclass(frozen=True)
class Training:
    """One of the trainings that the sample of a run is mixed of, as the wildcard `seed` of the rules names it.

    The first is called like the run, ``0``, and is what a run of one training has; the second is ``0/training2``.

    Attributes:
        run: seed of the run, and number of the block of training showers that all of them learn.
        number: from 1 on.
    """

    run: int
    number: int = 1

    #: regular expression of all names
    PATTERN: ClassVar[str] = r"\d+(?:/training(?:[2-9]|[1-9]\d+))?"

    @classmethod
    def of(cls, name: str | int) -> Training:
        """By its name. Raises ValueError where it is none."""
        if not re.fullmatch(cls.PATTERN, str(name)):
            raise ValueError(f"expected the seed of a run, or <seed>/training<number>, found '{name}'")
        run, _, number = str(name).partition("/training")
        return cls(int(run), int(number or 1))

    @property
    def name(self) -> str:
        """As the rules name it."""
        return str(self.run) if self.number == 1 else f"{self.run}/training{self.number}"

    @property
    def seed(self) -> int:
        """Seed of its weights, order and noise: another one for each."""
        return self.run if self.number == 1 else derive(self.run, "training", self.number)
