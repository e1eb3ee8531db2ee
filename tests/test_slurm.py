"""The tiny study through a real one-node SLURM, with the profile that users are given."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_workflow import ROOT, TINY, VAE, copy_tree

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


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.parametrize("rules", ["some", pytest.param("all", marks=pytest.mark.trial)])
def test_latent_study_runs_on_slurm(slurm, tmp_path, rules):
    """Every rule of the study, or those without which there is no report and one of each kind of resources."""
    folder = copy_tree(tmp_path / "study")
    study = copy.deepcopy(TINY)
    study["runs"] = [{"dataset": "eplus", "model": "vae_inn"}]  # goes through every rule
    if rules == "some":
        study["evaluations"]["default"] = {
            key: value
            for key, value in study["evaluations"]["default"].items()
            if key in ("generation", "classifiers", "metrics", "histograms", "timing")
        }
        del study["evaluations"]["default"]["classifiers"]["low"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
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
    assert (folder / "results/report/tiny/index.html").is_file()
    assert (folder / VAE / "generated.hdf5").is_file()
    trained = next((folder / ".snakemake/slurm_logs/rule_train").rglob("*.log")).read_text()
    assert "gpu=1" in trained and "cpus_per_task=4" in trained
    jobs = subprocess.run(["scontrol", "show", "job"], stdout=subprocess.PIPE, text=True).stdout
    assert "gres:gpu:1" in jobs or "gres/gpu=1" in jobs
