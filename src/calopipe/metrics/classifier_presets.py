"""The classifiers of the CaloChallenge's evaluation, ready to use from Python: no file and no study is needed."""

from __future__ import annotations

from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import ConfigError, nearest

#: names as in the modes ``cls-<name>`` of the challenge's script
CHALLENGE_CLASSIFIERS = ("low", "low-normed", "high", "resnet")


def challenge_classifier(name: str) -> ClassifierConfig:
    """Settings of a classifier of the CaloChallenge (:mod:`calopipe.config.classifiers`).

    Args:
        name: ``low``, ``low-normed``, ``high`` or ``resnet``.

    Raises:
        ConfigError: another name.
    """
    if name not in CHALLENGE_CLASSIFIERS:
        known = ", ".join(CHALLENGE_CLASSIFIERS)
        raise ConfigError(f"unknown classifier '{name}'{nearest(name, CHALLENGE_CLASSIFIERS)}; known: {known}")
    return ClassifierConfig(preset=f"challenge_{name.replace('-', '_')}")
