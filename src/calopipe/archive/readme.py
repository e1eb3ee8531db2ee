"""The page that somebody reads first who opens an archive."""

from __future__ import annotations

from calopipe import __version__
from calopipe.archive.contents import Contents
from calopipe.archive.crate import METADATA, About
from calopipe.origin import git_state


def readme(contents: Contents, about: About) -> str:
    """What the archive holds and how it is used, as Markdown."""
    results = contents.moves.results[1]
    runs = "\n".join(f"- model `{run.model}` on dataset `{run.dataset}`, seed {run.seed}" for run in contents.plan.runs)
    return _TEXT.format(
        name=contents.name,
        page=contents.place(contents.page),
        date=about.date[:10],
        authors=f" by {', '.join(about.authors)}" if about.authors else "",
        version=f"calopipe {__version__}{_commit()}",
        report=_report(contents),
        runs=runs,
        raw=_raw(contents),
        results=results,
        metadata=METADATA,
        licence=about.licence or "not stated by the authors",
        moved=_moved(contents),
    )


def _commit() -> str:
    state = git_state()
    return "" if state is None else f", commit {state['commit']}{' with changes' if state['dirty'] else ''}"


def _report(contents: Contents) -> str:
    if not contents.complete:
        return "The study is not finished: there is no report yet."
    page = contents.place(contents.page)
    return f"The report: [{page}]({page})"


def _raw(contents: Contents) -> str:
    away = [name for name in contents.raw_files if name not in contents.taken]
    if not away:
        return "in it, below `resources/` (bundled) or where `config.yaml` says"
    return f"not in it: {', '.join(f'`{name}`' for name in away)}. They are needed only where data are prepared again"


def _moved(contents: Contents) -> str:
    moved = dict(contents.moves.files)
    old, new = contents.moves.results
    moved |= {old: new} if old != new else {}
    if not moved:
        return ""
    lines = "\n".join(f"- `{before}` is `{now}` here" for before, now in moved.items())
    return f"\nWhat lay outside of the study's folder was taken into it; records and configuration name it so:\n\n{lines}\n"


_TEXT = """# Study '{name}'

An archive of a study of generative models of calorimeter showers, written {date}{authors} by {version}.

{report}

{runs}

| | |
|---|---|
| `config.yaml` | the whole configuration, with presets and defaults filled in |
| `{results}/` | results; beside each, in `.made/`, the record of what made it |
| `workflow/`, `src/`, ... | the code that made them |
| `environment.txt` | all packages of the environment, with versions |
| `{metadata}` | what is what, for programs: a Workflow Run RO-Crate, with a checksum of each file |
| raw files | {raw} |

Set it up (Linux, Python 3.11 or newer), and ask where a result comes from:

```sh
bash install.sh
.venv/bin/calopipe provenance {page}
.venv/bin/calopipe provenance {results} --verify      # all files are what they were
.venv/bin/snakemake -n                                # nothing is to be done; what a changed setting would make anew
```
{moved}
Licence of the results: {licence}. The code is under the MIT licence (`LICENSE`).
"""
