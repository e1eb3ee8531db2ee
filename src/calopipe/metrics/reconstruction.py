"""How far showers are from what an autoencoder makes of them (Albergo 2018, table 5.2).

Of each shower the sum over voxels of (x - x_hat)^2, in MeV^2; quoted is the mean over showers, as there "per image", and its root over the mean energy
deposit (section 5.1.3: 40.2 MeV^2 and 200.78 MeV are 3.2 %).
"""

from __future__ import annotations

import numpy as np

from calopipe.records.scores import Score

#: what is scored
NAMES = ("reconstruction/squared_error", "reconstruction/relative_error")


def reconstruction_scores(squares: np.ndarray, deposits: np.ndarray) -> list[Score]:
    """``reconstruction/squared_error`` in MeV^2 and ``reconstruction/relative_error``, with standard errors.

    Args:
        squares: (N,) squared errors of the showers, summed over voxels, in MeV^2.
        deposits: (N,) energies of the original showers in MeV.

    The error of the ratio is that of both means to first order, with their correlation.
    """
    n, square, deposit = len(squares), float(squares.mean()), float(deposits.mean())
    if n < 2:
        return [Score.absent(name, n, "needs two showers or more") for name in NAMES]
    facts = {"mean_deposit_MeV": deposit}
    error = float(squares.std(ddof=1) / np.sqrt(n))
    found = [Score(NAMES[0], square, error, n, extra=facts)]
    if not deposit > 0:
        return [*found, Score.absent(NAMES[1], n, "the reference has no energy")]
    ratio = np.sqrt(square) / deposit
    changes = (squares / (2 * square) if square > 0 else np.zeros(n)) - deposits / deposit
    return [*found, Score(NAMES[1], float(ratio), float(ratio * changes.std(ddof=1) / np.sqrt(n)), n, extra=facts)]
