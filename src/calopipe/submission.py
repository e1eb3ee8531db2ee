"""Judging a submission (``calopipe evaluate``): from shower files to a folder with scores, table and plots."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from calopipe import provenance
from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import DataError, printable
from calopipe.evaluation.challenge import Findings, Summary, evaluate_modes, summarise
from calopipe.evaluation.challenge_inputs import check_pair, energy_slices
from calopipe.evaluation.challenge_setup import Setup
from calopipe.evaluation.health import check_file, check_pair_of_samples, trained_range
from calopipe.evaluation.outside import outside_warnings
from calopipe.io import file_hash, file_info, joined_showers, repeated
from calopipe.io.output import filling
from calopipe.io.temporary import scratch
from calopipe.records.judgement import InputFile, Judgement, load_judgement, save_judgement
from calopipe.records.scores import Score
from calopipe.records.tables import score_rows, write_table
from calopipe.records.wording import SHOWERS
from calopipe.report.numbers import format_measurement, format_value
from calopipe.report.power import blind_spots, floor_of, seen_spots
from calopipe.report.strongest import farthest, in_words, reading, strongest
from calopipe.sources import SETS, is_official_reference

log = logging.getLogger("calopipe")

#: names of the files written beside the plots
SCORES, TABLE = "scores.json", "scores.csv"
#: what the titles of its pictures begin with
TITLE = "calopipe evaluate"
#: scores are printed one by one up to this many of a metric; more are left to the files
PRINTED = 12


def evaluate(
    reference: Sequence[Path],
    generated: Sequence[Path],
    setup: Setup,
    modes: Sequence[str],
    out: Path,
    *,
    name: str = "",
    seed: int = 0,
    dpi: int = 150,
    adjust: Callable[[ClassifierConfig], ClassifierConfig] = lambda config: config,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Judgement:
    """Compare a generated with a reference sample and write ``scores.json``, ``scores.csv`` and PNG plots to `out`.

    The files appear when everything is done, ``scores.json`` last; a run that fails or is interrupted leaves none. Files
    of an earlier evaluation in `out` are removed then.

    Args:
        reference, generated: one shower file each, or several that are taken as one.
        setup: what they are compared in.
        modes: from :meth:`Setup.modes`.
        name: what the generated sample is called; by default its file's name.
        seed: seed of bootstraps and classifier trainings.
        adjust: changes the settings of the challenge's classifiers.
        settings: of metrics by name, where they are not the default ones.

    Raises:
        DataError: a generated file is listed twice, a file is unreadable, does not fit, holds values that are not energies, or the incident energies of the
            two do not match; nothing is written then.
    """
    _check_folder(out)
    if twice := repeated(generated):
        raise DataError(twice)
    request = _Request(setup, tuple(modes), printable(name or generated[0].stem), seed)
    with _as_one(reference, "reference") as one, _as_one(generated, "generated") as other:
        pair = check_pair(one, other, setup.readout.geometry)
        slices = list(energy_slices(pair.energies))
        summaries = (summarise(one, "reference", setup, slices), summarise(other, "generated", setup, slices))
        inputs = [tuple(_describe(p) for p in paths) for paths in (reference, generated)]
        summaries[1].census.trained = trained_range(generated)
        warnings = (*filter(None, [repeated(reference)]), *pair.warnings, *_warnings(summaries, inputs))
        for line in warnings:
            log.warning("warning: %s", line)
        with filling(out, SCORES, [*reference, *generated]) as folder:
            found = evaluate_modes(
                one, other, setup, modes=modes, summaries=summaries, seed=seed, adjust=adjust, settings=settings
            )
            written = _draw(found, request, folder, dpi, [*reference, *generated])
            unseen = outside_warnings(found.scores)
            for line in unseen:
                log.warning("warning: %s", line)
            files, remarks = (*written, TABLE), (*warnings, *unseen)
            judgement = _judgement(found, request, inputs, warnings=remarks, files=files)
            labels = {"dataset": setup.dataset or setup.readout.geometry.name, "generator": request.name}
            write_table(folder / TABLE, score_rows(judgement.scores, **labels))
            save_judgement(folder / SCORES, judgement)
            _remove_earlier(out)
    return judgement


@dataclass(frozen=True)
class _Request:
    """What was asked for: what is compared in what, how, under which name."""

    setup: Setup
    modes: tuple[str, ...]
    name: str
    seed: int


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; a folder is needed for the results")
    place = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not os.access(place, os.W_OK):
        raise DataError(f"{out}: cannot be written")


@contextmanager
def _as_one(paths: Sequence[Path], what: str) -> Iterator[Path]:
    """The file itself, or a temporary view of several as one."""
    if len(paths) == 1:
        yield paths[0]
        return
    with scratch("calopipe-evaluate") as folder, joined_showers(paths, folder / f"{what}.hdf5") as target:
        yield target


def _describe(path: Path) -> InputFile:
    return InputFile(printable(path.name), file_info(path).n_showers, file_hash(path), file_hash(path, "md5"))


def _warnings(summaries: Sequence[Summary], inputs: Sequence[tuple[InputFile, ...]]) -> Iterator[str]:
    """What the health check finds, a file that is compared with itself first: all its showers are copies then."""
    reference, generated = (s.census for s in summaries)
    same = {f.sha256 for f in inputs[0]} & {f.sha256 for f in inputs[1]}
    if same:
        yield "the generated file is the reference file itself"
    found = check_file(reference) + check_file(generated, alone=False)
    found += check_pair_of_samples(reference, generated, energies=False)
    yield from (f.text for f in found if not (same and f.check == "shared"))


def _judgement(
    found: Findings,
    request: _Request,
    inputs: Sequence[tuple[InputFile, ...]],
    *,
    warnings: tuple[str, ...],
    files: tuple[str, ...],
) -> Judgement:
    setup, readout = request.setup, request.setup.readout
    official = setup.dataset is not None and is_official_reference(SETS[setup.dataset], [f.md5 for f in inputs[0]])
    return Judgement(
        dataset=setup.dataset,
        geometry=readout.geometry.name,
        geometry_hash=readout.geometry.hash,
        threshold_MeV=readout.threshold_MeV,
        modes=request.modes,
        seed=request.seed,
        name=request.name,
        reference=inputs[0],
        generated=inputs[1],
        official=official,
        scores=tuple(found.scores),
        classifiers={k: c.model_dump(mode="json") for k, c in found.classifiers.items()},
        warnings=warnings,
        versions=provenance.versions(),
        hardware=provenance.hardware(),
        files=files,
    )


def _remove_earlier(out: Path) -> None:
    """Remove the files that an earlier evaluation wrote: plots of other modes would look like part of this one.

    The list of files in ``scores.json`` is not trusted: only plain files of this folder go that calopipe wrote, the table and
    pictures with its mark inside.
    """
    try:
        earlier = load_judgement(out / SCORES).files
    except DataError:
        return
    ours = [out / file for file in earlier if isinstance(file, str) and _is_ours(out, file)]
    for path in (out / SCORES, *ours):
        with suppress(OSError):
            path.unlink()


def _is_ours(out: Path, file: str) -> bool:
    from calopipe.plots.style import read_provenance

    path = out / file
    try:
        if Path(file).name != file or path.is_symlink() or not path.is_file():
            return False
        return file == TABLE or (path.suffix == ".png" and read_provenance(path).get("run", "").startswith(TITLE))
    except Exception:  # whatever a name that can be none, or a file that is no picture, makes the reader raise
        return False


def _draw(found: Findings, request: _Request, folder: Path, dpi: int, inputs: Sequence[Path]) -> list[str]:
    """Save all figures; returns the names of the files."""
    from calopipe.plots.style import save_figure

    readout = request.setup.readout
    settings = {"geometry": readout.geometry.to_dict(), "threshold_MeV": readout.threshold_MeV}
    record = provenance.collect(f"{TITLE} {request.name}", {**settings, "modes": list(request.modes)}, inputs)
    written = []
    for file, figure in _figures(found, request):
        written += [p.name for p in save_figure(figure, folder / f"{file}.png", record, dpi=dpi, pdf=False)]
    return written


def _figures(found: Findings, request: _Request) -> Iterator:
    from calopipe.plots import challenge as plots
    from calopipe.plots.scores import Dot
    from calopipe.plots.style import model_styles

    style, geometry = model_styles([request.name])[request.name], request.setup.readout.geometry
    known = {s.name: s for s in found.scores if s.value is not None}
    separations = {
        k.split("/", 1)[1]: s for k, s in known.items() if k.startswith(("challenge_separation/", "separation_power/"))
    }
    yield from plots.average_figures(geometry, found.averages, style)
    texts = {k: f"S = {format_measurement(s.value or 0.0, s.error)}" for k, s in separations.items()}
    yield from plots.histogram_figures(found.histograms, texts, style)
    if "hist" in request.modes:
        dots = {k: Dot(s.value or 0.0, s.error) for k, s in separations.items()}
        floors = {k: s.floor for k, s in separations.items() if s.floor is not None}
        yield from plots.separation_figures(dots, floors, geometry.n_layers, style)
    aucs = {n: known.get(f"classifier/{n}/auc") for n in found.curves}
    auc_texts = {n: format_measurement(s.value or 0.0, s.error) if s else "" for n, s in aucs.items()}
    yield from plots.classifier_figures(found.curves, auc_texts, model_styles(found.curves), style)


def printed_summary(judgement: Judgement) -> str:
    """Lines for those who read no more: the strongest classifier test, what it sees and does not, the farthest observables."""
    lines = []
    tests = [s for s in judgement.scores if s.name.startswith("classifier/") and s.name.endswith("/auc")]
    best = strongest(tests)
    if best is not None:
        scores, value, error = best
        name, other = scores[0].name.split("/")[1], floor_of(scores)
        lines.append(f"strongest test: {name}, AUC {format_measurement(value, error)} (two reference samples: {other})")
        lines.append(f"  {reading(value, error, SHOWERS)}")
        lines += [f"  it sees {text}" for text in seen_spots(scores)]
        lines += [f"  it is blind to {text}" for text in blind_spots(scores)]
    for far in (f for f in farthest(judgement.scores) if f.clear):
        errors = "" if far.errors is None else f", {format_value(far.errors, 2)} errors from the reference"
        lines.append(f"far from the reference: {in_words(far.name)}, separation {format_value(far.size, 2)}{errors}")
    return "\n".join(lines)


def printed_scores(judgement: Judgement) -> str:
    """The scores as lines for a terminal; of long lists the means over layers and the observables of the whole shower."""
    groups: dict[str, list[Score]] = {}
    for score in judgement.scores:
        groups.setdefault(score.name.split("/")[0], []).append(score)
    lines = []
    for members in groups.values():
        shown = members if len(members) <= PRINTED else [s for s in members if _is_leading(s.name)]
        lines += [_line(s) for s in shown]
        if len(shown) < len(members):
            lines.append(f"  ... and {len(members) - len(shown)} more in {TABLE}")
    return "\n".join(lines)


def _is_leading(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 or parts[1] == "mean_layers"


def _line(score: Score) -> str:
    if score.value is None:
        return f"  {score.name:<44} not computed: {score.missing}"
    floor = "" if score.floor is None else f"   (two reference samples: {format_value(score.floor, 2)})"
    return f"  {score.name:<44} {format_measurement(score.value, score.error)}{floor}"
