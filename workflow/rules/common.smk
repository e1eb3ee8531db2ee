# The validated study, the folders of its files, and what rules ask about it. The work is done in calopipe.workflow.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

# This file's checkout, also where another workflow takes these rules as a module.
HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
# The library in it runs, whatever else is installed: here, in scripts and in cluster jobs.
sys.path.insert(0, str(HOME / "src"))

from calopipe.config.load import read_yaml
from calopipe.errors import CalopipeError
from calopipe.seeds import Training
from calopipe.workflow import Plan, conda_environment, jobs_run_here, scripts_use

scripts_use(HOME / "src")
try:
    if workflow.is_main_process:
        for file in workflow.configfiles:
            read_yaml(Path(file))  # what Snakemake made of it no longer shows a key that was given twice
    PLAN = Plan.load(config, HOME / "presets", files=workflow.is_main_process)
    if workflow.is_main_process:
        PLAN.check_devices(jobs_run_here)
    # conda environment of every rule where Snakemake is asked to use one (--sdm conda)
    ENVIRONMENT = f"../../envs/{conda_environment()}.yaml"
    # for the jobs, also what presets say
    config["extensions"] = PLAN.study.extensions
    config["resolved"] = PLAN.configuration()
except CalopipeError as error:
    raise WorkflowError(f"{type(error).__name__}: {error}") from None

RESULTS = PLAN.study.results
LOGS = f"{RESULTS}/logs/{{dataset}}/{{model}}/seed{{seed}}"
TIMES = f"{RESULTS}/benchmarks/{{dataset}}/{{model}}/seed{{seed}}"
REPORT = PLAN.path("report", study=PLAN.study.study)


wildcard_constraints:
    dataset=PLAN.pattern("datasets"),
    model=PLAN.pattern("models"),
    network=PLAN.pattern("networks"),
    classifier=PLAN.pattern("classifiers"),
    evaluation=PLAN.pattern("evaluations"),
    regressor=PLAN.pattern("regressors"),
    seed=r"\d+",
    role="source|reference",
    split="train|val",
    sample="generated|reconstructed|unrefined",


def at(name, **wildcards):
    """Where a file of the study is (calopipe.records.paths), with wildcards of the rules in braces."""
    return PLAN.path(name, **wildcards)


def settings(stage):
    """Function of the wildcards for `params:`: exactly the settings that `stage` depends on, as plain data."""
    return lambda wildcards: PLAN.settings(stage, **wildcards)


def code(stage):
    """Function of the wildcards for `params:`: digest of the code that `stage` uses, its modules and packages."""
    return lambda wildcards: PLAN.used(stage, **wildcards)


def raw(stage):
    """Function of the wildcards for `input:`: the files from outside of the results that `stage` reads.

    It also compares what is there with what the study would make now. Outputs that other settings, code or
    inputs have made (results that were copied, notes of Snakemake that were lost) are told by name, and made anew.
    """

    def files(wildcards):
        if workflow.is_main_process and "params" in map(str, workflow.rerun_triggers):
            used = workflow.get_rule(stage)
            outputs, _ = used.expand_output(wildcards)
            why = PLAN.stale(stage, outputs, used.expand_benchmark(wildcards), **wildcards)
            if why is not None and workflow.dag.forcefiles.isdisjoint(outputs):
                workflow.dag.forcefiles.update(outputs)
                logger.warning(f"stale: {why}")
        return PLAN.files(stage, **wildcards)

    return files


def growing(amount):
    """Resource that grows with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def gpus(stage):
    """One GPU, or none where the configuration says that the stage runs on a CPU."""
    return lambda wildcards: PLAN.gpus(stage, **wildcards)


def manifests(wildcards):
    """Manifests of the raw files of a dataset: source, and reference where it is separate."""
    return {role: at("manifest", role=role) for role in PLAN.sources(wildcards.dataset)}


def learned(wildcards):
    """What a network learns from: showers or latents, and for a refiner the showers that it refines."""
    return {**PLAN.learned("train", **wildcards), **PLAN.learned("val", **wildcards)}


def upto(wildcards):
    """Checkpoints of the networks that make the showers of one of them."""
    networks = {**wildcards}
    return list(PLAN.checkpoints(upto=networks.pop("network"), **networks).values())


def checkpoints(wildcards):
    """Checkpoints of all networks of a run, in the order of the chain."""
    return list(PLAN.checkpoints(**wildcards).values())


def sampled(wildcards):
    """What the showers of a run are drawn from, training by training: final networks, or the last one's kept epochs."""
    return PLAN.sampled(**wildcards)


def unrefined(wildcards):
    """What the showers of a run are drawn from before its refiners, training by training: final networks."""
    return PLAN.unrefined(**wildcards)


def scored(wildcards):
    """How the kept epochs of each training scored, where the best of them is sampled."""
    found = PLAN.scored(**wildcards)
    return {"scores": found} if found else {}


def autoencoder(wildcards):
    """Checkpoint of the autoencoder that a run's showers are decoded by."""
    maker = PLAN.model(wildcards.model).chain.maker.name
    return at("checkpoint", network=maker, **wildcards)


def regressors(wildcards):
    """Checkpoints of the energy regressors that judge a run."""
    run = PLAN.run(**wildcards)
    return {f"regressor_{name}": PLAN.regressor_file(regressor=name, **wildcards) for name in PLAN.regressors(run)}


def kept(wildcards):
    """What the scores of the kept epochs of a run's last network are made from."""
    networks, last = PLAN.checkpoints(**wildcards), PLAN.model(wildcards.model).chain.last.name
    epochs = at("kept", network=last, **wildcards)
    others = [path for name, path in networks.items() if name != last]
    return {"networks": others, "epochs": epochs, **regressors(wildcards)}


def scored_with(wildcards):
    """What the kept epochs are compared with: validation showers, or those of the training split."""
    asked = PLAN.evaluation(**wildcards).epochs.reference
    return {"reference": at("prepared", split={"validation": "val", "training": "train"}[asked])}


def kept_of_all(wildcards):
    """Folders of the kept epochs of all networks of a run, in the order of the chain."""
    return [at("kept", network=name, **wildcards) for name in PLAN.checkpoints(**wildcards)]


def samples(wildcards):
    """Shower files that a run is judged by, by sample name."""
    return {name: at(name) for name in PLAN.samples(wildcards.model)}


def power(wildcards):
    """What the power of a classifier test is known from, where the configuration asks for it."""
    run = PLAN.run(**wildcards)
    if not PLAN.study.evaluations[run.evaluation].tests[wildcards.classifier].power:
        return {}
    return {"power": at("power", evaluation=run.evaluation, **wildcards)}


def compared(wildcards):
    """Generated showers of the runs that one classifier tells apart, in the order of `samples` in its settings."""
    runs = PLAN.compared(wildcards.dataset, wildcards.evaluation).values()
    return [at("generated", **run.wildcards) for run in runs]


def bayesian(wildcards):
    """Histograms of the Bayesian runs of an evaluation, in the order of the settings."""
    return [at("histograms", **run.wildcards) for run in PLAN.banded(**wildcards)[0]]


def ensembles(wildcards):
    """Histograms of all seeds of the ensembles of an evaluation, in the order of the settings."""
    return [at("histograms", **run.wildcards) for runs in PLAN.banded(**wildcards)[1].values() for run in runs]


def amplified(wildcards):
    """Generated showers of all seeds of a model, which one amplification study judges."""
    return [at("generated", **run.wildcards) for run in PLAN.amplified(**wildcards)]


def artifacts(wildcards):
    """Files that the report shows or links, of all runs."""
    return PLAN.report_files()
