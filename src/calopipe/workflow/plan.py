"""The plan of a study: files of its runs, and settings and code that each stage depends on.

Snakemake reruns a stage when its ``params:`` change. So each stage gets there exactly the settings that enter its result
(:meth:`Plan.settings`) and a digest of the library modules it uses (:meth:`Plan.code`): an edit of the configuration or of
the library reruns the stages that depend on it and no others. Everything upstream counts through the stages' files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from calopipe.codedigest import code_digest
from calopipe.config import load_study
from calopipe.config.parts import METRICS, MODELS, STEPS
from calopipe.workflow.checks import StudyChecks
from calopipe.workflow.made import why_stale
from calopipe.workflow.parts import RunKey, short_digest
from calopipe.workflow.stages import StageSettings, plain

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
    "classify_reconstructed": ("calopipe.evaluation.classifier",),
    "power": ("calopipe.evaluation.power",),
    "weights": ("calopipe.evaluation.weights",),
    "compare": ("calopipe.evaluation.multiclass",),
    "observables": ("calopipe.evaluation.observables",),
    "health": ("calopipe.evaluation.health",),
    "metrics": ("calopipe.evaluation.metrics",),
    "regression": ("calopipe.evaluation.regression",),
    "epochs": ("calopipe.evaluation.epochs",),
    "calomplification": ("calopipe.evaluation.calomplification",),
    "timing": ("calopipe.evaluation.generation_time",),
    "report": ("calopipe.report",),
}

#: files beside the modules that belong to a stage's code
DATA_FILES: Mapping[str, tuple[str, ...]] = {
    "report": (
        "report/template.html",
        *(f"published/calochallenge_{name}.csv" for name in ("1-photons", "1-pions", "2", "3")),
    )
}

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


class Plan(StageSettings, StudyChecks):
    """A validated study, seen from the rules. Methods take wildcards by name (`seed` as text or number)."""

    @classmethod
    def load(cls, config: Mapping[str, Any], presets: Path, files: bool = True) -> Plan:
        """Validate Snakemake's `config`, merged onto the presets it names, and check it as a whole.

        Args:
            files: look at files that are at hand, too (see :class:`calopipe.workflow.checks.StudyChecks`).

        Raises:
            ConfigError, GeometryError, DataError: one line that names the key or the file.
        """
        plan = cls(load_study(config, presets))
        plan.check(files)
        return plan

    def artifacts(self, run: RunKey) -> dict[str, Any]:
        """Files of a run that the report shows or links: the fields of calopipe.report.artifacts.RunArtifacts."""
        folder, model = f"{self.study.results}/{run.folder}", self.model(run.model)
        evaluation = self.study.evaluations[run.evaluation]
        found = {
            "dataset": run.dataset,
            "model": run.model,
            "seed": run.seed,
            "geometry": self.where(run.dataset)["geometry"],
            "description": model.description,
            "histograms": f"{folder}/histograms.npz",
            "health": f"{folder}/health.json",
            "metrics": f"{folder}/metrics.json",
            "classifiers": {
                name: {
                    "scores": f"{folder}/classifiers/{name}.json",
                    "curves": f"{folder}/classifiers/{name}.npz",
                    "weights": f"{folder}/weights/{name}.npz",
                    **({"reconstructed": f"{folder}/classifiers/reconstructed/{name}.json"} if model.is_latent else {}),
                }
                for name in evaluation.tests
            },
            "regression": {name: self._regression_files(run, name) for name in self.regressors(run)},
            "epochs": f"{folder}/scores_by_epoch.json" if self.keeps_epochs(run.model) else None,
            "sampled_epoch": evaluation.generation.epoch,
            "timing": f"{folder}/timing.json",
            "reference": f"{self.study.results}/data/{run.dataset}/test.hdf5",
        }
        if evaluation.calomplification is not None:  # one study for all seeds of the model
            study = f"{self.study.results}/{run.dataset}/{run.model}/calomplification"
            found |= {"calomplification": f"{study}.json", "divergences": f"{study}.npz"}
        found["networks"] = []
        for name in ("autoencoder", "flow") if model.is_latent else ("flow",):
            files = {"checkpoint": f"{folder}/{name}/model.pt", "history": f"{folder}/{name}/history.csv"}
            learns = "autoencoder" if model.is_latent and name == "flow" else "showers"
            facts = {"name": name, "learns": learns, "given": [], "role": name}
            found["networks"].append({**facts, "model": getattr(model, name).model["name"], **files})
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
        elif stage in ("classify", "power", "compare"):
            device = self.settings(stage, **wildcards)["classifier"]["device"]
        else:
            device = self.evaluation(**wildcards).generation.device
        return int(device != "cpu")

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

    def files(self, stage: str, **wildcards: Any) -> list[str]:
        """Files from outside of the results that `stage` reads; another content of them reruns it."""
        if stage == "fetch":
            return self.local_files(wildcards["dataset"], wildcards["role"])
        if stage == "calomplification":
            return self.subjects(**wildcards)
        if stage in ("metrics", "epochs"):
            evaluation = self.evaluation(**wildcards)
            return [
                f for m in (evaluation if stage == "metrics" else evaluation.epochs).metrics for f in _named_files(m)
            ]
        return []

    def stale(self, stage: str, outputs: Sequence[str], **wildcards: Any) -> str | None:
        """Why the outputs of a job are not what this study would make; None where they are, or are not there."""
        settings, code = self.settings(stage, **wildcards), self.code(stage, **wildcards)
        return why_stale(stage, outputs, settings, code, self.files(stage, **wildcards))

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
        return f"{self.study.results}/.rolling/{folder}/{network}-{short_digest(depends)}"

    def _report(self) -> dict[str, Any]:
        """The fields of calopipe.report.artifacts.StudySummary: every file it shows, and all settings."""
        study = self.study
        runs = [self.artifacts(run) for run in self.runs]
        shown = {"study": study.study, "runs": runs, "config": plain(study), "presets": study.presets}
        return {**shown, **plain(study.plots)}


def _named_files(metric: Mapping[str, Any]) -> list[str]:
    """Files that the settings of a metric name: fields with ``json_schema_extra={"format": "file"}``."""
    config = METRICS.config_class(metric["metric"])
    fields = config.model_fields.items() if config else ()
    named = [name for name, field in fields if (field.json_schema_extra or {}).get("format") == "file"]
    return [metric[name] for name in named if metric.get(name) is not None]


@cache
def _code_digest(modules: tuple[str, ...], data: tuple[str, ...]) -> str:
    return code_digest(modules, data)
