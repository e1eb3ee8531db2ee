"""The stages that make data, networks and samples, one class per rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from calopipe.config import Dataset
from calopipe.config.datasets import GEANT4_TIME
from calopipe.errors import ConfigError
from calopipe.workflow.parts import StudyParts
from calopipe.workflow.stage import Stage, networks_of, plain, regressors_of


class Fetch(Stage):
    """Raw files of a dataset, found or downloaded."""

    modules = ("calopipe.sources",)

    def settings(self, study: StudyParts, *, dataset: str, role: str, **_: Any) -> dict[str, Any]:
        settings = study.files_of(dataset)
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
    other = frozenset({"source", "reference", "evaluation_threshold_MeV", *GEANT4_TIME})

    def settings(self, study: StudyParts, *, dataset: str, **_: Any) -> dict[str, Any]:
        used = {k: v for k, v in plain(study.dataset(dataset)).items() if k not in self.other}
        if used["geometry"] is not None:
            used["geometry_digest"] = study.geometry(dataset).hash[:12]
        return {**used, "sources": study.sources(dataset)}


class Train(Stage):
    """One network of a run's chain."""

    modules = ("calopipe.training.stages",)

    def settings(self, study: StudyParts, *, dataset: str, model: str, network: str, **_: Any) -> dict[str, Any]:
        settings = study.model(model)
        link = {**asdict(settings.chain[network]), "given": list(settings.chain[network].given)}
        learned = {"network": plain(settings.networks[network]), "link": link}
        learned |= {"training_showers": settings.training_showers}
        learned |= {"training_energies_MeV": plain(settings)["training_energies_MeV"]}
        return {**learned, "conditions": study.conditions(dataset), **study.where(dataset)}

    def parts(self, study: StudyParts, *, model: str, network: str, **_: Any) -> Iterable[str]:
        return networks_of([study.model(model).networks[network]])

    def device(self, study: StudyParts, *, model: str, network: str, **_: Any) -> str:
        return study.model(model).networks[network].training.device


class TrainRegressor(Stage):
    """An energy regressor of a dataset."""

    modules = ("calopipe.training.stages",)

    def settings(self, study: StudyParts, *, dataset: str, regressor: str, **_: Any) -> dict[str, Any]:
        settings, learned = plain(study.regressor(regressor)), study.trained_on(regressor, dataset)
        if learned != dataset:
            raise ConfigError(f"regressors.{regressor}.dataset: it learns showers of '{learned}', not of '{dataset}'")
        kept = ("model", "training", "seed")
        return {"name": regressor, "regressor": {k: settings[k] for k in kept}, **study.where(dataset)}

    def parts(self, study: StudyParts, *, regressor: str, **_: Any) -> Iterable[str]:
        return regressors_of(study, [regressor])

    def device(self, study: StudyParts, *, regressor: str, **_: Any) -> str:
        return study.regressor(regressor).training.device


class Sampling(Stage):
    """What runs networks of a model."""

    modules = ("calopipe.sampling.stages",)

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        return {}

    def parts(self, study: StudyParts, *, model: str, **wildcards: Any) -> Iterable[str]:
        return networks_of(study.model(model).networks.values())


class Encode(Sampling):
    """Latents of prepared showers."""

    def parts(self, study: StudyParts, *, model: str, network: str, **_: Any) -> Iterable[str]:
        return networks_of([study.model(model).networks[network]])


class Remake(Sampling):
    """Showers as the chain up to a network makes them."""


class Generate(Sampling):
    """Showers for the conditions of the test showers."""

    def settings(self, study: StudyParts, *, model: str, **wildcards: Any) -> dict[str, Any]:
        settings = plain(study.evaluation(model=model, **wildcards).generation)
        if settings["draws"] == 1 or not study.has_draws(model):
            del settings["draws"]
        mix = len(study.trainings(model=model, **wildcards))
        return settings if mix == 1 else {**settings, "mix": mix}

    def device(self, study: StudyParts, **wildcards: Any) -> str:
        return study.evaluation(**wildcards).generation.device


class GenerateUnrefined(Generate):
    """The showers that the refiners of a chain are given, for the conditions of the test showers."""

    script = "generate"

    def settings(self, study: StudyParts, **wildcards: Any) -> dict[str, Any]:
        return {**super().settings(study, **wildcards), "epoch": "final"}  # a kept epoch is one of the last refiner

    def parts(self, study: StudyParts, *, model: str, **_: Any) -> Iterable[str]:
        settings = study.model(model)
        return networks_of([settings.networks[link.name] for link in settings.chain.unrefined])


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
        return networks_of([study.model(model).networks[maker]])
