"""``calopipe likelihood``: how likely showers are by a trained flow, and which of them are unlike those it has learned."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from calopipe.arguments import number
from calopipe.config.bounds import Seed
from calopipe.errors import DataError, printable

Draws = Annotated[int, Field(ge=1, le=1000)]
#: showers of one call
MAX_SHOWERS = 10**6


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "likelihood", help="how likely showers are by a trained flow, and which are odd", description=run.__doc__
    )
    add = parser.add_argument
    add(
        "network",
        type=Path,
        help="folder of a run whose one network is a flow of showers, or its checkpoint (model.pt)",
    )
    add("file", type=Path, help="shower file")
    add(
        "--reference", type=Path, metavar="FILE",
        help="showers like those it has learned (e.g. the study's test.hdf5), to say what is odd",
    )  # fmt: skip
    add(
        "--draws",
        type=number("--draws", Draws),
        default=1,
        help="draws of random preprocessing to average over (default 1)",
    )
    add("--seed", type=number("--seed", Seed), default=0, help="default 0")
    add("--out", type=Path, metavar="CSV", help="write log p (and oddness) of each shower")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Compute log p of each shower of a file (nats, energies in MeV) and, beside a reference, how odd it is for its energy."""
    from calopipe.metrics.roc import area_under_roc
    from calopipe.sampling.generator import Generator
    from calopipe.sampling.likelihood import Typical

    generator = Generator.load(options.network, options.device)
    energies, log_p = _likelihood(generator, options.file, options)
    print(printable(f"{options.file}: {len(log_p)} showers, log p {np.mean(log_p):.6g}, sd {np.std(log_p):.3g}"))
    columns: dict[str, NDArray[Any]] = {"incident_energy_MeV": energies, "log_p": log_p}
    if options.reference is not None:
        known_energies, known = _likelihood(generator, options.reference, options)
        typical = Typical.of(known_energies, known)
        columns["oddness"] = odd = typical.oddness(energies, log_p)
        usual = typical.oddness(known_energies, known)
        print(
            printable(f"{options.reference}: {len(known)} showers, log p {np.mean(known):.6g}, sd {np.std(known):.3g}")
        )
        limit = np.quantile(usual, 0.99)
        print(
            f"odder than 99 % of the reference: {np.mean(odd > limit):.2%} of the showers; AUC of the oddness {area_under_roc(odd, usual):.4f}"
        )
    if options.out is not None:
        _write(options.out, columns)


def _likelihood(
    generator: Any, path: Path, options: argparse.Namespace
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    import torch

    from calopipe.io import read_showers
    from calopipe.sampling.likelihood import log_prob
    from calopipe.sampling.stages import conditions_of

    data = read_showers(path)
    if len(data.showers) > MAX_SHOWERS:
        raise DataError(f"{path}: expected at most {MAX_SHOWERS} showers, found {len(data.showers)}")
    torch.manual_seed(options.seed)
    conditions = conditions_of(path, generator.data)
    return conditions[:, 0], log_prob(generator, data.showers, conditions, options.draws)


def _write(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    from calopipe.io.output import replacing
    from calopipe.io.stored import writing

    with replacing(path) as temporary, writing(path), temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", *columns])
        writer.writerows(
            [i, *(f"{value:.9g}" for value in row)] for i, row in enumerate(zip(*columns.values(), strict=True))
        )
