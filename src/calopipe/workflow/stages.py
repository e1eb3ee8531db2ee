"""The stages of the workflow, one class per rule: the settings that enter its result, and the code and files it uses.

Snakemake reruns a stage when its ``params:`` change. So each stage gets there exactly the settings that enter its result and
a digest of the library modules it uses: an edit of the configuration or of the library reruns the stages that depend on
it and no others. Everything upstream counts through the stages' files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from pydantic.fields import FieldInfo

from calopipe.config import Dataset, NetworkStage
from calopipe.config.parts import METRICS, MODELS, STEPS, Part
from calopipe.errors import ConfigError
from calopipe.workflow.parts import StudyParts


class Stage:
    """One rule. Methods take the study and the rule's wildcards by name (`seed` as text or number).

    Attributes:
        modules: library modules that it enters. data: files beside the modules that belong to its code.
    """

    modules: ClassVar[tuple[str, ...]] = ()
    data: ClassVar[tuple[str, ...]] = ()

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


class Fetch(Stage):
    """Raw files of a dataset, found or downloaded."""

    modules = ("calopipe.sources",)

    def settings(self, study: StudyParts, *, dataset: str, role: str, **_: Any) -> dict[str, Any]:
        settings = study.dataset(dataset)
        found = {"source": plain(getattr(settings, role)), "kind": settings.kind, "layout": plain(settings)["layout"]}
        return (
            found if isinstance(settings, Dataset) else {**found, "columns": [*settings.columns, *settings.conditions]}
        )

    def files(self, study: StudyParts, *, dataset: str, role: str, **_: Any) -> list[str]:
        return study.local_files(dataset, role)


class Prepare(Stage):
    """Showers cut, scaled, pooled and split; rows of other data split."""

    modules = ("calopipe.io.prepare", "calopipe.io.prepare_columns")
    #: settings of a dataset that are of no concern to its preparation
    other = frozenset({"source", "reference", "geant4_ms_per_GeV"})

    def settings(self, study: StudyParts, *, dataset: str, **_: Any) -> dict[str, Any]:
        used = {k: v for k, v in plain(study.dataset(dataset)).items() if k not in self.other}
        if used["kind"] == "showers":
            used["geometry_digest"] = study.where(dataset)["geometry_digest"]
        return {**used, "sources": study.sources(dataset)}


class Train(Stage):
    """One network of a run's chain."""

    modules = ("calopipe.training.stages",)

    def settings(self, study: StudyParts, *, dataset: str, model: str, network: str, **_: Any) -> dict[str, Any]:
        settings = study.model(model)
        link = {**asdict(settings.chain[network]), "given": list(settings.chain[network].given)}
        learned = {"network": plain(settings.networks[network]), "link": link}
        learned["training_showers"] = settings.training_showers
        return {**learned, "conditions": study.conditions(dataset), **study.where(dataset)}

    def parts(self, study: StudyParts, *, model: str, network: str, **_: Any) -> Iterable[str]:
        return _networks([study.model(model).networks[network]])

    def device(self, study: StudyParts, *, model: str, network: str, **_: Any) -> str:
        return study.model(model).networks[network].training.device


class TrainRegressor(Stage):
    """An energy regressor of a dataset."""

    modules = ("calopipe.training.stages",)

    def settings(self, study: StudyParts, *, dataset: str, regressor: str, **_: Any) -> dict[str, Any]:
        settings = plain(study.regressor(regressor))
        kept = ("model", "training", "seed")
        return {"name": regressor, "regressor": {k: settings[k] for k in kept}, **study.where(dataset)}

    def parts(self, study: StudyParts, *, regressor: str, **_: Any) -> Iterable[str]:
        return _regressors(study, [regressor])

    def device(self, study: StudyParts, *, regressor: str, **_: Any) -> str:
        return study.regressor(regressor).training.device


class Sampling(Stage):
    """What runs networks of a model."""

    modules = ("calopipe.sampling.stages",)

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        return {}

    def parts(self, study: StudyParts, *, model: str, **wildcards: Any) -> Iterable[str]:
        return _networks(study.model(model).networks.values())


class Encode(Sampling):
    """Latents of prepared showers."""

    def parts(self, study: StudyParts, *, model: str, network: str, **_: Any) -> Iterable[str]:
        return _networks([study.model(model).networks[network]])


class Remake(Sampling):
    """Showers as the chain up to a network makes them."""


class Generate(Sampling):
    """Showers for the conditions of the test showers."""

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        return plain(study.evaluation(**wildcards).generation)

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).generation.device


class TakeOver(Stage):
    """Showers of an external generator, checked and thresholded like the prepared ones."""

    modules = ("calopipe.sampling.external",)

    def settings(self, study: StudyParts, *, dataset: str, model: str, **wildcards: Any) -> dict[str, Any]:
        epoch = study.evaluation(dataset=dataset, model=model, **wildcards).generation.epoch
        return {"epoch": epoch, "conditions": study.conditions(dataset), **study.where(dataset)}

    def files(self, study: StudyParts, *, dataset: str, model: str, **wildcards: Any) -> list[str]:
        external = study.external(model)
        epoch = study.evaluation(dataset=dataset, model=model, **wildcards).generation.epoch
        if external is None:
            return []
        if epoch == "final":
            return list(external.generated)
        return list(external.epochs.values()) if epoch == "best" else [external.epochs[int(epoch)]]


class Reconstruct(Generate):
    """The test showers, passed through an autoencoder."""

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        return {"device": self.device(study, **wildcards)}

    def parts(self, study: StudyParts, *, model: str, **_: Any) -> Iterable[str]:
        maker = study.model(model).chain.maker.name
        return _networks([study.model(model).networks[maker]])


class Classify(Stage):
    """A classifier test of a sample."""

    modules = ("calopipe.evaluation.classifier",)

    def settings(self, study: StudyParts, *, dataset: str, classifier: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        if classifier not in evaluation.tests:
            raise ConfigError(f"the evaluation of this run has no classifier '{classifier}'")
        config = plain(evaluation.tests[classifier])
        return {"classifier": config, "seed": evaluation.seed, **study.where(dataset)}

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return self.settings(study, **wildcards)["classifier"]["device"]


class Power(Classify):
    """What a classifier test finds in distorted Geant4 showers."""

    modules = ("calopipe.evaluation.power",)

    def settings(
        self, study: StudyParts, *, dataset: str, evaluation: str, classifier: str, **_: Any
    ) -> dict[str, Any]:
        settings = study.study.evaluations[evaluation]
        config = {**plain(settings.tests[classifier]), "repeats": 1}  # more make it no more precise
        used = {"classifier": config, "seed": settings.seed, "factor": settings.generation.factor}
        return {**used, **study.where(dataset)}


class Compare(Classify):
    """One classifier for all runs of a dataset."""

    modules = ("calopipe.evaluation.multiclass",)

    def settings(self, study: StudyParts, *, dataset: str, evaluation: str, **_: Any) -> dict[str, Any]:
        samples = list(study.compared(dataset, evaluation))
        if not samples:
            needs = "a multi-class test needs 'multiclass' and two runs or more"
            raise ConfigError(f"evaluations.{evaluation}: {needs} on dataset '{dataset}'")
        settings = study.study.evaluations[evaluation]
        config = {"classifier": plain(settings.multiclass), "seed": settings.seed, "samples": samples}
        return {**config, **study.where(dataset)}


class Weights(Stage):
    """Observables of the showers that a classifier recognises best."""

    modules = ("calopipe.evaluation.weights",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        chosen = {"fraction": evaluation.weight_fraction, "brightest": evaluation.histograms.brightest}
        return {**chosen, **study.where(dataset)}


class Observables(Stage):
    """Histograms of observables."""

    modules = ("calopipe.evaluation.observables",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        return {"histograms": plain(evaluation.histograms), **study.where(dataset)}


class Health(Stage):
    """What is unusual about the samples."""

    modules = ("calopipe.evaluation.health",)

    def settings(self, study: StudyParts, *, dataset: str, **_: Any) -> dict[str, Any]:
        return study.where(dataset)


class Metrics(Stage):
    """Scores of the metrics."""

    modules = ("calopipe.evaluation.metrics",)

    def settings(self, study: StudyParts, *, dataset: str, model: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, model=model, **wildcards)
        used = {
            "metrics": [metric.plain() for metric in evaluation.metrics],
            "latent": study.latent_dim(model),
            "seed": evaluation.seed,
        }
        return {**used, **study.where(dataset)}

    def parts(self, study: StudyParts, **wildcards: Any) -> Iterable[str]:
        return _metrics(study.evaluation(**wildcards).metrics)

    def files(self, study: StudyParts, **wildcards: Any) -> list[str]:
        return [file for metric in study.evaluation(**wildcards).metrics for file in _named_files(metric)]


class Calomplification(Stage):
    """How many Geant4 showers a model's showers are worth."""

    modules = ("calopipe.evaluation.calomplification",)

    def settings(self, study: StudyParts, *, dataset: str, model: str, **_: Any) -> dict[str, Any]:
        runs = study.amplified(dataset, model)
        if not runs:
            raise ConfigError(f"no run of dataset '{dataset}' and model '{model}' has an amplification study")
        evaluation = study.study.evaluations[runs[0].evaluation]
        asked = {"calomplification": plain(evaluation.calomplification), "seed": evaluation.seed}
        asked["seeds"] = [run.seed for run in runs]
        return {**asked, "training_showers": study.model(model).training_showers, **study.where(dataset)}

    def files(self, study: StudyParts, **wildcards: Any) -> list[str]:
        return study.subjects(**wildcards)


class Regression(Stage):
    """Energy regression of a run's samples."""

    modules = ("calopipe.evaluation.regression",)

    def settings(self, study: StudyParts, *, dataset: str, regressor: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        config = evaluation.regression
        if regressor not in config.regressors:
            raise ConfigError(f"the evaluation of this run has no regressor '{regressor}'")
        settings = {**plain(config), "regressors": [regressor]}  # another regressor is no concern of this one
        return {"regression": settings, "seed": evaluation.seed, **study.where(dataset)}

    def parts(self, study: StudyParts, *, regressor: str, **_: Any) -> Iterable[str]:
        return _regressors(study, [regressor])

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).regression.device


class Epochs(Stage):
    """Scores of the kept epochs."""

    modules = ("calopipe.evaluation.epochs",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        used = {k: plain(getattr(evaluation, k)) for k in ("epochs", "histograms", "regression")}
        external = study.external(wildcards["model"])
        if external is not None:
            used["samples"] = sorted(external.epochs)
        conditions = {"conditions": study.conditions(dataset)}
        return {**used, "seed": evaluation.seed, **conditions, **study.where(dataset)}

    def parts(self, study: StudyParts, *, model: str, **wildcards: Any) -> Iterable[str]:
        evaluation = study.evaluation(model=model, **wildcards)
        yield from _networks(study.model(model).networks.values())
        yield from _metrics(evaluation.epochs.metrics)
        yield from _regressors(study, evaluation.regression.regressors)

    def files(self, study: StudyParts, *, model: str, **wildcards: Any) -> list[str]:
        external, evaluation = study.external(model), study.evaluation(model=model, **wildcards)
        named = [file for metric in evaluation.epochs.metrics for file in _named_files(metric)]
        return [*(external.epochs.values() if external is not None else ()), *named]

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).regression.device


class Timing(Sampling):
    """Generation time."""

    modules = ("calopipe.evaluation.generation_time",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        timing = study.evaluation(dataset=dataset, **wildcards).timing
        return {"timing": plain(timing), "geant4_ms_per_GeV": study.showers(dataset).geant4_ms_per_GeV}

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).timing.device


class Report(Stage):
    """The page of the study."""

    modules = ("calopipe.report",)
    data = (
        "report/template.html",
        *(f"published/calochallenge_{name}.csv" for name in ("1-photons", "1-pions", "2", "3")),
    )

    def settings(self, study: StudyParts, **_: Any) -> dict[str, Any]:
        """The fields of calopipe.report.artifacts.StudySummary: every file it shows, and all settings."""
        from calopipe.workflow.artifacts import artifacts

        runs = [artifacts(study, run) for run in study.runs]
        shown = {"study": study.study.study, "runs": runs, "config": plain(study.study), "presets": study.study.presets}
        return {**shown, **plain(study.study.plots)}


#: by the name of the rule
STAGES: Mapping[str, Stage] = {
    "fetch": Fetch(),
    "prepare": Prepare(),
    "train": Train(),
    "train_regressor": TrainRegressor(),
    "encode": Encode(),
    "remake": Remake(),
    "generate": Generate(),
    "take_over": TakeOver(),
    "reconstruct": Reconstruct(),
    "classify": Classify(),
    "classify_reconstructed": Classify(),
    "power": Power(),
    "compare": Compare(),
    "weights": Weights(),
    "observables": Observables(),
    "health": Health(),
    "metrics": Metrics(),
    "calomplification": Calomplification(),
    "regression": Regression(),
    "epochs": Epochs(),
    "epochs_of_files": Epochs(),
    "timing": Timing(),
    "report": Report(),
}


def plain(section: Any) -> Any:
    """A settings section as plain JSON data; None stays None."""
    return None if section is None else section.model_dump(mode="json")


def _networks(stages: Iterable[NetworkStage]) -> Iterable[str]:
    """Modules of networks and their preprocessing."""
    for stage in stages:
        yield MODELS.module_of(stage.model.name)
        yield from (STEPS.module_of(step.name) for step in stage.preprocessing)


def _regressors(study: StudyParts, names: Iterable[str]) -> list[str]:
    return [MODELS.module_of(study.regressor(name).model.name) for name in names]


def _metrics(metrics: Iterable[Part]) -> list[str]:
    return [METRICS.module_of(metric.name) for metric in metrics]


def _named_files(metric: Part) -> list[str]:
    """Files that the settings of a metric name: fields with ``json_schema_extra={"format": "file"}``."""
    fields = () if metric.settings is None else type(metric.settings).model_fields.items()
    named = [name for name, field in fields if _is_file(field)]
    return [path for name in named if (path := getattr(metric.settings, name)) is not None]


def _is_file(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("format") == "file"
