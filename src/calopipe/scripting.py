"""The frame in which a script of the workflow runs: its log file, its threads, one readable line for an error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from calopipe.canonical import digest
from calopipe.errors import CalopipeError, printable
from calopipe.origin import code_version, git_state, hardware, versions
from calopipe.workflow.made import Making, code_table, configuration, forget, keep, record

#: variables that BLAS, OpenMP and numba read when they are first imported
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

log = logging.getLogger("calopipe")


def threads(snakemake: Any) -> int:
    """Threads a job may use: what SLURM allotted (it may be more than the machine that submits has), else the rule's."""
    return int(os.environ.get("SLURM_CPUS_PER_TASK") or snakemake.threads)


def training(snakemake: Any) -> dict[str, Any]:
    """What all rules that train have alike, as fields of :class:`calopipe.training.TrainingJob`."""
    from calopipe.config.datasets import EnergySelection

    settings = snakemake.params.settings
    paths = {name: Path(snakemake.input[name]) for name in ("train", "val")}
    paths |= {name: Path(snakemake.output[name]) for name in ("checkpoint", "history")}
    paths["rolling"] = Path(snakemake.params.rolling)
    where = {name: settings[name] for name in ("geometry", "threshold_MeV")}
    refined = [snakemake.input.get(f"refined_{split}") for split in ("train", "val")]
    if all(refined):
        where["refined"] = tuple(map(Path, refined))
    further = {"showers": settings.get("training_showers"), "conditions": tuple(settings.get("conditions", ()))}
    energies = settings.get("training_energies_MeV")
    further["energies"] = None if energies is None else EnergySelection(**energies)
    further["columns"] = tuple(settings.get("columns", ()))
    return {**paths, **where, **further, "threads": threads(snakemake)}


@contextmanager
def stage(snakemake: Any) -> Iterator[Any]:
    """Run a stage: messages go to the terminal and to the rule's log; an expected error ends it with one line.

    Import what the stage needs inside the ``with`` block: numerical libraries read their thread numbers on import.

    Yields:
        the `snakemake` object.
    """
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads(snakemake))
    _log_to(Path(snakemake.log[0]), snakemake.rule)
    start = _now()
    try:
        forget(snakemake.output)
        _use_extensions(snakemake)
        yield snakemake
        _record(snakemake, start)
    except CalopipeError as error:
        log.error("%s: %s", type(error).__name__, error)
        sys.exit(1)
    except Exception:
        log.exception("rule %s failed", snakemake.rule)
        sys.exit(1)


def _use_extensions(snakemake: Any) -> None:
    """The study's own models, steps and metrics are known in its jobs."""
    folders = snakemake.config.get("extensions", [])
    if folders:
        from calopipe.config.parts import use_extensions

        use_extensions(folders)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _record(snakemake: Any, start: str) -> None:
    """Write down what made the outputs, see :mod:`calopipe.workflow.made`."""
    raw = list(snakemake.input.raw)
    inputs = [path for path in snakemake.input if path not in raw]
    code = snakemake.params.code
    wildcards = {key: str(value) for key, value in snakemake.wildcards.items()}
    making = Making(snakemake.rule, snakemake.params.settings, code["digest"], code["packages"], raw, wildcards)
    study = snakemake.config["resolved"]
    name = digest(study)
    keep(configuration(study["results"], name), lambda: configuration_text(study))
    keep(code_table(study["results"], making.code), lambda: _code_table(snakemake))
    job = {"study": study["study"], "configuration": name, "results": study["results"], "start": start}
    record(making, snakemake.output, inputs, {**job, **_circumstances(snakemake), "end": _now()})


def _code_table(snakemake: Any) -> str:
    """Digests of the modules behind the code of this job, and of its script."""
    from calopipe.codedigest import code_parts
    from calopipe.workflow.stages import STAGES

    used = STAGES[snakemake.rule]
    script = Path(snakemake.scriptdir) / f"{used.script or snakemake.rule}.py"
    return json.dumps(code_parts(snakemake.params.code["modules"], used.data, script=script), indent=1) + "\n"


def _circumstances(snakemake: Any) -> dict[str, Any]:
    """Versions and machine that a job runs with."""
    machine = hardware()
    gpu = machine.get("gpu") if snakemake.resources.get("gpu", 0) else None
    found = {"version": code_version(), "commit": git_state(), "versions": versions(), "machine": machine}
    return {**found, "device": gpu or "cpu", "threads": threads(snakemake)}


def configuration_text(study: dict[str, Any]) -> str:
    """The study as a configuration file: its presets are named, and say nothing that does not stand in it already."""
    head = f"# The study '{study['study']}' with presets and defaults filled in.\n"
    return head + yaml.safe_dump(study, sort_keys=False, allow_unicode=True)


class LogFormatter(logging.Formatter):
    """Lines for terminals and log files: names and texts in them cannot carry control codes."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message on one line; Python's warnings keep theirs."""
        return printable(super().formatMessage(record), keep="\n" if record.name == "py.warnings" else "")

    def formatException(self, ei: Any) -> str:
        """The traceback, on several lines."""
        return printable(super().formatException(ei), keep="\n")


class _LogFile(logging.FileHandler):
    """A log file that a full disk cuts short without a word: the terminal has every line, and the error."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing more can be written."""


def _log_to(path: Path, rule: str) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(_LogFile(path, mode="w", encoding="utf-8"))
    form = LogFormatter(f"%(asctime)s {rule}: %(message)s", "%H:%M:%S")
    for handler in handlers:
        handler.setFormatter(form)
        log.addHandler(handler)
        logging.getLogger("py.warnings").addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.captureWarnings(True)
