"""How the report shows the networks of a model: histories of their trainings, and the chain that they form."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from calopipe.errors import DataError
from calopipe.plots.style import model_styles, save_figure
from calopipe.plots.training import training_figure
from calopipe.records.files import write_json
from calopipe.records.history import History, read_history
from calopipe.report import RunArtifacts, StudySummary, build_report
from calopipe.report.chain import Network, chain_svg, in_order
from calopipe.report.data import load_study_data
from calopipe.report.numbers import format_count, format_duration
from calopipe.report.training import chain_drawings, network_tables, training_tasks

STYLE = model_styles(["wgan"])["wgan"]
GAN = (
    "epoch,step,train_critic_loss,train_generator_loss,train_wasserstein,val_wasserstein,lr_critic,lr_generator,"
    "grad_norm_critic,grad_norm_generator,largest_grad_norm_critic,largest_grad_norm_generator,largest_grad_element_critic,"
    "largest_grad_element_generator,seconds\n"
    "0,9,-3,1,3.5,3.6,0.0002,0.0001,20,2,800,3,90,1,30\n1,19,-1,2,1.5,1.6,0.0002,0.0001,1,0.5,4,2,2,1,31\n"
    "2,29,-0.5,3,0.5,,0.0002,0.0001,0.9,0.4,3,2,1,0.5,32\n"
)


def history(path: Path, text: str) -> History:
    path.write_text(text)
    return read_history(path)


def texts(figure: Figure) -> str:
    return " ".join(t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def labels(figure: Figure) -> list[str]:
    return [axes.get_ylabel().replace("\n", " ") for axes in figure.axes]


# ---- histories ----------------------------------------------------------------------------------------------------
def test_a_history_knows_its_losses_rates_and_norms(tmp_path):
    found = history(tmp_path / "history.csv", GAN)
    assert found.losses == ["critic_loss", "generator_loss", "wasserstein"]
    assert found.last("train", "wasserstein") == 0.5 and found.last("val", "wasserstein") == 1.6
    assert found.last("val", "critic_loss") is None and found.seconds == 93
    assert list(found.rates) == ["critic", "generator"] and found.norms["critic"].tolist() == [20, 1, 0.9]
    assert list(found.norms) == list(found.largest_norms) == list(found.largest_elements) == list(found.rates)
    assert found.largest_norms["critic"].tolist() == [800, 4, 3] and found.largest_elements["generator"][2] == 0.5
    np.testing.assert_allclose(found.time, [1, 2, 3])
    plain = history(
        tmp_path / "plain.csv", "epoch,step,train_kl,train_loss,val_loss,lr\n0,0,1,5,,0.1\n0,9,,,4,\n1,19,1,3,2,\n"
    )
    assert plain.losses == ["loss", "kl"], "what is minimised comes first"
    assert list(plain.rates) == [""] and plain.norms == {} and plain.seconds is None
    np.testing.assert_allclose(plain.time, [0.1, 1, 2])


def test_a_history_without_steps_has_epochs(tmp_path):
    found = history(tmp_path / "history.csv", "epoch,step,train_loss\n1,,2\n2,,1\n")
    assert found.time.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "No such file"),
        ("a,b\n1,2\n", "expected the columns"),
        ("epoch,step,train_loss\n1,2,low\n", "not a training log"),
    ],
)
def test_other_files_are_no_history(text, found, tmp_path):
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=f"history.csv.*{found}"):
        read_history(path)


def test_every_named_loss_rate_and_norm_has_a_panel(tmp_path):
    gan = history(tmp_path / "gan.csv", GAN)
    figure = training_figure({"seed 0": gan, "seed 1": gan}, STYLE, "wgan: generator")
    assert labels(figure) == [
        "critic loss",
        "generator loss",
        "wasserstein",
        "Learning rate [$10^{-4}$]",
        "Mean gradient norm",
        "Largest gradient",
    ]
    rates = figure.axes[3]
    assert [line.get_ydata()[0] for line in rates.lines] == [2e-4, 1e-4] * 2
    assert len({line.get_linestyle() for line in rates.lines}) == 2, "objectives are told apart"
    assert figure.axes[4].get_yscale() == "log" and "validation (seed 0, seed 1)" in texts(figure)
    largest = figure.axes[5]
    assert [line.get_ydata()[0] for line in largest.lines] == [800, 3, 90, 1] * 2
    assert largest.get_yscale() == "log" and largest.get_ylim()[1] > 800, "the steep start is shown, too"
    assert all(f"critic {kind}" in texts(figure) for kind in ("norm", "element"))
    assert [len(line.get_xdata()) for line in figure.axes[2].lines] == [3, 2] * 2
    save_figure(figure, tmp_path / "gan", {}, dpi=40, pdf=False)
    many = training_figure({f"seed {i // 3}, training {i % 3 + 1}": gan for i in range(15)}, STYLE, "vae_gan: vae_gan")
    assert "validation (15 trainings)" in texts(many) and "seed 4" not in texts(many)
    plain = history(tmp_path / "plain.csv", "epoch,step,train_loss,val_loss,lr\n0,9,5,4,0.001\n1,19,3,2,0.001\n")
    figure = training_figure({"seed 0": plain}, STYLE, "inn: flow")
    assert labels(figure) == ["Loss", "Learning rate [$10^{-3}$]"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "Epoch"]


def test_a_term_that_is_zero_throughout_has_no_panel(tmp_path):
    text = "epoch,step,train_gradient_penalty,val_gradient_penalty,train_loss,val_loss\n0,9,{},0,5,4\n1,19,0,,3,2\n"
    for value, wanted in ((0, ["Loss"]), (1e-9, ["Loss", "gradient penalty"])):
        figure = training_figure({"seed 0": history(tmp_path / f"{value}.csv", text.format(value))}, STYLE)
        assert [axes.get_ylabel() for axes in figure.axes] == wanted


def test_largest_gradients_of_three_objectives_have_a_panel_for_each_kind(tmp_path):
    names = ("critic", "generator", "encoder")
    columns = [f"{kind}_{name}" for kind in ("largest_grad_norm", "largest_grad_element") for name in names]
    text = f"epoch,step,train_loss,{','.join(columns)}\n0,9,1,10,20,30,1,2,3\n1,19,1,11,21,31,4,5,6\n"
    figure = training_figure({"seed 0": history(tmp_path / "three.csv", text)}, STYLE)
    assert labels(figure) == ["Loss", "Largest gradient norm", "Largest gradient element"]
    for axes, first in zip(figure.axes[1:], ([10, 20, 30], [1, 2, 3]), strict=True):
        assert [line.get_ydata()[0] for line in axes.lines] == first and axes.get_yscale() == "log"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(names), "the panel says the kind"


def test_panels_do_not_overlap_and_stay_inside(tmp_path):
    names = [f"train_{c}" for c in ("loss", "a", "b", "c", "d", "e")]
    text = f"epoch,step,{','.join(names)},lr\n" + "".join(f"{i},{9 + 10 * i},{'1,' * 6}0.1\n" for i in range(3))
    figure = training_figure({"seed 0": history(tmp_path / "many.csv", text)}, STYLE)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 7 and all(0 < b.x0 < b.x1 < 1 and 0 < b.y0 < b.y1 < 1 for b in boxes)
    for i, a in enumerate(boxes):
        assert not any(a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1 for b in boxes[:i])


# ---- the chain -----------------------------------------------------------------------------------------------------
CALOMAN = [
    Network("energies", "layer_energies", (), "inn", "layer_energies", 81_234),
    Network("autoencoder", "showers", ("layer_energies",), "ae", "autoencoder", 3_250_000),
    Network("flow", "autoencoder", ("layer_energies",), "inn", "latent_flow"),
]


def drawn(svg: str) -> tuple[list[str], int]:
    """Texts of a drawing from left to right and top to bottom, and its number of arrow heads."""
    root = ElementTree.fromstring(str(svg))
    found = [(float(t.get("x")), float(t.get("y")), "".join(t.itertext())) for t in root.iter("text")]
    heads = [p for p in root.iter("polygon") if p.get("class") == "head"]
    width = float(root.get("viewBox").split()[2])
    assert all(0 <= x <= width for x, _, _ in found)
    return [text for *_, text in sorted(found)], len(heads)


def test_networks_are_drawn_in_the_order_in_which_a_shower_is_generated():
    assert [n.name for n in in_order(CALOMAN)] == ["energies", "flow", "autoencoder"]
    refined = [Network("post", "showers", ("generator",)), Network("generator", "showers")]
    assert [n.name for n in in_order(refined)] == ["generator", "post"]


def test_a_drawing_shows_what_is_handed_to_whom():
    words, heads = drawn(chain_svg(CALOMAN, ["incident_energies", "incident_theta"], "#009E73"))
    names = [w for w in words if w in ("energies", "flow", "autoencoder")]
    assert names == ["energies", "flow", "autoencoder"]
    assert words.count("layer energies") == 2, "an arrow to the flow and an arc to the decoder"
    assert {"latents", "showers", "decoder of ae", "3.25 M parameters"} <= set(words)
    assert "incident energy, \N{GREEK SMALL LETTER THETA}" in words
    assert heads == 4 + 3, "two of layer energies, latents, showers; conditions of three networks"


def test_latents_that_nothing_learned_come_from_the_prior():
    words, _ = drawn(chain_svg([Network("vae", "showers", (), "gaussian_vae", "autoencoder")]))
    assert {"latents", "from the prior", "showers"} <= set(words) and "incident energy" not in words
    words, _ = drawn(chain_svg([Network("vae", "showers", role="autoencoder"), Network("flow", "vae")]))
    assert "from the prior" not in words


def test_names_are_shown_as_they_are():
    name = "<script>&\"'" + 40 * "x"
    svg = chain_svg([Network(name, "showers", (), "<b>")], ["<i>"], '"/><b>')
    root = ElementTree.fromstring(str(svg))
    assert next(root.iter("title")).text == f"{name}: <b>" and "<script" not in svg
    assert any("\N{HORIZONTAL ELLIPSIS}" in "".join(t.itertext()) for t in root.iter("text"))


def test_the_report_shows_the_networks_of_each_model(tmp_path):
    networks = []
    for network in CALOMAN:
        path = tmp_path / f"{network.name}.csv"
        path.write_text("epoch,step,train_loss,val_loss,lr,seconds\n0,9,5,4.5,0.1,200\n1,19,-3.25,-2.5,0.1,250\n")
        record = {k: getattr(network, k) for k in ("name", "learns", "given", "model", "role")}
        networks.append({**record, "checkpoint": str(tmp_path / "model.pt"), "history": str(path)})
    write_json(tmp_path / "timing.json", {"parameters": {"energies": 81_234, "flow": 412_345}, "results": []})
    files = {"networks": networks, "timing": str(tmp_path / "timing.json")}
    runs = tuple(RunArtifacts("photons", "caloman", seed, "calogan", "as published", **files) for seed in (0, 1))
    summary = StudySummary(
        "s", runs, config={"datasets": {"photons": {"conditions": ["incident_phi"]}}}, dpi=40, pdf=False
    )
    data = load_study_data(summary)[0]
    (drawing,), (table,) = chain_drawings(data), network_tables(data)
    assert drawing.caption == "caloman: as published" and "\N{GREEK SMALL LETTER PHI}" in drawing.svg
    assert [row[1].split("\n")[0] for row in table.rows] == ["energies", "flow", "autoencoder"]
    assert table.rows[1][2:] == (
        "latents of autoencoder",
        "layer energies",
        "412 k",
        "2",
        "7.5 min",
        "\N{MINUS SIGN}3.250",
        "\N{MINUS SIGN}2.500",
    )
    assert [task.name for task in training_tasks(data)] == [
        f"photons_caloman_{n}_training" for n in ("energies", "flow", "autoencoder")
    ]
    page = build_report(summary, tmp_path / "report").read_text(encoding="utf-8")
    assert page.count('<svg class="chain"') == 1 and 'id="d1-training"' in page
    assert re.search(r"<td[^>]*><a [^>]*>81.2 k</a></td>", page)


@pytest.mark.parametrize(
    ("number", "text"), [(812, "812"), (15_432, "15.4 k"), (999_999, "1 M"), (2_310_000, "2.31 M"), (0, "0")]
)
def test_counts(number, text):
    assert format_count(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(42.4, "42 s"), (450, "7.5 min"), (8640, "2.4 h")])
def test_durations(seconds, text):
    assert format_duration(seconds) == text
