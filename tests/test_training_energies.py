"""Trainings on showers of some incident energies: which rows every network sees, what is left, what is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_config import PRESETS, changed
from test_training import DIRECT, LATENT, assert_same, files, job, model, train  # noqa: F401

from calopipe.config import Generation, HistogramConfig
from calopipe.config.base import validate
from calopipe.config.datasets import EnergySelection
from calopipe.errors import CalopipeError, ConfigError, DataError
from calopipe.evaluation import Readout, evaluate_observables
from calopipe.io import Showers, read_showers, write_showers
from calopipe.io.selection import chosen_rows
from calopipe.records.histograms import load_histograms
from calopipe.records.slices import Slice
from calopipe.sampling import encode, generate
from calopipe.training import stages
from calopipe.workflow import Plan

HOLE = {"low": 6000.0, "high": 12000.0, "outside": True}


def selection(value: object) -> EnergySelection:
    return validate(EnergySelection, value, "energies")


def incident(path: Path) -> np.ndarray:
    return read_showers(path).incident_energies[:, 0]


def outside(energies: np.ndarray) -> np.ndarray:
    return (energies < 6000) | (energies > 12000)


def test_all_but_a_range() -> None:
    energies = np.array([5999.0, 6000.0, 9000.0, 12000.0, 12001.0])
    assert chosen_rows(energies, selection(HOLE)).tolist() == [0, 4], "the ends belong to the range"
    assert chosen_rows(energies, selection({**HOLE, "outside": False})).tolist() == [1, 2, 3]
    assert chosen_rows(energies, selection({"low": 9000, "outside": True})).tolist() == [0, 1]
    assert chosen_rows(energies, selection({"high": 9000, "outside": True})).tolist() == [3, 4]
    for bad in ({"outside": True}, {"values": [5.0], "outside": True}):
        with pytest.raises(ConfigError, match="energies.*expected"):
            selection(bad)


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, torch.Tensor, torch.Tensor, int]]:
    """Role, incident energies of training and validation, and training rows of every training, none of which is run."""
    found = []

    def kept(link, settings, data, job, material):
        found.append((link.role, material.train.conditions[:, 0], material.val.conditions[:, 0], len(material.train)))

    monkeypatch.setattr(stages, "_train", kept)
    return found


@pytest.mark.parametrize("latents", ["mu_sigma", "once"])
def test_every_network_sees_the_chosen_energies_only(files, tmp_path, latents, monkeypatch) -> None:  # noqa: F811
    """In training and validation; blocks are of the chosen showers."""
    settings = model({**LATENT, "flow": {**LATENT["flow"], "latents": latents}})
    one = replace(job(files["train"], files["val"], tmp_path, seed=1), energies=selection(HOLE))
    train(settings, "autoencoder", replace(one, checkpoint=tmp_path / "ae.pt"))
    for split in ("train", "val"):
        encode(tmp_path / "ae.pt", files[split], tmp_path / f"{split}.latents")
    found = recorded(monkeypatch)
    learned, validated = (torch.from_numpy(e[outside(e)]) for e in map(incident, (files["train"], files["val"])))
    assert 60 < len(learned) < 160 and 20 < len(validated) < 64
    for showers, rows in ((None, slice(None)), (30, slice(30, 60))):
        own = replace(one, showers=showers)
        train(model(DIRECT), "flow", own)
        train(settings, "autoencoder", own)
        train(settings, "flow", replace(own, train=tmp_path / "train.latents", val=tmp_path / "val.latents"))
        for _, energies, others, n in found[-3:]:
            assert torch.equal(energies, learned[rows]) and n == len(learned[rows])
            assert torch.equal(others, validated)
    assert [role for role, *_ in found] == 2 * ["flow", "autoencoder", "latent_flow"]


def test_training_on_chosen_energies_is_training_on_their_showers(files, tmp_path) -> None:  # noqa: F811
    for split in ("train", "val"):
        whole = read_showers(files[split])
        rows = outside(whole.incident_energies[:, 0])
        write_showers(
            tmp_path / f"{split}.hdf5", Showers(whole.incident_energies[rows], whole.showers[rows]), "calogan"
        )
    train(
        model(DIRECT), "flow", replace(job(files["train"], files["val"], tmp_path, name="a"), energies=selection(HOLE))
    )
    train(model(DIRECT), "flow", job(tmp_path / "train.hdf5", tmp_path / "val.hdf5", tmp_path, name="b"))
    chosen, alone = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in "ab")
    assert_same(chosen["model"], alone["model"])
    assert_same(chosen["chain"], alone["chain"])


def test_nothing_left_is_said(files, tmp_path, monkeypatch) -> None:  # noqa: F811
    one_shower = float(incident(files["train"])[0])  # whose energy no shower of the validation split has
    seen, few = recorded(monkeypatch), {"low": one_shower, "high": one_shower}
    for energies, message in (
        ({"low": 1e6}, r"train.hdf5 has an incident energy from 1e\+06 MeV to any; there are"),
        ({"high": 1e6, "outside": True}, r"train.hdf5 has an incident energy outside any to 1e\+06 MeV; there are"),
        ([5.0], "train.hdf5 has the incident energy 5 MeV"),
        (few, "val.hdf5 has an incident energy from"),
    ):
        one = replace(job(files["train"], files["val"], tmp_path), energies=selection(energies))
        with pytest.raises(DataError, match=f"^training_energies_MeV: no shower of .*{message}") as caught:
            train(model(DIRECT), "flow", one)
        assert "\n" not in str(caught.value)
    with pytest.raises(
        ConfigError, match="training_showers: .* showers of the chosen energies, 1 blocks of 60; seed 1"
    ):
        train(model(DIRECT), "flow", replace(job(files["train"], files["val"], tmp_path), showers=60,
                                             energies=selection(HOLE)))  # fmt: skip
    assert not seen


def test_a_training_on_a_single_energy_is_judged_in_its_slice(tmp_path) -> None:
    """Beside a training on all: the spread of its condition is zero, which nothing is divided by, and it is asked for all."""
    rng, paths = np.random.default_rng(0), {}
    for name, n in (("train", 192), ("val", 96), ("test", 90)):
        energies = np.tile(np.float32([256, 8192, 262144]), n // 3)[:, None]
        x = rng.random((n, 504)) ** 6
        paths[name] = tmp_path / f"{name}.hdf5"
        write_showers(paths[name], Showers(energies, 0.98 * energies * x / x.sum(1, keepdims=True)), "calogan")
    generated = {}
    for name, energies in (("all", None), ("one", selection([8192]))):
        train(model(DIRECT), "flow", replace(job(paths["train"], paths["val"], tmp_path, name=name), energies=energies))
        generated[name] = tmp_path / f"{name}.hdf5"
        generate([tmp_path / f"{name}.pt"], paths["test"], generated[name], Generation(device="cpu"), 1)
    trained = torch.load(tmp_path / "one.pt", weights_only=True)["trained"]
    assert (trained["low"], trained["high"], trained["n"]) == (8192, 8192, 64)
    bins = HistogramConfig(energy_slices=[(8192, 8192)], bins=10)
    evaluate_observables(paths["test"], generated, Readout.of("calogan", 0.01), config=bins, out=tmp_path / "h.npz")
    at_8_GeV = Slice.of_energies(8192, 8192)
    (found,) = [h for h in load_histograms(tmp_path / "h.npz")[0] if (h.name, h.part) == ("E_layer/1", at_8_GeV)]
    assert dict(found.totals) == {"reference": 30, "all": 30, "one": 30}


# ---- studies -------------------------------------------------------------------------------------------------------
def study(tmp_path: Path, **model_settings: object) -> dict:
    path = tmp_path / "raw.hdf5"
    if not path.exists():
        write_showers(path, Showers(np.repeat(np.float32([1e3, 2e3]), 300), np.ones((600, 504))))
    found = changed(
        "datasets", "eplus", value={"source": {"kind": "local", "paths": [str(path)]}, "geometry": "calogan"}
    )
    found["models"]["inn"].update(model_settings)
    found["runs"] = [{"dataset": "eplus", "model": "inn", "seeds": [0]}]
    found["evaluations"] = {"default": {}}
    return found


def message(found: dict, **options: bool) -> str:
    with pytest.raises(CalopipeError) as caught:
        Plan.load(found, PRESETS, **options)
    return str(caught.value)


def test_a_study_knows_what_trainings_learn(tmp_path) -> None:
    plan = Plan.load(study(tmp_path, training_energies_MeV=[1000]), PRESETS)
    settings = plan.settings("train", dataset="eplus", model="inn", seed="0", network="flow")
    assert settings["training_energies_MeV"] == {"values": [1000.0], "low": None, "high": None, "outside": False}
    assert "no shower of dataset 'eplus' has the incident energy 4000 MeV; there are 1000, 2000 MeV" in message(
        study(tmp_path, training_energies_MeV=[4000])
    )
    hole = {"low": 500, "high": 5000, "outside": True}
    assert message(study(tmp_path, training_energies_MeV=hole)).startswith(
        "models.inn.training_energies_MeV: no shower of dataset 'eplus' has an incident energy outside 500 MeV to 5000"
    )
    Plan.load(study(tmp_path, training_energies_MeV=hole), PRESETS, files=False)
    both = study(tmp_path, training_energies_MeV={"high": 1500})
    both["datasets"]["eplus"]["energies_MeV"] = [2000]
    assert "has an incident energy from any to 1500 MeV; there are 2000 MeV" in message(both)


def test_what_some_energies_do_not_fit(tmp_path) -> None:
    amplified = study(tmp_path, training_energies_MeV=[1000])
    amplified["evaluations"] = {"default": {"calomplification": {"sizes": [50]}}}
    text = message(amplified)
    assert text.startswith("evaluations.default.calomplification: model 'inn' learns some incident energies only"), text
    external = study(tmp_path)
    external["models"]["inn"] = {"external": {"generated": ["a.hdf5"]}, "training_energies_MeV": [1000]}
    assert "models.inn" in message(external) and "training_energies_MeV: of a model that is trained here" in message(
        external
    )
    columns = copy.deepcopy(study(tmp_path, training_energies_MeV=[1000]))
    columns["datasets"]["eplus"] = {
        "kind": "columns",
        "columns": ["x"],
        "source": {"kind": "local", "paths": ["a.hdf5"]},
    }
    assert message(columns, files=False).startswith(
        "models.inn.training_energies_MeV: expected a dataset of showers, found the columns of 'eplus'"
    )
