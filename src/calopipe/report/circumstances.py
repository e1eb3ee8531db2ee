"""What code and which versions made the files of two studies, as far as the records beside the files say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calopipe.errors import DataError
from calopipe.io.stored import read_json
from calopipe.report.artifacts import RunArtifacts
from calopipe.report.studies import Study
from calopipe.workflow.made import code_table, read_record

#: a study's runs that are compared, and those of the other study
Runs = tuple[Sequence[RunArtifacts], Sequence[RunArtifacts]]


@dataclass(frozen=True)
class Circumstances:
    """Code and versions of two studies.

    Attributes:
        other: stages whose code differs. same: those whose code is the same. A stage's code includes that of the models, steps
            and metrics that its settings name.
        modules: those that differ between the studies in the code of these stages, where both have written down which they are.
        versions: name of a package (or calopipe) -> the versions that each study was made with, where they differ.
        known: whether the records of both studies hold any version.
    """

    other: tuple[str, ...]
    same: tuple[str, ...]
    modules: tuple[str, ...]
    versions: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    known: bool


@dataclass
class _Seen:
    """What the records of one study hold: code by stage and file, versions by package."""

    code: dict[tuple[str, Any], set[str]] = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any] | None, what: Any) -> None:
        """Take up a record; None is none."""
        if record is None:
            return
        self.code.setdefault((record["stage"], what), set()).add(record["code"])
        named = record["job"].get("versions")
        for name, version in (named if isinstance(named, dict) else record["packages"]).items():
            if isinstance(version, str):
                self.versions.setdefault(name, set()).add(version)


def compare_circumstances(a: Study, b: Study, matched: Iterable[Runs]) -> Circumstances:
    """Compare what the records of the report pages, and of the files of runs, say. Files without a record say nothing."""
    seen = (_Seen(), _Seen())
    for part, study in zip(seen, (a, b), strict=True):
        part.add(study.record, "page")
    for number, pair in enumerate(matched):
        for part, study, runs in zip(seen, (a, b), pair, strict=True):
            for what, path in ((what, path) for run in runs for what, path in run.files().items()):
                part.add(read_record(study.path(path)), (number, what))
    both = seen[0].code.keys() & seen[1].code.keys()
    differ = [key for key in both if seen[0].code[key] != seen[1].code[key]]
    other = {stage for stage, _ in differ}
    tables = [
        _modules(study, {c for key in differ for c in part.code[key]}) for study, part in zip((a, b), seen, strict=True)
    ]
    versions = {name: (seen[0].versions[name], seen[1].versions[name])
                for name in sorted(seen[0].versions.keys() & seen[1].versions.keys())}  # fmt: skip
    return Circumstances(
        other=tuple(sorted(other)),
        same=tuple(sorted({stage for stage, _ in both} - other)),
        modules=tuple(
            sorted(name for name in tables[0].keys() & tables[1].keys() if tables[0][name] != tables[1][name])
        ),
        versions={k: (tuple(sorted(v)), tuple(sorted(w))) for k, (v, w) in versions.items() if v != w},
        known=all(part.versions for part in seen),
    )


def _modules(study: Study, codes: Iterable[str]) -> dict[str, set[str]]:
    """Digests of the modules behind these codes; empty where the results do not hold them."""
    found: dict[str, set[str]] = {}
    for code in codes:
        try:
            table = read_json(code_table(study.results, code))
        except DataError:
            continue
        for name, sha256 in table.items() if isinstance(table, dict) else ():
            found.setdefault(name, set()).add(str(sha256))
    return found
