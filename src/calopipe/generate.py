"""``calopipe generate``: draw showers from trained networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from calopipe.arguments import is_file, number
from calopipe.config.bounds import BatchSize, Seed, Showers
from calopipe.errors import ConfigError, nearest, printable

if TYPE_CHECKING:
    from calopipe.sampling.generator import Generator

#: showers of one call
MAX_SHOWERS = 10**8


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("generate", help="draw showers from trained networks", description=run.__doc__)
    parser.add_argument(
        "networks",
        type=Path,
        nargs="+",
        help="folder of a run, results/<dataset>/<model>/seed<n>, or the checkpoints (model.pt) of all its networks",
    )
    parser.add_argument(
        "--energies",
        required=True,
        metavar="FILE | E,E,... | LOW:HIGH",
        help="incident energies in MeV: those of a shower file, a list, or uniform in a range",
    )
    parser.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="NAME=VALUE | NAME=LOW:HIGH",
        help="a further condition of the networks (angles in rad), fixed or uniform; by default that of the shower file",
    )
    parser.add_argument(
        "--number",
        type=number("--number", Showers),
        metavar="N",
        help="showers per energy (default 1), or in all for a range",
    )
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write, in the CaloChallenge's layout")
    parser.add_argument("--seed", type=number("--seed", Seed), default=0, help="default 0")
    parser.add_argument(
        "--batch-size",
        type=number("--batch-size", BatchSize),
        help="showers that pass the networks at once (default: what is fast on the device)",
    )
    parser.add_argument(
        "--extensions",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder of your own Python files, for networks that are registered there; they are run",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw one shower per incident energy from trained networks and write them to an HDF5 file."""
    from calopipe.io.output import check_target

    read = [Path(options.energies)] if is_file(options.energies) else []
    check_target(options.out, [*(path for path in options.networks if not path.is_dir()), *read])
    incident = incident_energies(options.energies, options.number, options.seed)
    from calopipe.config.parts import use_extensions
    from calopipe.sampling.generator import Generator
    from calopipe.sampling.mixture import Mixture
    from calopipe.sampling.stages import sample_to_file

    use_extensions(options.extensions)
    folder = len(options.networks) == 1 and options.networks[0].is_dir()
    generator = Generator.load(options.networks[0] if folder else options.networks, options.device)
    further = sorted(options.networks[0].glob("training*")) if folder else []
    parts = [generator, *(Generator.load(path, options.device) for path in further)]
    table = np.hstack([incident, *_further(generator, options, len(incident))])
    mixture = Mixture.of(parts, [str(path) for path in (options.networks[0], *further)]) if further else generator
    sample_to_file(mixture, table, options.out, options.batch_size, options.seed)


def incident_energies(text: str, number: int | None, seed: int) -> NDArray[np.float32]:
    """Incident energies (N, 1) in MeV, float32.

    Args:
        text: a shower file, ``low:high`` (uniform, `number` of them) or ``e,e,...`` (`number` of each).
        number: how many; None: 1 of each, required for a range.
        seed: seed of the uniform energies.

    Raises:
        ConfigError: not understood, or not positive.
        DataError: the file is no shower file.
    """
    from calopipe.io import read_incident_energies
    from calopipe.seeds import generator

    if number is not None and number < 1:
        raise ConfigError(f"--number must be at least 1, found {number}")
    if is_file(text):
        energies = read_incident_energies(text)
        _check_number(len(energies) * (number or 1))
        return np.repeat(energies, number or 1, axis=0)
    bounds = text.split(":")
    try:
        values = np.array([float(e) for e in (bounds if len(bounds) == 2 else text.split(","))], dtype=np.float32)
    except ValueError:
        expected = "expected an existing file, LOW:HIGH or E,E,..."
        raise ConfigError(f"--energies: {expected}, found '{printable(text, 100)}'") from None
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ConfigError(f"--energies: energies must be positive numbers in MeV, found '{printable(text, 100)}'")
    _check_number((1 if len(bounds) == 2 else len(values)) * (number or 1))
    if len(bounds) != 2:
        return np.repeat(values, number or 1)[:, None]
    if number is None or values[0] > values[1]:
        raise ConfigError("--energies LOW:HIGH needs --number N and LOW <= HIGH")
    return generator(seed, "incident energies").uniform(values[0], values[1], size=(number, 1)).astype(np.float32)


def _check_number(showers: int) -> None:
    if showers > MAX_SHOWERS:
        raise ConfigError(f"--number: expected at most {MAX_SHOWERS} showers in all, found {showers}")


def _further(generator: Generator, options: argparse.Namespace, n: int) -> list[NDArray[np.float32]]:
    """Columns (n, 1) of the conditions after the incident energy."""
    from calopipe.io import read_conditions

    names = generator.data.further
    given = _given(options.condition, names)
    missing = [name for name in names if name not in given]
    if missing and not is_file(options.energies):
        raise ConfigError(
            f"--condition: the networks need {', '.join(missing)}; expected --condition {missing[0]}=VALUE"
        )
    table = read_conditions(options.energies, missing)[:, 1:] if missing else np.zeros((n, 0), dtype=np.float32)
    table = np.repeat(table, n // max(len(table), 1), axis=0) if missing else table
    columns = dict(zip(missing, table.T, strict=True))
    for name, (low, high) in given.items():
        columns[name] = _uniform(low, high, n, options.seed, name)
    return [columns[name].reshape(-1, 1) for name in names]


def _uniform(low: float, high: float, n: int, seed: int, name: str) -> NDArray[np.float32]:
    from calopipe.seeds import generator

    return generator(seed, "condition", name).uniform(low, high, size=n).astype(np.float32)


def _given(texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Bounds of the conditions named on the command line."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in names:
            known = ", ".join(names) or "none besides the incident energy"
            raise ConfigError(f"--condition: the networks have no condition '{printable(name, 50)}'{nearest(name, names)}; "
                              f"they have {known}")  # fmt: skip
        if name in found:
            raise ConfigError(f"--condition: '{name}' is given twice")
        bounds = value.split(":")
        try:
            low, high = (float(bounds[0]), float(bounds[-1])) if len(bounds) <= 2 else (np.nan, np.nan)
        except ValueError:
            low = high = np.nan
        if not (np.isfinite([low, high]).all() and low <= high):
            raise ConfigError(f"--condition {name}: expected a number or LOW:HIGH, found '{printable(value, 50)}'")
        found[name] = low, high
    return found
