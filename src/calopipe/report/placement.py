"""Placing scores in the published table (``calopipe leaderboard``): reads score files, writes tables and plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from calopipe import provenance
from calopipe.errors import ConfigError, DataError
from calopipe.io.output import filling
from calopipe.io.stored import read_json, reading
from calopipe.metrics.classifier_presets import CHALLENGE_CLASSIFIERS, challenge_classifier
from calopipe.plots.leaderboard import Contender, quality_speed_figure
from calopipe.plots.style import literal, save_figure
from calopipe.records.judgement import Judgement, is_judgement, parse_judgement
from calopipe.records.scores import Score, parsed_score
from calopipe.records.tables import write_table
from calopipe.report.leaderboard import Leaderboard, csv_rows, markdown_table, own_scores, place
from calopipe.report.published import DATASETS, METRICS, Metric, published_table

#: qualities drawn against the time per shower
DRAWN = ("binary cls low", "binary cls high", "binary cls cnn", "FPD * 1e3", "sep E layer", "sep cell")
_UNKNOWN = "scores of a study: which data they were measured on is not recorded in these files"


@dataclass
class Sources:
    """What was found in the files: scores, timing records, and evaluations with what they say about their data."""

    scores: list[Score] = field(default_factory=list)
    timings: list[Mapping[str, Any]] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)


def read_scores(paths: Sequence[Path]) -> Sources:
    """Read score files of any kind: of ``calopipe evaluate``, or of a run of a study.

    Args:
        paths: JSON files (evaluation, ``metrics.json``, ``classifiers/*.json``, ``timing.json``), or the folder of an
            evaluation or of a run, whose files are taken.

    Raises:
        DataError: a file is missing, or is none of these.
    """
    found = Sources()
    for path in (file for given in paths for file in _files(given)):
        data = read_json(path)
        if is_judgement(data):
            found.judgements.append(parse_judgement(data, path))
        elif isinstance(data, dict) and isinstance(data.get("results"), list):
            found.timings.append(data)
        else:
            found.scores += _scores(data, path)
    return found


def _scores(data: Any, path: Path) -> list[Score]:
    with reading(path, "neither scores nor timings of calopipe"):
        if not isinstance(data, list):
            raise TypeError("no list of scores")
        return [parsed_score(item) for item in data]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    names = ("scores.json", "metrics.json", "timing.json")
    found = [path / n for n in names if (path / n).is_file()] + sorted(path.glob("classifiers/*.json"))
    if not found:
        raise DataError(f"{path}: no {', '.join(names)} or classifiers/*.json in this folder")
    return found


def leaderboard_of(paths: Sequence[Path], dataset: str | None = None, name: str = "") -> Leaderboard:
    """The leaderboard with one own row, made of all `paths` together.

    Args:
        paths: see :func:`read_scores`.
        dataset: the challenge's set; by default the one that the evaluation names.
        name: of the own row; by default the evaluation's, or the first path's.

    Raises:
        ConfigError: the set is not known, or the evaluation names another one.
        DataError: a file cannot be used.
    """
    sources = read_scores(paths)
    dataset = _dataset(sources.judgements, dataset)
    table = published_table(dataset)
    scores = [s for j in sources.judgements for s in j.scores] + sources.scores
    official = bool(sources.judgements) and all(j.official for j in sources.judgements) and not sources.scores
    notes = [_note(j) for j in sources.judgements] + ([_UNKNOWN] if sources.scores else [])
    name = name or next((j.name for j in sources.judgements), Path(paths[0]).resolve().stem)
    own = own_scores(name, scores, sources.timings, official, "; ".join(n for n in notes if n))
    return place(table, [own])


def _dataset(judgements: Sequence[Judgement], dataset: str | None) -> str:
    for judgement in judgements:
        if judgement.dataset is None:
            raise ConfigError(
                f"'{judgement.name}' was judged in geometry '{judgement.geometry}', which is no set of the challenge"
            )
        if dataset not in (None, judgement.dataset):
            raise ConfigError(f"'{judgement.name}' was judged as dataset {judgement.dataset}, not {dataset}")
        dataset = judgement.dataset
    if dataset is None:
        raise ConfigError(f"name the published table with --dataset: one of {', '.join(DATASETS)}")
    return dataset


def _note(judgement: Judgement) -> str:
    n, m = (sum(f.n_showers for f in files) for files in (judgement.generated, judgement.reference))
    text = f"{n} generated against {m} reference showers ({', '.join(f.name for f in judgement.reference)})"
    if judgement.official and n < m:
        text += "; the published scores are for as many generated as reference showers"
    neighbours = {s.n for s in judgement.scores if s.name.startswith("prdc/") and s.value is not None}
    if neighbours and min(neighbours) < min(n, m):
        text += f"; precision, recall, density and coverage of {min(neighbours)} showers, the published ones of all"
    published = {k: c for k, c in judgement.classifiers.items() if k in CHALLENGE_CLASSIFIERS}
    changed = [name for name, config in published.items() if not _is_challenges(name, config)]
    text += f"; warnings: {'; '.join(judgement.warnings)}" if judgement.warnings else ""
    return text + (f"; classifiers with settings other than the challenge's: {', '.join(changed)}" if changed else "")


def _is_challenges(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a classifier was the challenge's; the device and the number of trainings do not matter."""
    published = challenge_classifier(name).model_dump(mode="json")
    free = {"device", "repeats", "power"}
    return all(published.get(k) == v for k, v in config.items() if k not in free)


def write_leaderboard(board: Leaderboard, out: Path, dpi: int = 150) -> list[Path]:
    """Write ``leaderboard.csv``, ``leaderboard.md`` and the plots of quality against time to the folder `out`.

    Returns the files, the CSV last: it appears when all others are there.
    """
    record = provenance.collect(f"calopipe leaderboard, set {board.dataset}", csv_rows(board))
    with filling(out, "leaderboard.csv") as folder:
        for file, figure in quality_speed_figures(board):
            save_figure(figure, folder / f"{file}.png", record, dpi=dpi, pdf=False)
        (folder / "leaderboard.md").write_text(markdown_table(board), encoding="utf-8")
        write_table(folder / "leaderboard.csv", csv_rows(board))
        names = sorted((p.name for p in folder.iterdir()), key=lambda n: (n == "leaderboard.csv", n))
    return [out / n for n in names]


def quality_speed_figures(board: Leaderboard) -> Iterator[tuple[str, Figure]]:
    """File name and figure of quality against time, for each quality that an own row has."""
    yield from ((file, quality_speed_figure(**arguments)) for _, file, arguments in quality_speed_plots(board))


def quality_speed_plots(board: Leaderboard) -> Iterator[tuple[Metric, str, dict[str, Any]]]:
    """The quality, file name and arguments of :func:`quality_speed_figure`, for each quality that an own row has."""
    for key in DRAWN:
        metric = next((m for m in board.metrics if m.key == key), None)
        if metric is None or not any(key in e.values for e in board.own):
            continue
        contenders = [_contender(board, i, metric) for i in range(1, len(board.entries))]
        goal = board.entries[0].values.get(key)
        note = "" if all(e.official for e in board.own) else " \N{EN DASH} open marker: other data, not comparable"
        title = f"CaloChallenge set {board.dataset}{note}"
        linear = metric.group == "classifiers"
        label = metric.label.replace("x 1e3", r"$\times 10^3$")
        file = "quality_speed_" + metric.score.replace("/auc", "").replace("/", "_") if metric.score else key
        drawn = {"contenders": contenders, "label": label, "goal": goal, "title": title, "linear": linear}
        yield metric, file, drawn


def _contender(board: Leaderboard, index: int, metric: Metric) -> Contender:
    entry = board.entries[index]
    times = {}
    for m in METRICS:
        if m.group == "time" and m.key in entry.values:
            _, device, size = m.key.split()
            times[device, int(size)] = entry.values[m.key]
    return Contender(literal(entry.name), entry.values.get(metric.key), times, entry.own, entry.marked(metric))
