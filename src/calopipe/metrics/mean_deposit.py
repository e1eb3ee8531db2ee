"""Mean energy deposit at each of a few values of a condition (Albergo 2018, figure 5.13: electrons of 100, 800 and 1800 MeV)."""

from __future__ import annotations

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import MetricUnavailable
from calopipe.metrics.base import MAX_ENERGIES, Sample
from calopipe.metrics.settings import MeanDepositConfig
from calopipe.records.scores import Score
from calopipe.records.slices import INCIDENT_ENERGY, Slice


@METRICS.register("mean_deposit", config=MeanDepositConfig)
def mean_deposit(
    reference: Sample, generated: Sample, rng: np.random.Generator, config: MeanDepositConfig
) -> list[Score]:
    """``mean_deposit/<value>``: mean E_tot over the reference's, less 1; both means with their errors, in MeV, in ``extra``."""
    condition = config.condition or INCIDENT_ENERGY
    at = [sample.condition(condition).astype(np.float64) for sample in (reference, generated)]
    values = np.unique(at[0])
    if len(values) > MAX_ENERGIES:
        what = "incident energies" if condition == INCIDENT_ENERGY else f"values of {condition}"
        raise MetricUnavailable(f"the reference has {len(values)} different {what}, more than {MAX_ENERGIES}")
    totals = [sample.observables["E_tot"] for sample in (reference, generated)]
    found = []
    for value in values.tolist():
        part = Slice(condition, value, value)
        found.append(_score(f"mean_deposit/{part}", part, *(e[part.holds(x)] for e, x in zip(totals, at, strict=True))))
    return found


def _score(name: str, part: Slice, reference: np.ndarray, generated: np.ndarray) -> Score:
    """Relative difference of the means of energies (N,) and (M,) in MeV, with its standard error to first order."""
    n = min(len(reference), len(generated))
    if n < 2:
        return Score.absent(name, n, f"needs two showers or more, found {len(reference)} and {len(generated)}")
    (a, da), (b, db) = ((float(e.mean()), float(e.std(ddof=1) / np.sqrt(len(e)))) for e in (reference, generated))
    if not a > 0:
        return Score.absent(name, n, "the reference has no energy")
    facts = {
        "condition": part.condition,
        "at": part.low,
        "reference": {"mean_MeV": a, "error_MeV": da},
        "generated": {"mean_MeV": b, "error_MeV": db},
    }
    return Score(name, b / a - 1, float(np.hypot(db / a, b * da / a**2)), n, floor=0.0, extra=facts)
