"""Energy response: how mean and width of E_tot / E_inc of a sample differ from the reference's."""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.settings import EnergyResponseConfig
from calopipe.records.scores import Score

#: scores: differences of these
NAMES = ("mean_difference", "width_difference")


def response_differences(reference: np.ndarray, generated: np.ndarray) -> dict[str, tuple[float, float]]:
    """Differences (generated - reference) of mean and of standard deviation, each with its standard error.

    Args:
        reference, generated: (N,) and (M,) values of E_tot / E_inc.

    Returns:
        ``mean_difference`` and ``width_difference`` -> (value, error); the error of a standard deviation uses the
        fourth central moment, var(s^2) = (m4 - s^4) / n, so that tails count.

    Raises:
        MetricUnavailable: fewer than 10 values in a sample.
    """
    if min(len(reference), len(generated)) < 10:
        raise MetricUnavailable(f"an energy response needs 10 showers, found {len(reference)} and {len(generated)}")
    moments = []
    for values in (reference, generated):
        mean, width = float(np.mean(values)), float(np.std(values, ddof=1))
        fourth = float(np.mean((values - mean) ** 4))
        width_error = np.sqrt(max(fourth - width**4, 0) / len(values)) / (2 * width) if width > 0 else 0.0
        moments.append((mean, width / np.sqrt(len(values)), width, float(width_error)))
    (m1, dm1, w1, dw1), (m2, dm2, w2, dw2) = moments
    return {
        "mean_difference": (m2 - m1, float(np.hypot(dm1, dm2))),
        "width_difference": (w2 - w1, float(np.hypot(dw1, dw2))),
    }


@METRICS.register("energy_response", config=EnergyResponseConfig)
def energy_response(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: EnergyResponseConfig
) -> list[Score]:
    """``energy_response/mean_difference`` and ``/width_difference``, generated less reference."""
    picked = {"reference": reference.observables["E_ratio"], "generated": generated.observables["E_ratio"]}
    n = min(map(len, picked.values()))
    try:
        differences = response_differences(*picked.values())
    except MetricUnavailable as error:
        return [Score.absent(f"energy_response/{name}", n, error) for name in NAMES]
    extra = {k: {"mean": float(v.mean()), "width": float(v.std(ddof=1))} for k, v in picked.items()}
    return [
        Score(f"energy_response/{name}", value, error, n, floor=0.0, extra=extra)
        for name, (value, error) in differences.items()
    ]
