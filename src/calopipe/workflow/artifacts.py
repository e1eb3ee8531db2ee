"""What the report is told of each run: its files and its chain of networks."""

from __future__ import annotations

from typing import Any

from calopipe.config.load import scan_score
from calopipe.records.paths import pattern
from calopipe.workflow.parts import RunKey, StudyParts
from calopipe.workflow.stage import plain


def artifacts(study: StudyParts, run: RunKey) -> dict[str, Any]:
    """Files of a run that the report shows or links: the fields of calopipe.report.artifacts.RunArtifacts."""
    model, evaluation = study.model(run.model), study.study.evaluations[run.evaluation]

    def path(name: str, **further: Any) -> str:
        return pattern(study.study.results, name, **{**run.wildcards, **further})

    found: dict[str, Any] = {
        "dataset": run.dataset,
        "model": run.model,
        "seed": run.seed,
        "geometry": study.where(run.dataset)["geometry"],
        "description": model.description,
        "networks": _networks(study, run),
        **{name: path(name) for name in ("histograms", "health", "metrics", "reference")},
        "latent_space": path("latent_space") if study.has_latents(run.model) else None,
        "weight_spread": path("weight_spread") if study.has_draws(run.model) else None,
        "timing": None if model.external is not None else path("timing"),
        "classifiers": {},
        "regression": {},
        **{name: path(name) if study.keeps_epochs(run.model) else None for name in ("epochs", "epoch_histograms")},
        "sampled_epoch": evaluation.generation.epoch,
        **{sample: path(sample) for sample in study.samples(run.model)},
        **_scan(study, run),
        **_trainings(study, run),
    }
    if run in study.banded(run.dataset, run.evaluation)[0]:
        found["bands"] = path("bands")
    if study.is_columns(run.dataset):  # judged by one stage, and epoch by epoch
        return {**found, "health": None, "latent_space": None}
    for name in evaluation.tests:
        kinds = {"scores": "classifier", "curves": "classifier_curves", "weights": "weights"}
        kinds |= {sample: f"classifier_{sample}" for sample in study.samples(run.model)[1:]}
        found["classifiers"][name] = {kind: path(file, classifier=name) for kind, file in kinds.items()}
    for name in study.regressors(run):
        kinds = {"scores": "regression", "curves": "regression_curves"}
        found["regression"][name] = {kind: path(file, regressor=name) for kind, file in kinds.items()}
        kinds, learned = {"loss": "regressor_history", "checkpoint": "regressor"}, study.trained_on(name, run.dataset)
        found["regression"][name] |= {k: path(file, regressor=name, dataset=learned) for k, file in kinds.items()}
    if evaluation.calomplification is not None:  # one study for all seeds of the model
        found |= {name: path(name) for name in ("calomplification", "divergences")}
    for sample, other in study.compared(run.dataset, run.evaluation).items():
        if other == run:
            found |= {"compared_as": sample, **{name: path(name) for name in ("comparison", "confusion")}}
    return found


def _scan(study: StudyParts, run: RunKey) -> dict[str, Any]:
    """Where a run's model is in a scan; nothing of one that is in none, so that its study's report stays what it is."""
    point = study.model(run.model).point
    if point is None:
        return {}
    by = scan_score(study.study.evaluations[run.evaluation], study.dataset(run.dataset))
    return {"scan": {**plain(point), "by": by}}


def _trainings(study: StudyParts, run: RunKey) -> dict[str, Any]:
    """Further trainings that a run's sample is mixed of; nothing of one that has none, so that its report stays what it is."""
    further = []
    for name in study.trainings(**run.wildcards)[1:]:
        training = {**run.wildcards, "seed": name}
        epochs = pattern(study.study.results, "epochs", **training) if study.keeps_epochs(run.model) else None
        further.append({"networks": _networks(study, run, training), "epochs": epochs})
    return {"trainings": further} if further else {}


def _networks(study: StudyParts, run: RunKey, training: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The chain of a run's model, a network each, with its files: those of the first training, or another one's."""
    model, found = study.model(run.model), []
    for link in () if model.external is not None else model.chain.links:
        files = {
            name: pattern(study.study.results, name, network=link.name, **(training or run.wildcards))
            for name in ("checkpoint", "history")
        }
        facts = {"name": link.name, "learns": link.learns, "given": list(link.given), "role": link.role}
        found.append({**facts, "model": model.networks[link.name].model.name, **files})
    return found


def artifact_files(run: dict[str, Any]) -> list[str]:
    """All paths in :func:`artifacts`."""
    kinds = ("classifiers", "regression")
    found = [path for kind in kinds for files in run[kind].values() for path in files.values()]
    trainings = [run, *run.get("trainings", ())]
    found += [n[name] for training in trainings for n in training["networks"] for name in ("checkpoint", "history")]
    found += [training["epochs"] for training in trainings[1:] if training["epochs"]]
    single = ("histograms", "health", "metrics", "epochs", "epoch_histograms", "timing", "latent_space", "weight_spread", "reference", "generated", "reconstructed", "unrefined",
              "comparison", "confusion", "bands", "calomplification", "divergences")  # fmt: skip
    return found + [run[name] for name in single if run.get(name)]
