"""Figures of the latent spaces of each model's networks (first seed)."""

from __future__ import annotations

from collections.abc import Iterator

from calopipe.plots.latents import latent_figure
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files


def latent_tasks(data: DatasetData) -> Iterator[Task]:
    """One figure for each network that has latents or noise."""
    for model in data.models:
        first = next((seed for seed in model.seeds if seed.latent_space), None)
        if first is None:
            continue
        for network in dict.fromkeys(name for name, _ in first.latent_space):
            found = {kind: marginals for (name, kind), marginals in first.latent_space.items() if name == network}
            title = f"{model.name}: {network}"
            what = "noise that it makes of data" if "noise" in found else "latents of test showers"
            file = file_name(data.name, model.name, network, "latents")
            yield Task("latents", file, f"{data.name}: {title}, {what}", latent_figure, (found, model.style, title),
                       sources=files([first.run.latent_space]))  # fmt: skip
