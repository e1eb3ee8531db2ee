"""The tiny study through a real one-node SLURM, with the profile that users are given."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_columns_study import RUN, STUDY, toys
from test_workflow import ROOT, TINY, VAE, copy_tree, write_config

from calopipe.io import write_columns

HERE = ROOT / "tests" / "slurm"


@pytest.fixture(scope="module")
def slurm():
    """A running one-node SLURM; skipped where there is none to start, or where the machine belongs to a cluster."""
    if os.geteuid() != 0:
        pytest.skip("starting a test SLURM needs root")
    if not all(shutil.which(name) for name in ("slurmctld", "slurmd", "munged")):
        pytest.skip("SLURM is not installed here (as root on Debian or Ubuntu: tests/slurm/install.sh)")
    configuration = Path("/etc/slurm/slurm.conf")
    if configuration.exists() and "ClusterName=calopipe" not in configuration.read_text():
        pytest.skip(f"{configuration} is of another cluster; the test will not touch it")
    started = subprocess.run([HERE / "start.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if started.returncode != 0:
        pytest.fail(f"tests/slurm/start.sh: {started.stdout}")
    yield
    subprocess.run([HERE / "stop.sh"])


def columns(folder: Path) -> dict:
    """One flow of columns: a job of each kind of resources, and few of them (SLURM and Snakemake need 20 s for each)."""
    write_columns(folder / "toys.hdf5", toys(2000))
    study = copy.deepcopy(STUDY)
    study["runs"] = [{"dataset": "toys", "model": "flow", "seeds": [0]}]
    study["models"] = {"flow": study["models"]["flow"]}
    del study["models"]["flow"]["networks"]["flow"]["training"]["keep_every"]
    del study["evaluations"]["default"]["timing"]
    return study


def showers(_: Path) -> dict:
    """A latent model, whose study goes through every rule."""
    return {**TINY, "runs": [{"dataset": "eplus", "model": "vae_inn"}]}


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "generated"), [(columns, RUN), pytest.param(showers, VAE, marks=pytest.mark.trial)]
)
def test_study_runs_on_slurm(slurm, tmp_path, content, generated):
    folder = copy_tree(tmp_path / "study")
    study = content(folder)
    write_config(folder, study)
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--profile", str(HERE / "profile"), "all"]
    # INT, not TERM: on TERM Snakemake waits for its jobs
    limit = os.environ.get("CALOPIPE_SLURM_TIMEOUT", "2700")
    done = subprocess.run(
        ["timeout", "-s", "INT", "-k", "30", limit, *command, "--configfile", "tiny.yaml"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    logs = "".join(p.read_text() for p in sorted((folder / "results/logs").rglob("*.log")))
    assert done.returncode == 0, done.stdout[-6000:] + logs[-4000:]
    assert (folder / "results/report" / study["study"] / "index.html").is_file()
    assert (folder / generated / "generated.hdf5").is_file()
    trained = next((folder / ".snakemake/slurm_logs/rule_train").rglob("*.log")).read_text()
    assert "gpu=1" in trained and "cpus_per_task=4" in trained
    jobs = subprocess.run(["scontrol", "show", "job"], stdout=subprocess.PIPE, text=True).stdout
    assert "gres:gpu:1" in jobs or "gres/gpu=1" in jobs
