"""The networks of each model: their chain as a drawing, what they are as a table, and how they were trained as figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from calopipe.plots.style import REFERENCE_LINE, LineStyle
from calopipe.plots.training import training_figure
from calopipe.records.history import History
from calopipe.records.slices import INCIDENT_ENERGY
from calopipe.report.chain import Network, chain_svg, in_order
from calopipe.report.data import DatasetData, ModelData
from calopipe.report.drawing import Task, file_name
from calopipe.report.numbers import format_count, format_duration, format_value
from calopipe.report.sources import Source, Sourced, files
from calopipe.report.tables import Table

#: titles of the regressors' histories begin with it
_REGRESSOR = "regressor "


@dataclass(frozen=True)
class Drawing:
    """A drawing that stands in the page itself, and the line below it."""

    svg: Markup
    caption: str


def chain_drawings(data: DatasetData) -> Iterator[Drawing]:
    """The chain of networks of each model."""
    for model in data.models:
        networks = _networks(model)
        if networks:
            text = f"{model.name}: {model.description}" if model.description else model.name
            yield Drawing(chain_svg(networks, (INCIDENT_ENERGY, *data.conditions), model.style.color), text)


def network_tables(data: DatasetData) -> Iterator[Table]:
    """What each network is, and where its training ended (first seed of each model)."""
    rows = [_row(model, network) for model in data.models for network in in_order(_networks(model))]
    if rows:
        yield Table(
            columns=(
                "Model",
                "Network",
                "Learns",
                "Given",
                "Parameters",
                "Epochs",
                "Training time",
                "Loss",
                "Validation loss",
            ),
            rows=tuple(rows),
            text_columns=4,
            note="First seed of each model. Every network is given the conditions. Losses: those of the last epoch that "
            "has one; those of different kinds of networks do not compare.",
        )


def _networks(model: ModelData) -> list[Network]:
    """The chain of a model; its timing knows how many parameters the networks have."""
    first = model.seeds[0]
    sizes = (first.timing or {}).get("parameters", {})
    return [Network.of({"parameters": sizes.get(record["name"]), **record}) for record in first.run.networks]


def _row(model: ModelData, network: Network) -> tuple[str, ...]:
    learns = f"latents of {network.learns}" if network.learns in {n.name for n in _networks(model)} else network.learns
    first = model.seeds[0]
    size = "" if network.parameters is None else Sourced(format_count(network.parameters), [first.source("timing")])
    given = ", ".join(network.given)
    named = (model.name, f"{network.name}\n{network.model}", learns.replace("_", " "), given.replace("_", " "), size)
    if network.name not in first.histories:
        return (*named, "", "", "", "")
    source = Source(first.log(network.name) or "", first.run.seed)
    return (*named, *(Sourced(text, [source]) for text in _end(first.histories[network.name])))


def _end(history: History) -> tuple[str, str, str, str]:
    """Epochs, time, and the last training and validation loss."""
    values = (history.last(kind, "loss") for kind in ("train", "val"))
    train, val = ("" if value is None else format_value(value, 4) for value in values)
    time = "" if history.seconds is None else format_duration(history.seconds)
    return (str(len(history)), time, train, val)


def training_tasks(data: DatasetData) -> Iterator[Task]:
    """Losses, rates and gradients of every network of every model, a curve per seed; and of the regressors."""
    for model in data.models:
        for network in in_order(_networks(model)):
            name = network.name
            trainings = {key: t for s in model.seeds for key, t in s.trainings.items() if name in t.histories}
            seeds = {f"seed {key}": training.histories[name] for key, training in trainings.items()}
            if seeds:
                title = f"{model.name}: {name}"
                file = file_name(data.name, model.name, name, "training")
                caption = f"{data.name}: training of {title}"
                sources = files(training.log(name) for training in trainings.values())
                yield Task("training", file, caption, training_figure, (seeds, model.style, title), sources=sources)
    for name in _regressors(data):  # all runs share it
        seed = next(s for m in data.models for s in m.seeds if name in s.histories)
        learned = data.learned.get(name.removeprefix(_REGRESSOR))
        caption = f"{data.name}: training of the {name}{f' on {learned}' if learned else ''}"
        file = file_name(data.name, name, "training")
        style = LineStyle(name, REFERENCE_LINE)
        arguments = ({name: seed.histories[name]}, style, name)
        yield Task("training", file, caption, training_figure, arguments, sources=files([seed.log(name)]))


def _regressors(data: DatasetData) -> list[str]:
    """Titles of the energy regressors whose history is known."""
    found = (name for m in data.models for s in m.seeds for name in s.histories)
    return list(dict.fromkeys(name for name in found if name.startswith(_REGRESSOR)))
