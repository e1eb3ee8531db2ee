"""The stages that judge samples, one class per rule, and the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from calopipe.config.datasets import GEANT4_TIME
from calopipe.errors import ConfigError
from calopipe.workflow.making import Sampling
from calopipe.workflow.parts import StudyParts
from calopipe.workflow.stage import Stage, metrics_of, named_files, networks_of, observables_of, plain, regressors_of


class Classify(Stage):
    """A classifier test of a sample."""

    modules = ("calopipe.evaluation.classifier",)
    script = "classify"

    def settings(self, study: StudyParts, *, dataset: str, classifier: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        if classifier not in evaluation.tests:
            raise ConfigError(f"the evaluation of this run has no classifier '{classifier}'")
        config = plain(evaluation.tests[classifier])
        return {"classifier": config, "seed": evaluation.seed, **study.judged(dataset)}

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return self.settings(study, **wildcards)["classifier"]["device"]


def _halved(study: StudyParts, dataset: str) -> dict[str, Any]:
    """Whether the power of tests is measured with halves of the reference: one from a source of its own may have other conditions than what is learned."""
    return {"halved": True} if study.dataset(dataset).reference is not None else {}


class Power(Classify):
    """What a classifier test finds in distorted Geant4 showers."""

    modules = ("calopipe.evaluation.power",)
    script = "power"

    def settings(
        self, study: StudyParts, *, dataset: str, evaluation: str, classifier: str, **_: Any
    ) -> dict[str, Any]:
        settings = study.study.evaluations[evaluation]
        config = {**plain(settings.tests[classifier]), "repeats": 1}  # more make it no more precise
        used = {"classifier": config, "seed": settings.seed, "factor": settings.generation.factor}
        return {**used, **study.judged(dataset), **_halved(study, dataset)}


class Compare(Classify):
    """One classifier for all runs of a dataset."""

    modules = ("calopipe.evaluation.multiclass",)
    script = "compare"

    def settings(self, study: StudyParts, *, dataset: str, evaluation: str, **_: Any) -> dict[str, Any]:
        samples = list(study.compared(dataset, evaluation))
        if not samples:
            needs = "a multi-class test needs 'multiclass' and two runs or more"
            raise ConfigError(f"evaluations.{evaluation}: {needs} on dataset '{dataset}'")
        settings = study.study.evaluations[evaluation]
        config = {"classifier": plain(settings.multiclass), "seed": settings.seed, "samples": samples}
        return {**config, **study.judged(dataset)}


class Bands(Stage):
    """Bands of Bayesian networks beside those of ensembles."""

    modules = ("calopipe.evaluation.bands",)

    def settings(self, study: StudyParts, *, dataset: str, evaluation: str, **_: Any) -> dict[str, Any]:
        bayesian, ensembles = study.banded(dataset, evaluation)
        if not bayesian:
            needs = (
                "bands are of a Bayesian model with generation.draws above 1, and of two seeds or more of another model"
            )
            raise ConfigError(f"evaluations.{evaluation}: {needs}, on dataset '{dataset}'")
        seeds = {model: [run.seed for run in runs] for model, runs in ensembles.items()}
        found = {"bayesian": [[run.model, run.seed] for run in bayesian], "ensembles": seeds}
        return {**found, "seed": study.study.evaluations[evaluation].seed}


class Weights(Stage):
    """Observables of the showers that a classifier recognises best."""

    modules = ("calopipe.evaluation.weights",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        chosen = {"fraction": evaluation.weight_fraction, "brightest": evaluation.histograms.brightest}
        return {**chosen, **study.judged(dataset)}

    def parts(self, study: StudyParts, **wildcards: Any) -> Iterable[str]:
        return observables_of()


class Observables(Stage):
    """Histograms of observables."""

    modules = ("calopipe.evaluation.observables",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        return {"histograms": plain(evaluation.histograms), **study.judged(dataset)}

    def parts(self, study: StudyParts, **wildcards: Any) -> Iterable[str]:
        return observables_of()


class Health(Stage):
    """What is unusual about the samples."""

    modules = ("calopipe.evaluation.health",)

    def settings(self, study: StudyParts, *, dataset: str, **_: Any) -> dict[str, Any]:
        return study.judged(dataset)


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
        return {**used, **study.judged(dataset)}

    def parts(self, study: StudyParts, **wildcards: Any) -> Iterable[str]:
        return [*metrics_of(study.evaluation(**wildcards).metrics), *observables_of()]

    def files(self, study: StudyParts, **wildcards: Any) -> list[str]:
        return [file for metric in study.evaluation(**wildcards).metrics for file in named_files(metric)]


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
        return {**asked, "training_showers": study.model(model).training_showers, **study.judged(dataset)}

    def files(self, study: StudyParts, **wildcards: Any) -> list[str]:
        return study.subjects(**wildcards)


def _elsewhere(study: StudyParts, regressors: Sequence[str], dataset: str) -> dict[str, Any]:
    """Which regressors have learned showers of another dataset; nothing where none has."""
    found = study.trained_elsewhere(regressors, dataset)
    return {"trained_on": found} if found else {}


class Regression(Stage):
    """Energy regression of a run's samples."""

    modules = ("calopipe.evaluation.regression",)

    def settings(self, study: StudyParts, *, dataset: str, regressor: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        config = evaluation.regression
        if regressor not in config.regressors:
            raise ConfigError(f"the evaluation of this run has no regressor '{regressor}'")
        settings = {**plain(config), "regressors": [regressor]}  # another regressor is no concern of this one
        elsewhere = _elsewhere(study, [regressor], dataset)
        return {"regression": settings, "seed": evaluation.seed, **elsewhere, **study.judged(dataset)}

    def parts(self, study: StudyParts, *, regressor: str, **_: Any) -> Iterable[str]:
        return regressors_of(study, [regressor])

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).regression.device


class Epochs(Stage):
    """Scores of the kept epochs."""

    modules = ("calopipe.evaluation.epochs",)
    script = "epochs"

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = study.evaluation(dataset=dataset, **wildcards)
        used = {k: plain(getattr(evaluation, k)) for k in ("epochs", "histograms", "regression")}
        external = study.external(wildcards["model"])
        if external is not None:
            used["samples"] = sorted(external.epochs)
        if evaluation.epochs.reference == "training":
            used["learned"] = study.learned_showers(**wildcards)
        used |= _elsewhere(study, evaluation.regression.regressors, dataset)
        conditions = {"conditions": study.conditions(dataset)}
        return {**used, "seed": evaluation.seed, **conditions, **study.judged(dataset)}

    def parts(self, study: StudyParts, *, model: str, **wildcards: Any) -> Iterable[str]:
        evaluation = study.evaluation(model=model, **wildcards)
        yield from networks_of(study.model(model).networks.values())
        yield from metrics_of(evaluation.epochs.metrics)
        yield from regressors_of(study, evaluation.regression.regressors)
        yield from observables_of()

    def files(self, study: StudyParts, *, model: str, **wildcards: Any) -> list[str]:
        external, evaluation = study.external(model), study.evaluation(model=model, **wildcards)
        named = [file for metric in evaluation.epochs.metrics for file in named_files(metric)]
        return [*(external.epochs.values() if external is not None else ()), *named]

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).regression.device


class LatentSpace(Sampling):
    """Latents of the run's autoencoder, and the noise that its flows make of data."""

    modules = ("calopipe.evaluation.latent_space",)

    def settings(self, study: StudyParts, **_: Any) -> dict[str, Any]:
        return {}


class WeightSpread(Sampling):
    """Variances of the weights of the run's Bayesian networks."""

    modules = ("calopipe.evaluation.weight_spread",)


class Timing(Sampling):
    """Generation time."""

    modules = ("calopipe.evaluation.generation_time",)

    def settings(self, study: StudyParts, *, dataset: str, **wildcards: Any) -> dict[str, Any]:
        timing = study.evaluation(dataset=dataset, **wildcards).timing
        settings = study.dataset(dataset)
        return {"timing": plain(timing), **{key: getattr(settings, key, None) for key in GEANT4_TIME}}

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).timing.device


class JudgeColumns(Stage):
    """Histograms and scores of samples that are no showers."""

    modules = ("calopipe.evaluation.columns",)

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        """Histograms, and the classifier test of trees."""
        evaluation = study.evaluation(**wildcards)
        trees = plain(evaluation.tests.get("trees"))
        used = {"histograms": plain(evaluation.histograms), "classifier": trees, "seed": evaluation.seed}
        return {**used, **_halved(study, wildcards["dataset"])}


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
