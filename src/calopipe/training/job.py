"""What every training stage is told besides its settings: the files it reads and writes, and how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from calopipe.config.datasets import EnergySelection


@dataclass(frozen=True)
class Learned:
    """Which showers of the training split a training learns.

    Attributes:
        block: number of the block that it learns, from 0.
        showers: size of the blocks; None: all showers.
        energies: only showers of these incident energies, of which blocks are made; None: all.
    """

    block: int = 0
    showers: int | None = None
    energies: EnergySelection | None = None


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Attributes:
        train, val: prepared showers (or columns), or the latents that a network learns.
        refined: for a refiner, the showers of train and val as the chain before it makes them.
        geometry: geometry name or file; None for columns.
        conditions: names of further columns of the condition, after the incident energy.
        columns: names of what is learned, where the data are no showers; `conditions` are then all that it depends on.
        checkpoint, history: outputs (checkpoint; CSV of losses).
        rolling: folder for rolling checkpoints, outside the declared outputs; training continues from there.
        seed: seed of weights, order and noise.
        threads: CPU threads (0: torch's default).
        threshold_MeV: readout threshold; None takes the geometry's.
        showers: learn only a block of so many showers of the training split; None: all of it.
        block: number of that block, from 0; None: `seed`.
        energies: learn, and validate with, only showers of these incident energies, of which blocks are made; None: all.
        epochs: folder for the checkpoints that ``training.keep_every`` asks for; None: they are not written.
    """

    train: Path
    val: Path
    geometry: str | None
    checkpoint: Path
    history: Path
    rolling: Path
    seed: int = 0
    threads: int = 0
    threshold_MeV: float | None = None
    conditions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    refined: tuple[Path, Path] | None = None
    epochs: Path | None = None
    showers: int | None = None
    energies: EnergySelection | None = None
    block: int | None = None

    @property
    def learned(self) -> Learned:
        """Which showers of the training split it learns."""
        return Learned(self.seed if self.block is None else self.block, self.showers, self.energies)
