"""Overview figures of scores: separation powers of all observables, against the layer where there are many."""

from __future__ import annotations

from collections.abc import Iterator

from calopipe.plots.layers import MANY_LAYERS
from calopipe.plots.scores import ROWS_PER_COLUMN, Dot, layer_of, layer_scores_figure, scores_figure
from calopipe.plots.style import LineStyle, sample_style
from calopipe.report.data import DatasetData
from calopipe.report.drawing import Task, file_name
from calopipe.report.sources import files, paths_of
from calopipe.report.tables import combine


def score_tasks(data: DatasetData) -> Iterator[Task]:
    """Separation powers: dots for all observables; those of many layers against the layer."""
    prefix = "separation_power/"
    columns: list[tuple[LineStyle, dict[str, Dot]]] = []
    floors: dict[str, float] = {}
    sources: list[str] = []
    for model in data.models:
        for sample in model.samples():
            dots: dict[str, Dot] = {}
            scores = [s for seed in model.seeds for s in seed.scores if s.sample == sample and "slice" not in s.extra]
            scores = [s for s in scores if s.name.startswith(prefix)]
            sources += paths_of(scores)
            for name in dict.fromkeys(s.name for s in scores):
                same = [s for s in scores if s.name == name]
                combined = combine(same)
                if combined is not None:
                    dots[name.removeprefix(prefix)] = Dot(*combined)
                floors |= {name.removeprefix(prefix): s.floor for s in same if s.floor is not None}
            if dots:
                columns.append((sample_style(model.style, sample, len(model.seeds)), dots))
    if not columns:
        return
    many = data.geometry is not None and data.geometry.n_layers > MANY_LAYERS
    rows = [name for _, dots in columns for name in dots if not many or layer_of(name) is None]
    rows = [name for name in dict.fromkeys(rows) if many or not name.startswith("mean_layers/")]
    if rows:
        shown = [(style, {k: v for k, v in dots.items() if k in rows}) for style, dots in columns]
        caption = f"{data.name}: separation powers of the observables"
        arguments = (shown, "Separation power", floors, data.name)
        wide = len(rows) > ROWS_PER_COLUMN
        name = file_name(data.name, "separation")
        yield Task("scores", name, caption, scores_figure, arguments, wide=wide, sources=files(sources))
    if many and any(layer_of(name) is not None for _, dots in columns for name in dots):
        caption = f"{data.name}: separation powers against the layer"
        name, arguments = file_name(data.name, "separation_layers"), (columns, "Separation power", floors, data.name)
        yield Task("scores", name, caption, layer_scores_figure, arguments, wide=True, sources=files(sources))
