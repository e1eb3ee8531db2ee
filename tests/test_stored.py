"""Files between the stages that are cut, damaged or something else: one line each, naming the stage that writes them."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from calopipe.errors import DataError
from calopipe.evaluation.weights import extreme_rows
from calopipe.io.stored import read_json, read_npz, remedy
from calopipe.records.divergences import load_divergences
from calopipe.records.histograms import Histogram, load_histograms, save_histograms
from calopipe.records.history import read_history
from calopipe.records.judgement import load_judgement
from calopipe.records.latent_space import Filling, load_space, save_space
from calopipe.records.paths import FILES
from calopipe.records.scores import Score, load_scores, save_scores
from calopipe.records.weight_spread import Spread, counted, load_spread, save_spread
from calopipe.report.placement import read_scores
from calopipe.sampling.stages import kept_epoch
from calopipe.sources import read_manifest
from calopipe.training.data import load_latents


class Trap:
    """Unpickling it would leave a trace."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def histograms(path: Path) -> None:
    edges, counts = np.linspace(0, 1, 6), np.arange(5)
    one = Histogram("E_ratio", "energies", "x", edges, {"reference": counts}, {"reference": 10})
    save_histograms(path, [one])


def scores(path: Path) -> None:
    save_scores(path, [Score("fpd", 1.0, 0.1, 500), Score.absent("kpd", 500, "why")])


def plain_json(path: Path) -> None:
    path.write_text(json.dumps({"best": {"score": "fpd", "epoch": 3}, "files": [{"path": str(path)}]}))


def curves(path: Path) -> None:
    np.savez(path, weights_generated=np.ones((2, 5)), rows_generated=np.arange(5))


def latents(path: Path) -> None:
    widths = {"mu": 3, "logvar": 3, "extras": 2, "conditions": 1, "layer_energies": 3}
    with h5py.File(path, "w") as file:
        for key, width in widths.items():
            file.create_dataset(key, data=np.ones((50, width), "f4"), fletcher32=True)
        file.attrs["encoded_by"] = "digest"


def spread(path: Path) -> None:
    save_spread(path, {"flow": Spread({4: counted(np.full(9, -3.0)), 0: counted(np.full(9, -4.0))}, -8.5)})


def space(path: Path) -> None:
    filling = Filling("noise")
    filling.add(np.random.default_rng(0).normal(size=(40, 3)).astype("f4"))
    save_space(path, {("flow", "noise"): filling.marginals()})


def history(path: Path) -> None:
    path.write_text("epoch,step,train_loss\n0,9,1.5\n1,19,1.25\n")


def best(path: Path) -> Any:
    return kept_epoch(path.parent, "best", path)


#: path -> (what writes it, what reads it, the stage that the message names)
READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], str]] = {
    "histograms.npz": (histograms, load_histograms, "observables"),
    "weights/low.npz": (histograms, load_histograms, "weights"),
    "calomplification.npz": (histograms, load_divergences, "calomplification"),
    "metrics.json": (scores, load_scores, "metrics"),
    "timing.json": (scores, lambda path: read_scores([path]), "timing"),
    "latent_space.npz": (space, load_space, "latent_space"),
    "weight_spread.npz": (spread, load_spread, "weight_spread"),
    "scores_by_epoch.json": (plain_json, best, "epochs"),
    "raw/source.json": (plain_json, read_manifest, "fetch"),
    "classifiers/low.npz": (curves, lambda path: extreme_rows(path, 0.5), "classify"),
    "flow/history.csv": (history, read_history, "train"),
    "latents/train.hdf5": (latents, load_latents, "encode"),
}


def damaged(whole: bytes) -> Iterator[bytes]:
    """Contents that are no complete file of any kind."""
    yield b""
    yield from (whole[: int(share * len(whole))] for share in (0.02, 0.3, 0.7, 0.97))
    yield whole[: len(whole) - 1]
    yield b"\x00" * len(whole)
    yield b"\xff\xfe\x00" + whole
    yield pickle.dumps(Trap())
    yield pickle.dumps(np.ones(3))
    yield b"[" * 100_000
    yield b"PK\x03\x04" + whole[4 : len(whole) // 2] + bytes(40)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, read, stage = READERS[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write(path)
    for content in (None, *damaged(path.read_bytes())):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        if content is not None and name.endswith("json") and content.strip().endswith(b"]"):
            continue  # only the newline at the end is gone
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and f"stage {stage} " in str(caught.value), content
        write(path)
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", ["histograms.npz", "classifiers/low.npz"])
def test_flipped_bytes_of_arrays_are_noticed(name: str, tmp_path: Path) -> None:
    write, read, _ = READERS[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write(path)
    whole, known = path.read_bytes(), read(path)
    noticed = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert str(read(path)) == str(known)
        except DataError:
            noticed += 1
    assert noticed > len(whole) / 7 / 4


@pytest.mark.parametrize(
    "item",
    [
        {"name": "a"},
        {"name": "a", "value": "x", "error": None, "n": 5},
        {"name": "a", "value": True, "error": None, "n": 5},
        {"name": "a", "value": None, "error": None, "n": 5},
        {"name": ["a"], "value": 1.0, "error": None, "n": 5},
        {"name": "a", "value": 1.0, "error": [], "n": 5},
        {"name": "a", "value": 1.0, "error": None, "n": None},
        {"name": "a", "value": 1.0, "error": None, "n": 5, "extra": []},
        {"name": "a", "value": 1.0, "error": None, "n": 5, "colour": "red"},
        [],
        None,
    ],
)
def test_things_that_are_no_scores(item: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps([item]))
    for read in (load_scores, lambda p: read_scores([p])):
        with pytest.raises(DataError, match=r"metrics\.json: (not a list of scores|neither scores)"):
            read(path)


def test_histograms_that_contradict_themselves(tmp_path: Path) -> None:
    for edges, counts in ((6, 4), (1, 0), (6, 6)):
        one = Histogram("a", "b", "c", np.arange(edges), {"reference": np.ones(counts)}, {"reference": 3})
        save_histograms(tmp_path / "histograms.npz", [one])
        with pytest.raises(DataError, match="not a histogram file"):
            load_histograms(tmp_path / "histograms.npz")


def test_objects_are_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", index=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="allow_pickle"):
        read_npz("a.npz")
    assert not Path("executed").exists()


def test_json_is_strict(tmp_path: Path) -> None:
    for text in ("NaN", "[Infinity]", '{"a": 1', "[1] 2", "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=r"a\.json: not JSON"):
            read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="is a directory"):
        read_json(tmp_path)


def test_a_judgement_that_is_none(tmp_path: Path) -> None:
    fields = {"dataset": None, "geometry": "g", "geometry_hash": "h", "threshold_MeV": 0.0, "modes": [], "seed": 0}
    fields |= {
        "name": "",
        "reference": [],
        "generated": [],
        "official": False,
        "scores": [],
        "files": [],
        "warnings": [],
    }
    fields["format"] = "calopipe evaluation 1"
    (tmp_path / "a.json").write_text(json.dumps(fields))
    assert load_judgement(tmp_path / "a.json").geometry == "g"
    odd = {
        "name": 5,
        "geometry": None,
        "dataset": [1],
        "files": [3],
        "warnings": [{}],
        "classifiers": [],
        "versions": 1,
    }
    odd |= {"reference": [{"name": 1, "n_showers": 1, "sha256": "", "md5": ""}], "scores": [1], "modes": 7}
    texts = [json.dumps({**fields, key: value}) for key, value in odd.items()]
    for text in ("[" * 100_000, "{}", '{"format": "calopipe evaluation 1"}', *texts):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=r"a\.json"):
            load_judgement(tmp_path / "a.json")


def test_stages_are_rules_of_the_workflow(repository: Path) -> None:
    text = "".join(path.read_text() for path in (repository / "workflow" / "rules").glob("*.smk"))
    assert {file.rule for file in FILES.values()} <= set(
        re.findall(r"^(?:use rule \w+ as|rule) (\w+)(?::| with:)", text, re.MULTILINE)
    )
    assert remedy("results/a/b/seed0/metrics.json") == remedy("metrics.json") != ""
    assert remedy("somewhere/table.csv") == ""
