"""``ro-crate-metadata.json``: what an archive says of itself, as a Workflow Run RO-Crate.

Profiles: Workflow Run Crate 0.5 on Workflow RO-Crate 1.0 on RO-Crate 1.1 (Leo et al. 2023). The run of the workflow is one action;
each job is one, too, with the rule's script as its instrument, so that the chain from any result to raw files can be read from
this file alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rocrate.model.computationalworkflow import ComputationalWorkflow
from rocrate.model.computerlanguage import get_lang
from rocrate.model.contextentity import ContextEntity
from rocrate.model.data_entity import DataEntity
from rocrate.rocrate import ROCrate

from calopipe import __version__
from calopipe.archive.contents import Contents
from calopipe.io.checksum import file_hash
from calopipe.records.paths import FILES
from calopipe.workflow.stages import STAGES

METADATA = "ro-crate-metadata.json"
WORKFLOW = "workflow/Snakefile"
_BIOSCHEMAS = "https://bioschemas.org/profiles/"
_DONE = "http://schema.org/CompletedActionStatus"
CODE_LICENCE = "https://spdx.org/licenses/MIT"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_FORMATS = {
    ".hdf5": "application/x-hdf5", ".h5": "application/x-hdf5", ".json": "application/json", ".csv": "text/csv", ".md": "text/markdown",
    ".tsv": "text/tab-separated-values", ".html": "text/html", ".png": "image/png", ".pdf": "application/pdf", ".svg": "image/svg+xml",
    ".yaml": "application/yaml", ".py": "text/x-python", ".npz": "application/zip", ".pt": "application/zip",
}  # fmt: skip


@dataclass(frozen=True)
class About:
    """What only its authors know of an archive.

    Attributes:
        authors: names, each with an affiliation in brackets where that is known. licence: address of the licence of the results; empty: none is stated.
        date: when it is written (ISO 8601).
    """

    date: str
    authors: Sequence[str] = ()
    licence: str = ""


def write_metadata(contents: Contents, folder: Path, about: About) -> None:
    """Write the metadata of an archive whose other files are all in `folder`."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://schema.org/sha256"
    _describe(crate, contents, about)
    files = _files(crate, folder)
    workflow = _workflow(crate, contents, files, folder)
    jobs = _jobs(crate, contents, files)
    _run(crate, contents, workflow, files, jobs)
    content = crate.metadata.generate()
    content["@graph"] = [{key: _single(value) for key, value in entity.items()} for entity in content["@graph"]]
    (folder / METADATA).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _single(value: Any) -> Any:
    """A list of one thing is written as that."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _describe(crate: ROCrate, contents: Contents, about: About) -> None:
    """Name, licence, authors, profiles."""
    root = crate.root_dataset
    models = ", ".join(dict.fromkeys(run.model for run in contents.plan.runs))
    data = ", ".join(dict.fromkeys(run.dataset for run in contents.plan.runs))
    crate.name = f"calopipe study '{contents.name}'"
    crate.description = (
        f"Generative models of calorimeter showers ({models}) trained on {data} and judged against Geant4: configuration, code, "
        f"results and records of the study '{contents.name}'{'' if contents.complete else ', which is not finished'}."
    )
    root["datePublished"] = about.date
    root["conformsTo"] = [
        crate.add(ContextEntity(crate, id_, {"@type": "CreativeWork", "name": name, "version": version}))
        for id_, (name, version) in _PROFILES.items()
    ]
    crate.metadata["conformsTo"] = [
        {"@id": "https://w3id.org/ro/crate/1.1"},
        {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
    ]
    root["license"] = crate.add(_licence(crate, about.licence))
    if about.authors:
        root["author"] = [_author(crate, text) for text in about.authors]


def _author(crate: ROCrate, text: str) -> ContextEntity:
    """A person, with an affiliation where it follows in brackets."""
    found = re.fullmatch(r"(.+?)\s*\((.+)\)", text)
    name, affiliation = found.groups() if found else (text, "")
    person = crate.add(ContextEntity(crate, f"#{quote(name)}", {"@type": "Person", "name": name}))
    if affiliation:
        facts = {"@type": "Organization", "name": affiliation}
        person["affiliation"] = crate.add(ContextEntity(crate, f"#{quote(affiliation)}", facts))
    return person


def _licence(crate: ROCrate, licence: str) -> ContextEntity:
    if licence:
        return ContextEntity(crate, licence, {"@type": "CreativeWork", "name": licence.rsplit("/", 1)[-1]})
    text = "The authors state no licence of the results. The code of calopipe is under the MIT licence (file LICENSE)."
    return ContextEntity(crate, "#licence", {"@type": "CreativeWork", "name": "not stated", "description": text})


def _files(crate: ROCrate, folder: Path) -> dict[str, DataEntity]:
    """An entity for each file, by its path in the archive."""
    titles = {Path(file.name).name: file.title for file in FILES.values() if file.title and "{" not in file.name}
    found = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if not path.is_file() or place == WORKFLOW:
            continue
        facts: dict[str, Any] = {"@type": "File", "name": titles.get(path.name, path.name), **_content(path)}
        if place.startswith("workflow/scripts/"):
            facts |= {"@type": ["File", "SoftwareSourceCode"], "version": __version__}
        facts["encodingFormat"] = _FORMATS.get(path.suffix, "text/plain")
        found[place] = crate.add(DataEntity(crate, quote(place), facts))
    found["README.md"]["about"] = {"@id": "./"}
    return found


def _content(path: Path) -> dict[str, str]:
    return {"contentSize": str(path.stat().st_size), "sha256": file_hash(path)}


def _workflow(
    crate: ROCrate, contents: Contents, files: Mapping[str, DataEntity], folder: Path
) -> ComputationalWorkflow:
    """The Snakemake workflow, with what goes into it and comes out."""
    facts: dict[str, Any] = {"name": "calopipe", "version": __version__, **_content(folder / WORKFLOW)}
    facts |= {"encodingFormat": "text/plain", "conformsTo": {"@id": _BIOSCHEMAS + "ComputationalWorkflow/1.0-RELEASE"}}
    workflow = ComputationalWorkflow(crate, dest_path=WORKFLOW, properties=facts)
    crate.add(workflow)
    snakemake = _versions(contents).get("snakemake")
    workflow["programmingLanguage"] = crate.add(get_lang(crate, "snakemake", snakemake))
    workflow["license"] = crate.add(
        ContextEntity(crate, CODE_LICENCE, {"@type": "CreativeWork", "name": "MIT License"})
    )
    workflow["description"] = (
        "Trains generative models of calorimeter showers, judges them against Geant4, and reports."
    )
    workflow["softwareRequirements"] = [
        crate.add(ContextEntity(crate, f"#{name}", {"@type": "SoftwareApplication", "name": name, "version": version}))
        for name, version in _versions(contents).items()
        if name != "calopipe"
    ]
    crate.mainEntity = workflow
    examples = {
        "configuration": [files["config.yaml"]],
        "raw": _raw(contents, files),
        "results": _pages(contents, files),
    }
    texts = {
        "configuration": "what is trained on what, and how it is judged",
        "raw": "raw files of showers",
        "results": "the report of the study",
    }
    for name, found in examples.items():
        facts = {"@type": "FormalParameter", "additionalType": "File", "name": name, "description": texts[name]}
        parameter = crate.add(ContextEntity(crate, f"#parameter-{name}", facts))
        parameter["conformsTo"] = {"@id": _BIOSCHEMAS + "FormalParameter/1.0-RELEASE"}
        workflow.append_to("output" if name == "results" else "input", parameter)
        for file in found:
            file["exampleOfWork"] = parameter
            parameter.append_to("workExample", file)
    return workflow


def _versions(contents: Contents) -> dict[str, str]:
    """Versions of packages with which the study's last job ran."""
    last = max(contents.outputs.values(), key=lambda record: str(record["job"].get("end", "")))
    return {**last["job"].get("versions", {})}


def _raw(contents: Contents, files: Mapping[str, DataEntity]) -> list[DataEntity]:
    places = [contents.moves.text(name) for name in contents.raw_files]
    return [files[place] for place in places if place in files]


def _pages(contents: Contents, files: Mapping[str, DataEntity]) -> list[DataEntity]:
    page = contents.place(contents.page)
    return [files[page]] if page in files else []


def _jobs(crate: ROCrate, contents: Contents, files: Mapping[str, DataEntity]) -> list[ContextEntity]:
    """One action for each job."""
    done: dict[tuple[str, ...], list[Path]] = {}
    for output, record in contents.outputs.items():
        wildcards = tuple(f"{key}={value}" for key, value in sorted(record["wildcards"].items()))
        done.setdefault((record["stage"], *wildcards), []).append(output)
    return [crate.add(_job(crate, contents, files, name, outputs)) for name, outputs in done.items()]


def _job(
    crate: ROCrate, contents: Contents, files: Mapping[str, DataEntity], name: tuple[str, ...], outputs: list[Path]
) -> ContextEntity:
    record, stage = contents.outputs[outputs[0]], name[0]
    job = record["job"]
    script = f"workflow/scripts/{STAGES[stage].script or stage}.py"
    inputs = [contents.place(outputs[0].parent / path) for path in record["inputs"]]
    raw = [contents.moves.text(path) for path in contents.named_raw(outputs[0])]
    facts = {
        "@type": "CreateAction",
        "name": " ".join(name),
        "description": f"{STAGES[stage].__doc__} Code {record['code'][:16]}, device {job.get('device', 'not known')}.",
        "instrument": files[script],
        "object": _entities(files, [*inputs, *raw]),
        "result": _entities(files, map(contents.place, outputs)),
        "actionStatus": _DONE,
    }
    times = {"startTime": job.get("start"), "endTime": job.get("end")}
    facts |= {key: time for key, time in times.items() if time} | _agent(crate)
    return ContextEntity(crate, f"#{quote(' '.join(name))}", facts)


def _agent(crate: ROCrate) -> dict[str, Any]:
    """Who ran it, as far as it is known."""
    authors = crate.root_dataset.get("author")
    return {"agent": authors} if authors else {}


def _entities(files: Mapping[str, DataEntity], places: Iterable[str]) -> list[DataEntity]:
    """The files at these places, and all files of the folders among them."""
    found: list[DataEntity] = []
    for place in places:
        found += [files[place]] if place in files else [e for path, e in files.items() if path.startswith(f"{place}/")]
    return found


def _run(
    crate: ROCrate,
    contents: Contents,
    workflow: ComputationalWorkflow,
    files: Mapping[str, DataEntity],
    jobs: Sequence[ContextEntity],
) -> None:
    """The run of the workflow as a whole: one action, which the jobs' are parts of."""
    starts = [time for record in contents.outputs.values() if (time := record["job"].get("start"))]
    ends = [time for record in contents.outputs.values() if (time := record["job"].get("end"))]
    facts: dict[str, Any] = {
        "@type": "CreateAction",
        "name": f"run of the study '{contents.name}'",
        "description": "All stages from raw files to the report; the actions of its jobs say what each was made from.",
        "instrument": workflow,
        "object": [files["config.yaml"], *_raw(contents, files)],
        "result": _entities(files, map(contents.place, contents.outputs)),
        **_agent(crate),
    }
    if contents.complete:
        facts["actionStatus"] = _DONE
    facts |= {"startTime": min(starts)} if starts else {}
    facts |= {"endTime": max(ends)} if ends else {}
    run = crate.add(ContextEntity(crate, "#run", facts))
    crate.root_dataset["mentions"] = [run, *jobs]
