"""The timing stage: milliseconds per shower of a trained generator."""

from __future__ import annotations

from pathlib import Path

from calopipe.config.schema import TimingConfig
from calopipe.evaluation.timing import measure_timing
from calopipe.io import iter_showers
from calopipe.sampling.generator import Generator


def time_generation(flow: Path, autoencoder: Path | None, energies: Path, config: TimingConfig, out: Path) -> None:
    """Measure the time per shower for every batch size of `config`, with incident energies of the file `energies`."""
    generator = Generator.load(flow, autoencoder, config.device)
    incident = next(iter_showers(energies, chunk_rows=100_000, validate=False)).incident_energies
    measure_timing(generator.sample, incident, config, out)
