"""The tables of docs/results.md from what quality.py has written.

python benchmarks/quality_table.py results/quality/quality.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quality import DATA, MODELS

TESTS, SIX = ("trees", "low_log", "high"), ("E_ratio", "E_layer", "EC_eta", "EC_phi", "width_eta", "width_phi")
ACTIVITY = "separation_power/mean_layers/activity"
FLOORS = {"full": "geant4", "set2": "geant4_set2", "photons": "geant4_photons", "images": "geant4_images"}

Found = Mapping[str, Any]


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quality", type=Path, help="quality.json")
    found = json.loads(parser.parse_args().quality.read_text(encoding="utf-8"))
    for data, floor in FLOORS.items():
        models = [m for m, (_, _, size) in MODELS.items() if m in found and DATA[size].geometry == DATA[data].geometry]
        if models:
            print(f"\n{DATA[data].file}\n")
            table(columns(), ([m, *cells(found[m])] for m in models), [floor, *cells(found.get(floor, {}))])
            table(further(), ([m, *six(found[m])] for m in models), [floor, *six(found.get(floor, {}))])


def columns() -> list[str]:
    """Heads of the first table."""
    tests = ", ".join(TESTS)
    return [
        "model", "parameters", "minutes", "ms", f"AUC: {tests}", f"reconstructions: {tests}", "thesis",
        "occupancy (reconstructed)", "S(activity)", "reconstructed",
    ]  # fmt: skip


def cells(found: Found) -> list[str]:
    """One row of the first table."""
    minutes = sum(value for key, value in found.items() if key.startswith("minutes"))
    occupancy = [number(found, key, 4) for key in ("occupancy generated", "reconstructed occupancy") if key in found]
    return [
        f"{found.get('parameters', 0) / 1e6:.1f} M",
        f"{minutes:.1f}",
        f"{found.get('ms per shower', 0):.2g}",
        ", ".join(number(found, test) for test in TESTS),
        ", ".join(number(found, f"reconstructed {test}") for test in TESTS),
        number(found, "reconstructed thesis") or number(found, "thesis"),
        ", ".join(occupancy),
        number(found, ACTIVITY, 4),
        number(found, f"reconstructed {ACTIVITY}", 4),
    ]


def further() -> list[str]:
    """Heads of the second table: separation powers of the six observables of CaloMan, their mean, and time by network."""
    return ["model", *SIX, "mean", "mean of reconstructions", "ms in each network"]


def six(found: Found) -> list[str]:
    """One row of the second table."""
    names = ["separation_power/E_ratio", *(f"separation_power/mean_layers/{name}" for name in SIX[1:])]
    times = [f"{key.removeprefix('ms in ')} {value:.2g}" for key, value in found.items() if key.startswith("ms in ")]
    mean = "separation_power/average"
    return [
        *(number(found, name, 4) for name in names),
        number(found, mean, 4),
        number(found, f"reconstructed {mean}", 4),
        ", ".join(times),
    ]


def number(found: Found, name: str, digits: int = 3) -> str:
    """Value and error; nothing where there is none."""
    if name not in found:
        return ""
    error = found.get(f"{name} error")
    return f"{found[name]:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def table(heads: Iterable[str], rows: Iterable[list[str]], floor: list[str]) -> None:
    """Print a table of Markdown."""
    heads = list(heads)
    for row in (heads, ["---"] * len(heads), *rows, floor):
        print("| " + " | ".join(row) + " |")
    print()


if __name__ == "__main__":
    main()
