"""Links of the page: from a number to the files that it was read from, from a plot to those that it was drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from calopipe.report.numbers import format_bytes
from calopipe.report.sources import Origin, Origins, Source, Sourced, relative, results_of

_LINK = Markup('<a class="src" href="{}" title="{}">{}</a>')


class Links:
    """Addresses as seen from the page.

    Args:
        out: folder of the page.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.origins = Origins(results_of(out))

    def picture(self, path: Path) -> str:
        """Address of a file of the report itself."""
        return relative(path, self.out)

    def made(self, origin: Origin) -> Markup:
        """A file that a plot was drawn from, by its path below the results folder."""
        path = self.origins.results / origin.path
        return _LINK.format(self._address(path), f"{origin.made}, sha256 {origin.sha256[:16]}", origin.path)

    def number(self, text: str, brief: bool = False) -> Markup:
        """A text as a link to the one file that it comes from; of several, each seed has a small link after it.

        Lines after the first are shown smaller. `brief`: no links to several files.
        """
        sources = text.sources if isinstance(text, Sourced) else ()
        first, *rest = text.split("\n")
        shown = self._link(sources[0], first) if len(sources) == 1 else Markup("{}").format(first)
        if len(sources) > 1 and not brief:
            seeds = (self._link(s, "file" if s.seed is None else f"s{s.seed}") for s in sources)
            shown += Markup(' <span class="seeds">{}</span>').format(Markup(" ").join(seeds))
        return shown + Markup("").join(Markup('<br><span class="sub">{}</span>').format(line) for line in rest)

    def _link(self, source: Source, text: str) -> Markup:
        return _LINK.format(self._address(Path(source.path)), self.origins[source.path].made, text)

    def _address(self, path: Path) -> str:
        return quote(relative(path.resolve(), self.out.resolve()))

    def listed(self, files: Mapping[str, str]) -> list[dict[str, str]]:
        """What it is, name, address and size of each file; no address where it does not exist."""
        found = []
        for what, path in files.items():
            file = Path(path)
            entry = {"what": what, "name": file.name, "href": "", "size": "not found"}
            if file.is_file():
                entry |= {"href": self._address(file), "size": format_bytes(file.stat().st_size)}
            found.append(entry)
        return found
