"""Texts in settings that become names of files and folders."""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

#: endings of the workflow's files: a folder of such a name could stand where a file belongs
FILE_ENDINGS = (".log", ".tsv", ".json", ".npz", ".hdf5", ".pt", ".csv", ".html", ".png", ".pdf")
#: folders of the repository, and of the system, that results do not belong into
_OWN = (
    "src",
    "workflow",
    "presets",
    "profiles",
    "resources",
    "tests",
    "docs",
    "envs",
    "requirements",
    "benchmarks",
    "slurm",
)
_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr")
#: names that a condition cannot have: those of the datasets of every shower file
RESERVED_CONDITIONS = ("incident_energies", "showers")
#: what Snakemake takes for a loop in its rules: the end of a name, 20 times over
_PERIODIC = re.compile(r"(.+?)\1{19,}$")


def _name(value: str) -> str:
    if value.lower().endswith(FILE_ENDINGS):
        raise ValueError(f"expected a name that does not end like a file of the workflow, found '{value}'")
    if _PERIODIC.search(value):
        raise ValueError(f"expected a name that does not repeat its end 20 times, found '{value}'")
    return value


def _condition(value: str) -> str:
    if value in RESERVED_CONDITIONS:
        raise ValueError(f"expected a further condition (the incident energy is always the first), found '{value}'")
    return value


def _dataset_path(value: str) -> str:
    parts = value.split("/")
    if any(part in ("", ".", "..") for part in parts) or len(parts) > 20 or len(_path(value)) > 500:
        raise ValueError(f"expected names of groups and a dataset, joined by /, found {value[:40]!r}")
    return value


def _path(value: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise ValueError(f"expected a path without control characters, found {value!r}")
    if len(value.encode()) > 1000 or any(len(part.encode()) > 200 for part in value.split("/")):
        raise ValueError(f"expected a path of at most 1000 bytes, 200 in each part, found {value[:40]!r}...")
    return value


def _results(value: str) -> str:
    path = os.path.normpath(_path(value)) if value else ""
    first = [part for part in path.split("/") if part][:1]
    if path in ("", ".", "/", "//") or set(path.split("/")) == {".."}:
        raise ValueError(f"expected a folder, found '{value}'")
    if re.search(r"[{}\\*?|]|://", value) or value.startswith(("-", "~")):
        raise ValueError(
            f"expected a folder without any of {{ }} \\ * ? | :// and not beginning with - or ~, found '{value}'"
        )
    if first[0] in (_SYSTEM if path.startswith("/") else _OWN) or (first[0].startswith(".") and first[0] != ".."):
        raise ValueError(f"expected a folder of its own, found '{value}'")
    if first[0].lower().endswith((".yaml", ".yml", *FILE_ENDINGS)) and len(path.split("/")) == 1:
        raise ValueError(f"expected a folder, found the name of a file, '{value}'")
    return path


def address(value: str) -> str:
    """The address of a file to download. Raises ValueError where it is none."""
    try:
        parts = urlsplit(value)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete or any(not c.isprintable() or c.isspace() for c in value) or len(value) > 8000:
        found = repr(value if len(value) <= 200 else f"{value[:200]}...")
        raise ValueError(f"expected an address that begins with https:// or http:// and a host, found {found}")
    return value


def checksum(value: str) -> str:
    """A checksum in the form that files are compared with. Raises ValueError where it is none."""
    algorithm, _, digest = value.strip().lower().partition(":")
    if len(digest) != {"md5": 32, "sha256": 64}.get(algorithm) or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"expected 'md5:' and 32 or 'sha256:' and 64 hexadecimal digits, found '{value}'")
    return f"{algorithm}:{digest}"


#: of datasets, models, evaluations, ...: part of file names, several of them joined in one (64 characters each fit)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64), AfterValidator(_name)]
#: of a column of a file
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
#: of a column of a file that showers depend on; the first one, the incident energy, is always there
Condition = Annotated[ColumnName, AfterValidator(_condition)]
#: of a dataset in an HDF5 file, maybe in groups
DatasetPath = Annotated[str, Field(min_length=1), AfterValidator(_dataset_path)]
#: an existing file
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_path)]
#: of a file to download
Url = Annotated[str, AfterValidator(address)]
#: of a file: algorithm and hexadecimal digits
Checksum = Annotated[str, AfterValidator(checksum)]
#: the folder that everything is written into, without a trailing slash
ResultsFolder = Annotated[str, AfterValidator(_results)]
