"""The one table of a study's files: where each is below the results folder, and the rule that writes it.

Rules, the plan, messages about damaged files and the report take their paths and names from here. Words in braces are wildcards
of the rules.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any, NamedTuple

DATA = "data/{dataset}/"
MODEL = "{dataset}/{model}/"
RUN = f"{MODEL}seed{{seed}}/"


class File(NamedTuple):
    """One kind of file: its folder and its path in it, the rule that writes it, and a title where the report lists it."""

    folder: str
    name: str
    rule: str
    title: str = ""


FILES: dict[str, File] = {
    # data
    "manifest": File(DATA, "raw/{role}.json", "fetch"),
    "prepared": File(DATA, "{split}.hdf5", "prepare"),
    "reference": File(DATA, "test.hdf5", "prepare", "reference showers"),
    "summary": File(DATA, "summary.json", "prepare"),
    "regressor": File(DATA, "regressors/{regressor}/model.pt", "train_regressor"),
    "regressor_history": File(DATA, "regressors/{regressor}/history.csv", "train_regressor"),
    "power": File(DATA, "power/{evaluation}/{classifier}.json", "power"),
    # networks of a run
    "checkpoint": File(RUN, "{network}/model.pt", "train"),
    "history": File(RUN, "{network}/history.csv", "train"),
    "kept": File(RUN, "{network}/epochs", "train"),
    "latents": File(RUN, "{network}/latents/{split}.hdf5", "encode"),
    "remade": File(RUN, "{network}/remade/{split}.hdf5", "remake"),
    # samples and their judgements
    "generated": File(RUN, "generated.hdf5", "generate", "generated showers"),
    "reconstructed": File(RUN, "reconstructed.hdf5", "reconstruct", "reconstructed showers"),
    "unrefined": File(RUN, "unrefined.hdf5", "generate_unrefined", "showers before refinement"),
    "histograms": File(RUN, "histograms.npz", "observables", "histograms"),
    "health": File(RUN, "health.json", "health", "health check"),
    "metrics": File(RUN, "metrics.json", "metrics", "scores"),
    "classifier": File(RUN, "classifiers/{classifier}.json", "classify"),
    "classifier_curves": File(RUN, "classifiers/{classifier}.npz", "classify"),
    "classifier_reconstructed": File(RUN, "classifiers/reconstructed/{classifier}.json", "classify_reconstructed"),
    "classifier_reconstructed_curves": File(
        RUN, "classifiers/reconstructed/{classifier}.npz", "classify_reconstructed"
    ),
    "classifier_unrefined": File(RUN, "classifiers/unrefined/{classifier}.json", "classify_unrefined"),
    "classifier_unrefined_curves": File(RUN, "classifiers/unrefined/{classifier}.npz", "classify_unrefined"),
    "weights": File(RUN, "weights/{classifier}.npz", "weights"),
    "regression": File(RUN, "regression/{regressor}.json", "regression"),
    "regression_curves": File(RUN, "regression/{regressor}.npz", "regression"),
    "epochs": File(RUN, "scores_by_epoch.json", "epochs", "scores by epoch"),
    "epoch_histograms": File(RUN, "histograms_by_epoch.npz", "epochs", "histograms by epoch"),
    "latent_space": File(RUN, "latent_space.npz", "latent_space", "latent distributions"),
    "weight_spread": File(RUN, "weight_spread.npz", "weight_spread", "variances of weights"),
    "timing": File(RUN, "timing.json", "timing", "timing"),
    "calomplification": File(MODEL, "calomplification.json", "calomplification", "amplification"),
    "divergences": File(MODEL, "calomplification.npz", "calomplification", "divergences in quantiles"),
    "comparison": File("", "compare/{dataset}/{evaluation}.json", "compare", "multi-class test: scores"),
    "confusion": File("", "compare/{dataset}/{evaluation}.npz", "compare", "multi-class test: confusion matrix"),
    "bands": File("", "compare/{dataset}/bands/{evaluation}.json", "bands", "bands of Bayesian networks and ensembles"),
    # the study
    "report": File("", "report/{study}/index.html", "report"),
    "plots": File("", "report/{study}/plots", "report"),
}
#: in a folder of plots: which files each was drawn from
PLOT_INDEX = "sources.json"
#: files that nobody is told to delete: they may be his own
_KEPT = ("prepared", "reference", "generated", "reconstructed", "unrefined", "remade", "checkpoint", "regressor")


def pattern(results: str, name: str, **wildcards: Any) -> str:
    """Path of the file `name`, with the wildcards that are given filled in and the others left as they are."""
    text = f"{results}/{FILES[name].folder}{FILES[name].name}"
    for key, value in wildcards.items():
        text = text.replace(f"{{{key}}}", str(value))
    return text


def rule_of(path: str | PurePath) -> str | None:
    """The rule that writes a file that can be made anew, told by the end of its path; None for other files."""
    for name, file in FILES.items():
        end = re.sub(r"\{\w+\}", "*", file.name)
        if name not in _KEPT and PurePath(path).match(end):
            return file.rule
    return None
