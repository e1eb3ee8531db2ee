"""``calopipe archive``: a study as one folder or ZIP file."""

from __future__ import annotations

import argparse
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calopipe.errors import DataError, printable

log = logging.getLogger("calopipe")


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "archive", help="a study as one folder or ZIP file that others can audit and continue", description=run.__doc__
    )
    add = parser.add_argument
    add(
        "study", type=Path, metavar="STUDY",
        help="its configuration file, or its report page or folder of results; with --check an archive",
    )  # fmt: skip
    add("--out", type=Path, metavar="PATH", help="new folder, or ZIP file (default <study>-archive.zip)")
    add(
        "--author",
        action="append",
        default=[],
        metavar="NAME (AFFILIATION)",
        help="whose study it is; several times for several",
    )
    add("--licence", "--license", default="", metavar="URL", help="licence of the results (e.g. that of CC BY 4.0)")
    add("--without-raw", action="store_true", help="leave raw files out that are not bundled with calopipe")
    add("--as-it-is", action="store_true", help="also a study with files that are stale or not what they were")
    add("--check", action="store_true", help="read all files of an archive, and name what is not what it states")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Write a study with its code, its raw files and all records as a Workflow Run RO-Crate, or check such an archive."""
    if options.check:
        _check(options.study)
        return
    from calopipe.archive.contents import contents_of
    from calopipe.archive.crate import About
    from calopipe.archive.folder import write_archive

    contents = contents_of(options.study, raw=not options.without_raw)
    _verify(contents, options.as_it_is)
    about = About(datetime.now(UTC).isoformat(timespec="seconds"), tuple(options.author), options.licence)
    written = write_archive(contents, options.out or Path(f"{contents.name}-archive.zip"), about)
    print(
        printable(f"{written}: the study '{contents.name}' with {len(contents.outputs)} results, each with its record")
    )


def _verify(contents: Any, as_it_is: bool) -> None:
    """Nobody is handed a study whose files are not what its records say, unless that is meant."""
    from calopipe.provenance.verify import verify

    found = verify(contents.nodes, contents.config)
    for line in [*map(str, found.findings), *(f"note: {note}" for note in found.notes)]:
        log.info("%s", printable(line))
    if found.findings and not as_it_is:
        wrong = len({finding.path for finding in found.findings})
        raise DataError(
            f"{contents.results}: {wrong} of {found.checked} files are stale or not what they were: start the study again, "
            "or give --as-it-is"
        )


def _check(path: Path) -> None:
    from calopipe.archive.check import check_archive

    number, wrong = check_archive(path)
    for line in wrong:
        print(printable(line))
    if wrong:
        raise DataError(f"{path}: {len(wrong)} of {number} files are not what the archive states")
    print(printable(f"{path}: {number} files are what the archive states"))
