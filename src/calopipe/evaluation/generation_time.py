"""The timing stage: milliseconds per shower of a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calopipe.config.evaluation import TimingConfig
from calopipe.evaluation.timing import measure_timing
from calopipe.sampling.generator import Generator
from calopipe.sampling.stages import conditions_of
from calopipe.units import GeV


def time_generation(
    networks: Sequence[Path],
    energies: Path,
    *,
    config: TimingConfig,
    out: Path,
    geant4_ms_per_GeV: float | None = None,
    geant4_ms: float | None = None,
    geant4_source: str | None = None,
) -> None:
    """Measure the time per shower for every batch size of `config`, with conditions of the file `energies`.

    Batches pass the networks as a whole where memory allows, else in pieces, whose size is recorded.
    Of each batch size one more call is timed network by network. Beside it are recorded the numbers of parameters of the networks, and
    Geant4's time per shower with its source: `geant4_ms`, or that for the mean incident energy of the file where the time per GeV is known.
    """
    generator = Generator.load(networks, config.device)
    conditions = conditions_of(energies, generator.data)[:100_000]
    if geant4_ms_per_GeV is not None:
        geant4_ms = geant4_ms_per_GeV * float(conditions[:, 0].mean()) / GeV
    most = generator.most_rows

    def sampler(batch: np.ndarray) -> np.ndarray:
        return generator.sample(batch, batch_size=min(len(batch), most))

    def parts(batch: np.ndarray) -> dict[str, float]:
        generator.seconds = {}
        sampler(batch)
        found, generator.seconds = generator.seconds, None
        return found

    known = {"geant4_ms": geant4_ms, "geant4_source": geant4_source, "parameters": generator.parameters}
    measure_timing(sampler, conditions, config=config, out=out, most=most, parts=parts, known=known)
