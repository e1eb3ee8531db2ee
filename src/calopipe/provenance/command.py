"""``calopipe provenance``: where a result comes from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calopipe.errors import DataError, printable

if TYPE_CHECKING:
    from calopipe.provenance.chain import Chain
    from calopipe.provenance.verify import Report


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "provenance", help="where a result comes from, back to raw files", description=run.__doc__
    )
    add = parser.add_argument
    add("file", type=Path, help="a plot, scores, showers, a checkpoint, ...; with --verify also a folder of results")
    add(
        "--verify",
        action="store_true",
        help="read all files, and name what is not what it was, or would be made otherwise now",
    )
    add("--rerun", action="store_true", help="print the command that makes the file again")
    add("--json", action="store_true", help="print all that is known as JSON")
    add("--graph", type=Path, metavar="SVG", help="draw the chain into this file")
    add(
        "--results", type=Path, metavar="FOLDER", help="where to look for the record of a copied file (default results)"
    )
    add(
        "--configfile", type=Path, metavar="FILE",
        help="configuration by which --verify says what is stale (default: config.yaml, else the one it was made with)",
    )  # fmt: skip
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print what a result was made from: all stages back to raw files, with settings, seeds, code, packages, machines, checksums."""
    from calopipe.provenance.chain import chain_of
    from calopipe.provenance.verify import nodes_below, verify
    from calopipe.workflow.made import read_record

    if options.verify and options.file.is_dir() and read_record(options.file) is None:
        if options.graph or options.rerun:
            raise DataError(f"{options.file}: --graph and --rerun are for one file, not for a folder of results")
        nodes = list(nodes_below(options.file))
        if not nodes:
            raise DataError(f"{options.file}: no result in this folder has a record")
        _tell({}, verify(nodes, options.configfile), options.json)
        return
    chain = chain_of(options.file, options.results)
    report = verify(chain.nodes.values(), options.configfile) if options.verify else None
    _show(chain, report, options)


def _show(chain: Chain, report: Report | None, options: argparse.Namespace) -> None:
    from calopipe.provenance.graph import write_graph
    from calopipe.provenance.rerun import rerun_command
    from calopipe.provenance.text import as_data, as_text

    if options.graph:
        write_graph(chain, options.graph, {f.path: str(f) for f in report.findings} if report else None)
    if options.rerun:
        print(rerun_command(chain))
    if report is not None:
        _tell(as_data(chain), report, options.json)
    elif options.json:
        print(json.dumps(as_data(chain), indent=1, ensure_ascii=False))
    elif not options.rerun:
        print(printable(as_text(chain), keep="\n"))


def _tell(data: dict[str, Any], report: Report, as_json: bool) -> None:
    """Print what was found, and end in an error where something is wrong."""
    findings = [{"path": f.path, "what": f.what, "stale": f.stale} for f in report.findings]
    if as_json:
        verified = {"checked": report.checked, "findings": findings, "notes": list(report.notes)}
        print(json.dumps({**data, "verified": verified}, indent=1, ensure_ascii=False))
    else:
        for line in [*map(str, report.findings), *(f"note: {note}" for note in report.notes)]:
            print(printable(line))
    if report.findings:
        wrong = len({f.path for f in report.findings})
        raise DataError(f"{wrong} of {report.checked} files are not what they should be")
    if not as_json:
        print(f"{report.checked} files are what their records say, and what the study would make now")
