"""Plots: they draw what they are given, carry their provenance, and are the same every time."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from calopipe.geometry import Geometry, load_geometry
from calopipe.plots import legends
from calopipe.plots.classifier import RocCurve, roc_figure, weights_figure
from calopipe.plots.cross_sections import MomentPanel, Profile, ProfilePanel, cross_section_page, row_moments_page
from calopipe.plots.events import event_figure
from calopipe.plots.examples import example_columns, gallery_figure, layers_by_energy, reconstruction_figure
from calopipe.plots.histograms import MIN_REFERENCE, Series, histogram_figure, histogram_page
from calopipe.plots.layers import energy_norm, has_log_radius, pick_layers
from calopipe.plots.multiclass import Posterior, confusion_figure, ranking_figure
from calopipe.plots.scores import Dot, layer_scores_figure, scores_figure
from calopipe.plots.showers import average_figure, difference_figure, layers_figure, profile_figure
from calopipe.plots.style import (
    COLORS,
    STYLE,
    LineStyle,
    model_styles,
    new_figure,
    plain_number,
    power_of_ten,
    read_provenance,
    sample_style,
    save_figure,
    slice_label,
    unit_of,
    wrapped,
)
from calopipe.plots.timing import timing_figure
from calopipe.records.histograms import Histogram
from calopipe.records.slices import Slice

PROVENANCE = {
    "run": "calogan/inn/0",
    "config_digest": "0123456789ab",
    "code_version": "0.1.0",
    "inputs": "a.npz sha256:00",
}


def _histogram(counts: list[int], generated: list[int], total: int = 100, **options: bool) -> Histogram:
    edges = np.geomspace(1, 10, len(counts) + 1) if options.get("log_x") else np.linspace(0, 1, len(counts) + 1)
    both = {"reference": np.array(counts), "generated": np.array(generated)}
    return Histogram(
        "E_ratio", "energies", "$E$ [MeV]", edges, both, {"reference": total, "generated": total}, **options
    )


def _series(*histograms: Histogram) -> Series:
    return Series(model_styles(["inn"])["inn"], histograms)


def _texts(figure: Figure) -> str:
    found = [t.get_text() for axes in figure.axes for t in axes.texts]
    found += [text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title())]
    found += [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    found += [t.get_text() for axes in figure.axes if axes.get_legend() for t in axes.get_legend().get_texts()]
    return " | ".join(found)


# ---- saving -------------------------------------------------------------------------------------------------------
def test_provenance_is_inside_png_and_pdf(tmp_path: Path) -> None:
    written = save_figure(new_figure(2, 2), tmp_path / "deep" / "plot.png", PROVENANCE, dpi=50)
    assert [p.name for p in written] == ["plot.png", "plot.pdf"]
    assert read_provenance(written[0]) == PROVENANCE
    document = written[1].read_bytes()
    for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.S):
        try:
            document += zlib.decompress(part)
        except zlib.error:
            continue
    keywords = re.search(rb"/Keywords \((.*?)\)\s", document, re.S)
    assert keywords is not None and json.loads(keywords[1].replace(b"\\", b"")) == PROVENANCE
    assert b"CreationDate" not in document


def test_equal_figures_give_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        figure = histogram_figure([_series(_histogram([10, 40, 20], [12, 38, 22]))])
        save_figure(figure, tmp_path / name, {**PROVENANCE, "title": "same"}, dpi=60)
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]


def test_drawing_leaves_global_settings_alone() -> None:
    before = dict(mpl.rcParams)
    histogram_figure([_series(_histogram([1, 2], [2, 1]))])
    assert dict(mpl.rcParams) == before
    assert mpl.rcParams["font.size"] != STYLE["font.size"]


# ---- style --------------------------------------------------------------------------------------------------------
def test_colours_follow_the_order_of_models_and_never_repeat_a_look() -> None:
    names = [f"m{i}" for i in range(15)]
    styles = model_styles(names)
    assert [styles[n].color for n in names[:6]] == list(COLORS)
    assert len({(s.color, s.dash) for s in styles.values()}) == len(names)
    dashed = sample_style(styles["m0"], "reconstructed")
    assert dashed.color == styles["m0"].color and dashed.dash != "-" and "reconstructed" in dashed.label
    assert "3 seeds" in sample_style(styles["m0"], "generated", 3).label


def test_labels() -> None:
    assert unit_of("$E_{tot}$ [MeV]") == "MeV"
    assert unit_of("activity") is None
    assert slice_label(Slice.of_energies(1000.0, 5000.0)) == "1\N{EN DASH}5 GeV"
    assert slice_label(Slice.of_energies(256.0, 256.0)) == "256 MeV"
    assert slice_label(None) == ""


# ---- histograms ---------------------------------------------------------------------------------------------------
def test_density_counts_entries_outside_the_range_and_has_poisson_errors() -> None:
    series = _series(_histogram([10, 40], [25, 50], total=200))
    value, error = series.density()
    np.testing.assert_allclose(value, [25 / 200 / 0.5, 50 / 200 / 0.5])
    np.testing.assert_allclose(error, np.sqrt([25, 50]) / 200 / 0.5)
    ratio, spread = series.ratio()
    np.testing.assert_allclose(ratio, [2.5, 1.25])
    np.testing.assert_allclose(spread, [5 / 10, np.sqrt(50) / 40])


def test_seeds_become_mean_and_standard_deviation() -> None:
    value, error = _series(_histogram([10, 10], [10, 30]), _histogram([10, 10], [20, 30])).density()
    np.testing.assert_allclose(value, [0.3, 0.6])
    np.testing.assert_allclose(error, [0.2 / np.sqrt(2), 0.0])


def test_no_ratio_where_the_reference_is_nearly_empty() -> None:
    ratio, _ = _series(_histogram([0, MIN_REFERENCE - 1, MIN_REFERENCE], [5, 5, MIN_REFERENCE])).ratio()
    assert np.isnan(ratio[:2]).all() and ratio[2] == 1


def test_bins_out_of_range_get_arrows_and_nothing_leaves_the_panel() -> None:
    figure = histogram_figure([_series(_histogram([1000, 1000, 1000], [3000, 1000, 100], total=4000))])
    panel = figure.axes[1]
    markers = {line.get_marker(): line.get_xdata() for line in panel.lines if line.get_marker() in "^v"}
    np.testing.assert_allclose(markers["^"], [1 / 6])
    np.testing.assert_allclose(markers["v"], [5 / 6])
    assert panel.get_ylim() == (0.5, 1.5)


@pytest.mark.parametrize("options", [{}, {"log_y": True}, {"log_x": True, "log_y": True}])
def test_histogram_has_units_and_scales(tmp_path: Path, options: dict[str, bool]) -> None:
    figure = histogram_figure([_series(_histogram([0, 40, 20, 0], [12, 0, 22, 0], **options))])
    text = _texts(figure)
    assert "Normalised density [1/MeV]" in text and "$E$ [MeV]" in text and "Geant4" in text and "inn" in text
    assert figure.axes[0].get_yscale() == ("log" if options.get("log_y") else "linear")
    assert figure.axes[0].get_xscale() == ("log" if options.get("log_x") else "linear")
    save_figure(figure, tmp_path / "h", PROVENANCE, dpi=50, pdf=False)


def test_empty_histograms_and_pages_are_drawn(tmp_path: Path) -> None:
    nothing = _series(_histogram([0, 0], [0, 0], total=0, log_y=True))
    save_figure(histogram_page([[nothing], [nothing]], "page"), tmp_path / "h", PROVENANCE, dpi=50, pdf=False)


# ---- showers ------------------------------------------------------------------------------------------------------
@pytest.fixture(params=["calogan", "calochallenge1_photons"])
def geometry(request: pytest.FixtureRequest) -> Geometry:
    return load_geometry(request.param)


def _shower(geometry: Geometry) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.exponential(10 * np.exp(-geometry.r / 40)) * (rng.random(geometry.n_voxels) < 0.7)


def test_average_showers(tmp_path: Path, geometry: Geometry) -> None:
    mean = _shower(geometry)
    figure = average_figure(geometry, mean, {"inn": 1.1 * mean}, "title", layers=[0, geometry.n_layers - 1])
    text = _texts(figure)
    assert "inn / Geant4" in text and "[MeV]" in text and "[mm" in text
    save_figure(figure, tmp_path / "average", PROVENANCE, dpi=40, pdf=False)
    profile = profile_figure(geometry, mean, [(model_styles(["inn"])["inn"], 1.1 * mean)])
    save_figure(profile, tmp_path / "profile", PROVENANCE, dpi=40, pdf=False)


def test_differences_of_average_showers(tmp_path: Path, geometry: Geometry) -> None:
    """Sample less reference in MeV, on a scale symmetric about 0 of each row; voxels empty in both are left empty."""
    mean, layer = _shower(geometry), geometry.n_layers - 1
    part = geometry.layer_slices[layer]
    made = mean.copy()
    brightest = part.start + int(mean[part].argmax())
    made[brightest] -= 3.0
    figure = difference_figure(geometry, mean, made, "inn", "title", layers=[layer])
    assert "inn − Geant4" in _texts(figure).replace("\n", " ") and "difference [MeV]" in _texts(figure)
    meshes = [axes.collections[0] for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.collections]
    mesh = next(m for m in meshes if not isinstance(m.norm, LogNorm))
    assert (mesh.norm.vmin, mesh.norm.vmax) == (pytest.approx(-3), pytest.approx(3))
    values = np.ma.filled(mesh.get_array().astype(float), np.nan).ravel()
    assert np.nanmin(values) == pytest.approx(-3) and np.nanmax(values) == pytest.approx(0)
    assert np.isnan(values).mean() == pytest.approx((mean[part] == 0).mean())
    save_figure(figure, tmp_path / "difference", PROVENANCE, dpi=40, pdf=False)
    same = difference_figure(geometry, mean, mean, "inn")  # nothing to scale by
    save_figure(same, tmp_path / "same", PROVENANCE, dpi=40, pdf=False)


def test_single_shower(tmp_path: Path, geometry: Geometry) -> None:
    save_figure(
        layers_figure(geometry, _shower(geometry), "shower"), tmp_path / "layers", PROVENANCE, dpi=40, pdf=False
    )
    save_figure(event_figure(geometry, _shower(geometry)), tmp_path / "event", PROVENANCE, dpi=40, pdf=False)


def test_showers_beside_one_another(tmp_path: Path, geometry: Geometry) -> None:
    showers = np.stack([_shower(geometry), 2 * _shower(geometry)])
    incident = np.array([512.0, 8000.0])
    layers = layers_by_energy(geometry, showers[0], 3)
    (columns,) = example_columns(geometry, 2, layers)
    samples = {"Geant4": showers, "inn": 0 * showers}
    gallery = gallery_figure(geometry, samples, incident, columns, "showers")
    assert "512 MeV" in _texts(gallery) and "8 GeV" in _texts(gallery) and "inn" in _texts(gallery)
    pair = reconstruction_figure(geometry, showers, 1.1 * showers, incident, columns, "reconstructed")
    panels = [a for a in pair.axes if a.get_label() != "<colorbar>"]
    assert len(panels) == 3 * len(columns)
    drawn = panels[2 * len(columns)].collections[0].get_array()
    expected = 0.1 * geometry.reshape_layer(showers[0], layers[0])
    np.testing.assert_allclose(np.sort(drawn.compressed().ravel())[-1], expected.max())
    for name, figure in {"gallery": gallery, "pair": pair}.items():
        save_figure(figure, tmp_path / name, PROVENANCE, dpi=40, pdf=False)


def test_examples_are_not_torn_apart_and_layers_follow_the_energy() -> None:
    few, many = load_geometry("calogan"), load_geometry("calochallenge2")
    assert example_columns(few, 3, [0, 1, 2])[1] == [(2, 0), (2, 1), (2, 2)]
    early = np.zeros(many.n_voxels)
    for layer, energy in ((2, 1.0), (3, 5.0), (4, 1.0)):
        early[many.layer_slices[layer]] = energy
    assert layers_by_energy(many, early) == [2, 3, 4]
    assert layers_by_energy(few, np.zeros(few.n_voxels)) == [0, 1, 2]


def test_cross_sections_show_means_spreads_and_ratios(tmp_path: Path) -> None:
    style = model_styles(["inn"])["inn"]
    reference = Profile(np.array([1.0, 100.0, 0.0]), np.array([0.1, 1.0, 0.0]), np.array([2.0, 20.0, 0.0]))
    sample = Profile(np.array([2.0, 110.0, 0.1]), np.array([0.1, 1.0, 0.1]), np.array([2.0, 30.0, 1.0]))
    panel = ProfilePanel("Layer 1", "x [mm]", np.array([0.0, 1.0, 2.0, 3.0]), reference, [(style, sample)])
    figure = cross_section_page([panel, panel], "cross sections")
    text = _texts(figure)
    assert "Layer 1" in text and "x [mm]" in text and "[MeV]" in text and "Geant4" in text
    ratio = figure.axes[2]
    assert [line.get_xdata().tolist() for line in ratio.lines if line.get_marker() == "^"] == [[0.5]]  # a ratio of 2
    save_figure(figure, tmp_path / "sections", PROVENANCE, dpi=40, pdf=False)
    moments = np.array([[0.0, 1.0, np.nan], [0.1, 0.1, np.nan]])
    rows = MomentPanel("Layer 1", "y [mm]", np.array([-1.0, 0.0, 1.0]), (moments, moments), [(style, moments, moments)])
    save_figure(row_moments_page([rows], "rows"), tmp_path / "rows", PROVENANCE, dpi=40, pdf=False)


def test_event_displays_can_share_their_scale() -> None:
    geometry = load_geometry("calogan")
    shower = _shower(geometry)
    alone, shared = event_figure(geometry, 0.1 * shower), event_figure(geometry, 0.1 * shower, scale=shower)
    ends = [figure.axes[-1].get_ylim()[1] for figure in (alone, shared)]
    assert ends[1] == pytest.approx(10 * ends[0])


def test_empty_shower(tmp_path: Path) -> None:
    geometry = load_geometry("calogan")
    nothing = np.zeros(geometry.n_voxels)
    save_figure(event_figure(geometry, nothing), tmp_path / "event", PROVENANCE, dpi=40, pdf=False)
    save_figure(layers_figure(geometry, nothing), tmp_path / "layers", PROVENANCE, dpi=40, pdf=False)


def test_image_lies_as_the_geometry_says() -> None:
    geometry = load_geometry("calogan")  # first index phi, second eta
    values = np.zeros(geometry.n_voxels)
    values[geometry.layer_slices[1].start + 11] = 1.0  # phi row 0 (bottom), eta column 11 (right)
    figure = layers_figure(geometry, values)
    mesh = figure.axes[1].collections[0].get_array()
    assert mesh.shape == (12, 12) and mesh[0, 11] == 1.0


def test_scales_and_choices() -> None:
    assert energy_norm(np.array([0.0, 1e-9, 10.0])).vmin == pytest.approx(1e-3)
    assert has_log_radius(load_geometry("calochallenge1_photons")) and not has_log_radius(
        load_geometry("calochallenge2")
    )
    assert pick_layers(load_geometry("calochallenge2")) == [0, 9, 18, 26, 35, 44]


# ---- training, classifier, timing, scores -------------------------------------------------------------------------
def test_classifier_and_timing(tmp_path: Path) -> None:
    style = model_styles(["inn"])["inn"]
    grid = np.linspace(0, 1, 11)
    roc = roc_figure([RocCurve(style, grid, np.stack([grid**0.8, grid**0.9]), "0.54 ± 0.01")], "low")
    assert "AUC 0.54 ± 0.01" in _texts(roc)
    weights = np.random.default_rng(1).lognormal(size=(2, 300))
    figures = [
        roc,
        weights_figure(weights[0], weights[1], style, "low"),
        weights_figure(np.zeros(3), np.ones(3), style),
    ]
    results = [{"batch_size": b, "median_ms": 1.0, "low_ms": 0.9, "high_ms": 1.2} for b in (100, 1)]
    record = {"device": "cpu", "threads": 2, "results": results, "geant4_ms": 100.0}
    figures.append(timing_figure([(style, record)], "calogan"))
    assert "Geant4" in _texts(figures[-1]) and "[ms]" in _texts(figures[-1])
    for i, figure in enumerate(figures):
        save_figure(figure, tmp_path / str(i), PROVENANCE, dpi=40, pdf=False)


def test_weights_beyond_the_axes_are_not_lost() -> None:
    style = model_styles(["inn"])["inn"]
    figure = weights_figure(np.array([1.0, 50.0, 1e9]), np.array([1.0, 0.0, 2.0, 3.0]), style)
    left, right = figure.axes
    assert "Geant4 67 %" in left.texts[0].get_text() and "model 0 %" in left.texts[0].get_text()
    heights = [patch.get_data().values for patch in right.patches]
    assert all(h.sum() == pytest.approx(1) for h in (heights[0], heights[2])), (
        "weights of 0 and 1e9 are in the end bins"
    )
    assert not weights_figure(np.ones(3), np.ones(3), style).axes[0].texts


def test_multiclass(tmp_path: Path) -> None:
    styles = model_styles(["inn", "a long model name"])
    entries = [Posterior("Geant4", None, -0.7, 0.01, 0.02)]
    entries += [
        Posterior(name, styles[name], v, 0.02, 0.01) for name, v in (("a long model name", -2.5), ("inn", -1.1))
    ]
    ranking = ranking_figure(entries, -np.log(3), "eplus")
    assert [t.get_text() for t in ranking.axes[0].get_yticklabels()] == ["Geant4", "inn", "a long model name"]
    counts = np.array([[[60, 30, 10], [30, 50, 20], [0, 0, 100]]] * 2)
    confusion = confusion_figure(counts, ["Geant4", *styles], "eplus")
    assert all(text in _texts(confusion) for text in ("0.60", "1.00", "Taken for", "True sample"))
    one = confusion_figure(counts[:1], ["Geant4", *styles])
    assert "pm" in _texts(confusion) and "pm" not in _texts(one), "no spread of one training"
    for name, figure in (("ranking", ranking), ("confusion", confusion)):
        save_figure(figure, tmp_path / name, PROVENANCE, dpi=40, pdf=False)


def test_scores(tmp_path: Path) -> None:
    styles = model_styles(["inn", "vae"])
    columns = [
        (styles["inn"], {"E_ratio": Dot(1e-3, 1e-4), "E_tot": Dot(0.0)}),
        (styles["vae"], {"E_ratio": Dot(2e-3)}),
    ]
    figure = scores_figure(columns, "Separation power", {"E_ratio": 2e-4}, "calogan")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["E_ratio", "E_tot"]
    save_figure(figure, tmp_path / "scores", PROVENANCE, dpi=40, pdf=False)
    values = {f"E_layer/{i}": Dot(1e-3 * (i + 1), 1e-4) for i in range(10)} | {
        "brightest/3/1": Dot(1e-3),
        "E_tot": Dot(1),
    }
    floors = {f"E_layer/{i}": 1e-5 for i in range(10)} | {"EC_eta/2": 1e-9}
    figure = layer_scores_figure([(styles["inn"], values)], "Separation power", floors)
    assert [a.get_title() for a in figure.axes] == ["E_layer", "brightest 1"]
    assert figure.axes[0].get_ylim()[0] == pytest.approx(0.6e-5), "floors of shown observables are inside"
    save_figure(figure, tmp_path / "layers", PROVENANCE, dpi=40, pdf=False)


def test_legend_of_long_names_takes_more_rows():
    def columns(*names: str) -> int:
        return legends.legend_columns(legends.legend_handles([LineStyle(name, "#0072B2") for name in names]))

    assert columns("inn", "vae_inn") == 3 and columns("inn", "vae_inn", "vae_inn, reconstructed") == 2
    assert columns("ild_vae_inn_cpu", "ild_vae_inn_cpu, reconstructed") == 2
    assert columns("a_model_with_a_very_long_name", "a_model_with_a_very_long_name, reconstructed") == 1


def test_headings_and_legends_of_long_names_stay_inside_the_figure() -> None:
    styles = model_styles(["a_model_with_a_long_name", "another_model_with_a_long_name"])
    looks = [sample_style(style, sample) for style in styles.values() for sample in ("generated", "reconstructed")]
    geometry = load_geometry("electron_gun_32")
    mean, some = np.ones(geometry.n_voxels), Profile(*np.ones((3, 3)))
    moments, title = np.ones((2, 3)), "a_data_set_with_a_name: what is drawn of it (1/3)"
    rows = MomentPanel("Layer 0", "y", np.arange(3.0), (moments, moments), [(look, moments, moments) for look in looks])
    sections = ProfilePanel("Layer 0", "x", np.arange(4.0), some, [(look, some) for look in looks])
    scores = [(look, {"E_ratio": Dot(1e-3), "E_layer/1": Dot(1e-3)}) for look in looks]
    for figure in (
        row_moments_page([rows, rows], title),
        cross_section_page([sections], title),
        scores_figure(scores, "Separation power", {"E_ratio": 2e-4}, title),
        layer_scores_figure(scores, "Separation power", {}, title),
        difference_figure(
            geometry, mean, 2 * mean, looks[1].label, f"average shower of {looks[1].label}, and its difference"
        ),
    ):
        width, height = figure.canvas.get_width_height()
        for part in (*figure.texts, *figure.legends):
            box = part.get_window_extent()
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, part


def test_names_are_broken_behind_underscores() -> None:
    assert wrapped("image_latent_gan_cpu, reconstructed", 18) == "image_latent_\ngan_cpu,\nreconstructed"


def test_the_empty_half_of_an_axis_is_left_out() -> None:
    few = [_series(_histogram([50, 50] + [0] * 8, [60, 30, 10] + [0] * 7))]
    assert histogram_figure(few).axes[0].get_xlim() == pytest.approx((0, 1.15 * 0.3))
    many = [_series(_histogram([50] + [0] * 8 + [1], [60] + [0] * 9))]
    assert histogram_figure(many).axes[0].get_xlim() == (0, 1)


def test_small_values_are_labelled_in_a_power_of_ten():
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 4e-4])
    assert power_of_ten(axes, 4e-4) == -4 and axes.yaxis.get_major_formatter()(3e-4) == "3"
    assert power_of_ten(axes, 0.02) == 0 and power_of_ten(axes, 0.0) == 0


def test_tick_labels_of_logarithmic_axes_are_short():
    assert [plain_number(v) for v in (1e-6, 1e-3, 0.05, 20, 1e5, 1e6)] == [
        "$10^{-6}$", "0.001", "0.05", "20", "100000", "$10^{6}$",
    ]  # fmt: skip
