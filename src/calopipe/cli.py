"""The ``calopipe`` command: showers from trained checkpoints, and a look into shower files, outside the workflow."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calopipe import __version__
from calopipe.errors import CalopipeError, ConfigError

log = logging.getLogger("calopipe")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Expected errors end with one line on stderr and exit status 1, wrong arguments with 2."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("lightning").setLevel(logging.WARNING)
    try:
        options.command(options)
    except CalopipeError as error:
        print(f"calopipe: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calopipe", description=__doc__)
    parser.add_argument("--version", action="version", version=f"calopipe {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    generate = commands.add_parser("generate", help="draw showers from a trained flow", description=_generate.__doc__)
    generate.add_argument(
        "flow", type=Path, help="checkpoint of a flow: results/<dataset>/<model>/seed<n>/flow/model.pt"
    )
    generate.add_argument("--autoencoder", type=Path, help="checkpoint of its autoencoder (latent models)")
    generate.add_argument(
        "--energies",
        required=True,
        metavar="FILE | E,E,... | LOW:HIGH",
        help="incident energies in MeV: those of a shower file, a list, or uniform in a range",
    )
    generate.add_argument(
        "--number", type=int, metavar="N", help="showers per energy (default 1), or in all for a range"
    )
    generate.add_argument("--out", type=Path, required=True, help="HDF5 file to write, in the CaloChallenge's layout")
    generate.add_argument("--seed", type=int, default=0, help="default 0")
    generate.add_argument("--batch-size", type=int, default=2000, help="showers drawn at once (default 2000)")
    generate.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    generate.set_defaults(command=_generate)

    show = commands.add_parser("show", help="what is in a shower file", description=_show.__doc__)
    show.add_argument("file", type=Path, help="HDF5 file in the CaloChallenge's or CaloGAN's layout")
    show.add_argument("--geometry", help="name, YAML or XML file; by default the one named in the file")
    show.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw showers into this folder")
    show.add_argument("--rows", type=int, nargs="+", default=[0, 1, 2], help="showers to draw (default 0 1 2)")
    show.set_defaults(command=_show)
    return parser


def _generate(options: argparse.Namespace) -> None:
    """Draw one shower per incident energy from a trained checkpoint and write them to an HDF5 file."""
    if options.batch_size < 1 or options.seed < 0:
        raise ConfigError("--batch-size must be at least 1 and --seed at least 0")
    incident = incident_energies(options.energies, options.number, options.seed)
    from calopipe.sampling.generator import Generator
    from calopipe.sampling.stages import sample_to_file

    generator = Generator.load(options.flow, options.autoencoder, options.device)
    sample_to_file(generator, incident, options.out, options.batch_size, options.seed)


def incident_energies(text: str, number: int | None, seed: int) -> np.ndarray:
    """Incident energies (N, 1) in MeV, float32.

    Args:
        text: a shower file, ``low:high`` (uniform, `number` of them) or ``e,e,...`` (`number` of each).
        number: how many; None: 1 of each, required for a range.
        seed: seed of the uniform energies.

    Raises:
        ConfigError: not understood, or not positive.
        DataError: the file is no shower file.
    """
    from calopipe.io import iter_showers
    from calopipe.seeds import generator

    if number is not None and number < 1:
        raise ConfigError(f"--number must be at least 1, found {number}")
    if Path(text).is_file():
        found = np.concatenate([chunk.incident_energies for chunk in iter_showers(text)])
        return np.repeat(found, number or 1, axis=0)
    bounds = text.split(":")
    try:
        values = np.array([float(e) for e in (bounds if len(bounds) == 2 else text.split(","))], dtype=np.float32)
    except ValueError:
        raise ConfigError(f"--energies: expected an existing file, LOW:HIGH or E,E,..., found '{text}'") from None
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ConfigError(f"--energies: energies must be positive numbers in MeV, found '{text}'")
    if len(bounds) != 2:
        return np.repeat(values, number or 1)[:, None]
    if number is None or values[0] > values[1]:
        raise ConfigError("--energies LOW:HIGH needs --number N and LOW <= HIGH")
    return generator(seed, "incident energies").uniform(*values, size=(number, 1)).astype(np.float32)


def _show(options: argparse.Namespace) -> None:
    """Print what a shower file holds, and draw showers on request."""
    from calopipe.show import event_pictures, summarise

    print(summarise(options.file, options.geometry))
    if options.pictures is not None:
        for path in event_pictures(options.file, options.pictures, options.rows, options.geometry):
            print(path)


if __name__ == "__main__":
    sys.exit(main())
