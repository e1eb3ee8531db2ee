"""Configuration: presets merge, mistakes are named with the nearest valid name, shipped files are valid."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from calopipe.config import NetworkStage, Study, load_study, merge
from calopipe.config.load import read_yaml
from calopipe.errors import ConfigError, GeometryError
from calopipe.workflow import Plan

ROOT = Path(__file__).resolve().parents[1]
PRESETS = ROOT / "presets"
TINY = read_yaml(ROOT / "tests" / "tiny.yaml")


def changed(*keys, value):
    """The tiny study with one entry replaced (or added)."""
    study = copy.deepcopy(TINY)
    inner = study
    for key in keys[:-1]:
        inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
    inner[keys[-1]] = value
    return study


def problem(study) -> str:
    with pytest.raises(ConfigError) as caught:
        load_study(study, PRESETS)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_runs_of_one_evaluation_are_compared_where_it_asks_for_it():
    study = copy.deepcopy(TINY)
    study["evaluations"]["plain"] = {}
    study["runs"] = [
        {"dataset": "eplus", "model": "inn", "seeds": [0, 1]},
        {"dataset": "eplus", "model": "vae_inn"},
        {"dataset": "eplus", "model": "vae_inn", "seeds": [3], "evaluation": "plain"},
    ]
    plan = Plan(load_study(study, PRESETS))
    compared = plan.compared("eplus", "default")
    assert list(compared) == ["inn, seed 0", "inn, seed 1", "vae_inn"] and compared["inn, seed 1"].seed == 1
    files = [plan.artifacts(run) for run in plan.runs]
    assert [f.get("compared_as") for f in files] == [*compared, None]
    assert files[0]["comparison"] == files[2]["comparison"] == "results/compare/eplus/default.json"
    assert plan.settings("compare", dataset="eplus", evaluation="default")["samples"] == list(compared)
    assert plan.gpus("compare", dataset="eplus", evaluation="default") == 1
    assert not plan.compared("eplus", "plain")
    with pytest.raises(ConfigError, match="two runs or more"):
        plan.settings("compare", dataset="eplus", evaluation="plain")
    one = Plan(load_study({**study, "runs": study["runs"][1:2]}, PRESETS))
    assert not one.compared("eplus", "default") and "comparison" not in one.artifacts(one.runs[0])


def test_demo_study_is_valid():
    plan = Plan.load(read_yaml(ROOT / "config.yaml"), PRESETS)
    assert {plan.model(run.model).chain.latents is None for run in plan.runs} == {False, True}


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_is_valid_beside_a_study(path):
    models = {
        f"own_{name}": model for name, model in TINY["models"].items()
    }  # presets may have models of the same names
    runs = [{**run, "model": f"own_{run['model']}"} for run in TINY["runs"]]
    load_study({**TINY, "models": models, "runs": runs, "presets": [path.stem]}, PRESETS)


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("dataset",), {}, "dataset: unknown key (did you mean 'datasets'?)"),
        (("datasets", "eplus", "treshold_MeV"), 1, "did you mean 'threshold_MeV'?"),
        (
            ("models", "inn", "networks", "flow", "training", "learning_rate"),
            1,
            "models.inn.networks.flow.training.learning_rate: unknown key",
        ),
        (("models", "inn", "networks", "flow", "model", "name"), "in", "unknown model 'in' (did you mean 'inn'?)"),
        (("models", "inn", "networks", "flow", "model", "block"), 3, "did you mean 'blocks'?"),
        (
            ("models", "inn", "networks", "flow", "preprocessing"),
            ["logitt"],
            "unknown preprocessing step 'logitt' (did you mean 'logit'?)",
        ),
        (
            ("models", "inn", "networks", "flow", "training", "lr"),
            -1,
            "models.inn.networks.flow.training.lr: input should be greater than 0",
        ),
        (("datasets", "eplus", "split"), {"train": 0.9}, "train + val + test must be 1"),
        (("datasets", "eplus", "source"), {"kind": "local"}, "a local source needs 'paths'"),
        (("runs",), [{"dataset": "eplus", "model": "in"}], "runs.0.model: no model 'in' (did you mean 'inn'?)"),
        (("runs",), [{"dataset": "eplus", "model": "inn", "seeds": [1, 1]}], "expected each entry once, found 1 twice"),
        (("runs",), [], "runs:"),
        (("presets",), ["nothing_like_it"], "presets: no preset 'nothing_like_it'"),
    ],
)
def test_mistakes_are_named(keys, value, expected):
    assert expected in problem(changed(*keys, value=value))


def test_presets_lie_beneath_the_study(tmp_path):
    (tmp_path / "a.yaml").write_text("models: {inn: {description: from a, networks: {flow: {training: {lr: 0.5}}}}}")
    (tmp_path / "b.yaml").write_text("models: {inn: {description: from b}}")
    study = load_study({**copy.deepcopy(TINY), "presets": ["a", "b"]}, tmp_path)
    assert study.models["inn"].description == "tiny INN"
    assert study.models["inn"].networks["flow"].training.lr == 0.5


def test_preset_may_name_presets_that_lie_beneath_it(tmp_path):
    (tmp_path / "a.yaml").write_text("models: {inn: {networks: {flow: {training: {lr: 0.5, weight_decay: 0.25}}}}}")
    (tmp_path / "b.yaml").write_text("presets: [a]\nmodels: {inn: {networks: {flow: {training: {lr: 0.125}}}}}")
    study = load_study({**copy.deepcopy(TINY), "presets": ["b"]}, tmp_path)
    training = study.models["inn"].networks["flow"].training
    assert (training.lr, training.weight_decay) == (0.125, 0.25) and study.presets == ["b"]
    (tmp_path / "a.yaml").write_text("presets: [b]")
    with pytest.raises(ConfigError, match="presets: 'b' names itself, by way of b -> a -> b"):
        load_study({**copy.deepcopy(TINY), "presets": ["b"]}, tmp_path)


def test_merge_replaces_lists_and_keeps_its_arguments():
    base, over = {"a": {"b": [1, 2], "c": 3}}, {"a": {"b": [4]}}
    assert merge(base, over) == {"a": {"b": [4], "c": 3}}
    assert base == {"a": {"b": [1, 2], "c": 3}}


def test_unreadable_yaml_is_named(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("a: [1,\nb: 2")
    with pytest.raises(ConfigError, match="bad.yaml: not valid YAML.*line 2"):
        read_yaml(path)


def test_every_setting_has_a_description():
    seen, todo = set(), [Study]
    while todo:
        section = todo.pop()
        if section in seen:
            continue
        seen.add(section)
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name} has no description"
            todo += [t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
    assert len(seen) > 10


def _types(annotation):
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _types(inner)


# -- the plan ----------------------------------------------------------------------------------------------------------
INN = {"dataset": "eplus", "model": "inn", "seed": "0"}
VAE = {"dataset": "eplus", "model": "vae_inn", "seed": "0"}
STAGES = (
    "fetch",
    "prepare",
    "train autoencoder",
    "train flow",
    "generate",
    "classify",
    "observables",
    "metrics",
    "train_regressor",
    "regression",
    "epochs",
    "calomplification",
    "timing",
)


def settings_of(plan, stage):
    """Settings of a stage of the latent run; trainings with the name of the network behind them."""
    keys = {**VAE, "classifier": "low", "regressor": "net", "role": "source"}
    name, _, network = stage.partition(" ")
    return plan.settings(name, **keys, **({"network": network} if network else {}))


def affected(study, base=TINY) -> set[str]:
    """Stages of the latent run whose own settings differ from those of the tiny study."""
    before, after = Plan(load_study(base, PRESETS)), Plan(load_study(study, PRESETS))
    return {s for s in STAGES if settings_of(before, s) != settings_of(after, s)}


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("datasets", "eplus", "threshold_MeV"), 0.02, {"prepare", "train autoencoder", "train flow", "classify", "observables", "metrics", "train_regressor", "regression", "epochs", "calomplification"}),
        (("datasets", "eplus", "evaluation_threshold_MeV"), 0.02, {"classify", "observables", "metrics", "regression", "epochs", "calomplification"}),
        (("datasets", "eplus", "geant4_ms"), 791, {"timing"}),
        (("datasets", "eplus", "split"), {"seed": 1}, {"prepare"}),
        (("models", "vae_inn", "networks", "autoencoder", "training", "lr"), 0.5, {"train autoencoder"}),
        (("models", "vae_inn", "networks", "flow", "training", "lr"), 0.5, {"train flow"}),
        (("models", "vae_inn", "training_showers"), 100, {"train autoencoder", "train flow", "calomplification"}),
        (("models", "vae_inn", "training_energies_MeV"), [5000], {"train autoencoder", "train flow"}),
        (("models", "vae_inn", "description"), "new", set()),
        (("evaluations", "default", "generation", "factor"), 2, {"generate"}),
        (("evaluations", "default", "epochs", "select"), "frd/net", {"epochs"}),
        (("evaluations", "default", "classifiers", "low", "lr"), 0.5, {"classify"}),
        (("evaluations", "default", "histograms", "bins"), 7, {"observables", "epochs"}),
        (("regressors", "net", "training", "lr"), 0.5, {"train_regressor"}),
        (("regressors", "net", "description"), "new", set()),
        (("evaluations", "default", "regression", "bins"), 7, {"regression", "epochs"}),
        (("evaluations", "default", "regression", "energies_MeV"), [5000], {"regression", "epochs"}),
        (("evaluations", "default", "epochs", "showers"), 70, {"epochs"}),
        (("evaluations", "default", "timing", "repeats"), 3, {"timing"}),
        (("evaluations", "default", "calomplification", "sets"), 3, {"calomplification"}),
        (("plots", "dpi"), 99, set()),
    ],
)  # fmt: skip
def test_settings_of_a_stage_hold_what_it_depends_on(keys, value, expected):
    assert affected(changed(*keys, value=value)) == expected


@pytest.mark.parametrize(
    ("times", "complaint"),
    [
        ({"geant4_ms": 791, "geant4_ms_per_GeV": 10}, "geant4_ms: expected one time of Geant4, found geant4_ms_per_GeV too"),
        ({"geant4_source": "a paper"}, "geant4_source: expected with geant4_ms or geant4_ms_per_GeV, found neither"),
    ],
)  # fmt: skip
def test_the_time_of_geant4_is_one(times, complaint):
    study = changed("datasets", "eplus", "geant4_ms_per_GeV", value=None)
    study["datasets"]["eplus"] |= times
    with pytest.raises(ConfigError, match=complaint):
        load_study(study, PRESETS)


def test_images_of_the_electron_gun_have_the_published_times():
    study = load_study({"study": "s", "presets": ["electron_images"]}, PRESETS)
    times = {name: (d.geant4_ms, bool(d.geant4_source)) for name, d in study.datasets.items()}
    assert times["electrons_32"] == times["electrons_800"] == (791, True) and times["electrons_64"] == (798, True)
    assert times["electrons_all"] == times["electrons_all_32"] == (None, False)  # the time is that of 800 MeV


def test_settings_are_plain_data():
    plan = Plan(load_study(TINY, PRESETS))
    for stage in STAGES:
        json.dumps(settings_of(plan, stage))
    json.dumps(plan.settings("report"))


def test_rolling_folder_follows_everything_upstream():
    def folders(study):
        plan = Plan(load_study(study, PRESETS))
        return [plan.rolling(network=n, **run) for n, run in (("autoencoder", VAE), ("flow", VAE), ("flow", INN))]

    base = folders(TINY)
    flow = folders(changed("models", "vae_inn", "networks", "flow", "training", "lr", value=0.5))
    autoencoder = folders(changed("models", "vae_inn", "networks", "autoencoder", "training", "lr", value=0.5))
    split = folders(changed("datasets", "eplus", "split", value={"seed": 1}))
    blocks = folders(changed("models", "vae_inn", "training_showers", value=100))
    assert [a == b for a, b in zip(base, flow, strict=True)] == [True, False, True]
    assert [a == b for a, b in zip(base, autoencoder, strict=True)] == [False, False, True]
    assert [a == b for a, b in zip(base, split, strict=True)] == [False, False, False]
    assert [a == b for a, b in zip(base, blocks, strict=True)] == [False, False, True]


def test_showers_are_judged_above_their_own_threshold_which_is_no_lower():
    plan = Plan.load(changed("datasets", "eplus", "evaluation_threshold_MeV", value=0.5), PRESETS)
    assert plan.where("eplus")["threshold_MeV"] == 0.01 and plan.settings("health", **INN)["threshold_MeV"] == 0.5
    lower = changed("datasets", "eplus", "evaluation_threshold_MeV", value=0.001)
    with pytest.raises(
        ConfigError, match=r"datasets.eplus.evaluation_threshold_MeV: expected at least the 0.01 MeV .* found 0.001"
    ):
        Plan.load(lower, PRESETS)


PREPARED = {
    "calogan_gamma": (504, 0.01, 0.01), "calogan_eplus": (504, 0.01, 0.01), "calogan_piplus": (504, 0.01, 0.01),
    "calogan_eplus_pooled_1": (198, 0.01, 0.01), "calogan_eplus_pooled_2": (90, 0.01, 0.01), "calogan_eplus_pooled_3": (54, 0.01, 0.01),
    "calochallenge1_photons": (368, 2e-3, 1.0), "calochallenge1_pions": (533, 2e-3, 1.0),
    "calochallenge2": (6480, 0.5 / 33, 0.5 / 33), "calochallenge3": (40500, 0.5 / 33, 0.5 / 33), "ild_images": (100, 0.0, 0.1),
}  # fmt: skip


def test_presets_of_data_are_what_the_sources_say():
    names = ["data_calogan", "data_calogan_pooled", "data_calochallenge", "data_ild_images"]
    model = {"inn": TINY["models"]["inn"]}
    study = {"study": "data", "presets": names, "models": model, "evaluations": {"default": {}}}
    study["runs"] = [{"dataset": name, "model": "inn"} for name in PREPARED]
    plan = Plan(load_study(study, PRESETS))
    for name, expected in PREPARED.items():
        found = (plan.geometry(name).n_voxels, plan.where(name)["threshold_MeV"], plan.judged(name)["threshold_MeV"])
        assert found == pytest.approx(expected), name
        assert plan.sources(name) == (["source", "reference"] if name.startswith("calochallenge") else ["source"])


def test_regressors_are_checked_before_anything_runs():
    with pytest.raises(ConfigError, match=r"regression.regressors: no regressor 'nett' \(did you mean 'net'\?\)"):
        load_study(changed("evaluations", "default", "regression", value={"regressors": ["nett"]}), PRESETS)
    without_grid = changed("regressors", "net", "model", value={"name": "regressor"})
    with pytest.raises(ConfigError, match=r"regressors.net: not for dataset 'eplus'.*no regular grid"):
        Plan.load(without_grid, PRESETS)
    with pytest.raises(ConfigError, match="the epochs of a regressor are not kept"):
        load_study(changed("regressors", "net", "training", "keep_every", value=1), PRESETS)


@pytest.mark.parametrize(("model", "network"), [("vae_inn", "autoencoder"), ("inn", "flow")])
def test_rotations_are_checked_before_anything_runs(model, network):
    study = changed("models", model, "networks", network, "training", "rotations", value=True)
    key = f"models.{model}.networks.{network}.training.rotations"
    with pytest.raises(ConfigError, match=rf"{key}: geometry 'calogan': rotations need square cells.*3 x 96.*'eplus'"):
        Plan.load(study, PRESETS)
    study["datasets"]["eplus"] |= {"geometry": "calochallenge1_photons", "source": {"kind": "local", "paths": ["none"]}}
    del study["evaluations"]["default"]["regression"]
    assert Plan.load(study, PRESETS).runs


def picked(epoch, keep_every=1, **epochs):
    """The tiny study, its evaluation sampling `epoch` of both models, whose flows keep every `keep_every`-th epoch."""
    study = changed("evaluations", "default", "generation", value={"epoch": epoch})
    study["evaluations"]["default"]["epochs"].update(epochs)
    for name in ("inn", "vae_inn"):
        study["models"][name]["networks"]["flow"]["training"]["keep_every"] = keep_every
    return study


@pytest.mark.parametrize("epoch", ["best", 2])
def test_only_generation_depends_on_the_sampled_epoch(epoch):
    after = Plan(load_study(picked(epoch), PRESETS))
    assert affected(picked(epoch), picked("final")) == {"generate"}
    assert after.sampled_epoch(**VAE) == epoch and after.artifacts(after.runs[1])["sampled_epoch"] == epoch


def test_epoch_that_cannot_be_sampled_is_found_at_once():
    where = r"evaluations.default.generation.epoch"
    for epoch in (5, 9, "best"):
        message = problem(changed("evaluations", "default", "generation", value={"epoch": epoch}))
        kept = r"keeps none \(models" if epoch == "best" else "keeps 4, 8"
        assert re.search(f"{where}: '{epoch}' needs a kept epoch of model '.*inn', but its training {kept}", message)
    assert "inn.networks.flow.training.keep_every: expected at most the number of epochs (8), found 9" in problem(
        picked(2, 9)
    )
    for epoch in (0, "last", True, 2.5):
        message = problem(picked(epoch))
        assert f"{where}: expected final, best or the number of a kept epoch, found {epoch!r}" in message
    message = problem(picked("best", select="frd/nett"))
    assert "epochs.select: no metric or regressor of the evaluation gives the score 'frd/nett'" in message
    assert "(did you mean 'frd/net'?)" in message
    for select in ("frd/net", "energy_regression/net/resolution", "fidelity/voxels"):
        load_study(picked("best", select=select), PRESETS)
    assert "the score 'fidelity/nonsense'" in problem(picked("final", select="fidelity/nonsense"))


def test_regressor_continues_from_its_own_checkpoints_only():
    def folder(study):
        return Plan(load_study(study, PRESETS)).regressor_rolling(dataset="eplus", regressor="net")

    assert folder(TINY) != folder(changed("regressors", "net", "seed", value=1))
    assert folder(TINY) == folder(changed("models", "vae_inn", "networks", "flow", "training", "lr", value=0.5))


def test_settings_of_trainings_are_complete_stages():
    plan = Plan(load_study(TINY, PRESETS))
    for wildcards, name, network in ((VAE, "vae_inn", "autoencoder"), (VAE, "vae_inn", "flow"), (INN, "inn", "flow")):
        settings = plan.settings("train", network=network, **wildcards)
        assert NetworkStage(**settings["network"]) == plan.model(name).networks[network]
        assert settings["link"]["name"] == network


def test_plan_refuses_what_it_cannot_run():
    with pytest.raises(GeometryError, match="calogan"):
        Plan.load(changed("datasets", "eplus", "geometry", value="calogann"), PRESETS)
    reserved = changed("datasets", "report", value=TINY["datasets"]["eplus"])
    with pytest.raises(ConfigError, match="datasets.report"):
        Plan.load(reserved, PRESETS)
    with pytest.raises(ConfigError, match="no run"):
        Plan.load(TINY, PRESETS).run("eplus", "inn", 7)


def test_blocks_of_training_showers_are_counted_where_the_settings_tell():
    study = changed("models", "inn", "training_showers", value=140)  # 600 showers, 0.7 to train on: three blocks
    study["runs"][0]["seeds"] = [0, 2]
    Plan.load(study, PRESETS)
    study["runs"][0]["seeds"] = [3]
    with pytest.raises(
        ConfigError, match=r"models.inn.training_showers: .*at most 420 showers, 3 blocks of 140; seed 3"
    ):
        Plan.load(study, PRESETS)
    del study["datasets"]["eplus"]["max_showers"]  # the files are not looked into
    Plan.load(study, PRESETS)


def test_crop_and_pool_make_the_geometry():
    study = changed("datasets", "eplus", value={**TINY["datasets"]["eplus"], "geometry": "ild", "crop": [28, 30]})
    study["datasets"]["eplus"] |= {"pool": [2, 3], "source": {"kind": "local", "paths": ["showers.hdf5"]}}
    study["regressors"]["net"]["model"]["grid"] = None
    plan = Plan.load(study, PRESETS)
    assert plan.where("eplus")["geometry"] == "ild_crop28x30_pool2x3" == plan.geometry("eplus").name
    assert plan.geometry("eplus").grid == (30, 14, 10) and plan.settings("prepare", **INN)["crop"] == [28, 30]
    study["datasets"]["eplus"] |= {"sum_layers": True, "pool": [[2, 1], [1, 3], [2, 1]], "pool_by": "sum"}
    plan = Plan.load(study, ROOT / "presets")
    assert plan.where("eplus")["geometry"] == "ild_crop28x30_image_pool2x1_pool1x3_pool2x1"
    assert plan.geometry("eplus").grid == (1, 7, 10)
    settings = plan.settings("prepare", **INN)
    assert (settings["sum_layers"], settings["pool"], settings["pool_by"]) == (True, [[2, 1], [1, 3], [2, 1]], "sum")
    study["datasets"]["eplus"] |= {"sum_layers": False, "pool": [2, 3], "pool_by": "mean"}
    study["datasets"]["eplus"]["crop"] = [29, 30]
    with pytest.raises(GeometryError, match=r"datasets.eplus.crop: .* 30 x 30 cells: a window of 29 x 30"):
        Plan.load(study, PRESETS)
    study["datasets"]["eplus"] |= {"crop": None, "pool": None}
    study["evaluations"]["default"]["calomplification"]["image_pool"] = [3, 4]
    with pytest.raises(
        ConfigError, match=r"default.calomplification.image_pool: not for dataset 'eplus'.*pooled by 3 x 4"
    ):
        Plan.load(study, PRESETS)


def test_a_window_may_have_a_centre():
    """Which is in the settings of what is prepared, and in the name of the geometry; without one settings stay as they were."""
    study = changed("datasets", "eplus", "geometry", value="ild")
    study["datasets"]["eplus"]["source"] = {"kind": "local", "paths": ["showers.hdf5"]}
    study["regressors"]["net"]["model"]["grid"] = None
    found = {}
    for crop in ([28, 28], {"window": [28, 28]}, {"window": [15, 15], "centre": [15, 15]}):
        study["datasets"]["eplus"]["crop"] = crop
        plan = Plan.load(study, PRESETS)
        found[plan.where("eplus")["geometry"]] = plan.settings("prepare", **INN)["crop"]
        assert Plan.load(plan.configuration(), PRESETS).configuration() == plan.configuration()
    assert found == {"ild_crop28x28": [28, 28], "ild_crop15x15at15x15": {"window": [15, 15], "centre": [15, 15]}}
    assert plan.geometry("eplus").grid == (30, 15, 15)


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ([15, 15], r"datasets.eplus.crop: .* a window of 15 x 15 cells cannot be in their centre .*, or the centre of the window"),
        ({"window": [15, 15], "centre": [3, 15]}, r"datasets.eplus.crop: .* around cell 3 reaches .* expected a centre from 7 to 22"),
        ({"window": [31, 15], "centre": [15, 15]}, r"datasets.eplus.crop: .* too large along the first index"),
        ({"window": [0, 15]}, r"datasets.eplus.crop.window.0: .* greater than or equal to 1"),
        ({"window": [15, 15], "centre": [15]}, r"datasets.eplus.crop.centre"),
        ({"window": [15, 15], "center": [15, 15]}, r"datasets.eplus.crop.center: unknown key \(did you mean 'centre'\?\)"),
        ({"centre": [15, 15]}, r"datasets.eplus.crop.window"),
        ("15x15", r"datasets.eplus.crop: .*found '15x15'"),
    ],
)  # fmt: skip
def test_windows_that_do_not_fit_name_their_key(crop, message):
    study = changed("datasets", "eplus", "geometry", value="ild")
    study["datasets"]["eplus"] |= {"source": {"kind": "local", "paths": ["showers.hdf5"]}, "crop": crop}
    study["regressors"]["net"]["model"]["grid"] = None
    with pytest.raises((ConfigError, GeometryError), match=message):
        Plan.load(study, PRESETS)


def test_layers_make_the_geometry():
    study = changed("datasets", "eplus", "layers", value=[1])
    study["regressors"]["net"]["model"]["grid"] = None
    plan = Plan.load(study, PRESETS)
    assert plan.where("eplus")["geometry"] == "calogan_layers1" == plan.geometry("eplus").name
    assert plan.geometry("eplus").n_voxels == 144 and plan.settings("prepare", **INN)["layers"] == [1]
    before = plan.settings("train", network="flow", **INN)["geometry_digest"]
    study["datasets"]["eplus"]["layers"] = [2]
    assert Plan.load(study, PRESETS).settings("train", network="flow", **INN)["geometry_digest"] != before
    for layers in ([3], [1, 1], [2, 0]):
        study["datasets"]["eplus"]["layers"] = layers
        with pytest.raises(
            GeometryError, match=r"datasets.eplus.geometry: layers: expected numbers from 0 to 2 that incr"
        ):
            Plan.load(study, PRESETS)
    study["datasets"]["eplus"]["layers"] = []
    with pytest.raises(ConfigError, match="datasets.eplus.layers"):
        Plan.load(study, PRESETS)


def test_amplification_study_is_one_for_all_seeds_of_a_model():
    study = changed("runs", value=[{"dataset": "eplus", "model": "inn", "seeds": [3, 0]}])
    plan = Plan.load(study, PRESETS)
    assert [run.seed for run in plan.amplified("eplus", "inn")] == [0, 3]
    files = {plan.artifacts(run)["calomplification"] for run in plan.runs}
    assert files == {"results/eplus/inn/calomplification.json"}
    # another evaluation of a seed: with the same study, without one, with another one
    other = copy.deepcopy(study["evaluations"]["default"])
    study["evaluations"]["other"] = other | {"timing": {"repeats": 3}}
    study["runs"].append({"dataset": "eplus", "model": "inn", "seeds": [7], "evaluation": "other"})
    assert [run.seed for run in Plan.load(study, PRESETS).amplified("eplus", "inn")] == [0, 3, 7]
    study["evaluations"]["other"] = {k: v for k, v in other.items() if k != "calomplification"}
    plan = Plan.load(study, PRESETS)
    assert [run.seed for run in plan.amplified("eplus", "inn")] == [0, 3]
    assert "calomplification" not in plan.artifacts(plan.run("eplus", "inn", 7))
    study["evaluations"]["other"] = {**other, "calomplification": {"sets": 3}}
    with pytest.raises(ConfigError, match=r"evaluations.other.calomplification: .*'inn' have one amplification study"):
        Plan.load(study, PRESETS)


def test_gpus_follow_the_device():
    study = changed("models", "inn", "networks", "flow", "training", "device", value="cpu")
    plan = Plan(load_study(study, PRESETS))
    assert plan.gpus("train", network="flow", **INN) == 0 and plan.gpus("train", network="flow", **VAE) == 1
    assert plan.gpus("generate", **INN) == 1
