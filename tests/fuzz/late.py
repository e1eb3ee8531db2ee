"""Runs studies that were accepted, small: which of them fail after all? Used by settings.py beside this file."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from settings import limited

from calopipe.config import CalomplificationConfig, ClassifierConfig, HistogramConfig, TimingConfig
from calopipe.config.networks import NetworkStage, RegressorStage
from calopipe.errors import CalopipeError
from calopipe.sources import bundled
from calopipe.workflow import Plan, RunKey

#: showers of the bundled sample that are used, where a study does not say fewer
SHOWERS = 300
#: a run that takes longer is no failure, but slow
LIMIT_S = 90


def run_accepted(accepted: list[tuple[str, Plan]], seconds: float) -> list[str]:
    """Run one run of each study, until the time is over. Prints the counts; returns what failed."""
    counts, failures, start = Counter(), [], time.monotonic()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for number, (what, plan) in enumerate(accepted):
        if time.monotonic() - start > seconds:
            counts["not reached"] += 1
            continue
        run = plan.runs[number % len(plan.runs)]
        try:
            with limited(LIMIT_S), tempfile.TemporaryDirectory() as folder:
                outcome = _run(plan, run, Path(folder))
        except TimeoutError:
            outcome = "slow"
        except CalopipeError as error:
            outcome = "late"
            failures.append(f"late ({run.model}): {what}: {type(error).__name__}: {error}")
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
            outcome = "traceback"
            place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else Path(__file__).name
            failures.append(f"traceback ({run.model}): {what}: {type(error).__name__} at {place}: {str(error)[:300]}")
        counts[outcome] += 1
    print(f"{len(accepted)} of the accepted studies, run small: {dict(counts)}")
    return failures


def _run(plan: Plan, run: RunKey, folder: Path) -> str:
    dataset = plan.dataset(run.dataset)
    sources = {role: getattr(dataset, role) for role in plan.sources(run.dataset)}
    columns = dataset.kind == "columns"
    if any(source.kind not in ("bundled", *(["made"] if columns else [])) for source in sources.values()):
        return "without data"
    keys = {"dataset": run.dataset, "model": run.model, "seed": run.seed}
    if columns:
        data = _prepare_columns(plan.settings("prepare", **keys), sources, folder)
        _judge_columns(plan, run, keys, data, _train(plan, keys, data, folder), folder)
        return "ran"
    data = _prepare(plan.settings("prepare", **keys), dataset.source.name)
    networks = _train(plan, keys, data, folder)
    _judge(plan, run, keys, data, networks, folder)
    return "ran"


def _prepare_columns(settings: dict[str, Any], sources: dict[str, Any], folder: Path) -> dict[str, Path]:
    from calopipe.io.prepare_columns import prepare_columns
    from calopipe.sources.made import make

    def files(role: str) -> list[Path]:
        if role not in sources:
            return []
        if sources[role].kind == "bundled":
            return [bundled(sources[role].name)]
        path = folder / f"{role}.hdf5"
        recipe = sources[role].made
        make(recipe.model_copy(update={"rows": min(recipe.rows, 4000)}), path)
        return [path]

    found = {part: folder / f"{part}.hdf5" for part in ("train", "val", "test")}
    settings, split = dict(settings), settings["split"]
    for left in ("kind", "split", "geometry_digest", "sources"):
        settings.pop(left, None)
    settings["max_rows"] = min(settings["max_rows"] or 10**9, 2000)
    prepare_columns(files("source"), found, fractions=[split[p] for p in found], seed=split["seed"],
                    reference_paths=files("reference"), **settings)  # fmt: skip
    return found


def _drawn(
    plan: Plan, run: RunKey, keys: dict[str, Any], data: dict[str, Path], networks: list[Path], folder: Path
) -> Path:
    """A generated sample, by generators that are timed too."""
    from calopipe.config import Generation
    from calopipe.evaluation.generation_time import time_generation
    from calopipe.sampling import generate

    out = folder / "generated.hdf5"
    drawn = {**plan.settings("generate", **keys), "epoch": "final"}
    drawn.pop("mix", None)
    generate(networks, data["test"], out, Generation(**{**drawn, "factor": min(2, drawn["factor"])}), run.seed)
    timing = TimingConfig(**{**plan.settings("timing", **keys)["timing"], "max_seconds": 1.0})
    time_generation(networks, data["test"], config=timing, out=folder / "timing.json")
    return out


def _judge_columns(
    plan: Plan, run: RunKey, keys: dict[str, Any], data: dict[str, Path], networks: list[Path], folder: Path
) -> None:
    from calopipe.evaluation.columns import evaluate_columns

    out = _drawn(plan, run, keys, data, networks, folder)
    settings = plan.settings("judge_columns", **keys)
    test = settings["classifier"]
    quick = None if test is None else ClassifierConfig(**{**test, "repeats": 1, "epochs": 1})
    evaluate_columns(
        data["test"], out, config=HistogramConfig(**settings["histograms"]), classifier=quick, others=data["train"],
        halved=settings.get("halved", False), seed=settings["seed"], histograms=folder / "histograms.npz",
        scores=folder / "columns.json",
    )  # fmt: skip


_PREPARED: dict[str, dict[str, Path]] = {}
_KEPT = tempfile.TemporaryDirectory()


def _prepare(settings: dict[str, Any], sample: str) -> dict[str, Path]:
    from calopipe.io.prepare import prepare

    name = hashlib.sha256(json.dumps([settings, sample], sort_keys=True).encode()).hexdigest()[:10]
    if name not in _PREPARED:
        files = {part: Path(_KEPT.name) / f"{name}-{part}.hdf5" for part in ("train", "val", "test")}
        left = ("kind", "split", "max_showers", "geometry_digest", "sources")
        split = settings["split"]
        most = min(settings["max_showers"] or 10**9, max(SHOWERS, *(int(8 / split[p]) for p in files if split[p] > 0)))
        prepare(bundled(sample), files, fractions=[split[p] for p in files], seed=split["seed"], max_showers=most,
                **{k: v for k, v in settings.items() if k not in left})  # fmt: skip
        _PREPARED[name] = files
    return _PREPARED[name]


def _small(stage: dict[str, Any]) -> dict[str, Any]:
    """A stage of few epochs and a small network."""
    few = {"epochs": 2, "validate_every": 1, "checkpoint_every": 1}
    keep = 1 if stage["training"]["keep_every"] else None
    model = {**stage["model"], **_narrow(stage["model"])}
    return {**stage, "model": model, "training": {**stage["training"], **few, "keep_every": keep}}


def _narrow(settings: dict[str, Any]) -> dict[str, Any]:
    """The sizes of a network, none larger than is quick."""
    most = {"blocks": 2, "latent": 16, "features": 16}
    found = {key: min(settings[key], limit) for key, limit in most.items() if isinstance(settings.get(key), int)}
    lists = {
        key: [min(width, 32) for width in settings[key]][:3] for key in ("hidden", "channels") if settings.get(key)
    }
    return {**found, **lists}


def _job(plan: Plan, keys: dict[str, Any], data: dict[str, Path], folder: Path, name: str, showers: int | None) -> Any:
    from calopipe.training import TrainingJob

    found = plan.where(keys["dataset"])
    where = {k: found[k] for k in ("geometry", "threshold_MeV", "columns") if k in found}
    where["conditions"] = tuple(plan.dataset(keys["dataset"]).conditions)
    outputs = {
        "checkpoint": folder / f"{name}.pt",
        "history": folder / f"{name}.csv",
        "rolling": folder / "rolling" / name,
    }
    seed = keys["seed"] if showers is None else 0
    return TrainingJob(data["train"], data["val"], **where, **outputs, seed=seed, threads=1, showers=showers,
                       epochs=folder / f"{name}-epochs")  # fmt: skip


def _train(plan: Plan, keys: dict[str, Any], data: dict[str, Path], folder: Path) -> list[Path]:
    """Checkpoints of the networks of a model, in order."""
    from calopipe.sampling.whole import train_model

    model = plan.model(keys["model"])
    showers = None if model.training_showers is None else min(model.training_showers, 50)

    def small(name: str, _: NetworkStage) -> NetworkStage:
        return NetworkStage(**_small(plan.settings("train", network=name, **keys)["network"]))

    return list(train_model(model, _job(plan, keys, data, folder, "network", showers), folder, small).values())


def _judge(
    plan: Plan,
    run: RunKey,
    keys: dict[str, Any],
    data: dict[str, Path],
    networks: list[Path],
    folder: Path,
) -> None:
    from calopipe import evaluation as judge
    from calopipe.config import RegressionConfig
    from calopipe.training import train_regressor

    out = _drawn(plan, run, keys, data, networks, folder)
    readout = judge.Readout.of(*(plan.where(run.dataset)[k] for k in ("geometry", "threshold_MeV")))
    compared = (data["test"], {"generated": out}, readout)
    settings = plan.study.evaluations[run.evaluation]
    few = {"repeats": 1, "epochs": 1}
    for name, config in list(settings.tests.items())[:2]:
        plain = config.model_dump(mode="json")
        quick = ClassifierConfig(**{**plain, **_narrow(plain), **few})
        written = {"scores": folder / f"{name}.json", "curves": folder / f"{name}.npz"}
        judge.evaluate_classifier(data["test"], out, readout, config=quick, seed=settings.seed, **written)
    table = folder / "histograms.npz"
    histograms = HistogramConfig(**plan.settings("observables", **keys)["histograms"])
    judge.evaluate_observables(*compared, config=histograms, out=table)
    metrics = {k: v for k, v in plan.settings("metrics", **keys).items() if k in ("metrics", "seed", "latent")}
    judge.evaluate_metrics(*compared, histograms=table, out=folder / "metrics.json", **metrics)
    for name in plan.regressors(run)[:1]:
        stage = plan.settings("train_regressor", dataset=run.dataset, regressor=name)["regressor"]
        job = _job(plan, keys, data, folder, "regressor", None)
        train_regressor(RegressorStage(**_small(stage)), name, job)
        config = RegressionConfig(**plan.settings("regression", regressor=name, **keys)["regression"])
        about = {"checkpoint": job.checkpoint, "config": config, "seed": settings.seed, "name": name}
        written = {"scores": folder / "regression.json", "curves": folder / "regression.npz"}
        judge.evaluate_regression(*compared, **about, **written)
    if settings.calomplification is not None and settings.calomplification.truth is None:
        config = CalomplificationConfig(**settings.calomplification.model_dump(mode="json"))
        if not config.subjects:
            files = (data["train"], data["test"], {"generated": [out]})
            written = {"scores": folder / "calomplification.json", "curves": folder / "calomplification.npz"}
            judge.evaluate_calomplification(*files, readout, config=config, seed=settings.seed, **written)
