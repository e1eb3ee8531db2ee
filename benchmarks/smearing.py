"""Widths of generated momentum residuals in the six cells of table 3.4 of Albergo 2018, against electrons made with other seeds.

    python benchmarks/smearing.py results/smearing/smearing_gan_dp_cpu/seed0 [ANOTHER ...] [--rows 400000] [--seed 3]

Each argument is a folder of networks, or a checkpoint. In each cell, one energy and a range of |eta|, at least ROWS electrons are made,
and as many residuals generated at the same eta, phi and momenta. Printed: the true full width at half maximum (24 bins, MeV), the relative
differences of the generated one and of the width between the quantiles of 16 and 84 %, and what two samples of true residuals differ by.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from calopipe.config import validate
from calopipe.config.recipes import DetectorSmearingRecipe
from calopipe.io import Columns, read_columns
from calopipe.observables.columns import column_edges, fwhm
from calopipe.sampling.generator import Generator
from calopipe.sources.made import make

CELLS = [(energy, eta) for energy in (500.0, 40_000.0) for eta in ((0.0, 0.2), (1.5, 1.7), (2.0, 2.5))]
COLUMN, BINS = "pt_residual", 24


def electrons(energy: float, eta: tuple[float, float], rows: int, seed: int) -> Columns:
    """At least so many of one energy and a range of |eta|."""
    made = {"recipe": "detector_smearing", "energies": [energy], "eta": [eta], "seed": seed}
    within = np.tanh(eta[1]) - np.tanh(eta[0])  # cos theta is uniform
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cell.hdf5"
        make(validate(DetectorSmearingRecipe, {**made, "rows": int(1.05 * rows / within)}, "made"), path)
        return read_columns(path)


def widths(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Full width at half maximum, and that between the quantiles of 16 and 84 %."""
    half = fwhm(np.histogram(values, edges)[0], edges)
    low, high = np.quantile(values, [0.16, 0.84])
    return np.array([np.nan if half is None else half, high - low])


def main() -> None:
    """Print a table of each generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", type=Path, nargs="+")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    for path in args.generators:
        generator = Generator.load(path, "cpu")
        print(
            f"\n{path}\n\n| MeV | eta | FWHM, true [MeV] | generated | other true | 16 to 84 %, generated | other true |"
        )
        print("|---|---|---|---|---|---|---|")
        for energy, eta in CELLS:
            true, other = (electrons(energy, eta, args.rows, args.seed + k) for k in range(2))
            drawn = generator.sample(np.column_stack(list(true.conditions.values())))[:, 0]
            (edges,) = column_edges({COLUMN: true.values[COLUMN]}, BINS).values()
            expected, *found = (widths(v, edges) for v in (true.values[COLUMN], drawn, other.values[COLUMN]))
            off = [f"{part:+.1%}" for kind in range(2) for part in (f[kind] / expected[kind] - 1 for f in found)]
            print(f"| {energy:g} | {eta[0]}-{eta[1]} | {expected[0]:.2f} | {' | '.join(off)} |", flush=True)


if __name__ == "__main__":
    main()
