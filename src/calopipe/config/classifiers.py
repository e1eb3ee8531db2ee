"""Settings of published classifier tests, by name: the one place that holds them. `ClassifierConfig.preset` reads it.

``challenge_*``: CaloChallenge (arXiv:2410.21611, section 4.2, and its evaluation script): batches of 1000, Adam at 2e-4,
50 epochs, weights of the best accuracy on the part that is not scored, split 60/20/20, isotonic calibration, JSD. The
script's network is an input layer and two hidden layers, each 2048 wide with LeakyReLU 0.01: three entries of `hidden`.
``challenge_resnet`` takes the input of ``challenge_low``; only its network differs (:mod:`calopipe.metrics.classifier_networks`).

``thesis*``: INN/VAE thesis, section 3.4.2: two hidden layers of 512, 150 epochs at 2e-4; voxels as they are or divided by
the incident energy (``normed``, section 4.3.2); ``dropout``: its later variant with 30 % dropout, whose learning rate falls
by 0.1 after 10 epochs without a better validation loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_CHALLENGE = {"hidden": [2048, 2048, 2048], "epochs": 50, "batch_size": 1000, "lr": 2e-4}
_THESIS = {"hidden": [512, 512], "epochs": 150, "batch_size": 1000, "lr": 2e-4}
_DROPOUT = {**_THESIS, "dropout": 0.3, "plateau": True}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
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
