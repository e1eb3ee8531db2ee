"""The validator of RO-Crates, without a network: the one address that it asks for, that of RO-Crate's context, is answered here."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import requests
import rocrate
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from rocrate_validator.models import Severity
from rocrate_validator.services import ValidationSettings, validate
from urllib3 import HTTPResponse

PROFILE = "workflow-run-crate"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_BIOSCHEMAS = "https://bioschemas.org/"


def context() -> dict:
    """The terms of RO-Crate 1.1: those that the package rocrate brings along are of 1.3, where terms of workflows have other addresses
    and checksums are known.
    """
    path = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"
    terms = json.loads(path.read_text(encoding="utf-8"))["@context"]
    del terms["sha256"]
    workflow = f"{_BIOSCHEMAS}ComputationalWorkflow"
    terms |= {"ComputationalWorkflow": workflow, "input": f"{workflow}#input", "output": f"{workflow}#output"}
    return {"@context": {**terms, "FormalParameter": f"{_BIOSCHEMAS}FormalParameter"}}


class Answer(BaseAdapter):
    """Answers for the server of the context."""

    def send(self, request, **_):
        assert request.url == CONTEXT
        headers = {"Content-Type": "application/ld+json"}
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers.update(headers)
        body = io.BytesIO(json.dumps(context()).encode())
        response.raw = HTTPResponse(body, status=200, headers=headers, preload_content=False)
        return response

    def close(self):
        pass


def issues(archive: Path, cache: Path, severity: Severity = Severity.REQUIRED) -> set[tuple[str, str]]:
    """What the validator says of an archive by the profile of workflow runs: checks and messages.

    Args:
        cache: file in an empty folder, for the validator's memory of addresses.
    """
    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1, allowable_methods=("GET",)) as session:
        session.mount("https://w3id.org/ro/crate/", Answer())
        assert session.get(CONTEXT, headers={"Accept": "application/ld+json"}).ok
    settings = ValidationSettings(
        rocrate_uri=str(archive),
        profile_identifier=PROFILE,
        requirement_severity=severity,
        offline=True,
        cache_path=cache,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the validator uses of its packages is its own affair
        return {(issue.check.identifier, issue.message) for issue in validate(settings).get_issues()}
