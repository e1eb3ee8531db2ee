"""The ``calopipe`` command, outside the workflow: draw showers, look into files, judge them, compare scores and studies."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from calopipe import __version__, generate, likelihood
from calopipe.archive import command as archive
from calopipe.arguments import Parser, add_script_options, adjusted, name, number, script_device
from calopipe.config.bounds import Energy, Epochs, Seed, Showers, Times
from calopipe.errors import CalopipeError, ConfigError, DataError, GeometryError, printable
from calopipe.provenance import command as provenance
from calopipe.scripting import LogFormatter

log = logging.getLogger("calopipe")

Errors = Annotated[float, Field(ge=0, le=1000)]
PrdcShowers = Annotated[Showers, Field(ge=20)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Expected errors end with one line on stderr and exit status 1, wrong arguments with 2.

    So do files that ``evaluate`` and ``leaderboard`` refuse: with 2. Ctrl-C ends with 130.
    """
    refused = 2
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("lightning").setLevel(logging.WARNING)
    try:
        options = _parser().parse_args(arguments)
        refused = options.refused
        options.command(options)
    except CalopipeError as error:
        print(f"calopipe: {type(error).__name__}: {error}", file=sys.stderr)
        return refused if isinstance(error, DataError | GeometryError | ConfigError) else 1
    except KeyboardInterrupt:
        print("calopipe: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        return 1
    except MemoryError as error:
        print(f"calopipe: not enough memory{f' ({error})' if str(error) else ''}", file=sys.stderr)
        return 1
    except OSError as error:  # of files that are named on the command line
        named = printable(str(error.filename), 300) if error.filename else "a file"
        print(f"calopipe: {named}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="calopipe", description=__doc__)
    parser.add_argument("--version", action="version", version=f"calopipe {__version__}")
    parser.set_defaults(refused=1)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    generate.add_to(commands)
    likelihood.add_to(commands)
    _add_show(commands)
    _add_evaluate(commands)
    _add_leaderboard(commands)
    _add_compare(commands)
    provenance.add_to(commands)
    archive.add_to(commands)
    return parser


def _add_show(commands: Any) -> None:
    show = commands.add_parser("show", help="what is in a shower file", description=_show.__doc__)
    show.add_argument("file", type=Path, help="HDF5 file in the CaloChallenge's or CaloGAN's layout")
    show.add_argument("--geometry", help="name, YAML or XML file; by default the one named in the file")
    show.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw showers into this folder")
    show.add_argument("--rows", type=int, nargs="+", default=[0, 1, 2], help="showers to draw (default 0 1 2)")
    show.set_defaults(command=_show)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate", help="judge a submission as the CaloChallenge does", description=_evaluate.__doc__
    )
    add = evaluate.add_argument
    add("generated", type=Path, nargs="*", help="HDF5 file to judge; several are taken as one sample")
    add("--input_file", "-i", type=Path, action="append", default=[], help="the same, as the challenge's script has it")
    add(
        "--reference", "--reference_file", "-r", type=Path, action="append", required=True, metavar="FILE",
        help="showers to compare with; give the option twice for a reference of two files (set 3)",
    )  # fmt: skip
    add("--dataset", "-d", help="set of the challenge: 1-photons, 1-pions, 2 or 3")
    add("--geometry", help="instead of --dataset, another calorimeter: name, YAML or XML file")
    add(
        "--threshold",
        type=number("--threshold", Energy),
        metavar="MEV",
        help="minimum readout of a voxel (default: the geometry's)",
    )
    add(
        "--mode", "-m", nargs="+", default=["all"], metavar="MODE",
        help="avg avg-E hist chi2 trees low-log cls-low cls-low-normed cls-high cls-resnet fpd kpd prdc, or all (default), no-cls",
    )  # fmt: skip
    add("--out", "--output_dir", type=Path, default=Path("evaluation"), help="folder to write (default evaluation)")
    add(
        "--name", type=name, default="", help="what the sample is called in plots and tables (default: the file's name)"
    )
    add("--seed", type=number("--seed", Seed), default=0, help="default 0")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where classifiers are trained")
    add(
        "--cls-repeats",
        type=number("--cls-repeats", Times),
        metavar="N",
        help="trainings of each classifier (default: those of its settings)",
    )
    add(
        "--cls-epochs",
        type=number("--cls-epochs", Epochs),
        metavar="N",
        help="epochs of each training of the challenge's classifiers (default: theirs)",
    )
    add(
        "--prdc-showers",
        type=number("--prdc-showers", PrdcShowers),
        metavar="N",
        help="showers of each sample for prdc (default 10000; published: all)",
    )
    add_script_options(evaluate)
    evaluate.set_defaults(command=_evaluate, refused=2)


def _add_leaderboard(commands: Any) -> None:
    board = commands.add_parser(
        "leaderboard", help="place scores in the CaloChallenge's published table", description=_leaderboard.__doc__
    )
    add = board.add_argument
    add(
        "scores", type=Path, nargs="+",
        help="scores.json of `calopipe evaluate`, or files of one run of a study (metrics.json, classifiers/*.json, "
        "timing.json), or the folder that holds them: together one row",
    )  # fmt: skip
    add("--dataset", "-d", help="which table: 1-photons, 1-pions, 2 or 3 (default: the one that was evaluated)")
    add("--name", type=name, default="", help="what the row is called")
    add("--out", type=Path, help="folder for CSV, Markdown and plots (default: only print)")
    board.set_defaults(command=_leaderboard, refused=2)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", help="what differs between two studies: settings and scores", description=_compare.__doc__
    )
    add = compare.add_argument
    where = "report page (index.html) or its folder, or a folder of results, or one that holds it"
    for letter in "ab":
        add(letter, type=Path, metavar=letter.upper(), help=f"a study: its {where}")
    add(
        "--errors",
        type=number("--errors", Errors),
        metavar="Z",
        default=2.0,
        help="a score differs when it does by more than so many combined errors (default 2)",
    )
    add("--all", action="store_true", help="long lists in full, not only the largest differences")
    add("--json", action="store_true", help="print everything as JSON")
    compare.set_defaults(command=_compare)


def _show(options: argparse.Namespace) -> None:
    """Print what a shower file holds, and draw showers on request."""
    from calopipe.show import event_pictures, summarise

    _print(summarise(options.file, options.geometry))
    if options.pictures is not None:
        for path in event_pictures(options.file, options.pictures, options.rows, options.geometry):
            _print(path)


def _evaluate(options: argparse.Namespace) -> None:
    """Compare a file of generated showers with a reference file as the CaloChallenge's script does, with errors."""
    from calopipe.config.evaluation import ClassifierConfig
    from calopipe.evaluation.challenge_setup import CLASSIFIERS, Setup, classifier_of
    from calopipe.submission import evaluate, printed_scores, printed_summary

    generated = [Path(path) for path in (*options.generated, *options.input_file)]
    if not generated:
        raise ConfigError("name the file to judge")
    device = script_device(options)

    def adjust(config: ClassifierConfig) -> ClassifierConfig:
        return adjusted(config, options, device)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # batch systems end jobs like this: clean up first
    setup = Setup.of(options.dataset, options.geometry, options.threshold)
    modes = setup.modes(options.mode)
    for mode in modes:
        if mode in CLASSIFIERS:
            adjust(classifier_of(mode))  # what does not fit is told before anything is computed
    settings = {} if options.prdc_showers is None else {"prdc": {"max_showers": options.prdc_showers}}
    judgement = evaluate(
        [Path(path) for path in options.reference],
        generated,
        setup,
        modes,
        options.out,
        name=options.name,
        seed=options.seed,
        adjust=adjust,
        settings=settings,
    )
    summary = printed_summary(judgement)
    if summary:
        _print(summary + "\n")
    _print(printed_scores(judgement))
    _print(f"{len(judgement.files) + 1} files in {options.out}: scores.json, scores.csv and plots")


def _leaderboard(options: argparse.Namespace) -> None:
    """Place scores in the table of all submissions to the CaloChallenge (arXiv:2410.21611), metric by metric."""
    from calopipe.report.leaderboard import terminal_table
    from calopipe.report.placement import leaderboard_of, write_leaderboard

    board = leaderboard_of(options.scores, options.dataset, options.name)
    _print(terminal_table(board))
    if options.out is not None:
        for path in write_leaderboard(board, options.out):
            _print(path)


def _compare(options: argparse.Namespace) -> None:
    """Compare two studies: settings, code and versions that differ, and scores that differ by more than their errors."""
    from calopipe.report.comparison import compare_studies
    from calopipe.report.comparison_text import comparison_json, comparison_text
    from calopipe.report.studies import read_study

    found = compare_studies(read_study(options.a), read_study(options.b), options.errors)
    _print(comparison_json(found) if options.json else comparison_text(found, options.all))


def _print(text: str | Path) -> None:
    """Print text in which names and texts from files cannot carry control codes."""
    print(printable(str(text), keep="\n"))


if __name__ == "__main__":
    sys.exit(main())
