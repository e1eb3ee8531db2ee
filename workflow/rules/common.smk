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
except CalopipeError as error:
    raise WorkflowError(f"{type(error).__name__}: {error}") from None

RESULTS = PLAN.study.results
DATA = f"{RESULTS}/data/{{dataset}}"
MODEL = f"{RESULTS}/{{dataset}}/{{model}}"
RUN = f"{MODEL}/seed{{seed}}"
POWER = f"{DATA}/power/{{evaluation}}/{{classifier}}"
COMPARE = "compare/{dataset}/{evaluation}"
LOGS = f"{RESULTS}/logs/{{dataset}}/{{model}}/seed{{seed}}"
TIMES = f"{RESULTS}/benchmarks/{{dataset}}/{{model}}/seed{{seed}}"
REPORT = f"{RESULTS}/report/{PLAN.study.study}/index.html"


wildcard_constraints:
    dataset=PLAN.pattern("datasets"),
    model=PLAN.pattern("models"),
    classifier=PLAN.pattern("classifiers"),
    evaluation=PLAN.pattern("evaluations"),
    regressor=PLAN.pattern("regressors"),
    seed=r"\d+",
    network="autoencoder|flow",
    role="source|reference",
    split="train|val",
    sample="generated|reconstructed",


def settings(stage):
    """Function of the wildcards for `params:`: exactly the settings that `stage` depends on, as plain data."""
    return lambda wildcards: PLAN.settings(stage, **wildcards)


def code(stage):
    """Function of the wildcards for `params:`: digest of the library modules that `stage` uses."""
    return lambda wildcards: PLAN.code(stage, **wildcards)


def raw(stage):
    """Function of the wildcards for `input:`: the files from outside of the results that `stage` reads.

    It also compares what is there with what the study would make now. Outputs that other settings, code or
    inputs have made (results that were copied, notes of Snakemake that were lost) are told by name, and made anew.
    """

    def files(wildcards):
        if workflow.is_main_process and "params" in map(str, workflow.rerun_triggers):
            outputs, _ = workflow.get_rule(stage).expand_output(wildcards)
            why = PLAN.stale(stage, outputs, **wildcards)
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
    return {role: f"{DATA}/raw/{role}.json" for role in PLAN.sources(wildcards.dataset)}


def networks(wildcards):
    """Checkpoints that a run samples from: the flow, and for a latent model its autoencoder."""
    files = {"flow": f"{RUN}/flow/model.pt"}
    if PLAN.model(wildcards.model).is_latent:
        files["autoencoder"] = f"{RUN}/autoencoder/model.pt"
    return files


def sampled(wildcards):
    """What the showers of a run are drawn from: the final networks, or the flow's kept epochs (and how they scored)."""
    files, epoch = networks(wildcards), PLAN.sampled_epoch(**wildcards)
    if epoch != "final":
        files["flow"] = f"{RUN}/flow/epochs"
    if epoch == "best":
        files["scores"] = f"{RUN}/scores_by_epoch.json"
    return files


def samples(wildcards):
    """Shower files that a run is judged by, by sample name."""
    return {name: f"{RUN}/{name}.hdf5" for name in PLAN.samples(wildcards.model)}


def power(wildcards):
    """What the power of a classifier test is known from, where the configuration asks for it."""
    run = PLAN.run(**wildcards)
    if not PLAN.study.evaluations[run.evaluation].tests[wildcards.classifier].power:
        return {}
    return {"power": f"{POWER}.json".format(evaluation=run.evaluation, **wildcards)}


def compared(wildcards):
    """Generated showers of the runs that one classifier tells apart, in the order of `samples` in its settings."""
    runs = PLAN.compared(wildcards.dataset, wildcards.evaluation).values()
    return [f"{RESULTS}/{run.folder}/generated.hdf5" for run in runs]


def amplified(wildcards):
    """Generated showers of all seeds of a model, which one amplification study judges."""
    return [f"{RESULTS}/{run.folder}/generated.hdf5" for run in PLAN.amplified(**wildcards)]


def kept_epochs(wildcards):
    """What the scores of a flow's kept epochs are made from: its decoder, where it has one, and the regressors."""
    run = PLAN.run(**wildcards)
    files = {f"regressor_{name}": f"{DATA}/regressors/{name}/model.pt" for name in PLAN.regressors(run)}
    if PLAN.model(wildcards.model).is_latent:
        files["autoencoder"] = f"{RUN}/autoencoder/model.pt"
    return files


def training_data(split):
    """Function of the wildcards: what a flow learns, showers or (in a latent model) latents."""

    def files(wildcards):
        return f"{RUN}/latents/{split}.hdf5" if PLAN.model(wildcards.model).is_latent else f"{DATA}/{split}.hdf5"

    return files


def artifacts(wildcards):
    """Files that the report shows or links, of all runs."""
    found = [PLAN.artifacts(run) for run in PLAN.runs]
    kinds = ("classifiers", "regression")
    curves = [path for run in found for kind in kinds for files in run[kind].values() for path in files.values()]
    names = {"health", "histograms", "metrics", "epochs", "timing", "reference", "generated", "reconstructed"}
    names |= {"comparison", "confusion"}
    names |= {"calomplification", "divergences"}
    names |= {f"{kind}_{network}" for kind in ("loss", "checkpoint") for network in ("autoencoder", "flow")}
    files = curves + [path for run in found for name, path in run.items() if name in names and path]
    return list(dict.fromkeys(files))  # runs of a dataset share regressors, those of a model the amplification study
