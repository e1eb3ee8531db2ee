"""The settings that enter the result of each stage: one method per rule, and nothing else in it."""

from __future__ import annotations

from typing import Any

from calopipe.config.chains import AutoencoderSettings
from calopipe.config.parts import MODELS, settings_of
from calopipe.errors import ConfigError
from calopipe.workflow.parts import StudyParts


class StageSettings(StudyParts):
    """Gives each stage its settings, as plain JSON-able data; a change of them reruns it."""

    def settings(self, stage: str, **wildcards: Any) -> dict[str, Any]:
        """The settings that enter the result of `stage`, as plain JSON-able data, and nothing else."""
        return getattr(self, f"_{stage}")(**wildcards)

    def _fetch(self, dataset: str, role: str, **_: Any) -> dict[str, Any]:
        settings = self.dataset(dataset)
        return {"source": plain(getattr(settings, role)), "layout": plain(settings.layout)}

    def _prepare(self, dataset: str, **_: Any) -> dict[str, Any]:
        settings = plain(self.dataset(dataset))
        used = {k: v for k, v in settings.items() if k not in ("source", "reference", "geant4_ms_per_GeV")}
        other = {"geometry_digest": self.where(dataset)["geometry_digest"], "sources": self.sources(dataset)}
        return {**used, **other}

    def _train_autoencoder(self, dataset: str, model: str, **_: Any) -> dict[str, Any]:
        settings = self.model(model)
        learned = {"autoencoder": plain(settings.autoencoder), "training_showers": settings.training_showers}
        return {**learned, **self.where(dataset)}

    def _encode(self, **_: Any) -> dict[str, Any]:
        return {}

    def _train_flow(self, dataset: str, model: str, **_: Any) -> dict[str, Any]:
        settings = self.model(model)
        learned = {"flow": plain(settings.flow), "training_showers": settings.training_showers}
        return {**learned, "latent": settings.is_latent, **self.where(dataset)}

    def _train_regressor(self, dataset: str, regressor: str, **_: Any) -> dict[str, Any]:
        settings = plain(self.regressor(regressor))
        kept = ("model", "training", "seed")
        return {"regressor": {k: settings[k] for k in kept}, **self.where(dataset)}

    def _generate(self, **wildcards: Any) -> dict[str, Any]:
        return plain(self.evaluation(**wildcards).generation)

    def _reconstruct(self, **wildcards: Any) -> dict[str, Any]:
        return {"device": self.evaluation(**wildcards).generation.device}

    def _classify(self, dataset: str, classifier: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        if classifier not in evaluation.tests:
            raise ConfigError(f"the evaluation of this run has no classifier '{classifier}'")
        config = plain(evaluation.tests[classifier])
        return {"classifier": config, "seed": evaluation.seed, **self.where(dataset)}

    def _classify_reconstructed(self, **wildcards: Any) -> dict[str, Any]:
        return self._classify(**wildcards)

    def _power(self, dataset: str, evaluation: str, classifier: str, **_: Any) -> dict[str, Any]:
        settings = self.study.evaluations[evaluation]
        config = {**plain(settings.tests[classifier]), "repeats": 1}  # more make it no more precise
        used = {"classifier": config, "seed": settings.seed, "factor": settings.generation.factor}
        return {**used, **self.where(dataset)}

    def _compare(self, dataset: str, evaluation: str, **_: Any) -> dict[str, Any]:
        samples = list(self.compared(dataset, evaluation))
        if not samples:
            needs = "a multi-class test needs 'multiclass' and two runs or more"
            raise ConfigError(f"evaluations.{evaluation}: {needs} on dataset '{dataset}'")
        settings = self.study.evaluations[evaluation]
        config = {"classifier": plain(settings.multiclass), "seed": settings.seed, "samples": samples}
        return {**config, **self.where(dataset)}

    def _weights(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        chosen = {"fraction": evaluation.weight_fraction, "brightest": evaluation.histograms.brightest}
        return {**chosen, **self.where(dataset)}

    def _observables(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        return {"histograms": plain(evaluation.histograms), **self.where(dataset)}

    def _health(self, dataset: str, **_: Any) -> dict[str, Any]:
        return self.where(dataset)

    def _metrics(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        autoencoder, latent = self.model(wildcards["model"]).autoencoder, None
        if autoencoder is not None:
            settings = settings_of(MODELS, "name", autoencoder.model)
            latent = settings.latent_dim if isinstance(settings, AutoencoderSettings) else None
        return {"metrics": evaluation.metrics, "latent": latent, "seed": evaluation.seed, **self.where(dataset)}

    def _calomplification(self, dataset: str, model: str, **_: Any) -> dict[str, Any]:
        runs = self.amplified(dataset, model)
        if not runs:
            raise ConfigError(f"no run of dataset '{dataset}' and model '{model}' has an amplification study")
        evaluation = self.study.evaluations[runs[0].evaluation]
        study = {"calomplification": plain(evaluation.calomplification), "seed": evaluation.seed}
        study["seeds"] = [run.seed for run in runs]
        return {**study, "training_showers": self.model(model).training_showers, **self.where(dataset)}

    def _regression(self, dataset: str, regressor: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        config = evaluation.regression
        if regressor not in config.regressors:
            raise ConfigError(f"the evaluation of this run has no regressor '{regressor}'")
        settings = {**plain(config), "regressors": [regressor]}  # another regressor is no concern of this one
        return {"regression": settings, "seed": evaluation.seed, **self.where(dataset)}

    def _epochs(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        used = {k: plain(getattr(evaluation, k)) for k in ("epochs", "histograms", "regression")}
        return {**used, "seed": evaluation.seed, **self.where(dataset)}

    def _timing(self, **wildcards: Any) -> dict[str, Any]:
        per_GeV = self.study.datasets[wildcards["dataset"]].geant4_ms_per_GeV
        return {"timing": plain(self.evaluation(**wildcards).timing), "geant4_ms_per_GeV": per_GeV}


def plain(section: Any) -> Any:
    """A settings section as plain JSON data; None stays None."""
    return None if section is None else section.model_dump(mode="json")
