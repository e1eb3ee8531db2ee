"""What the rules of the workflow ask: which runs a study has, and what each stage depends on.

Snakemake reruns a stage when its ``params:`` change. So each stage gets there exactly the settings that enter its result
(:meth:`Plan.settings`) and a digest of the library modules it uses (:meth:`Plan.code`): an edit of the configuration or of
the library reruns the stages that depend on it and no others. Everything upstream counts through the stages' files.

Imported while the DAG is built: it uses levels 0-2 of the library only, never torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from calopipe.codedigest import code_digest
from calopipe.config import (
    AutoencoderStage,
    Dataset,
    Evaluation,
    FlowStage,
    Model,
    RegressorStage,
    Source,
    Study,
    load_study,
)
from calopipe.config.schema import METRICS, MODELS, STEPS
from calopipe.errors import ConfigError, GeometryError
from calopipe.geometry import Geometry, load_geometry

#: names that a dataset cannot have, because the workflow has a folder of that name beside those of the datasets
RESERVED = ("data", "report", "logs", "benchmarks", "compare")

#: library modules that each stage enters; models, steps and metrics are added by name (see Plan.code)
MODULES: Mapping[str, tuple[str, ...]] = {
    "fetch": ("calopipe.sources",),
    "prepare": ("calopipe.io.prepare",),
    "train_autoencoder": ("calopipe.training.stages",),
    "encode": ("calopipe.sampling.stages",),
    "train_flow": ("calopipe.training.stages",),
    "train_regressor": ("calopipe.training.stages",),
    "generate": ("calopipe.sampling.stages",),
    "reconstruct": ("calopipe.sampling.stages",),
    "classify": ("calopipe.evaluation.classifier",),
    "weights": ("calopipe.evaluation.weights",),
    "compare": ("calopipe.evaluation.multiclass",),
    "observables": ("calopipe.evaluation.observables",),
    "metrics": ("calopipe.evaluation.metrics",),
    "regression": ("calopipe.evaluation.regression",),
    "epochs": ("calopipe.evaluation.epochs",),
    "calomplification": ("calopipe.evaluation.calomplification",),
    "timing": ("calopipe.evaluation.generation_time",),
    "report": ("calopipe.report",),
}

#: files beside the modules that belong to a stage's code
DATA_FILES: Mapping[str, tuple[str, ...]] = {"report": ("report/template.html",)}

#: networks whose classes (and preprocessing steps) each stage loads
NETWORKS: Mapping[str, tuple[str, ...]] = {
    "train_autoencoder": ("autoencoder",),
    "encode": ("autoencoder",),
    "train_flow": ("flow",),
    "generate": ("autoencoder", "flow"),
    "reconstruct": ("autoencoder",),
    "epochs": ("autoencoder", "flow"),
    "timing": ("autoencoder", "flow"),
}


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


class Plan:
    """A validated study, seen from the rules. Methods take wildcards by name (`seed` as text or number)."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.runs = [RunKey(r.dataset, r.model, seed, r.evaluation) for r in study.runs for seed in r.seeds]
        self._by_key = {(r.dataset, r.model, r.seed): r for r in self.runs}
        for name in RESERVED:
            if name in study.datasets:
                raise ConfigError(f"datasets.{name}: this name is taken by a folder of the results; choose another")

    @classmethod
    def load(cls, config: Mapping[str, Any], presets: Path) -> Plan:
        """Validate Snakemake's `config`, merged onto the presets it names. Raises ConfigError or GeometryError."""
        plan = cls(load_study(config, presets))
        for name in {run.dataset for run in plan.runs}:
            plan.geometry(name)  # an unknown geometry or download is found now, not after an hour of training
            for role in plan.sources(name):
                _check_source(getattr(plan.dataset(name), role))
        for run in plan.runs:
            for name in plan.regressors(run):
                plan.check_grid(run.dataset, name)
        return plan

    def pattern(self, section: str) -> str:
        """Regular expression of the names in `section` (datasets, models, evaluations, or classifiers of any of them)."""
        if section == "classifiers":
            names = {name for e in self.study.evaluations.values() for name in e.classifiers}
        else:
            names = set(getattr(self.study, section))
        return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"

    # -- parts of the study -------------------------------------------------------------------------------------------
    def dataset(self, name: str) -> Dataset:
        """Settings of a dataset."""
        return self.study.datasets[name]

    def model(self, name: str) -> Model:
        """Settings of a model."""
        return self.study.models[name]

    def run(self, dataset: str, model: str, seed: int | str, **_: Any) -> RunKey:
        """The run of these wildcards. Raises ConfigError when the study has no such run."""
        key = (dataset, model, int(seed))
        if key not in self._by_key:
            raise ConfigError(f"runs: no run of dataset '{dataset}' with model '{model}' and seed {seed}")
        return self._by_key[key]

    def evaluation(self, dataset: str, model: str, seed: int | str, **_: Any) -> Evaluation:
        """Settings of the evaluation that judges a run."""
        return self.study.evaluations[self.run(dataset, model, seed).evaluation]

    def geometry(self, dataset: str) -> Geometry:
        """The geometry of the prepared showers of `dataset` (pooled where the configuration says so)."""
        return _geometry(self.dataset(dataset).geometry, self.dataset(dataset).pool)

    def regressor(self, name: str) -> RegressorStage:
        """Settings of an energy regressor."""
        return self.study.regressors[name]

    def regressors(self, run: RunKey) -> list[str]:
        """Names of the energy regressors that judge a run."""
        return self.study.evaluations[run.evaluation].regression.regressors

    def keeps_epochs(self, model: str) -> bool:
        """Whether the training of a model's flow keeps epochs, which are then scored."""
        return self.model(model).flow.training.keep_every is not None

    def check_grid(self, dataset: str, regressor: str) -> None:
        """Raise ConfigError when a regressor that takes its grid from the geometry finds layers that are not alike."""
        if self.regressor(regressor).model.get("grid", ()) is None:
            try:
                _ = self.geometry(dataset).grid
            except GeometryError as error:
                raise ConfigError(f"regressors.{regressor}: not for dataset '{dataset}': {error}") from None

    def samples(self, model: str) -> list[str]:
        """Samples that are judged against the test showers; a latent model's reconstructions are judged too."""
        return ["generated", "reconstructed"] if self.model(model).is_latent else ["generated"]

    def compared(self, dataset: str, evaluation: str) -> dict[str, RunKey]:
        """Runs that one multi-class classifier tells apart, by the name of their sample; none where it is not asked for.

        The sample is called after the model, and its seed where the model has several.
        """
        runs = [r for r in self.runs if (r.dataset, r.evaluation) == (dataset, evaluation)]
        if len(runs) < 2 or self.study.evaluations[evaluation].multiclass is None:
            return {}
        models = [r.model for r in runs]
        return {r.model if models.count(r.model) == 1 else f"{r.model}, seed {r.seed}": r for r in runs}

    def sources(self, dataset: str) -> list[str]:
        """What is fetched for `dataset`: its source, and the separate reference where it has one."""
        return [role for role in ("source", "reference") if getattr(self.dataset(dataset), role)]

    def local_files(self, dataset: str, role: str) -> list[str]:
        """Local files that `fetch` reads for the source or the reference of `dataset`."""
        return getattr(self.dataset(dataset), role).paths

    def artifacts(self, run: RunKey) -> dict[str, Any]:
        """Files of a run that the report shows or links: the fields of calopipe.report.artifacts.RunArtifacts."""
        folder, model = f"{self.study.results}/{run.folder}", self.model(run.model)
        evaluation = self.study.evaluations[run.evaluation]
        classifiers = evaluation.classifiers
        found = {
            "dataset": run.dataset,
            "model": run.model,
            "seed": run.seed,
            "geometry": self._where(run.dataset)["geometry"],
            "description": model.description,
            "histograms": f"{folder}/histograms.npz",
            "metrics": f"{folder}/metrics.json",
            "classifiers": {
                name: {
                    "scores": f"{folder}/classifiers/{name}.json",
                    "curves": f"{folder}/classifiers/{name}.npz",
                    "weights": f"{folder}/weights/{name}.npz",
                }
                for name in classifiers
            },
            "regression": {name: self._regression_files(run, name) for name in self.regressors(run)},
            "epochs": f"{folder}/scores_by_epoch.json" if self.keeps_epochs(run.model) else None,
            "timing": f"{folder}/timing.json",
            "reference": f"{self.study.results}/data/{run.dataset}/test.hdf5",
        }
        if evaluation.calomplification is not None:
            found["calomplification"] = f"{folder}/calomplification.json"
            found["divergences"] = f"{folder}/calomplification.npz"
        for network in ("autoencoder", "flow") if model.is_latent else ("flow",):
            found[f"loss_{network}"] = f"{folder}/{network}/history.csv"
            found[f"checkpoint_{network}"] = f"{folder}/{network}/model.pt"
        for sample, other in self.compared(run.dataset, run.evaluation).items():
            if other == run:
                files = f"{self.study.results}/compare/{run.dataset}/{run.evaluation}"
                found |= {"compared_as": sample, "comparison": f"{files}.json", "confusion": f"{files}.npz"}
        return {**found, **{sample: f"{folder}/{sample}.hdf5" for sample in self.samples(run.model)}}

    def _regression_files(self, run: RunKey, regressor: str) -> dict[str, str]:
        folder = f"{self.study.results}/{run.folder}/regression/{regressor}"
        network = f"{self.study.results}/data/{run.dataset}/regressors/{regressor}"
        found = {"scores": f"{folder}.json", "curves": f"{folder}.npz"}
        return {**found, "loss": f"{network}/history.csv", "checkpoint": f"{network}/model.pt"}

    def gpus(self, stage: str, **wildcards: Any) -> int:
        """1 when the stage may run on a GPU, 0 when its `device` setting is ``cpu``."""
        if stage in ("train_autoencoder", "train_flow"):
            network = getattr(self.model(wildcards["model"]), stage.removeprefix("train_"))
            device = network.training.device
        elif stage == "train_regressor":
            device = self.regressor(wildcards["regressor"]).training.device
        elif stage in ("regression", "epochs"):
            device = self.evaluation(**wildcards).regression.device
        elif stage == "timing":
            device = self.evaluation(**wildcards).timing.device
        elif stage == "classify":
            device = self._classify(**wildcards)["classifier"]["device"]
        elif stage == "compare":
            device = self._compare(**wildcards)["classifier"]["device"]
        else:
            device = self.evaluation(**wildcards).generation.device
        return int(device != "cpu")

    # -- what a stage depends on --------------------------------------------------------------------------------------
    def settings(self, stage: str, **wildcards: Any) -> dict[str, Any]:
        """The settings that enter the result of `stage`, as plain JSON-able data, and nothing else."""
        return getattr(self, f"_{stage}")(**wildcards)

    def code(self, stage: str, **wildcards: Any) -> str:
        """Digest of the library modules `stage` uses: its own, and those of the models, steps and metrics it names."""
        modules = list(MODULES[stage])
        for network in NETWORKS.get(stage, ()):
            part = getattr(self.model(wildcards["model"]), network)
            if part is not None:
                modules.append(MODELS.module_of(part.model["name"]))
                modules += [STEPS.module_of(step["step"]) for step in part.preprocessing]
        regressors = {"train_regressor": [wildcards.get("regressor")], "regression": [wildcards.get("regressor")]}
        metrics = {}
        if stage in ("metrics", "epochs"):
            evaluation = self.evaluation(**wildcards)
            metrics = {"metrics": evaluation.metrics, "epochs": evaluation.epochs.metrics}
            regressors["epochs"] = evaluation.regression.regressors
        modules += [MODELS.module_of(self.regressor(name).model["name"]) for name in regressors.get(stage, ())]
        modules += [METRICS.module_of(m["metric"]) for m in metrics.get(stage, ())]
        return _code_digest(tuple(sorted(set(modules))), DATA_FILES.get(stage, ()))

    def rolling(self, network: str, **wildcards: Any) -> str:
        """Folder of a training's rolling checkpoints, outside the declared outputs, which Snakemake deletes.

        Its name holds a digest of everything configured that leads up to the training: an interrupted training goes on
        from its checkpoints as long as nothing it depends on has changed, and never from another one's.
        """
        stages = {
            "regressor": ["prepare", "train_regressor"],
            "autoencoder": ["prepare", "train_autoencoder"],
            "flow": ["prepare", "train_autoencoder", "train_flow"],
        }[network]
        if network == "flow" and not self.model(wildcards["model"]).is_latent:
            stages.remove("train_autoencoder")
        depends = [[self.settings(s, **wildcards), self.code(s, **wildcards)] for s in stages]
        depends += [self.settings("fetch", role=role, **wildcards) for role in self.sources(wildcards["dataset"])]
        if network == "regressor":
            folder = f"data/{wildcards['dataset']}/{wildcards['regressor']}"
        else:
            folder = self.run(**wildcards).folder
        return f"{self.study.results}/.rolling/{folder}/{network}-{_digest(depends)}"

    def _fetch(self, dataset: str, role: str, **_: Any) -> dict[str, Any]:
        return _plain(getattr(self.dataset(dataset), role))

    def _prepare(self, dataset: str, **_: Any) -> dict[str, Any]:
        settings = _plain(self.dataset(dataset))
        kept = ("geometry", "threshold_MeV", "energy_scale", "max_showers", "pool", "split")
        return {**{k: settings[k] for k in kept}, "geometry_digest": self._where(dataset)["geometry_digest"]}

    def _train_autoencoder(self, dataset: str, model: str, **_: Any) -> dict[str, Any]:
        return {"autoencoder": _plain(self.model(model).autoencoder), **self._where(dataset)}

    def _encode(self, **_: Any) -> dict[str, Any]:
        return {}

    def _train_flow(self, dataset: str, model: str, **_: Any) -> dict[str, Any]:
        settings = self.model(model)
        return {"flow": _plain(settings.flow), "latent": settings.is_latent, **self._where(dataset)}

    def _train_regressor(self, dataset: str, regressor: str, **_: Any) -> dict[str, Any]:
        settings = _plain(self.regressor(regressor))
        kept = ("model", "training", "seed")
        return {"regressor": {k: settings[k] for k in kept}, **self._where(dataset)}

    def _generate(self, **wildcards: Any) -> dict[str, Any]:
        return _plain(self.evaluation(**wildcards).generation)

    _reconstruct = _generate

    def _classify(self, dataset: str, classifier: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        if classifier not in evaluation.classifiers:
            raise ConfigError(f"the evaluation of this run has no classifier '{classifier}'")
        config = _plain(evaluation.classifiers[classifier])
        return {"classifier": config, "seed": evaluation.seed, **self._where(dataset)}

    def _compare(self, dataset: str, evaluation: str, **_: Any) -> dict[str, Any]:
        samples = list(self.compared(dataset, evaluation))
        if not samples:
            needs = "a multi-class test needs 'multiclass' and two runs or more"
            raise ConfigError(f"evaluations.{evaluation}: {needs} on dataset '{dataset}'")
        settings = self.study.evaluations[evaluation]
        config = {"classifier": _plain(settings.multiclass), "seed": settings.seed, "samples": samples}
        return {**config, **self._where(dataset)}

    def _weights(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        chosen = {"fraction": evaluation.weight_fraction, "brightest": evaluation.histograms.brightest}
        return {**chosen, **self._where(dataset)}

    def _observables(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        return {"histograms": _plain(evaluation.histograms), **self._where(dataset)}

    def _metrics(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        model = self.model(wildcards["model"])
        latent = model.autoencoder.model.get("latent") if model.autoencoder is not None else None
        return {"metrics": evaluation.metrics, "latent": latent, "seed": evaluation.seed, **self._where(dataset)}

    def subjects(self, **wildcards: Any) -> list[str]:
        """Shower files that the amplification study of a run judges besides the run's own."""
        study = self.evaluation(**wildcards).calomplification
        return [] if study is None else [path for paths in study.subjects.values() for path in paths]

    def _calomplification(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        if evaluation.calomplification is None:
            raise ConfigError("the evaluation of this run has no amplification study (key calomplification)")
        study = _plain(evaluation.calomplification)
        return {"calomplification": study, "seed": evaluation.seed, **self._where(dataset)}

    def _regression(self, dataset: str, regressor: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        config = evaluation.regression
        if regressor not in config.regressors:
            raise ConfigError(f"the evaluation of this run has no regressor '{regressor}'")
        settings = {**_plain(config), "regressors": [regressor]}  # another regressor is no concern of this one
        return {"regression": settings, "seed": evaluation.seed, **self._where(dataset)}

    def _epochs(self, dataset: str, **wildcards: Any) -> dict[str, Any]:
        evaluation = self.evaluation(dataset=dataset, **wildcards)
        used = {k: _plain(getattr(evaluation, k)) for k in ("epochs", "histograms", "regression")}
        return {**used, "seed": evaluation.seed, **self._where(dataset)}

    def _timing(self, **wildcards: Any) -> dict[str, Any]:
        per_GeV = self.study.datasets[wildcards["dataset"]].geant4_ms_per_GeV
        return {"timing": _plain(self.evaluation(**wildcards).timing), "geant4_ms_per_GeV": per_GeV}

    def _report(self) -> dict[str, Any]:
        """The fields of calopipe.report.artifacts.StudySummary: every file it shows, and all settings."""
        study = self.study
        runs = [self.artifacts(run) for run in self.runs]
        shown = {"study": study.study, "runs": runs, "config": _plain(study), "presets": study.presets}
        return {**shown, **_plain(study.plots)}

    def _where(self, dataset: str) -> dict[str, Any]:
        """Geometry and threshold of the prepared showers; the digest follows the contents of a geometry file."""
        settings, geometry = self.dataset(dataset), self.geometry(dataset)
        name, pool = settings.geometry, settings.pool
        threshold = geometry.threshold_MeV if settings.threshold_MeV is None else settings.threshold_MeV
        return {
            "geometry": f"{name}_pool{pool[0]}x{pool[1]}" if pool else name,
            "geometry_digest": _digest(geometry.to_dict()),
            "threshold_MeV": threshold * settings.energy_scale,
        }


@cache
def _geometry(name: str, pool: tuple[int, int] | None) -> Geometry:
    geometry = load_geometry(name)
    return geometry.pooled(pool) if pool else geometry


def _check_source(source: Source) -> None:
    if source.kind == "download" and source.name:
        from calopipe.sources import registered

        registered(source.name)


@cache
def _code_digest(modules: tuple[str, ...], data: tuple[str, ...]) -> str:
    return code_digest(modules, data)


def _plain(section: Any) -> Any:
    """A settings section as plain JSON data; None stays None."""
    return None if section is None else section.model_dump(mode="json")


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


def scripts_use(library: Path) -> None:
    """Put `library` first on the module path of the scripts that Snakemake starts."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(library), *(p for p in path if p and p != str(library))])


def conda_environment() -> str:
    """Which of envs/ the rules name: ``cpu``, or what the environment variable CALOPIPE_ENV says (``cuda``)."""
    name = os.environ.get("CALOPIPE_ENV", "cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"CALOPIPE_ENV: expected cpu or cuda, found '{name}'")
    return name


def partial_model(settings: Mapping[str, Any]) -> Model:
    """A model with just the network that a training stage was given; the other one is left out.

    The training stages take a whole model, but a stage's ``params:`` must not hold the network that it does not depend
    on. ``latent: true`` stands for an autoencoder whose settings are of no concern.
    """
    if "autoencoder" in settings:
        return Model.model_construct(autoencoder=AutoencoderStage.model_validate(settings["autoencoder"]), flow=None)
    autoencoder = AutoencoderStage.model_construct() if settings["latent"] else None
    return Model.model_construct(autoencoder=autoencoder, flow=FlowStage.model_validate(settings["flow"]))
