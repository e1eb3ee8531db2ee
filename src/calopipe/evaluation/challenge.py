"""The CaloChallenge's evaluation of one submission: a generated against a reference file, mode by mode.

What the challenge's script ``evaluate.py`` (arXiv:2410.21611, section 4) shows of a submission, with an error on every
score and files read in pieces. Both files are checked, as a whole, before anything is computed or written: shapes,
values, and whether their incident energies follow one distribution, without which no histogram can be compared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from calopipe.config.evaluation import ClassifierConfig, HistogramConfig
from calopipe.evaluation.averages import Sums
from calopipe.evaluation.challenge_setup import CLASSIFIERS, Setup, classifier_of
from calopipe.evaluation.health import Census
from calopipe.evaluation.inputs import Readout, rows_of, stream
from calopipe.evaluation.metrics import measure_metrics, parsed
from calopipe.evaluation.observables import evaluate_observables
from calopipe.evaluation.samples import load_sample
from calopipe.io.stored import read_npz
from calopipe.io.temporary import scratch
from calopipe.metrics.base import BinnedCounts, Sample
from calopipe.observables import SPECS
from calopipe.observables.spectrum import LABEL as VOXEL_LABEL
from calopipe.records.histograms import AverageShowers, Histogram, load_histograms
from calopipe.records.samples import GENERATED, REFERENCE
from calopipe.records.scores import Score, load_scores
from calopipe.records.slices import Slice

log = logging.getLogger("calopipe")


@dataclass
class Findings:
    """What an evaluation found.

    Attributes:
        scores: all scores, in the order of the modes.
        histograms: with counts of ``reference`` and ``generated``.
        averages: mean showers over all energies (``part`` None) and per energy.
        curves: classifier name -> the arrays of :func:`calopipe.evaluation.evaluate_classifier`.
        classifiers: classifier name -> its settings.
    """

    scores: list[Score] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    averages: list[AverageShowers] = field(default_factory=list)
    curves: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    classifiers: dict[str, ClassifierConfig] = field(default_factory=dict)


# ---- one pass over each file: values checked, mean showers and responses ---------------------------------------------
@dataclass(frozen=True)
class Summary:
    """Sums over one file.

    Attributes:
        n: showers per slice of incident energy (None: all of them).
        mean: slice -> (V,) mean energy in MeV of each voxel, after the threshold.
        response: slice -> histogram of E_tot / E_inc in the challenge's bins for one energy; set 1 only.
        census: what the health check looks at.
    """

    n: Mapping[Slice | None, int]
    mean: Mapping[Slice | None, np.ndarray]
    response: Mapping[Slice | None, BinnedCounts]
    census: Census


def summarise(path: Path, what: str, setup: Setup, slices: Sequence[Slice]) -> Summary:
    """Read a file once, checking every value.

    Raises:
        DataError: the file is unreadable, or a value is not an energy (names the row).
    """
    every: list[Slice | None] = [None, *slices]
    readout = setup.readout
    sums = {s: Sums(readout.geometry.n_voxels) for s in every}
    edges = {s: _response_edges(setup.dataset, s) for s in slices if s.single}
    counts = {s: np.zeros(len(e) - 1, dtype=np.int64) for s, e in edges.items()}
    found = Census(what, readout.geometry, readout.threshold_MeV)
    for chunk in stream(path, readout.geometry, f"checking the {what} file"):
        kept = readout.kept(chunk.showers)
        ratio = kept.sum(axis=1, dtype=np.float64) / chunk.incident_energies[:, 0].astype(np.float64)
        found.add(chunk)
        for s in every:
            rows = rows_of(chunk, s)
            sums[s].add(kept if s is None else kept[rows])
            if s in edges:
                counts[s] += np.histogram(ratio[rows], edges[s])[0]
    n, mean = {s: total.n for s, total in sums.items()}, {s: total.mean() for s, total in sums.items() if total.n}
    shown = edges if setup.dataset in ("1-photons", "1-pions") else {}
    response: dict[Slice | None, BinnedCounts] = {s: BinnedCounts(edges[s], counts[s], n[s]) for s in shown}
    return Summary(n, mean, response, found)


def _response_edges(dataset: str | None, energy: Slice) -> np.ndarray:
    """The challenge's bins of E_tot / E_inc at one energy: [0.9, 1.1] for photons from 4096 MeV on, else [0.4, 1.4]."""
    narrow = dataset == "1-photons" and energy.low > 4000
    return np.linspace(0.9, 1.1, 21) if narrow else np.linspace(0.4, 1.4, 21)


# ---- the modes --------------------------------------------------------------------------------------------------------
def evaluate_modes(
    reference: Path,
    generated: Path,
    setup: Setup,
    *,
    modes: Sequence[str],
    summaries: tuple[Summary, Summary],
    seed: int,
    adjust: Callable[[ClassifierConfig], ClassifierConfig] = lambda config: config,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Findings:
    """Compute the modes.

    Args:
        reference, generated: shower files that have been checked.
        modes: in the order of :data:`MODES`, from :meth:`Setup.modes`.
        summaries: of the reference and of the generated file.
        seed: seed of bootstraps and classifier trainings.
        adjust: changes the settings of the challenge's classifiers (device, repeats, epochs).
        settings: of metrics by name, where they are not the default ones.

    A metric that is not defined on this input becomes a score without a value that says why.
    """
    found = Findings()
    with scratch("calopipe-evaluate") as folder:
        samples = _samples(reference, generated, setup, folder, bool({"hist", "chi2"} & set(modes)))
        if {"avg", "avg-E"} & set(modes):
            found.averages = list(_averages(summaries, "avg" in modes, "avg-E" in modes))
        if "hist" in modes:
            found.histograms = _histograms(samples, setup, summaries, folder)
        for mode in modes:
            start = time.monotonic()
            metrics = parsed([{"metric": name, **settings.get(name, {})} for name in _metrics_of(mode, modes, setup)])
            found.scores += measure_metrics(*samples, GENERATED, metrics, seed)
            if mode in CLASSIFIERS:
                name, config = CLASSIFIERS[mode], adjust(classifier_of(mode))
                found.classifiers[name] = config
                scores, found.curves[name] = _classify(
                    name, config, (reference, generated), setup.readout, seed, folder
                )
                found.scores += scores
            log.info("mode %s: %.1f s", mode, time.monotonic() - start)
    return found


def _metrics_of(mode: str, modes: Sequence[str], setup: Setup) -> list[str]:
    """The registered metrics of a mode; separation powers belong to ``hist`` and ``chi2`` and are computed once."""
    if mode in ("fpd", "kpd", "prdc"):
        return [mode]
    if mode == "chi2" or (mode == "hist" and "chi2" not in modes):
        return ["separation_power" if setup.dataset is None else "challenge_separation"]
    return []


def _samples(reference: Path, generated: Path, setup: Setup, folder: Path, histograms: bool) -> tuple[Sample, Sample]:
    """Both samples as metrics see them; for a geometry that is none of the challenge's, with our own histograms."""
    path = folder / "histograms.npz"
    if setup.dataset is None and histograms:
        config = HistogramConfig(brightest=0)
        evaluate_observables(reference, {GENERATED: generated}, setup.readout, config=config, out=path)
    base = load_sample(REFERENCE, reference, setup.readout, histograms=path)
    return base, load_sample(GENERATED, generated, setup.readout, histograms=path, reference=base)


def _averages(summaries: tuple[Summary, Summary], whole: bool, sliced: bool) -> Iterator[AverageShowers]:
    reference, generated = summaries
    for part in reference.mean:
        if (whole if part is None else sliced) and part in generated.mean:
            mean = {REFERENCE: reference.mean[part], GENERATED: generated.mean[part]}
            yield AverageShowers(mean, {REFERENCE: reference.n[part], GENERATED: generated.n[part]}, part)


def _histograms(
    samples: tuple[Sample, Sample], setup: Setup, summaries: tuple[Summary, Summary], folder: Path
) -> list[Histogram]:
    if setup.dataset is None:
        return load_histograms(folder / "histograms.npz")[0]
    base, sample = (s.challenge_histograms for s in samples)
    found = [_histogram(name, base[name], sample[name]) for name in base]
    first, second = (s.response for s in summaries)
    return found + [_histogram("E_ratio", h, second[s], s) for s, h in first.items() if h.total and second[s].total]


def _histogram(name: str, reference: BinnedCounts, generated: BinnedCounts, part: Slice | None = None) -> Histogram:
    """One of the challenge's histograms, with our labels."""
    family, _, layer = name.partition("/")
    if family == "voxels":
        label = VOXEL_LABEL
    elif family == "sparsity":
        label = f"sparsity of layer {layer}"
    else:
        label = SPECS[family].label.format(a=layer)
    return Histogram(
        name=name,
        group=family,
        label=label,
        edges=reference.edges,
        counts={REFERENCE: reference.counts, GENERATED: generated.counts},
        totals={REFERENCE: reference.total, GENERATED: generated.total},
        log_x=family in ("E_layer", "voxels"),
        log_y=family not in ("E_ratio", "sparsity"),
        part=part,
    )


def _classify(
    name: str, config: ClassifierConfig, paths: tuple[Path, Path], readout: Readout, seed: int, folder: Path
) -> tuple[list[Score], dict[str, np.ndarray]]:
    """Scores and curves of a classifier that learns to tell the reference from the generated file, `paths`."""
    from calopipe.evaluation.classifier import evaluate_classifier
    from calopipe.evaluation.power import evaluate_power

    scores, curves = folder / f"{name}.json", folder / f"{name}.npz"
    power = folder / f"{name}-power.json" if config.power else None
    about: dict[str, Any] = {"config": config, "seed": seed, "name": name}
    if power is not None:
        evaluate_power(paths[0], None, readout, out=power, **about)
    evaluate_classifier(*paths, readout, scores=scores, curves=curves, power=power, **about)
    return load_scores(scores), read_npz(curves)
