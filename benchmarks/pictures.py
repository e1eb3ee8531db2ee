"""Pictures of generated showers beside Geant4's: single showers of the same energies in some layers, and average showers, on logarithmic scales.

    python benchmarks/pictures.py --reference test.hdf5 --showers generated.hdf5 --geometry calochallenge2 [--label cascade] [--layers 2 6 10 14 20 30]
                                  [--energies 0.97 0.7 0.4] [--out docs/cascade]

Rows of the two files belong together (the same incident energies), as in what the workflow generates. Showers are taken at quantiles of the
incident energy (--energies), not chosen. Writes OUT_showers.png and OUT_average.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from calopipe.geometry import load_geometry
from calopipe.io import read_showers
from calopipe.plots.examples import gallery_figure
from calopipe.plots.showers import average_figure
from calopipe.plots.style import save_figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--showers", type=Path, required=True)
    parser.add_argument("--geometry", default="calochallenge2")
    parser.add_argument("--label", default="cascade")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 6, 10, 14, 20, 30])
    parser.add_argument("--energies", type=float, nargs="+", default=[0.97, 0.7, 0.4], help="quantiles")
    parser.add_argument("--dpi", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path("docs/cascade"))
    args = parser.parse_args()
    geometry = load_geometry(args.geometry)
    reference, generated = read_showers(args.reference), read_showers(args.showers)
    incident = reference.incident_energies.reshape(-1)
    if not np.array_equal(incident, generated.incident_energies.reshape(-1)):
        raise SystemExit(f"{args.showers}: expected the incident energies of {args.reference}, row by row")
    order = np.argsort(incident)
    rows = order[[int(q * (len(order) - 1)) for q in args.energies]]
    shown = [(i, layer) for i in range(len(rows)) for layer in args.layers[:: len(rows)]]
    about = {"run": f"benchmarks/pictures.py, {args.showers.name}"}
    pictures = {
        "showers": gallery_figure(
            geometry, {"Geant4": reference.showers[rows], args.label: generated.showers[rows]}, incident[rows], shown
        ),
        "average": average_figure(
            geometry, reference.showers.mean(0), {args.label: generated.showers.mean(0)}, layers=args.layers
        ),
    }
    for name, figure in pictures.items():
        save_figure(figure, Path(f"{args.out}_{name}"), about, dpi=args.dpi, pdf=False)


if __name__ == "__main__":
    main()
