# The validated study, the folders of its files, and what rules ask about it. The work is done in calopipe.workflow.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The library beside this Snakefile runs, whatever else is installed: here, in scripts and in cluster jobs.
LIBRARY = str(Path(workflow.basedir) / "src")
if LIBRARY not in sys.path:
    sys.path.insert(0, LIBRARY)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [LIBRARY, os.environ.get("PYTHONPATH")]))

from calopipe.errors import CalopipeError
from calopipe.workflow import Plan

try:
    PLAN = Plan.load(config, Path(workflow.basedir) / "presets")
except CalopipeError as error:
    raise WorkflowError(f"{type(error).__name__}: {error}") from None

RESULTS = PLAN.study.results
DATA = f"{RESULTS}/data/{{dataset}}"
RUN = f"{RESULTS}/{{dataset}}/{{model}}/seed{{seed}}"
LOGS = f"{RESULTS}/logs/{{dataset}}/{{model}}/seed{{seed}}"
TIMES = f"{RESULTS}/benchmarks/{{dataset}}/{{model}}/seed{{seed}}"
REPORT = f"{RESULTS}/report/{PLAN.study.study}/index.html"

# conda environment of every rule where Snakemake is asked to use one (--sdm conda); CALOPIPE_ENV=cuda for GPUs
ENVIRONMENT = f"../../envs/{os.environ.get('CALOPIPE_ENV', 'cpu')}.yaml"


wildcard_constraints:
    dataset=PLAN.pattern("datasets"),
    model=PLAN.pattern("models"),
    classifier=PLAN.pattern("classifiers"),
    seed=r"\d+",
    network="autoencoder|flow",
    split="train|val",
    sample="generated|reconstructed",


def settings(stage):
    """Function of the wildcards for `params:`: exactly the settings that `stage` depends on, as plain data."""
    return lambda wildcards: PLAN.settings(stage, **wildcards)


def code(stage):
    """Function of the wildcards for `params:`: digest of the library modules that `stage` uses."""
    return lambda wildcards: PLAN.code(stage, **wildcards)


def growing(amount):
    """Resource that grows with every attempt."""
    return lambda wildcards, attempt: amount * attempt


def gpus(stage):
    """One GPU, or none where the configuration says that the stage runs on a CPU."""
    return lambda wildcards: PLAN.gpus(stage, **wildcards)


def networks(wildcards):
    """Checkpoints that a run samples from: the flow, and for a latent model its autoencoder."""
    files = {"flow": f"{RUN}/flow/model.pt"}
    if PLAN.model(wildcards.model).is_latent:
        files["autoencoder"] = f"{RUN}/autoencoder/model.pt"
    return files


def samples(wildcards):
    """Shower files that a run is judged by, by sample name."""
    return {name: f"{RUN}/{name}.hdf5" for name in PLAN.samples(wildcards.model)}


def training_data(split):
    """Function of the wildcards: what a flow learns, showers or (in a latent model) latents."""

    def files(wildcards):
        return f"{RUN}/latents/{split}.hdf5" if PLAN.model(wildcards.model).is_latent else f"{DATA}/{split}.hdf5"

    return files


def artifacts(wildcards):
    """Everything that the report shows, of all runs."""
    files = []
    for run in PLAN.runs:
        folder = f"{RESULTS}/{run.folder}"
        files += [f"{folder}/{name}" for name in PLAN.results(run)]
    return files
