"""The timing stage: milliseconds per shower of a trained generator."""

from __future__ import annotations

from pathlib import Path

from calopipe.config.evaluation import TimingConfig
from calopipe.evaluation.timing import measure_timing
from calopipe.io import iter_showers
from calopipe.sampling.generator import Generator
from calopipe.units import GeV


def time_generation(
    flow: Path,
    autoencoder: Path | None,
    energies: Path,
    *,
    config: TimingConfig,
    out: Path,
    geant4_ms_per_GeV: float | None = None,
) -> None:
    """Measure the time per shower for every batch size of `config`, with incident energies of the file `energies`.

    Geant4's time for the mean incident energy of that file is recorded beside it where its time per GeV is known.
    """
    generator = Generator.load(flow, autoencoder, config.device)
    incident = next(iter_showers(energies, chunk_rows=100_000, validate=False)).incident_energies
    geant4_ms = None if geant4_ms_per_GeV is None else geant4_ms_per_GeV * float(incident.mean()) / GeV
    measure_timing(generator.sample, incident, config=config, out=out, geant4_ms=geant4_ms)
