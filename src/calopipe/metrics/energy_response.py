"""Energy response: how mean and width of E_tot / E_inc of a sample differ from the reference's."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from calopipe.config.bounds import EnergySlices
from calopipe.config.parts import METRICS
from calopipe.config.scores import MetricSettings
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.records.scores import Score


class EnergyResponseConfig(MetricSettings):
    """Differences of mean and standard deviation of E_tot / E_inc."""

    energy_slices: EnergySlices = Field(default_factory=list, description="also in these slices of E_inc, MeV")

    def score_names(self) -> tuple[str, ...]:
        suffixes = ["", *(f"/{a:g}-{b:g}MeV" for a, b in self.energy_slices)]
        return tuple(f"{name}{suffix}" for name in ("mean_difference", "width_difference") for suffix in suffixes)


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
    """Differences over all incident energies, and in slices (``energy_response/mean_difference/1000-2000MeV``)."""
    out = []
    for bounds in [None, *config.energy_slices]:
        picked = [s.observables["E_ratio"][_selection(s.incident_energies, bounds)] for s in (reference, generated)]
        suffix = "" if bounds is None else f"/{bounds[0]:g}-{bounds[1]:g}MeV"
        n = min(map(len, picked))
        try:
            differences = response_differences(*picked)
        except MetricUnavailable as error:
            names = ("mean_difference", "width_difference")
            out += [Score.absent(f"energy_response/{k}{suffix}", n, error) for k in names]
            continue
        facts = {"reference": picked[0], "generated": picked[1]}
        extra = {k: {"mean": float(v.mean()), "width": float(v.std(ddof=1))} for k, v in facts.items()}
        for name, (value, error) in differences.items():
            out.append(Score(f"energy_response/{name}{suffix}", value, error, n, floor=0.0, extra=extra))
    return out


def _selection(incident: np.ndarray, bounds: tuple[float, float] | None) -> np.ndarray:
    return np.ones(len(incident), dtype=bool) if bounds is None else (incident >= bounds[0]) & (incident < bounds[1])
