"""Whatever code and docs cite stands in docs/references.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ["src", "docs", "presets", "benchmarks", "workflow", "resources", "README.md", "CHANGELOG.md", "config.yaml"]
TEXTS = {".py", ".md", ".yaml", ".smk", ".html"}
BIBLIOGRAPHY = ROOT / "docs" / "references.md"
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
AUTHOR_YEAR = re.compile(r"\b([A-Z][^\W\d_]+(?:-[^\W\d_]+)?)(?: and [A-Z][\w-]+| et al\.)?,? \(?(19\d\d|20[0-3]\d)\b")
TITLES = {"CaloChallenge 2022"}  # looks like a citation, but is the name of a thing


def texts() -> list[Path]:
    found = [f for place in PLACES for f in ([ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*"))]
    return [f for f in found if f.suffix in TEXTS and f != BIBLIOGRAPHY]


def read(path: Path) -> str:
    """The text in one line, without the marks of comments: a citation may be broken into two lines."""
    return re.sub(r"\s*\n[\s#]*", " ", path.read_text(encoding="utf-8"))


def cited(text: str) -> set[str]:
    return set(ARXIV.findall(text)) | {" ".join(found) for found in AUTHOR_YEAR.findall(text)} - TITLES


def entries() -> dict[str, str]:
    """Every entry of the bibliography by its key."""
    return dict(re.findall(r"^- \*\*(.+?)\.\*\* (.+)$", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.MULTILINE))


def test_citations_are_found() -> None:
    text = "Ernst 2023, section 4; Levina and\n    # Bickel 2004; Ke et al. 2017 (arXiv:2410.21611), 2048 voxels, E_inc 1990"
    assert cited(re.sub(r"\s*\n[\s#]*", " ", text)) == {"Ernst 2023", "Levina 2004", "Ke 2017", "2410.21611"}


def test_entries_say_who_what_and_when() -> None:
    found = entries()
    assert len(found) == BIBLIOGRAPHY.read_text(encoding="utf-8").count("\n- ") > 20
    for key, entry in found.items():
        assert re.fullmatch(r"[A-Z][\w-]+ \d{4}", key), key
        assert re.search(r"^[^*]+, \*[^*]+\*, .*\d{4}", entry), key


def test_citations_resolve() -> None:
    known = set(entries()) | set(ARXIV.findall(BIBLIOGRAPHY.read_text(encoding="utf-8")))
    missing = {str(path.relative_to(ROOT)): found for path in texts() if (found := cited(read(path)) - known)}
    assert not missing, "cite what stands in docs/references.md, or add it there"


def test_every_entry_is_cited() -> None:
    everything = {citation for path in texts() for citation in cited(read(path))}
    unused = [k for k, entry in entries().items() if not {k, *ARXIV.findall(entry)} & everything]
    assert not unused


def test_sources_are_named_by_author() -> None:
    """No private numbers of systems ("M5"), no "the thesis": there are several."""
    numbers = re.compile(r"\b[EMP]\d{1,2}\b|\b[Tt]he thes[ie]s\b|\bthesis,? (?:section|eq|table|\d)")
    assert not {str(p.relative_to(ROOT)): found for p in texts() if (found := numbers.findall(read(p)))}
