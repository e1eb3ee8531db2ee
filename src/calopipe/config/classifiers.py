"""Settings of classifier tests, by name: the one place that holds them. `ClassifierConfig.preset` reads it.

``trees`` and ``low_log`` are the tests that every evaluation makes (not published): between them they see observables with
their correlations, soft voxels and patterns of hits, and by cross-validation they score every shower. ``high`` is a network on
the challenge's observables that learns from fewer showers than the published one.

``challenge_*``: CaloChallenge (arXiv:2410.21611, section 4.2, and its evaluation script): batches of 1000, Adam at 2e-4,
50 epochs, weights of the best accuracy on the part that is not scored, split 60/20/20, isotonic calibration, JSD. The
script's network is an input layer and two hidden layers, each 2048 wide with LeakyReLU 0.01: three entries of `hidden`.
``challenge_resnet`` takes the input of ``challenge_low``; only its network differs (:mod:`calopipe.metrics.classifier_networks`).

``thesis*``: Ernst 2023, section 3.4.2: 150 epochs at 2e-4; voxels as they are or divided by the incident energy
(``normed``, section 4.3.2), after log10 E_inc; ``dropout``: its later variant with 30 % dropout, whose learning rate falls by
0.1 after 10 epochs without a better validation loss. The text has "2 hidden linear layers and 512 neurons per layer"; the
authors' code (heidelberg-hepml/CaloINN, src/classifier.py) an input layer of 512 neurons with its own LeakyReLU and two more:
three entries of `hidden`, as for the challenge's. The text does not say that E_inc is an input; the code has it, and for
CaloGAN log10 of the three layer energies too (here they are left out: sums of the voxels).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_CHALLENGE = {"hidden": [2048, 2048, 2048], "epochs": 50, "batch_size": 1000, "lr": 2e-4}
_THESIS = {"hidden": [512, 512, 512], "epochs": 150, "batch_size": 1000, "lr": 2e-4}
_DROPOUT = {**_THESIS, "dropout": 0.3, "plateau": True}
_CROSS_VALIDATED = {"folds": 5, "choose": "loss", "power": True}
_TREES = {
    **_CROSS_VALIDATED,
    "network": "trees",
    "features": "observables",
    "epochs": 400,
    "patience": 25,
    "lr": 0.06,
    "repeats": 3,
}
# The loss on showers not learned rises from the first epochs on, while the AUC still grows for dozens of epochs (a demo INN:
# 0.60 at the lowest loss, 0.74 at the end): outputs are overconfident, but in the right order.
_LOW_LOG = {
    **_CROSS_VALIDATED,
    "features": "low_log",
    "standardise": True,
    "hidden": [256, 256],
    "dropout": 0.3,
    "weight_decay": 1.0,
    "choose": "auc",
    "epochs": 50,
    "patience": 15,
    "batch_size": 250,
    "lr": 1e-3,
    "repeats": 1,
}

_HIGH = {"features": "high", "standardise": True, "epochs": 60, "lr": 1e-3, "repeats": 3, "power": True}

#: tests of every evaluation that does not leave them out
ALWAYS = ("trees", "low_log")

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "trees": _TREES,
        "low_log": _LOW_LOG,
        "high": _HIGH,
        "challenge_low": {**_CHALLENGE, "features": "low"},
        "challenge_low_normed": {**_CHALLENGE, "features": "low_normed"},
        "challenge_high": {**_CHALLENGE, "features": "high"},
        "challenge_resnet": {**_CHALLENGE, "features": "low", "network": "cnn"},
        "thesis": {**_THESIS, "features": "low_raw"},
        "thesis_normed": {**_THESIS, "features": "low"},
        "thesis_dropout": {**_DROPOUT, "features": "low_raw"},
        "thesis_dropout_normed": {**_DROPOUT, "features": "low"},
    }
)
