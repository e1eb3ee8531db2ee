"""The parts of a validated study, and the runs that combine them, as the wildcards of the rules name them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from calopipe.config import ColumnsDataset, Dataset, Evaluation, Model, RegressorStage, Study
from calopipe.config.datasets import window_and_centre
from calopipe.config.links import Link
from calopipe.config.networks import External
from calopipe.config.parts import MODELS
from calopipe.errors import ConfigError
from calopipe.geometry import Geometry, load_geometry, prepared_geometry
from calopipe.seeds import Training

#: names that a dataset cannot have, because the workflow has a folder of that name beside those of the datasets
RESERVED = ("data", "report", "logs", "benchmarks", "compare")


@dataclass(frozen=True)
class RunKey:
    """One training: a dataset, a model and a seed, and the evaluation that judges it."""

    dataset: str
    model: str
    seed: int
    evaluation: str

    @property
    def folder(self) -> str:
        """Where its files are, below the results folder."""
        return f"{self.dataset}/{self.model}/seed{self.seed}"

    @property
    def wildcards(self) -> dict[str, Any]:
        """As the rules name them."""
        return asdict(self)


class StudyParts:
    """Looks up parts of a study. Methods take wildcards by name (`seed` as text or number)."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.runs = [RunKey(r.dataset, r.model, seed, r.evaluation) for r in study.runs for seed in r.seeds]
        self._by_key = {(r.dataset, r.model, r.seed): r for r in self.runs}
        for name in RESERVED:
            if name in study.datasets:
                raise ConfigError(f"datasets.{name}: this name is taken by a folder of the results; choose another")

    def pattern(self, section: str) -> str:
        """Regular expression of the names in `section` (datasets, models, ...; networks or classifiers of any of them)."""
        if section in ("generators", "externals"):
            names = {
                n for n, model in self.study.models.items() if (model.external is None) == (section == "generators")
            }
        elif section in ("columns", "showers"):
            names = {name for name in self.study.datasets if self.is_columns(name) == (section == "columns")}
        elif section == "classifiers":
            names = {name for e in self.study.evaluations.values() for name in e.tests}
        elif section == "networks":
            names = {name for model in self.study.models.values() for name in model.networks}
        else:
            names = set(getattr(self.study, section))
        return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"

    def dataset(self, name: str) -> Dataset | ColumnsDataset:
        """Settings of a dataset of either kind."""
        return self.study.datasets[name]

    def showers(self, name: str) -> Dataset:
        """Settings of a dataset of showers. Raises ConfigError where it is of another kind."""
        settings = self.dataset(name)
        if not isinstance(settings, Dataset):
            raise ConfigError(f"datasets.{name}.kind: expected showers here, found {settings.kind}")
        return settings

    def files_of(self, name: str) -> Dataset | ColumnsDataset:
        """What the files of a dataset hold: rows of columns, or showers, also those that only numbers are taken of."""
        settings = self.dataset(name)
        return (settings.showers or settings) if isinstance(settings, ColumnsDataset) else settings

    def is_columns(self, dataset: str) -> bool:
        """Whether a dataset holds columns of numbers, not showers."""
        return isinstance(self.dataset(dataset), ColumnsDataset)

    def model(self, name: str) -> Model:
        """Settings of a model."""
        return self.study.models[name]

    def run(self, dataset: str, model: str, seed: int | str, **_: Any) -> RunKey:
        """The run of these wildcards, of which `seed` may name a training. Raises ConfigError when the study has no such run."""
        training = Training.of(seed)
        key = (dataset, model, training.run)
        if key not in self._by_key or training.number > self.model(model).mix:
            raise ConfigError(f"runs: no run of dataset '{dataset}' with model '{model}' and seed {seed}")
        return self._by_key[key]

    def trainings(self, *, model: str, seed: int | str, **_: Any) -> list[str]:
        """Names of the trainings that the sample of a run is drawn from, as values of the wildcard `seed`; of one training: itself."""
        training, mix = Training.of(seed), self.model(model).mix
        if training.number > 1:
            return [training.name]
        return [Training(training.run, number).name for number in range(1, mix + 1)]

    def evaluation(self, dataset: str, model: str, seed: int | str, **_: Any) -> Evaluation:
        """Settings of the evaluation that judges a run."""
        return self.study.evaluations[self.run(dataset, model, seed).evaluation]

    def geometry(self, dataset: str) -> Geometry:
        """The geometry of the prepared showers of `dataset` (some layers, cropped, summed, pooled where the configuration says so).

        Of numbers of showers: that of the files.
        """
        return _geometry(self._geometry_name(dataset))

    def _geometry_name(self, dataset: str) -> str:
        """What `load_geometry` makes that geometry of. Raises ConfigError where the files hold no showers."""
        settings = self.files_of(dataset)
        if not isinstance(settings, Dataset):
            raise ConfigError(f"datasets.{dataset}.geometry: expected that of showers here, found columns")
        raw = _geometry(settings.geometry)
        window, centre = window_and_centre(settings.crop)
        made = prepared_geometry(raw, settings.layers, window, settings.sum_layers, settings.pool, centre=centre)
        return settings.geometry + made.name.removeprefix(raw.name)

    def regressor(self, name: str) -> RegressorStage:
        """Settings of an energy regressor."""
        return self.study.regressors[name]

    def regressors(self, run: RunKey) -> list[str]:
        """Names of the energy regressors that judge a run."""
        return self.study.evaluations[run.evaluation].regression.regressors

    def trained_on(self, regressor: str, dataset: str) -> str:
        """The dataset whose showers an energy regressor has learned that judges showers of `dataset`."""
        return self.regressor(regressor).dataset or dataset

    def trained_elsewhere(self, regressors: Sequence[str], dataset: str) -> dict[str, str]:
        """The same by name, of those that have not learned showers of `dataset` itself."""
        found = {name: self.trained_on(name, dataset) for name in regressors}
        return {name: learned for name, learned in found.items() if learned != dataset}

    def datasets(self) -> list[str]:
        """Names of the datasets of all runs, and of those that the regressors of these learn."""
        learned = (self.trained_on(name, run.dataset) for run in self.runs for name in self.regressors(run))
        return list(dict.fromkeys([*(run.dataset for run in self.runs), *learned]))

    def keeps_epochs(self, model: str) -> bool:
        """Whether epochs of a model's training are kept (or there as files), which are then scored."""
        return bool(self.model(model).kept_epochs)

    def autoencoder(self, model: str) -> Link | None:
        """The autoencoder that a model's showers are decoded by."""
        settings = self.model(model)
        return None if settings.external is not None else settings.chain.autoencoder

    def external(self, model: str) -> External | None:
        """The files that a model consists of, where it has no networks."""
        return self.model(model).external

    def has_latents(self, model: str) -> bool:
        """Whether a network of a model has a latent space: an autoencoder, or a flow with its noise."""
        names = [network.model.name for network in self.model(model).networks.values()]
        flows = any(MODELS.marked(name, "likelihood") for name in names)
        return self.external(model) is None and (flows or self.autoencoder(model) is not None)

    def has_draws(self, model: str) -> bool:
        """Whether the weights of a network of a model are distributions, which are drawn."""
        return any(MODELS.marked(network.model.name, "weight_draws") for network in self.model(model).networks.values())

    def latent_dim(self, model: str) -> int | None:
        """Columns of the latent space that a model's showers are decoded from; None where there is none."""
        link = self.autoencoder(model)
        return None if link is None else self.model(model).networks[link.name].latent_dim

    def conditions(self, dataset: str) -> list[str]:
        """Names of the conditions of a dataset after the incident energy."""
        return list(self.dataset(dataset).conditions)

    def learned_showers(self, *, model: str, seed: int | str, **_: Any) -> dict[str, Any]:
        """Which showers of the training split a training learns: fields of :class:`calopipe.training.job.Learned`."""
        settings = self.model(model)
        energies = settings.training_energies_MeV
        chosen = None if energies is None else energies.model_dump(mode="json")
        return {"block": Training.of(seed).run, "showers": settings.training_showers, "energies": chosen}

    def sampled_epoch(self, **wildcards: Any) -> int | str:
        """Which checkpoint of its last network a run is judged by: ``final``, ``best``, or the number of a kept epoch."""
        return self.evaluation(**wildcards).generation.epoch

    def samples(self, model: str) -> list[str]:
        """Samples that are judged against the test showers: an autoencoder's reconstructions too, and what refiners are given."""
        refined = self.external(model) is None and bool(self.model(model).chain.refiners)
        reconstructed = self.autoencoder(model) is not None
        return ["generated", *(["reconstructed"] if reconstructed else []), *(["unrefined"] if refined else [])]

    def compared(self, dataset: str, evaluation: str) -> dict[str, RunKey]:
        """Runs that one multi-class classifier tells apart, by the name of their sample; none where it is not asked for.

        The sample is called after the model, and its seed where the model has several.
        """
        runs = [r for r in self.runs if (r.dataset, r.evaluation) == (dataset, evaluation)]
        if self.is_columns(dataset) or len(runs) < 2 or self.study.evaluations[evaluation].multiclass is None:
            return {}
        models = [r.model for r in runs]
        return {r.model if models.count(r.model) == 1 else f"{r.model}, seed {r.seed}": r for r in runs}

    def banded(self, dataset: str, evaluation: str) -> tuple[list[RunKey], dict[str, list[RunKey]]]:
        """Runs of Bayesian models, and the seeds of every other model that has several: their bands are compared.

        None where there are not both, or the evaluation takes one draw of the weights.
        """
        runs = [r for r in self.runs if (r.dataset, r.evaluation) == (dataset, evaluation)]
        bayesian = [r for r in runs if self.has_draws(r.model)]
        ensembles: dict[str, list[RunKey]] = {}
        for run in runs:
            if not self.has_draws(run.model) and self.external(run.model) is None:
                ensembles.setdefault(run.model, []).append(run)
        ensembles = {model: seeds for model, seeds in ensembles.items() if len(seeds) > 1}
        several = self.study.evaluations[evaluation].generation.draws > 1
        if not several or not bayesian or not ensembles:
            return [], {}
        return bayesian, ensembles

    def sources(self, dataset: str) -> list[str]:
        """What is fetched for `dataset`: its source, and the separate reference where it has one."""
        return [role for role in ("source", "reference") if getattr(self.dataset(dataset), role)]

    def local_files(self, dataset: str, role: str) -> list[str]:
        """Files of this machine that `fetch` reads for the source or the reference of `dataset`; none are downloads."""
        source = getattr(self.dataset(dataset), role)
        if source.kind != "bundled":
            return source.paths
        from calopipe.sources import bundled

        path = bundled(source.name)  # relative where it can be: a clone that was moved stays the same
        return [str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)]

    def amplified(self, dataset: str, model: str, **_: Any) -> list[RunKey]:
        """Runs of a model that its amplification study judges together, one per seed; none where it is not asked for."""
        runs = (r for r in self.runs if (r.dataset, r.model) == (dataset, model))
        found = [r for r in runs if self.study.evaluations[r.evaluation].calomplification is not None]
        return sorted(found, key=lambda r: r.seed)

    def subjects(self, dataset: str, model: str, **_: Any) -> list[str]:
        """Shower files that the amplification study of a model judges besides the model's own."""
        runs = self.amplified(dataset, model)
        study = self.study.evaluations[runs[0].evaluation].calomplification if runs else None
        return [] if study is None else [path for paths in study.subjects.values() for path in paths]

    def where(self, dataset: str) -> dict[str, Any]:
        """Geometry and threshold of the prepared showers; the digest follows the contents of a geometry file.

        Of a dataset of columns: no geometry, and the names of what is learned.
        """
        columns = self.dataset(dataset)
        if isinstance(columns, ColumnsDataset):
            return {"geometry": None, "threshold_MeV": None, "columns": list(columns.columns)}
        settings, geometry = self.showers(dataset), self.geometry(dataset)
        return {
            "geometry": self._geometry_name(dataset),
            "geometry_digest": geometry.hash[:12],
            "threshold_MeV": self._threshold(dataset) * settings.energy_scale,
        }

    def judged(self, dataset: str) -> dict[str, Any]:
        """The same for what judges showers, by the threshold of evaluations."""
        found, settings = self.where(dataset), self.dataset(dataset)
        if isinstance(settings, Dataset) and settings.evaluation_threshold_MeV is not None:
            found["threshold_MeV"] = settings.evaluation_threshold_MeV * settings.energy_scale
        return found

    def _threshold(self, dataset: str) -> float:
        """The threshold of training in MeV as in the raw files."""
        asked = self.showers(dataset).threshold_MeV
        return self.geometry(dataset).threshold_MeV if asked is None else asked


@cache
def _geometry(name: str) -> Geometry:
    return load_geometry(name)
