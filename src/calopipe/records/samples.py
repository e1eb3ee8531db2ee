"""Names of samples, in scores, histograms and tests; which draw of a network's weights made which shower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calopipe.seeds import generator

#: what the others are compared with: the test showers
REFERENCE = "reference"
#: what a generator made
GENERATED = "generated"
#: the test showers after the autoencoder of a latent model
RECONSTRUCTED = "reconstructed"
#: what a chain makes before its refiners
UNREFINED = "unrefined"
#: attribute of a sample's file: by how many draws of a network's weights its showers are; it is left out for one
DRAWS = "draws"
#: attribute of a sample's file: the trainings that its showers are drawn from in equal parts, a line each; it is left out for one
TRAININGS = "trainings"


def draws_of(attributes: Mapping[str, Any]) -> int:
    """By how many draws of a network's weights the showers of a file with these attributes are."""
    return int(attributes.get(DRAWS, 1))


def draw_of(rows: NDArray[np.int64], draws: int) -> NDArray[np.int64]:
    """Which of so many draws made the showers in these rows of a file: they take turns."""
    return rows % draws


def training_of(n: int, trainings: int, seed: int) -> NDArray[np.int64]:
    """Which of so many trainings (from 0) makes each of n showers: equal parts, to one shower, in an order that `seed` fixes."""
    return generator(seed, "mixture").permutation(np.arange(n) % trainings)
