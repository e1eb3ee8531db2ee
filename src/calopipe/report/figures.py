"""The parts of a report, in the order of the page: :data:`SECTIONS`.

To add a part: a function ``foo_tasks(data) -> Iterator[Task]`` that yields the figures of one dataset (and, for a table,
``foo_tables(data) -> Iterator[Table]``), in a module of this package, and one line in :data:`SECTIONS`. A part without
figures and tables is left out. What it shows must be in the files of the runs: add the file to
:class:`calopipe.report.artifacts.RunArtifacts` and read it in :mod:`calopipe.report.data`. The drawing itself is a
function of :mod:`calopipe.plots` that takes arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from calopipe.report.bands import band_tables
from calopipe.report.calomplification import amplification_tasks
from calopipe.report.calomplification_tables import amplification_tables
from calopipe.report.classifiers import classifier_tasks
from calopipe.report.data import DatasetData
from calopipe.report.deposits import deposit_tasks
from calopipe.report.drawing import Task
from calopipe.report.histograms import GROUPS, histogram_tasks, other_histogram_tasks
from calopipe.report.latents import latent_tasks
from calopipe.report.pictures import cross_section_tasks, example_tasks, reconstruction_tasks
from calopipe.report.regression import epoch_tables, epoch_tasks, regression_tasks
from calopipe.report.scans import scan_tables, scan_tasks
from calopipe.report.scores import score_tasks
from calopipe.report.showers import average_tasks
from calopipe.report.standing import standing_tables, standing_tasks
from calopipe.report.summary import summary_tasks
from calopipe.report.tables import Table
from calopipe.report.timing import timing_tables, timing_tasks
from calopipe.report.training import Drawing, chain_drawings, network_tables
from calopipe.report.weight_spread import network_tasks


def nothing(data: DatasetData) -> Iterable[Any]:
    """The tables, or drawings, of a section that has none."""
    return ()


@dataclass(frozen=True)
class Section:
    """One heading of the report.

    Attributes:
        name: its address on the page; its tasks get it as their section.
        title: its heading.
        tasks: the figures of a dataset.
        tables: the tables of a dataset, shown above the figures.
        drawings: drawings of a dataset that stand in the page itself, shown above the tables.
    """

    name: str
    title: str
    tasks: Callable[[DatasetData], Iterable[Task]]
    tables: Callable[[DatasetData], Iterable[Table]] = nothing
    drawings: Callable[[DatasetData], Iterable[Drawing]] = nothing


#: every section of every dataset, in the order of the page
SECTIONS: tuple[Section, ...] = (
    Section("summary", "Further observables of the summary", summary_tasks),
    Section("scores", "Scores", score_tasks),
    Section("scan", "Scan", scan_tasks, scan_tables),
    Section("standing", "Place in the CaloChallenge", standing_tasks, standing_tables),
    *(Section(name, title, partial(histogram_tasks, group=name)) for name, title in GROUPS.items()),
    Section("other", "Other observables", other_histogram_tasks),
    Section("bands", "Bands of Bayesian networks and of ensembles", nothing, band_tables),
    Section("averages", "Average showers", average_tasks),
    Section("deposits", "Mean energy deposits", deposit_tasks),
    Section("cross_sections", "Cross sections", cross_section_tasks),
    Section("examples", "Single showers", example_tasks),
    Section("reconstructions", "Reconstructions", reconstruction_tasks),
    Section("training", "Networks and their training", network_tasks, network_tables, chain_drawings),
    Section("latents", "Latent spaces", latent_tasks),
    Section("classifiers", "Classifier tests", classifier_tasks),
    Section("regression", "Energy regression", regression_tasks),
    Section("epochs", "Scores by epoch", epoch_tasks, epoch_tables),
    Section("amplification", "Amplification", amplification_tasks, amplification_tables),
    Section("timing", "Generation time", timing_tasks, timing_tables),
)


def dataset_tasks(data: DatasetData) -> list[Task]:
    """All figures of one dataset, in the order of the page."""
    return [replace(task, section=section.name) for section in SECTIONS for task in section.tasks(data)]
