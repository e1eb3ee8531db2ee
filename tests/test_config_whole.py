"""What settings mean together, and whether they fit the files at hand: known before the first job."""

from __future__ import annotations

import copy
import subprocess
import sys

import h5py
import numpy as np
import pytest
from test_config import PRESETS, ROOT, TINY, changed

from calopipe import devices
from calopipe.config.load import read_yaml
from calopipe.config.parts import STEPS
from calopipe.errors import CalopipeError, ConfigError
from calopipe.workflow import Plan

INN, VAE = ("models", "inn", "networks", "flow"), ("models", "vae_inn", "networks", "autoencoder")
STEP = {"step": "standardise"}


def refused(study: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        Plan.load(study, PRESETS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ((*INN, "model"), {"name": 5}, r"models.inn.networks.flow.model: unknown model 5; known"),
        ((*INN, "model"), {"name": ["inn"]}, r"unknown model \['inn'\]"),
        ((*INN, "model"), "regressor", r"models.inn.networks.flow.model: name: expected a model of the kind GenerativeModel or Auto"),
        ((*VAE, "model"), "inn", "flow.learns: expected one of showers, .*or an autoencoder before it .none., found 'autoencoder'"),
        (("regressors", "net", "model"), "inn", "expected a model of the kind EnergyRegressor"),
        ((*INN, "model", "hidden"), [16, -1], r"models.inn.networks.flow.model.hidden.1: input should be greater"),
        ((*INN, "model", "hidden"), [32768] * 3, r"model.hidden: expected at most 1e\+09 weights"),
        ((*INN, "preprocessing"), [{"step": ["a"]}], r"models.inn.networks.flow.preprocessing.0: unknown preprocessing step \['a'\]"),
        ((*INN, "preprocessing"), [{"step": "logit", "alpha": 0.6}], r"preprocessing.0.alpha: input should be less"),
        ((*INN, "preprocessing"), [{"step": "logit", "alpha": 0.4, "alpha_1": 0.6}], r"preprocessing.0: expected alpha \+"),
        (("evaluations", "default", "histograms"), {"slices": {"incident_theta": [[0.5, 1.0]]}},
         r"default.histograms.slices: 'incident_theta' is not among the conditions of dataset 'eplus' \(none\)"),
        (("evaluations", "default", "metrics"), ["kpd", {"metric": "mean_deposit", "condition": "incident_theta"}],
         r"default.metrics.1.condition: 'incident_theta' is not among the conditions of dataset 'eplus' \(none\)"),
        (("evaluations", "default", "metrics"), [{"metric": "kpd", "sliced": True}],
         r"evaluations.default.metrics.0.sliced: expected slices under histograms"),
        (("evaluations", "default", "metrics"), [True], r"evaluations.default.metrics.0: expected a mapping"),
        (("evaluations", "default", "metrics"), ["kpd", "kpd"], "expected each metric once, found 'kpd' twice"),
        (("evaluations", "default", "classifiers", "low"), {"preset": [1]}, r"no classifier preset \[1\]"),
        ((*INN, "training", "epochs"), True, r"epochs: input should be a valid integer \(found True\)"),
        ((*INN, "training", "epochs"), 80000000000, "epochs: input should be less"),
        ((*INN, "training", "keep_every"), 9, r"training.keep_every: expected at most the number of epochs \(8\), found 9"),
        ((*INN, "training", "validate_every"), 9, "training.validate_every: expected at most the number"),
        ((*INN, "training", "checkpoint_every"), 9, "training.checkpoint_every: expected at most the number"),
        ((*INN, "training"), {"epochs": 9, "validate_every": 2, "checkpoint_every": 3}, "checkpoint_every: .* a divisor"),
        ((*INN, "training", "warmup"), 1.0, "training.warmup: a one-cycle rate must fall too"),
        (("regressors", "net", "training", "batch_size"), 1, "training.batch_size: batch norm needs 2"),
        (("datasets", "eplus", "split"), {"train": 0.8, "val": 0, "test": 0.2}, "split.val: networks need showers"),
        (("datasets", "eplus", "split"), {"train": 0.9, "val": 0.1, "test": 0}, "split.test: expected above 0"),
        (("datasets", "eplus", "max_showers"), 5, "datasets.eplus.split: .*5 showers are too few for a val split"),
        (("datasets", "eplus", "max_showers"), True, "max_showers: input should be a valid integer"),
        (("datasets", "eplus", "geometry"), "ild", "datasets.eplus.geometry: 'ild' has 27000 voxels, but .* have 504"),
        (("datasets", "eplus", "source", "name"), "calogan_eplus", "source.name: no bundled sample .*did you mean"),
        (("datasets", "eplus", "source", "paths"), ["a"], "a bundled source has no 'paths'"),
        (("datasets", "eplus", "source"), {"kind": "local", "paths": ["a", "a"]}, "found 'a' twice"),
        (("datasets", "eplus", "source"), {"kind": "local", "paths": ["a"], "checksums": ["md5:1"]}, "expected 'md5:' and 32"),
        (("datasets", "eplus", "source"), {"kind": "download", "urls": ["http://[::1"]}, "expected an address"),
        (("datasets", "eplus", "source"), {"kind": "download", "urls": ["file:///etc/passwd"]}, "expected an address"),
        (("datasets", "eplus", "reference"), {"kind": "download", "name": "calogan_eplus"}, "no files of role 'reference'"),
        (("models", "inn", "training_showers"), 10**6, "training split of dataset 'eplus' has at most 420"),
        (("models", "inn", "training_showers"), 1, "training_showers: input should be greater"),
        (("evaluations", "default", "calomplification", "truth"), 121, "truth: expected at most the 120 test showers"),
        (("evaluations", "default", "calomplification", "subjects"), {"x": []}, "subjects.x: list should have at least 1"),
        (("evaluations", "default", "timing", "batch_sizes"), [], "batch_sizes: list should have at least 1"),
        (("evaluations", "default", "epochs", "select"), "fidelity/nonsense", "the score 'fidelity/nonsense'"),
        (("evaluations", "default", "epochs", "select"), "frd/net/x", "the score 'frd/net/x'"),
        (("regressors", "net", "model", "grid"), [6, 7, 13], r"as many cells as a shower has voxels \(504\), found 6 x 7 x 13"),
        (("regressors", "net", "model", "grid"), [-6, -7, 12], r"regressors.net.model.grid.0: input should be greater"),
        (("runs", 0, "seeds"), [], "seeds: list should have at least 1"),
        (("runs", 0, "seeds"), [-1], "seeds.0: input should be greater"),
        (("runs", 0, "seeds"), [2**63], "seeds.0: input should be less"),
        (("runs", 0, "seeds"), [1, 1], "seeds: expected each entry once"),
        (("evaluations", "default", "seed"), 10**30, "seed: input should be less"),
        (("study",), "a" * 300, "study: string should have at most 64"),
        (("study",), "a" * 40, "study: expected a name that does not repeat its end"),
        (("study",), "", "study: string should match pattern"),
        (("runs",), [1] * 1000, "runs.7: input should be a valid .*; and 992 more"),
    ],
)  # fmt: skip
def test_known_before_the_first_job(keys, value, message):
    refused(changed(*keys, value=value), message)


@pytest.mark.parametrize(
    "name", ["report.log", "data", "logs", "compare", "x.hdf5", "ab" * 30, "-rf", "a/b", 5, True, "a\n"]
)
def test_names_of_datasets_that_cannot_be_folders(name):
    study = copy.deepcopy(TINY)
    study["datasets"][name] = study["datasets"].pop("eplus")
    for run in study["runs"]:
        run["dataset"] = name
    refused(study, "datasets")


@pytest.mark.parametrize(
    "results",
    ["", ".", "..", "../..", "/", "//", "./", "src", "src/a", "tests", "-rf", "~/a", "{dataset}", "a*", "s3://a", "a\0", "a\nb",
     "/etc/a", "/dev/shm", ".git", "a/" + "b" * 300, "report.html", "c" * 2000, 5, ["a"], None],
)  # fmt: skip
def test_results_that_are_no_folder(results):
    refused(changed("results", value=results), "results: ")


def test_results_are_one_path_however_written(tmp_path):
    for given, found in (
        ("results/", "results"),
        ("./a//b/", "a/b"),
        ("../out", "../out"),
        (str(tmp_path), str(tmp_path)),
    ):
        assert Plan.load(changed("results", value=given), PRESETS).study.results == found
    (tmp_path / "file").write_text("")
    refused(changed("results", value=str(tmp_path / "file" / "a")), "results: expected a folder, found the file")


FRACTIONS = {"step": "layer_normalise", "extras": "condition"}


@pytest.mark.parametrize(
    ("network", "steps", "message"),
    [
        (INN, ["layer_normalise", "layer_normalise"], "1: step 'layer_normalise' needs voxel energies"),
        (INN, [{"step": "layer_normalise", "extras": "condition"}] * 2, "1: step 'layer_normalise' needs voxel energies"),
        (INN, ["log_condition", "layer_normalise"], "needs the incident energy in MeV"),
        (INN, ["layer_normalise", "logit", "log_condition", "log_condition"], "3: step 'log_condition' needs"),
        (INN, ["standardise", "log"], "1: step 'log' needs values that are not negative"),
        (INN, ["logit"], "0: step 'logit' needs fractions"),
        (INN, ["layer_normalise", "logit", "logit"], "2: step 'logit' needs fractions"),
        (INN, [{"step": "logit", "columns": "extras"}], "0: step 'logit' needs energy ratios u .* found none"),
        (INN, ["layer_normalise", {"step": "fill_empty"}], "1: step 'fill_empty' needs voxel energies"),
        (INN, ["standardise", {"step": "noise", "width": 0.1}], "1: step 'noise' needs removal 'none'"),
        (INN, [{"step": "layer_normalise", "extras": "condition"}], "expected layer_normalise with extras: data"),
        (("models", "vae_inn", "networks", "flow"), ["layer_normalise"], "0: step 'layer_normalise' needs"),
        (("models", "vae_inn", "networks", "flow"), ["log"], "needs values that are not negative"),
        (VAE, ["standardise"], "model: 'bernoulli_vae' needs layer fractions alone .*found other values"),
        (VAE, ["layer_normalise"], "needs layer fractions alone .*found ratios u"),
        (VAE, [{"step": "noise", "width": 1e-6}, FRACTIONS], "model: 'bernoulli_vae' needs compared: normalised behind noise, .* found thre"),
        (VAE, ["fill_empty", FRACTIONS], "needs compared: normalised behind fill_empty, "),
    ],
)  # fmt: skip
def test_chains_that_cannot_work(network, steps, message):
    refused(changed(*network, "preprocessing", value=steps), f"models.{network[1]}.{network[2]}.*{message}")


def test_noise_stands_before_a_loss_of_reconstructions_that_are_not_preprocessed_anew():
    """The same chain, where reconstructions are only scaled to the layers' energies."""
    study = changed(*VAE, "preprocessing", value=[{"step": "noise", "width": 1e-6}, FRACTIONS])
    where = study
    for key in VAE:
        where = where[key]
    where["model"]["compared"] = "normalised"
    Plan.load(study, PRESETS)


def test_chains_that_work_are_those_that_can_be_built():
    """The columns that settings tell are those that the steps make."""
    from calopipe.config.chains import showers, walk
    from calopipe.config.parts import part
    from calopipe.preprocessing import Layout, build_chain

    layout = Layout(((1, 3), (2, 2), (5, 1)), 0.1)
    chains = (
        [],
        ["layer_normalise", "logit", "standardise", "log_condition"],
        [{"step": "layer_normalise", "extras": "condition"}, "log_condition"],
        ["fill_empty", "log", "affine"],
        [{"step": "layer_normalise", "voxels": "energies"}, "censored", {"step": "logit", "columns": "extras"}],
        [{"step": "layer_normalise", "hits": True}, {"step": "logit", "columns": "extras_and_hits"}],
        [{"step": "layer_normalise", "hits": True, "extras": "condition"}, "log_condition"],
        ["layer_normalise", {"step": "logit", "columns": "extras"}, {"step": "noise", "width": 0.1, "removal": "none"}],
    )
    for chain in chains:
        settings = [part(STEPS, "step", step) for step in chain]
        given = showers(layout.layer_shapes, layout.threshold_MeV)
        told = walk([(s.name, s.settings) for s in settings], given)
        built = build_chain(settings, layout, 12, 1)
        assert (told.dim, told.cond_dim) == (built.dim_out, built.cond_dim_out)
        assert len(built.conditions(("incident_energy",))) == built.cond_dim_out


def test_local_files_are_compared_with_the_geometry(tmp_path):
    path = tmp_path / "showers.hdf5"
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = np.full((40, 1), 1e3), np.ones((40, 10))
    study = changed("datasets", "eplus", "source", value={"kind": "local", "paths": [str(path)]})
    refused(study, "'calogan' has 504 voxels, but the showers of .*showers.hdf5 have 10")
    assert Plan.load(study, PRESETS, files=False).runs
    for odd in ("/dev/zero", str(tmp_path)):
        refused(
            changed("datasets", "eplus", "source", value={"kind": "local", "paths": [odd]}),
            "source.paths: expected files",
        )
    study["datasets"]["eplus"]["source"]["paths"] = [str(tmp_path / "none.hdf5")]
    assert Plan.load(study, PRESETS).runs  # Snakemake names missing inputs itself


def test_gpu_that_is_not_there(monkeypatch):
    keys = ((*INN, "training"), ("evaluations", "default", "timing"), ("evaluations", "default", "classifiers", "low"))
    for key in keys:
        plan = Plan.load(changed(*key, "device", value="cuda"), PRESETS)
        monkeypatch.setattr("calopipe.workflow.checks.gpu_visible", lambda: False)
        with pytest.raises(
            ConfigError, match=".".join(key) + ".device: 'cuda' was asked for, but this machine has no GPU"
        ):
            plan.check_devices()
        monkeypatch.setattr("calopipe.workflow.checks.gpu_visible", lambda: True)
        plan.check_devices()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not devices.gpu_visible()


def test_a_warm_up_of_one_step_trains():
    import torch

    from calopipe.config import Training
    from calopipe.training.module import make_schedule

    weights = torch.nn.Parameter(torch.zeros(1))
    for steps, warmup in ((10, 0.1), (1, 0.0), (2, 0.5), (4, 0.25), (3, 0.0)):
        optimizer = torch.optim.Adam([weights], lr=0.1)
        schedule = make_schedule(optimizer, Training(epochs=1, schedule="one_cycle", warmup=warmup, lr=0.1), steps)
        for _ in range(steps - 1):
            optimizer.step()
            schedule.step()


def test_every_case_is_refused_in_one_line_or_can_run(shared):
    """Settings that once passed and failed hours later; what is left of them can run."""
    left = []
    for path in sorted((shared / "cases" / "settings").glob("*.yaml")):
        try:
            plan = Plan.load(read_yaml(path), PRESETS)
        except CalopipeError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000
            continue
        left.append(path.stem)
        assert plan.runs
    assert set(left) <= {"precision-64", "device-cuda", "gen-device-cuda", "regr-cuda", "timing-cuda"}


@pytest.mark.parametrize("name", ["dup", "device-cuda", "m5"])
def test_dry_run_ends_in_one_line(shared, tmp_path, name):
    command = [sys.executable, "-m", "snakemake", "-n", "-s", str(ROOT / "workflow" / "Snakefile"), "--configfile"]
    case = shared / "cases" / "settings" / f"{name}.yaml"
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, str(case)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and said.count("ConfigError") == 1 and "Traceback" not in said
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_jobs_elsewhere_may_ask_for_gpus(monkeypatch):
    from calopipe.workflow import jobs_run_here

    for arguments, here in ((["-n"], True), (["--cores", "2"], True), (["-n", "--executor", "slurm"], False)):
        monkeypatch.setattr(sys, "argv", ["snakemake", *arguments])
        if here or "slurm" in _executors():
            assert jobs_run_here() is here
    monkeypatch.setattr(sys, "argv", ["pytest", "--no-such-option"])
    assert jobs_run_here() is False


def _executors() -> set[str]:
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    return set(ExecutorPluginRegistry().plugins)
