"""The divergence of images by hand, on files, and the choice of an epoch by it: from which epoch on, with which showers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from checkpoints import small_flow

from calopipe.config import EpochsConfig, HistogramConfig, RegressionConfig
from calopipe.config.base import validate
from calopipe.config.datasets import EnergySelection
from calopipe.errors import ConfigError, MetricUnavailable
from calopipe.evaluation import epochs as epochs_module
from calopipe.evaluation.epochs import best_epoch, score_epochs
from calopipe.evaluation.inputs import Readout
from calopipe.evaluation.samples import load_sample
from calopipe.geometry import load_geometry
from calopipe.io import Showers, file_info, read_showers, write_showers
from calopipe.io.stored import read_json
from calopipe.metrics.base import Sample
from calopipe.metrics.image_divergence import bins_of, edges_of, image_divergence
from calopipe.metrics.quantiles import jensen_shannon
from calopipe.metrics.settings import ImageDivergenceConfig
from calopipe.observables.image import ImageObservables, image_observables
from calopipe.training.job import Learned

DATA = Path(__file__).parents[1] / "resources" / "electron_gun_sample.hdf5"
GEOMETRY = load_geometry("electron_gun_32")


def images(rng: np.random.Generator, n: int, **shift: float) -> ImageObservables:
    columns = {k: rng.normal(shift.get(k, 0), 1, n) for k in ("E_vis", "E_peak", "CG_x", "CG_y")}
    per_shower = rng.poisson(3, n) + 1
    pixels = rng.lognormal(shift.get("E_pixel", 0), 1, per_shower.sum())
    return ImageObservables(columns, pixels, np.concatenate([[0], np.cumsum(per_shower)]))


def judge(*found: ImageObservables, **settings: object) -> dict[str, float]:
    samples = [Sample(x.n, 0.0, {}, {"images": lambda x=x: lambda settings: x}) for x in found]
    scores = image_divergence(*samples, np.random.default_rng(0), ImageDivergenceConfig(**settings))
    return {s.name.removeprefix("image_divergence").lstrip("/") or "mean": s for s in scores}


def test_bins_between_the_reference_s_extremes_and_beyond() -> None:
    edges = edges_of(np.array([1.0, 3.0, 5.0]), 4, False)
    assert edges.tolist() == [1, 2, 3, 4, 5]
    assert bins_of(np.array([0.9, 1.0, 2.0, 4.99, 5.0, 5.1]), edges).tolist() == [0, 1, 2, 4, 4, 5]
    assert edges_of(np.array([1.0, 16.0, 2.0]), 4, True) == pytest.approx([1, 2, 4, 8, 16])
    same = edges_of(np.array([2.0, 2.0]), 3, False)  # showers that are all alike
    assert bins_of(np.array([1.9, 2.0, 2.1]), same).tolist() == [0, 3, 4]
    with pytest.raises(MetricUnavailable, match="no values"):
        edges_of(np.zeros(0), 4, True)


def test_divergence_is_the_mean_of_five_by_hand() -> None:
    rng = np.random.default_rng(0)
    a, b = images(rng, 3000), images(rng, 5000, E_peak=1.0, CG_y=8.0)
    found = judge(a, b, bins=10)
    assert list(found) == ["mean", "E_vis", "E_peak", "E_pixel", "CG_x", "CG_y"]
    for name in list(found)[1:]:
        x, y = (part.values([name])[:, 0] for part in (a, b))
        if name == "E_pixel":
            x, y = np.log(x), np.log(y)
        edges = np.linspace(x.min(), x.max(), 11)
        full = np.concatenate([[-np.inf], edges[:-1], [np.nextafter(edges[-1], np.inf), np.inf]])
        known = jensen_shannon(np.histogram(y, full)[0], np.histogram(x, full)[0])
        assert found[name].value == pytest.approx(float(known), rel=1e-6), name
    assert found["mean"].value == pytest.approx(np.mean([found[k].value for k in list(found)[1:]]))
    assert found["CG_y"].value == pytest.approx(np.log(2), abs=0.01)  # all beyond the range, which counts
    assert found["E_vis"].value < 2 * found["E_vis"].floor < 0.1 * found["E_peak"].value
    assert found["mean"].n == 3000


def test_floor_and_error_are_those_of_many_samples() -> None:
    """The error away from the floor; at it, where bins hold a few showers, it is too large rather than too small."""
    rng = np.random.default_rng(1)
    for shift, least, most in ((0.0, 0.9, 2.0), (0.7, 0.7, 1.3)):
        found = [judge(images(rng, 1000), images(rng, 4000, E_vis=shift)) for _ in range(30)]
        for name in ("mean", "E_vis"):
            values = np.array([f[name].value for f in found])
            if not shift:
                assert np.mean([f[name].floor for f in found]) == pytest.approx(values.mean(), rel=0.15), name
            assert least < np.mean([f[name].error for f in found]) / values.std(ddof=1) < most, (name, shift)


def test_showers_are_made_images_as_in_amplification_studies(tmp_path: Path) -> None:
    """From files, with pooling and cuts; a sample without a pixel above the cut, and other geometries, say so."""
    first, second = (read_showers(DATA, slice(i * 300, (i + 1) * 300)) for i in range(2))
    readout, paths = Readout.of(GEOMETRY), []
    for i, part in enumerate((first, second)):
        paths.append(tmp_path / f"{i}.hdf5")
        write_showers(paths[i], part, GEOMETRY)
    base = load_sample("reference", paths[0], readout, histograms=tmp_path / "none.npz")
    other = load_sample("generated", paths[1], readout, histograms=tmp_path / "none.npz", reference=base)
    settings = ImageDivergenceConfig(image_pool=(4, 4), image_threshold_MeV=0.1, pixel_cut_MeV=1.0)
    known = image_observables(
        second.showers,
        second.incident_energies,
        GEOMETRY,
        image_pool=(4, 4),
        image_threshold_MeV=0.1,
        pixel_cut_MeV=1.0,
    )
    seen = other.images(settings)
    np.testing.assert_array_equal(seen.pixels, known.pixels)
    np.testing.assert_array_equal(seen.columns["CG_x"], known.columns["CG_x"])
    assert len(other.images(ImageDivergenceConfig()).pixels) < len(seen.pixels)  # another cut is not mixed up with it
    found = image_divergence(base, other, np.random.default_rng(0), settings)
    assert 0 < found[0].value < 2 * found[0].floor
    with pytest.raises(MetricUnavailable, match="no values"):
        image_divergence(base, other, np.random.default_rng(0), ImageDivergenceConfig(pixel_cut_MeV=1e6))
    with pytest.raises(MetricUnavailable, match="image_pool"):
        other.images(ImageDivergenceConfig(image_pool=(5, 5)))
    with pytest.raises(ConfigError, match="no images without image_pool"):
        validate(ImageDivergenceConfig, {"image_threshold_MeV": 0.1}, "m")


# ---- the choice of the epoch ----------------------------------------------------------------------------------------
def moved(showers: Showers, step: int) -> Showers:
    cells = np.roll(showers.showers.reshape(-1, 32, 32), step, axis=2)
    return Showers(showers.incident_energies, cells.reshape(showers.showers.shape))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Training showers in three blocks of which the second lies beside the others, validation showers, and two epochs."""
    folder = tmp_path_factory.mktemp("epochs")
    parts = [read_showers(DATA, slice(i * 100, (i + 1) * 100)) for i in range(6)]
    train = [parts[0], moved(parts[1], 3), parts[2]]
    joined = Showers(*(np.concatenate([getattr(p, k) for p in train]) for k in ("incident_energies", "showers")))
    made = {"train": joined, "val": parts[3], "10": parts[4], "20": moved(parts[5], 3)}
    for name, showers in made.items():
        write_showers(folder / f"{name}.hdf5", showers, GEOMETRY)
    return {name: folder / f"{name}.hdf5" for name in made}


def chosen(files: dict[str, Path], split: str, out: Path, learned: Learned | None, **settings: object) -> dict:
    metrics = [{"metric": "image_divergence", "pixel_cut_MeV": 1.0, "bins": 20}]
    config = EpochsConfig(metrics=metrics, select="image_divergence", **settings)
    score_epochs(
        {int(n): files[n] for n in ("10", "20")}, (), files[split], Readout.of(GEOMETRY), config=config,
        histograms=HistogramConfig(), regression=RegressionConfig(), regressors={}, seed=0, out=out, learned=learned,
    )  # fmt: skip
    return read_json(out)


def test_epochs_are_compared_with_the_showers_that_were_learned(files: dict[str, Path], tmp_path: Path) -> None:
    """Those of the run's own block, or validation showers: each finds another epoch the best."""
    out = tmp_path / "s.json"
    found = chosen(files, "val", out, None)
    assert found["best"]["epoch"] == 10 and found["reference"] == "validation"
    for block, best in ((0, 10), (1, 20), (2, 10)):
        found = chosen(files, "train", out, Learned(block, 100), reference="training")
        assert found["best"]["epoch"] == best and found["best"]["score"] == "image_divergence"
        assert found["reference"] == "training"
    found = chosen(files, "val", out, None, select_from=11)
    assert found["best"]["epoch"] == 20 and [row["epoch"] for row in found["epochs"]] == [10, 20]
    rows = read_json(out)["epochs"]
    assert best_epoch(rows, "image_divergence", 21)["missing"] == "no epoch from 21 on was kept"
    with pytest.raises(ConfigError, match="3 blocks of 100; seed 3 needs block 3"):
        chosen(files, "train", out, Learned(3, 100))


def test_only_showers_of_the_energies_that_were_learned_are_compared(tmp_path: Path) -> None:
    energies = np.repeat(np.array([[100.0], [200.0]], dtype=np.float32), 50, axis=0)
    showers = Showers(energies, np.ones((100, GEOMETRY.n_voxels), dtype=np.float32))
    write_showers(tmp_path / "train.hdf5", showers, GEOMETRY)
    learned = Learned(1, 25, EnergySelection(low=150.0, high=250.0))
    rows = epochs_module._rows(tmp_path / "train.hdf5", EpochsConfig(showers=20), 0, learned)
    assert len(set(rows)) == 20 and rows.min() >= 75


def test_epochs_generate_several_showers_per_reference_shower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`epochs.factor` times as many, at the same incident energies."""
    flow, sizes = small_flow(tmp_path), []
    (tmp_path / "kept").mkdir()
    shutil.copy(flow, tmp_path / "kept" / "epoch-00001.pt")
    original = epochs_module.evaluate_metrics

    def seen(reference: Path, samples: dict[str, Path], *rest: object, **more: object) -> None:
        known = read_showers(reference).incident_energies
        (made,) = (read_showers(path).incident_energies for path in samples.values())
        np.testing.assert_array_equal(made, np.repeat(known, 3, axis=0))
        sizes.extend(file_info(path).n_showers for path in (reference, *samples.values()))
        original(reference, samples, *rest, **more)

    monkeypatch.setattr(epochs_module, "evaluate_metrics", seen)
    config = EpochsConfig(factor=3, showers=40, metrics=["energy_response"], select="energy_response/mean_difference")
    score_epochs(
        tmp_path / "kept", (), tmp_path / "showers.hdf5", Readout.of("calogan"), config=config, histograms=HistogramConfig(),
        regression=RegressionConfig(device="cpu"), regressors={}, seed=0, out=tmp_path / "s.json",
    )  # fmt: skip
    assert sizes == [40, 120] and read_json(tmp_path / "s.json")["best"]["epoch"] == 1
