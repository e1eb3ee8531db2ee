"""What a rule of the workflow is to the plan: the settings that enter its result, and the code and files it uses.

Snakemake reruns a stage when its ``params:`` change. So each stage gets there exactly the settings that enter its result and
a digest of the library modules it uses: an edit of the configuration or of the library reruns the stages that depend on
it and no others. Everything upstream counts through the stages' files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic.fields import FieldInfo

from calopipe.config import NetworkStage
from calopipe.config.parts import METRICS, MODELS, OBSERVABLES, STEPS, Part
from calopipe.workflow.parts import StudyParts


class Stage:
    """One rule. Methods take the study and the rule's wildcards by name (`seed` as text or number).

    Attributes:
        modules: library modules that it enters. data: files beside the modules that belong to its code.
        script: name of the script that runs it; empty: that of the rule.
    """

    modules: ClassVar[tuple[str, ...]] = ()
    data: ClassVar[tuple[str, ...]] = ()
    script: ClassVar[str] = ""

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        """The settings that enter its result, as plain JSON-able data, and nothing else."""
        raise NotImplementedError

    def parts(self, study: StudyParts, **wildcards: Any) -> Iterable[str]:
        """Further modules: those of models, steps and metrics that the settings name."""
        return ()

    def files(self, study: StudyParts, **wildcards: Any) -> list[str]:
        """Files from outside of the results that it reads; another content of them reruns it."""
        return []

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        """Its `device` setting; ``cpu`` where it has none."""
        return "cpu"


def plain(section: Any) -> Any:
    """A settings section as plain JSON data; None stays None."""
    return None if section is None else section.model_dump(mode="json")


def networks_of(stages: Iterable[NetworkStage]) -> Iterable[str]:
    """Modules of networks and their preprocessing."""
    for stage in stages:
        yield MODELS.module_of(stage.model.name)
        yield from (STEPS.module_of(step.name) for step in stage.preprocessing)


def regressors_of(study: StudyParts, names: Iterable[str]) -> list[str]:
    """Modules of energy regressors."""
    return [MODELS.module_of(study.regressor(name).model.name) for name in names]


def metrics_of(metrics: Iterable[Part]) -> list[str]:
    """Modules of metrics."""
    return [METRICS.module_of(metric.name) for metric in metrics]


def observables_of() -> list[str]:
    """Modules of registered observables: all of them are filled."""
    return [OBSERVABLES.module_of(name) for name in OBSERVABLES.names()]


def named_files(metric: Part) -> list[str]:
    """Files that the settings of a metric name: fields with ``json_schema_extra={"format": "file"}``."""
    fields = () if metric.settings is None else type(metric.settings).model_fields.items()
    named = [name for name, field in fields if _is_file(field)]
    return [path for name in named if (path := getattr(metric.settings, name)) is not None]


def _is_file(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("format") == "file"
