"""Observables of a user's own files: from settings to histograms, scores and the report, with values known by hand."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calopipe.config import HistogramConfig, load_study
from calopipe.config.load import read_yaml
from calopipe.config.parts import use_extensions
from calopipe.errors import ConfigError, DataError
from calopipe.evaluation import Readout, evaluate_metrics, evaluate_observables, evaluate_weights
from calopipe.geometry import load_geometry
from calopipe.io import Showers, write_showers
from calopipe.observables import SPECS, all_specs, compute, compute_all
from calopipe.records.files import write_npz
from calopipe.records.histograms import Histogram, load_histograms
from calopipe.records.scores import Score, load_scores
from calopipe.records.slices import Slice
from calopipe.report.artifacts import RunArtifacts, StudySummary
from calopipe.report.data import load_study_data
from calopipe.report.figures import dataset_tasks
from calopipe.report.strongest import in_words
from calopipe.workflow import Plan
from calopipe.workflow.plan import _code_digest

ROOT = Path(__file__).resolve().parents[1]
OWN = Path(__file__).parent / "own_parts"
GEOMETRY = load_geometry("calogan")
READOUT = Readout.of(GEOMETRY, 0.01)
LOW = Slice.of_energies(1e3, 5e3)
N = 24
OBSERVABLE = """
import numpy as np
from calopipe.config.parts import OBSERVABLES
from calopipe.observables import ObservableSpec, ShowerObservable


@OBSERVABLES.register("mine")
class Mine(ShowerObservable):
    spec = ObservableSpec("energies", "layer", "layer {a}", "extremes")

    def compute(self, showers, incident_energies, geometry):
        return np.ones((len(showers), geometry.n_layers))
"""


@pytest.fixture
def own() -> Iterator[None]:
    use_extensions([OWN])
    yield
    use_extensions([])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of extensions with one observable; no folder is in use afterwards."""
    found = tmp_path / "my_observables"
    found.mkdir()
    (found / "mine.py").write_text(OBSERVABLE)
    yield found
    use_extensions([])


def showers(layers: list[int]) -> Showers:
    """Showers of 10 MeV: 9 MeV in the first voxel of the layer, 1 MeV in its second; 1 GeV and 10 GeV in turn."""
    voxels = np.zeros((len(layers), GEOMETRY.n_voxels), dtype=np.float32)
    for row, layer in zip(voxels, layers, strict=True):
        start = GEOMETRY.layer_slices[layer].start
        row[start : start + 3] = 9, 1, 0.005  # the last one below the threshold
    return Showers(np.resize([[1e3], [1e4]], (len(layers), 1)), voxels)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Reference: half of the showers in layer 0, half in layer 1, at either energy. Generated: all in layer 1."""
    paths = {name: tmp_path / f"{name}.hdf5" for name in ("reference", "generated")}
    write_showers(paths["reference"], showers([0, 0, 1, 1] * (N // 4)), GEOMETRY)
    write_showers(paths["generated"], showers([1] * N), GEOMETRY)
    return paths


@pytest.fixture
def table(own: None, files: dict[str, Path], tmp_path: Path) -> Path:
    config = HistogramConfig(bins=4, brightest=0, energy_slices=[(1e3, 5e3)])
    out = tmp_path / "histograms.npz"
    evaluate_observables(files["reference"], {"generated": files["generated"]}, READOUT, config=config, out=out)
    return out


def histograms(path: Path) -> dict[tuple[str, Slice | None], Histogram]:
    return {(h.name, h.part): h for h in load_histograms(path)[0]}


def test_they_are_observables_like_the_others(own: None) -> None:
    assert list(all_specs()) == [*SPECS, "hardest_hit", "shower_maximum"]
    x = showers([0, 2])
    out = compute_all(x.showers, x.incident_energies, GEOMETRY, 0.01)
    assert out["shower_maximum"].tolist() == [0, 2] and out["shower_maximum"].dtype == np.float64
    np.testing.assert_allclose(out["hardest_hit"], [[0.9, 0, 0], [0, 0, 0.9]], rtol=1e-6)
    assert "shower_maximum" not in compute(x.showers, x.incident_energies, GEOMETRY)
    assert in_words("shower_maximum") == "shower maximum" and in_words("hardest_hit/2") == "hardest hit, layer 2"


def test_histograms(table: Path) -> None:
    found = histograms(table)
    whole, low = found["shower_maximum", None], found["shower_maximum", LOW]
    assert whole.edges.tolist() == [0, 0.25, 0.5, 0.75, 1] and whole.group == "energies"
    assert whole.counts["reference"].tolist() == [N / 2, 0, 0, N / 2] and whole.totals["generated"] == N
    assert whole.counts["generated"].tolist() == [0, 0, 0, N]
    assert low.counts["reference"].tolist() == [N / 4, 0, 0, N / 4] and low.totals["reference"] == N / 2
    hits = found["hardest_hit/1", None]
    assert hits.counts["generated"].tolist() == [0, 0, 0, N] and hits.label == r"largest / $E_\mathrm{1}$"
    assert hits.counts["reference"].tolist() == [N / 2, 0, 0, N / 2]
    assert ("hardest_hit/1", LOW) not in found and [h for h, part in found if part is None][-1] == "voxels"


def scores(files: dict[str, Path], table: Path, *metrics: dict[str, Any]) -> dict[str, Score]:
    out = table.parent / "metrics.json"
    used = {"metrics": metrics, "histograms": table, "seed": 0, "out": out}
    evaluate_metrics(files["reference"], {"generated": files["generated"]}, READOUT, **used)
    return {score.name: score for score in load_scores(out)}


def test_scores(files: dict[str, Path], table: Path) -> None:
    """Of (1/2, 1/2) and (0, 1): the separation power is 1/3, the Jensen-Shannon divergence 0.311 bits."""
    chosen = {"metric": "separation_power", "observables": ["shower_maximum", "hardest_hit"]}
    found = scores(files, table, chosen, {"metric": "fidelity", "weights": {"shower_maximum": 1}})
    assert found["separation_power/shower_maximum"].value == pytest.approx(1 / 3)
    assert found["separation_power/mean_layers/hardest_hit"].value == pytest.approx(2 / 9)  # 1/3, 1/3, 0
    entropy = 0.5 * (0.5 + 0.5 * np.log2(2 / 3)) + 0.5 * np.log2(4 / 3)
    assert found["fidelity"].value == pytest.approx(entropy) == pytest.approx(0.311, abs=1e-3)
    assert "separation_power/E_tot" not in found
    assert "separation_power/shower_maximum" in scores(files, table, {"metric": "separation_power"})


def test_showers_of_extreme_weight(files: dict[str, Path], table: Path, tmp_path: Path) -> None:
    curves, out = tmp_path / "curves.npz", tmp_path / "weights.npz"
    write_npz(curves, {"weights_generated": np.linspace(1, 2, N)[None], "rows_generated": np.arange(N)})
    used = {"curves": curves, "histograms": table, "brightest": 0, "fraction": 0.25, "out": out}
    evaluate_weights(files["generated"], READOUT, **used)
    found = histograms(out)["shower_maximum", None]
    assert found.counts["lowest 25 % of weights"].tolist() == [0, 0, 0, N / 4]


def test_they_are_in_the_report_on_their_pages(files: dict[str, Path], table: Path) -> None:
    scores(files, table, {"metric": "separation_power"})
    run = RunArtifacts(
        "d", "m", 0, "calogan", "a model", histograms=str(table), metrics=str(table.parent / "metrics.json")
    )
    tasks = {(t.section, t.name): t for t in dataset_tasks(load_study_data(StudySummary("s", (run,)))[0])}
    for key in (("energies", "d_energies_shower_maximum"), ("other", "d_hits_hardest_hit_1")):
        assert tasks[key].function(*tasks[key].args) is not None


# -- settings ----------------------------------------------------------------------------------------------------------
def study(extensions: Path | None = OWN, **evaluation: Any) -> dict[str, Any]:
    data = copy.deepcopy(read_yaml(ROOT / "tests" / "tiny.yaml"))
    data["evaluations"]["default"] |= evaluation
    return data | {"extensions": [] if extensions is None else [str(extensions)]}


def code(folder: Path) -> dict[str, str]:
    _code_digest.cache_clear()
    plan = Plan.load(study(folder), ROOT / "presets")
    run = {"dataset": "eplus", "model": "inn", "seed": 0}
    stages = dict.fromkeys(("observables", "metrics", "epochs", "timing"), run)
    stages |= {name: {**run, "classifier": "trees"} for name in ("classify", "weights")}
    return {name: plan.code(name, **wildcards) for name, wildcards in stages.items()}


def test_their_code_is_that_of_the_stages_that_use_them(folder: Path) -> None:
    before = code(folder)
    (folder / "mine.py").write_text(OBSERVABLE.replace("np.ones", "np.zeros"))
    after = code(folder)
    assert {name for name in after if after[name] != before[name]} == {"observables", "metrics", "epochs", "weights"}


def test_settings_name_them(folder: Path) -> None:
    used = [{"metric": "separation_power", "observables": ["mine", "voxels"]}]
    load_study(study(folder, metrics=used), ROOT / "presets")
    for name, message in (
        ("mind", r"'mind' \(did you mean 'mine'\?\)"),
        ("E_tit", r"'E_tit' \(did you mean 'E_tot'\?\)"),
    ):
        wrong = [{"metric": "fidelity", "weights": {name: 1}}]
        with pytest.raises(ConfigError, match=message):
            load_study(study(folder, metrics=wrong), ROOT / "presets")
    with pytest.raises(ConfigError, match=r"no observable 'mine'.*; known: E_tot, .*, voxels"):
        load_study(study(None, metrics=used), ROOT / "presets")


def test_building_the_dag_with_them_imports_no_heavy_package(folder: Path) -> None:
    lines = (
        "import json, pathlib, sys",
        "import calopipe.workflow as w",
        "plan = w.Plan.load(json.loads(sys.stdin.read()), pathlib.Path('presets'))",
        "plan.code('observables', dataset='eplus', model='inn', seed=0)",
        "print([m for m in ('torch', 'lightning', 'sklearn', 'matplotlib', 'numba') if m in sys.modules])",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT,
        input=json.dumps(study(folder)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


# -- errors ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"mine"', '"E_tot"', r"my_observables\.mine: observable 'E_tot' is a built-in one; expected another name"),
        ('"mine"', '"voxels"', "observable 'voxels' is a built-in one"),
        ('"mine"', '"sparsity"', "observable 'sparsity' is a built-in one"),
        ('"mine"', '"a/b"', r"\.mine: observables are named by letters, digits and _, found 'a/b'"),
        ("(ShowerObservable)", "(list)", "observable 'mine' must be a class derived from ShowerObservable, found Mine"),
    ],
)
def test_what_is_wrong_with_a_name_is_told_before_anything_is_imported(
    folder: Path, old: str, new: str, message: str
) -> None:
    (folder / "mine.py").write_text(OBSERVABLE.replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        use_extensions([folder])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"layer",', '"layr",', r"axes: expected one of shower, .* found 'layr' \(did you mean 'layer'\?\)"),
        ('"layer",', '"layer_rank",', r"Mine\.spec\.axes: ranks are of the brightest voxels alone"),
        ('"extremes"', '"range"', "range: expected one of energy_ratio, .* found 'range'"),
        ("{a}", "{k}", r"label: places of layers are \{a\} with axes 'layer', .* found 'layer \{k\}'"),
        ("{a}", "$E_{{{a}}}", "label: expected a second \\$"),
        ('"energies"', '"\\n"', "group: expected a line of text"),
        ("spec =", "specs =", r"Mine\.spec: expected an ObservableSpec, found None"),
        (
            '"extremes")',
            '"levels")\n    spec = ObservableSpec("a", "shower", "b", "levels")',
            "range: 'levels' .* 'shower'",
        ),
        ("import numpy", "import nampy", "my_observables.mine cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_with_a_spec_is_one_line(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "mine.py").write_text(OBSERVABLE.replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        load_study(study(folder), ROOT / "presets")
    assert str(error.value).startswith("calopipe_extensions.my_observables.mine")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("np.ones(len(showers))", r"expected an array \(5, 3\), found \(5,\)"),
        ("np.ones((len(showers) + 1, 3))", r"found \(6, 3\)"),
        ("np.full((len(showers), 3), 'x')", "expected numbers, found an array of <U1"),
        ("np.where(np.arange(15).reshape(5, 3) == 7, np.nan, 0)", "1 of 5 showers have a value that is not finite"),
    ],
)
def test_what_a_function_returns_is_checked(folder: Path, returned: str, message: str) -> None:
    (folder / "mine.py").write_text(OBSERVABLE.replace("np.ones((len(showers), geometry.n_layers))", returned))
    use_extensions([folder])
    x = showers([0] * 5)
    with pytest.raises(
        DataError, match=rf"observable 'mine' of calopipe_extensions\.my_observables\.mine: .*{message}"
    ):
        compute_all(x.showers, x.incident_energies, GEOMETRY, 0.01)


def test_what_a_geometry_does_not_have_is_left_out(folder: Path) -> None:
    (folder / "mine.py").write_text(OBSERVABLE.replace("np.ones((len(showers), geometry.n_layers))", "None"))
    use_extensions([folder])
    x = showers([0] * 5)
    assert "mine" not in compute_all(x.showers, x.incident_energies, GEOMETRY, 0.01)


def test_showers_stay_as_they_are(folder: Path) -> None:
    (folder / "mine.py").write_text(OBSERVABLE.replace("return", "showers[:] = 0; return"))
    use_extensions([folder])
    x = showers([0] * 5)
    with pytest.raises(ValueError, match="read-only"):
        compute_all(x.showers, x.incident_energies, GEOMETRY, 0.01)
