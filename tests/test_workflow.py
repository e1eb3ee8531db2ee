"""The whole workflow on a tiny study: every stage, what a change reruns, interrupted trainings, messages for mistakes.

The study runs once, in a copy of the tree, so that the library and the configuration can be edited honestly.
"""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import ro_crate
import torch
import yaml

from calopipe.cli import main as calopipe
from calopipe.models.splines.compiled import uses_compiled
from calopipe.provenance.chain import chain_of, node_of, records_below
from calopipe.provenance.rerun import rerun_command
from calopipe.provenance.verify import nodes_below, verify
from calopipe.workflow import Plan
from calopipe.workflow.made import read_record, record_of

ROOT = Path(__file__).resolve().parents[1]
TREE = ("config.yaml", "config", "presets", "profiles", "slurm", "workflow", "src", "resources", "envs")
TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
INN = "results/eplus/inn/seed0"
VAE = "results/eplus/vae_inn/seed0"


def copy_code(source: Path, target: Path) -> Path:
    """A copy of a folder of code with time stamps and compiled files: splines alone take 16 s to compile anew."""

    def copy(file: str, to: str) -> None:
        try:
            shutil.copy2(file, to)
        except FileNotFoundError:  # a compiled file that another process has just put in its place
            if "__pycache__" not in file:
                raise

    return shutil.copytree(source, target, symlinks=True, copy_function=copy)


def copy_tree(folder: Path) -> Path:
    """A copy of everything the workflow consists of, without results."""
    uses_compiled(torch.zeros(1), torch.zeros(1))  # compiled here once, and then in no copy
    folder.mkdir(parents=True, exist_ok=True)
    for name in TREE:
        source = ROOT / name
        if source.is_symlink():
            (folder / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            copy_code(source, folder / name)
        elif source.exists():
            shutil.copy2(source, folder / name)
    write_config(folder, TINY)
    return folder


def write_config(folder: Path, study: dict) -> None:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def command(*arguments: str, config: str = "tiny.yaml") -> list[str]:
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "--max-threads",
        "1",
        *arguments,
        "--configfile",
        config,
    ]


def snakemake(
    folder: Path, *arguments: str, config: str = "tiny.yaml", timeout: float = 1800
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the tiny study; both output streams come back in ``stdout``."""
    return subprocess.run(
        command(*arguments, config=config),
        cwd=folder,
        timeout=timeout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def planned(folder: Path, *arguments: str, config: str = "tiny.yaml") -> Counter:
    """Rules (and how many jobs of each) that Snakemake would run, by ``snakemake -n``."""
    done = snakemake(folder, "-n", *arguments, config=config)
    assert done.returncode == 0, done.stdout
    if "Nothing to be done" in done.stdout:
        return Counter()
    stats = done.stdout.split("Job stats:")[1].split("\ntotal ")[0]
    jobs = Counter({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", stats, flags=re.M)})
    del jobs["all"]
    return jobs


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A tree with the finished tiny study. Tests leave it as they find it."""
    folder = copy_tree(tmp_path_factory.mktemp("study"))
    done = snakemake(folder, "all")
    assert done.returncode == 0, done.stdout[-8000:]
    (folder / "output.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def tree(finished):
    """The finished tree, whose library and configuration may be edited; put back afterwards, with time stamps."""
    backup = finished.parent / f"backup-{os.getpid()}"
    copy_code(finished / "src", backup)
    yield finished
    shutil.rmtree(finished / "src")
    copy_code(backup, finished / "src")
    shutil.rmtree(backup)
    write_config(finished, TINY)


# -- the finished study ------------------------------------------------------------------------------------------------
def test_every_stage_leaves_its_files(finished):
    expected = ["data/eplus/raw/source.json", "data/eplus/summary.json", "report/tiny/index.html"]
    expected += ["compare/eplus/default.json", "compare/eplus/default.npz"]
    expected += ["data/eplus/power/default/trees.json"]
    expected += [f"data/eplus/{split}.hdf5" for split in ("train", "val", "test")]
    expected += ["data/eplus/regressors/net/model.pt", "data/eplus/regressors/net/history.csv"]
    for run in ("inn", "vae_inn"):
        names = ["flow/model.pt", "flow/history.csv", "generated.hdf5", "histograms.npz", "metrics.json", "timing.json"]
        names += ["health.json"]
        for name in ("trees", "low"):
            names += [f"classifiers/{name}.json", f"classifiers/{name}.npz", f"weights/{name}.npz"]
            names += [f"classifiers/reconstructed/{name}.json"] if run == "vae_inn" else []
        names += ["regression/net.json", "regression/net.npz"]
        if run == "inn":
            names += [
                "scores_by_epoch.json",
                "histograms_by_epoch.npz",
                "flow/epochs/epoch-00004.pt",
                "flow/epochs/epoch-00008.pt",
            ]
        if run == "vae_inn":
            names += ["autoencoder/model.pt", "autoencoder/history.csv", "autoencoder/latents/train.hdf5"]
            names += ["reconstructed.hdf5"]
        expected += [f"eplus/{run}/seed0/{name}" for name in names]
        expected += [f"eplus/{run}/calomplification.json", f"eplus/{run}/calomplification.npz"]
    missing = [name for name in expected if not (finished / "results" / name).is_file()]
    assert not missing


def test_samples_match_the_test_showers(finished):
    with h5py.File(finished / "results/data/eplus/test.hdf5") as file:
        energies, shape = file["incident_energies"][:], file["showers"].shape
    for name in (f"{INN}/generated", f"{VAE}/generated", f"{VAE}/reconstructed"):
        with h5py.File(finished / f"{name}.hdf5") as file:
            assert (file["incident_energies"][:] == energies).all()
            assert file["showers"].shape == shape


def test_split_sizes(finished):
    summary = json.loads((finished / "results/data/eplus/summary.json").read_text())
    assert [summary["splits"][s]["n"] for s in ("train", "val", "test")] == [420, 60, 120]


def test_plots_and_numbers_of_the_report_lead_to_the_files_of_the_study(finished):
    report = finished / "results/report/tiny"
    index = json.loads((report / "plots/sources.json").read_text())["plots"]
    assert set(index) == {path.stem for path in (report / "plots").glob("*.png")}
    for item in (i for entry in index.values() for i in entry["inputs"]):
        made = read_record(finished / "results" / item["path"])
        assert (item["rule"], item["sha256"]) == (made["stage"], made["output"]["sha256"])
    used = {i["rule"] for entry in index.values() for i in entry["inputs"]}
    assert used >= {"observables", "train", "train_regressor", "classify", "compare", "weights", "regression", "epochs"}
    links = re.findall(
        r'<a class="src" href="([^"]+)" title="[^",]+, made by rule (\w+)', (report / "index.html").read_text()
    )
    assert len(links) > 500 and {"metrics", "timing", "classify_reconstructed", "calomplification"} <= {
        r for _, r in links
    }
    assert [href for href, _ in links if not (report / href).is_file()] == []


def test_output_says_where_the_report_is(finished):
    assert str(finished / "results/report/tiny/index.html") in (finished / "output.txt").read_text()


def test_a_copy_of_the_study_compares_as_the_same(finished, tmp_path, capsys):
    shutil.copytree(finished / "results", tmp_path / "copy")
    assert calopipe(["compare", str(finished), str(tmp_path / "copy"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"] == found["code"]["differs"] == found["changed_after_report"] == []
    assert {"train", "metrics", "classify", "regression"} <= set(found["code"]["same"])
    assert found["versions_recorded"] and found["versions"] == {}
    assert [m["same_reference"] for m in found["models"]] == [True, True]
    verdicts = Counter(score["verdict"] for score in found["scores"])
    assert set(verdicts) <= {"equal", "undefined"} and verdicts["equal"] > 100


def test_every_job_has_a_log_and_a_benchmark(finished):
    logs = {p.relative_to(finished / "results/logs").with_suffix("") for p in finished.glob("results/logs/**/*.log")}
    times = {
        p.relative_to(finished / "results/benchmarks").with_suffix("")
        for p in finished.glob("results/benchmarks/**/*.tsv")
    }
    assert logs == times and len(logs) > 15


@pytest.mark.parametrize("run", [INN, VAE])
def test_trained_checkpoints_generate_outside_the_workflow(finished, tmp_path, run):
    from calopipe.cli import main

    files = sorted(map(str, finished.glob(f"{run}/*/model.pt")))
    for networks, out in (([str(finished / run)], tmp_path / "a.hdf5"), (files, tmp_path / "b.hdf5")):
        command = ["generate", *networks, "--energies", "1000:9000", "--number", "7"]
        assert main([*command, "--out", str(out)]) == 0
    with h5py.File(tmp_path / "a.hdf5") as one, h5py.File(tmp_path / "b.hdf5") as other:
        assert one["showers"].shape == (7, 504) and np.array_equal(one["showers"], other["showers"])


def test_history_has_a_row_per_epoch(finished):
    with (finished / INN / "flow/history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == TINY["models"]["inn"]["networks"]["flow"]["training"]["epochs"]
    assert {"epoch", "step", "train_loss", "val_loss", "lr", "grad_norm"} <= set(rows[0])


def test_kept_epochs_are_scored_and_the_last_one_is_the_model(finished):
    import torch

    found = json.loads((finished / INN / "scores_by_epoch.json").read_text())
    assert [row["epoch"] for row in found["epochs"]] == [4, 8] and found["best"]["epoch"] in (4, 8)
    for row in found["epochs"]:
        scores = {s["name"]: s for s in row["scores"]}
        assert scores["fidelity"]["n"] == 60 and {"fidelity", "frd/net"} <= set(scores)
    history = torch.load(finished / INN / "flow/epochs/epoch-00004.pt", weights_only=True)["history"]
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert not list((finished / VAE / "flow/epochs").glob("*.pt"))


def test_nothing_is_done_twice(finished):
    assert not planned(finished)


def test_snakemake_report_works_offline(finished, tmp_path):
    done = snakemake(finished, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "report.html").stat().st_size > 100_000


# -- what a change reruns ----------------------------------------------------------------------------------------------
def change(folder: Path, *keys: str, value) -> None:
    study = copy.deepcopy(TINY)
    inner = study
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    write_config(folder, study)


JUDGED = dict.fromkeys(
    (
        "classify",
        "weights",
        "compare",
        "observables",
        "health",
        "metrics",
        "regression",
        "calomplification",
        "latent_space",
        "timing",
        "report",
    ),
    1,
)


JUDGED |= {"classify": 2, "weights": 2}  # by trees and by the classifier low
ONE_TEST = {"classify": 2, "classify_reconstructed": 1, "weights": 2, "report": 1}


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("plots", "dpi"), 70, {"report": 1}),
        (("evaluations", "default", "classifiers", "low", "epochs"), 3, ONE_TEST),
        (("evaluations", "default", "weight_fraction"), 0.2, {"weights": 4, "report": 1}),
        (("evaluations", "default", "multiclass", "epochs"), 3, {"compare": 1, "report": 1}),
        (("evaluations", "default", "timing", "repeats"), 3, {"timing": 2, "report": 1}),
        (
            ("regressors", "net", "training", "lr"),
            2e-3,
            {"train_regressor": 1, "regression": 2, "epochs": 1, "report": 1},
        ),
        (("evaluations", "default", "regression", "bins"), 2, {"regression": 2, "epochs": 1, "report": 1}),
        (("evaluations", "default", "epochs", "showers"), 50, {"epochs": 1, "report": 1}),
        (("evaluations", "default", "calomplification", "sets"), 3, {"calomplification": 2, "report": 1}),
        (("models", "vae_inn", "networks", "flow", "training", "lr"), 2e-3, {"train": 1, "generate": 1, **JUDGED}),
        (
            ("models", "vae_inn", "networks", "autoencoder", "training", "lr"),
            2e-3,
            {
                "train": 2,
                "encode": 2,
                "generate": 1,
                "reconstruct": 1,
                "classify_reconstructed": 2,
                **JUDGED,
            },
        ),
        (("models", "inn", "training_showers"), 200, {"train": 1, "generate": 1, "epochs": 1, **JUDGED}),
    ],
    ids=[
        "plots",
        "classifier",
        "weights",
        "multiclass",
        "timing",
        "regressor",
        "regression",
        "epochs",
        "amplification",
        "flow",
        "autoencoder",
        "training showers",
    ],
)
def test_configuration_edit_reruns_what_depends_on_it(tree, keys, value, expected):
    change(tree, *keys, value=value)
    assert planned(tree) == expected


def choose(folder: Path, epoch) -> None:
    """Let an evaluation of its own judge the INN, which keeps epochs, by the showers of one of them."""
    study = copy.deepcopy(TINY)
    study["evaluations"]["chosen"] = {
        **TINY["evaluations"]["default"],
        "generation": {"batch_size": 100, "epoch": epoch},
    }
    study["runs"][0]["evaluation"] = "chosen"
    write_config(folder, study)


@pytest.mark.parametrize("epoch", ["best", 4])
def test_choice_of_the_epoch_reruns_generation_only(tree, epoch):
    choose(tree, epoch)
    jobs = planned(tree)
    expected = {"generate": 1, **JUDGED, "power": 1}  # the run has another evaluation, and with it a power of its own
    assert jobs == {name: n for name, n in expected.items() if name not in ("compare", "timing", "latent_space")}


def test_best_epoch_is_scored_before_it_is_sampled(second):
    """A fresh dry run has no cycle; then the best epoch, here not the last one, is what showers are drawn from."""
    choose(second, "best")
    showers, scores = f"{INN}/generated.hdf5", second / INN / "scores_by_epoch.json"
    assert planned(second, "--forceall", showers)["epochs"] == 1
    found = json.loads(scores.read_text())
    found["best"] |= {"epoch": 4, "as_good": [4]}
    scores.write_text(json.dumps(found))
    done = snakemake(second, showers, "--rerun-triggers", "mtime")  # else an edited score is made anew
    write_config(second, TINY)
    assert done.returncode == 0, done.stdout
    with h5py.File(second / showers) as file:
        assert file.attrs["source"] == "generated from epoch 4, the best by fidelity"


def test_new_seed_trains_that_seed_only(tree):
    change(tree, "runs", value=[{"dataset": "eplus", "model": "inn", "seeds": [0, 1]}, TINY["runs"][1]])
    assert planned(tree) == {"train": 1, "generate": 1, "epochs": 1, **JUDGED}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("report/__init__.py", {"report"}),
        ("evaluation/classifier.py", {"classify", "classify_reconstructed", "weights", "report"}),
        ("evaluation/weights.py", {"weights", "report"}),
        ("metrics/multiclass.py", {"compare", "report"}),
        ("models/regressors/regressor.py", {"train_regressor", "regression", "epochs", "report"}),
        ("metrics/quantiles.py", {"calomplification", "report"}),
        (
            "models/autoencoders/bernoulli_vae.py",
            {"train", "encode", "generate", "reconstruct", "classify_reconstructed", *JUDGED},
        ),
    ],
)
def test_library_edit_reruns_the_stages_that_use_it(tree, module, expected):
    path = tree / "src" / "calopipe" / module
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    jobs = planned(tree)
    assert set(jobs) == expected
    if module.startswith("models/auto"):  # the direct model does not use it
        assert (jobs["train"], jobs["generate"]) == (2, 1)


def test_edit_of_the_settings_module_reruns_nothing(tree):
    path = tree / "src/calopipe/config/evaluation.py"
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    assert not planned(tree)


def test_new_model_file_reruns_nothing(tree):
    (tree / "src/calopipe/models/not_used_here.py").write_text('"""A model nobody asked for."""\n')
    assert not planned(tree)


def test_comment_in_a_module_reruns_nothing(tree):
    path = tree / "src/calopipe/models/flows/coupling.py"
    path.write_text("# a comment\n" + path.read_text())
    assert not planned(tree)


def test_description_of_a_geometry_reruns_nothing(tree):
    path = tree / "src/calopipe/geometries/calogan.yaml"
    text = path.read_text()
    path.write_text(re.sub("description: .*", "description: of something else", text))
    assert path.read_text() != text and not planned(tree)


# -- results whose notes by Snakemake are lost, or that are of another study -------------------------------------------
@pytest.fixture
def forgotten(tree):
    """The finished tree as it would be after `.snakemake` was lost."""
    (tree / ".snakemake").rename(tree / "notes")
    yield tree
    shutil.rmtree(tree / ".snakemake", ignore_errors=True)
    (tree / "notes").rename(tree / ".snakemake")


def stale(folder: Path) -> dict[str, str]:
    """Stale outputs that Snakemake tells about, with the reason."""
    lines = re.findall(r"^stale: (\S+): (.*)$", snakemake(folder, "-n").stdout, flags=re.M)
    return {path.removeprefix("results/"): reason for path, reason in lines}


def test_every_output_has_a_record(finished):
    from calopipe.workflow.made import read_record

    kinds = (".pt", ".hdf5", ".json", ".npz", ".csv", ".html")
    found = [p for p in finished.glob("results/**/*") if p.suffix in kinds]
    found = [p for p in found if not {".made", "epochs", "logs", "plots"} & set(p.parts)]
    assert len(found) > 30
    assert not [str(p) for p in found if read_record(p) is None]


def test_results_without_notes_are_known_by_their_records(forgotten):
    assert not planned(forgotten)
    change(forgotten, "models", "inn", "networks", "flow", "training", "batch_size", value=16)
    jobs = planned(forgotten)
    assert jobs["train"] == jobs["generate"] == 1
    assert stale(forgotten) == {
        "eplus/inn/seed0/flow/model.pt": "made with other settings (network.training.batch_size)",
        "report/tiny/index.html": "made with other settings (config.models.inn.networks.flow.training.batch_size)",
    }
    write_config(forgotten, TINY)
    assert not planned(forgotten)  # looking has changed nothing


def test_library_edit_without_notes(forgotten):
    path = forgotten / "src/calopipe/evaluation/weights.py"
    path.write_text(path.read_text() + "\n_EDITED = True\n")
    assert planned(forgotten) == {"weights": 4, "report": 1}  # two runs, two classifiers
    assert set(stale(forgotten).values()) == {"made by other code"}


def test_copied_results_belong_to_what_made_them(tree):
    shutil.copytree(tree / "results", tree / "results2", copy_function=shutil.copy2)
    copied = {**TINY, "results": "results2"}
    try:
        write_config(tree, copied)
        assert planned(tree) == {"report": 1}  # it shows the settings, and where the results are
        changed = copy.deepcopy(copied)
        changed["models"]["inn"]["networks"]["flow"]["training"]["batch_size"] = 16
        write_config(tree, changed)
        jobs = planned(tree)
        assert jobs["train"] == jobs["generate"] == 1
        write_config(tree, copied)
        shutil.rmtree(tree / "results2/eplus/inn/seed0/.made")
        assert planned(tree)["generate"] == 1
    finally:
        shutil.rmtree(tree / "results2")


def test_copied_studies_go_on_whatever_became_of_times_and_notes(finished, tmp_path):
    ignored = shutil.ignore_patterns(".snakemake", "__pycache__")
    folder = shutil.copytree(finished, tmp_path / "study", copy_function=shutil.copy, symlinks=True, ignore=ignored)
    os.utime(folder / "resources/calogan_eplus_sample.hdf5")  # the raw file is the newest of all
    assert not planned(folder)
    path = folder / "results/eplus/inn/seed0/metrics.json"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))  # made otherwise than by its rule, and newer
    assert planned(folder) == {"report": 1}


def test_another_bundled_sample_of_an_earlier_date(tree):
    path = tree / "resources/calogan_eplus_sample.hdf5"
    backup, state = path.read_bytes(), path.stat()
    try:
        path.write_bytes(backup + b"\0")
        os.utime(path, (1e9, 1e9))
        assert planned(tree)["fetch"] == 1
        assert set(stale(tree)) == {"data/eplus/raw/source.json"}
    finally:
        path.write_bytes(backup)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not planned(tree)


def test_a_stale_result_is_made_anew_without_being_asked_for_and_is_then_current(finished, tmp_path):
    ignored = shutil.ignore_patterns(".snakemake")
    folder = shutil.copytree(finished, tmp_path / "study", copy_function=shutil.copy2, symlinks=True, ignore=ignored)
    change(folder, "evaluations", "default", "timing", "repeats", value=3)
    done = snakemake(folder, "--omit-from", "report")  # drawing it again takes a minute and belongs to no part of this
    assert done.returncode == 0 and "timing.json: made with other settings (timing.repeats)" in done.stdout
    assert set(re.findall(r"^(?:local)?rule (\w+):", done.stdout, flags=re.M)) == {"timing"}
    assert planned(folder) == {"report": 1}


# -- provenance --------------------------------------------------------------------------------------------------------
TRIALS = {
    "a digit of a score": f"{INN}/metrics.json",
    "a voxel": f"{INN}/generated.hdf5",
    "a checkpoint": f"{INN}/flow/model.pt",
    "a plot": "results/report/tiny/plots/eplus_energies_E_ratio.png",
}


def edit(what: str, path: Path) -> None:
    """Falsify a file, or put another one in its place; its size may stay."""
    if what == "a digit of a score":
        text = path.read_text()
        place = next(i for i, letter in enumerate(text) if letter.isdigit() and letter != "0")
        path.write_text(f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}")
    elif what == "a voxel":
        with h5py.File(path, "r+") as file:
            file["showers"][0, 0] += 1
    elif what == "a checkpoint":
        shutil.copy2(path.parents[3] / "vae_inn/seed0/flow/model.pt", path)
    else:
        shutil.copy2(path.with_name("eplus_energies_E_tot.png"), path)


def test_falsified_files_are_named_and_no_others(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "study", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    untouched = verify(nodes_below(Path("results")), Path("tiny.yaml"))
    assert untouched.findings == () and untouched.checked > 100
    for what, path in TRIALS.items():
        edit(what, folder / path)
    report = verify(nodes_below(Path("results")), Path("tiny.yaml"))
    changed = {f.path for f in report.findings if f.what.startswith("changed after it was made")}
    assert changed == {*TRIALS.values(), "results/report/tiny/plots"}
    assert {f.path for f in report.findings} == changed


def test_verification_and_dry_run_say_the_same_of_every_stage_and_every_change(finished, monkeypatch):
    monkeypatch.chdir(finished)
    plan = Plan.load(TINY, ROOT / "presets")
    outputs = {record["stage"]: output for output, record in records_below(Path("results"))}
    assert len(outputs) >= 20
    monkeypatch.setattr(Plan, "load", lambda *arguments, **options: plan)
    for stage, output in outputs.items():
        right = record_of(output).read_text()
        changes = {
            "settings": lambda made: made["settings"].update(another=1),
            "code": lambda made: made.update(code="0" * 64),
            "packages": lambda made: made["packages"].update(numpy="0.1"),
            "raw": lambda made: made["raw"].append({"path": "raw", "sha256": "0"}),
            "module": lambda made: None,
        }
        for kind, change_it in changes.items():
            made = json.loads(right)
            change_it(made)
            record_of(output).write_text(json.dumps(made))
            try:
                plan._stale.clear()
                why = plan.stale(stage, [str(output)], **made["wildcards"])
                found = [f.what for f in verify([node_of(str(output))], Path("tiny.yaml")).findings]
            finally:
                record_of(output).write_text(right)
            if kind == "module":  # nothing has changed
                assert why is None and not found, (stage, why, found)
            else:
                assert why is not None and len(found) == 1, (stage, kind, why, found)
                assert found[0].startswith(why.removeprefix(f"{output}: ")), (stage, kind, why, found)


def test_a_result_is_made_again_by_the_command_that_is_printed(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "study", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    path = Path(INN) / "metrics.json"
    before, made = path.read_bytes(), read_record(path)
    line = rerun_command(chain_of(path))
    executable = f"{sys.executable} -m snakemake --max-threads 1"
    done = subprocess.run(
        line.replace("snakemake", executable, 1).replace("--cores all", "--cores 2"),
        shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert path.read_bytes() == before and read_record(path)["job"]["start"] > made["job"]["start"]


def test_an_archive_goes_on_where_the_study_was_left(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    assert calopipe(["archive", "tiny.yaml", "--out", str(tmp_path / "study.zip"), "--author", "A. Physicist"]) == 0
    folder = tmp_path / "elsewhere" / "study"
    shutil.unpack_archive(tmp_path / "study.zip", folder)
    monkeypatch.chdir(folder)
    assert not list(Path().rglob("__pycache__")) and Path("results/logs/eplus/inn/seed0/train_flow.log").is_file()
    assert calopipe(["provenance", f"{INN}/metrics.json"]) == 0
    assert calopipe(["provenance", "results", "--verify"]) == 0
    assert planned(folder, config="config.yaml") == Counter()
    study = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    study["models"]["vae_inn"]["networks"]["flow"]["training"]["lr"] = 2e-3
    Path("config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    assert planned(folder, config="config.yaml") == {"train": 1, "generate": 1, **JUDGED}
    assert ro_crate.issues(tmp_path / "study.zip", tmp_path / "cache") == set()


# -- interrupted trainings ---------------------------------------------------------------------------------------------
def training(pid: int) -> psutil.Process:
    """The process of the training script below Snakemake's."""
    for child in psutil.Process(pid).children(recursive=True):
        if any(part.endswith("train.py") for part in child.cmdline()) and "python" in Path(child.cmdline()[0]).name:
            return child
    raise AssertionError("no training process")


def interrupt_all(pid: int, number: int) -> None:
    os.killpg(pid, number)


def interrupt_training(pid: int, number: int) -> None:
    training(pid).send_signal(number)


@pytest.fixture(scope="module")
def second(finished, tmp_path_factory) -> Path:
    """A copy of the finished tree, to train in again."""
    folder = tmp_path_factory.mktemp("again") / "study"
    return shutil.copytree(finished, folder, copy_function=shutil.copy2, symlinks=True)


def heed_ctrl_c():
    """Undo what a shell does to jobs in its background, whose children would ignore Ctrl-C too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("interrupt", "number"),
    [
        (interrupt_all, signal.SIGKILL),
        pytest.param(interrupt_all, signal.SIGINT, marks=pytest.mark.trial),
        (interrupt_training, signal.SIGTERM),
    ],
    ids=["kill -9", "Ctrl-C", "SIGTERM"],
)
def test_interrupted_training_continues(finished, second, interrupt, number):
    import torch

    folder, model = second, f"{INN}/flow/model.pt"
    (folder / model).unlink()
    log = folder / "results/logs/eplus/inn/seed0/train_flow.log"
    log.unlink()
    with (folder / "interrupted.txt").open("w") as output:
        process = subprocess.Popen(
            command(model), cwd=folder, stdout=output, stderr=output, start_new_session=True, preexec_fn=heed_ctrl_c
        )
        try:
            wait_for(log, r"epoch 3/8")
            interrupt(process.pid, number)
            assert process.wait(timeout=300) != 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert not (folder / model).exists()
    if interrupt is interrupt_all and number == signal.SIGKILL:
        assert snakemake(folder, "--unlock").returncode == 0
    done = snakemake(folder, model)
    assert done.returncode == 0, done.stdout
    epochs = [int(n) for n in re.findall(r"epoch (\d+)/8", log.read_text())]
    assert epochs and epochs[0] >= 3 and epochs[-1] == 8
    for checkpoint in (model, f"{INN}/flow/epochs/epoch-00004.pt"):
        expected, found = (torch.load(f / checkpoint, weights_only=True)["model"] for f in (finished, folder))
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-6)


def wait_for(log: Path, pattern: str, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if log.exists() and re.search(pattern, log.read_text()):
            return
        time.sleep(0.02)
    raise AssertionError(f"{log} never said {pattern}")


# -- the configuration, seen through Snakemake -------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A tree without results."""
    return copy_tree(tmp_path_factory.mktemp("fresh"))


def test_mistake_is_one_line_without_traceback(fresh):
    change(fresh, "models", "inn", "networks", "flow", "training", "learning_rate", value=1)
    done = snakemake(fresh, "-n")
    write_config(fresh, TINY)
    assert done.returncode == 1
    assert "models.inn.networks.flow.training.learning_rate: unknown key" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_plan_needs_no_heavy_library(fresh):
    """What makes dry runs slow, and nothing else that a clock would measure: benchmarks/plan.py does that."""
    code = "import sys; from snakemake.cli import main\ntry: main(['-n', '-q'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=fresh, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "calopipe.workflow" in loaded
    assert not loaded & {"torch", "lightning", "sklearn", "scipy.stats", "matplotlib.pyplot", "numba", "FrEIA"}


def test_slurm_profile_is_found_by_its_bare_name(fresh):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "slurm", "all", "-n"],
        cwd=fresh,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rule train:" in done.stdout + done.stderr


def test_separate_reference_is_fetched_and_used(fresh):
    study = copy.deepcopy(TINY)
    study["datasets"]["eplus"]["reference"] = study["datasets"]["eplus"]["source"]
    write_config(fresh, study)
    jobs = planned(fresh, "results/data/eplus/test.hdf5")
    write_config(fresh, TINY)
    assert jobs == {"fetch": 2, "prepare": 1}
