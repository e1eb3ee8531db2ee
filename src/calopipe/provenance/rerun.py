"""The command that makes a result again."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from calopipe.errors import DataError
from calopipe.origin import HOME
from calopipe.provenance.chain import Chain, study_folder
from calopipe.workflow.made import configuration


def rerun_command(chain: Chain) -> str:
    """A line for the shell: Snakemake with the configuration that the result was made with, and its file as the target.

    Raises:
        DataError: the results were moved out of the folder that they are named by.
    """
    record = chain.result.record
    if record is None:
        raise DataError(f"{chain.result.path}: a raw file; no stage makes it")
    folder = study_folder(chain.result.path, record)
    if folder is None:
        folder = study_folder(Path(chain.result.path).parent, record)
    if folder is None:
        raise DataError(
            f"{chain.result.path}: the results have another name than when it was made ({record['job']['results']}): "
            "call them that, or set `results` in the configuration"
        )
    inside = os.path.relpath(os.path.abspath(chain.result.path), os.path.abspath(folder))
    target = next(
        (o for o in record["job"]["outputs"] if inside == o or inside.startswith(f"{o}/")), record["job"]["outputs"][0]
    )
    command = ["snakemake"]
    if not (folder / "workflow/Snakefile").is_file():
        command += ["-s", str(HOME / "workflow/Snakefile")]
    kept = configuration(record["job"]["results"], record["job"]["configuration"])
    if not (folder / kept).is_file():
        raise DataError(f"{folder / kept}: the configuration that it was made with is missing")
    command += ["--configfile", kept.as_posix(), "--cores", "all", "--force", target]
    here = [] if os.path.samefile(folder, ".") else [f"cd {shlex.quote(str(folder))} && "]
    return "".join([*here, shlex.join(command)])
