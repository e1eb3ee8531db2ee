"""Scans become models and runs: of a study that was read and checked, each point of a grid is a model like one written by hand.

The points are made of the configuration as it was written, not of settings with their defaults: what a default depends on may
be what is scanned. So the settings of a point, and with them all digests, are those of the same model written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from calopipe.config.base import validate
from calopipe.config.networks import Model, NetworkStage
from calopipe.config.scans import point_name, points_of, with_settings
from calopipe.config.schema import Run, Study
from calopipe.errors import ConfigError


def expanded(study: Study, written: Mapping[str, Any]) -> Study:
    """The study with every scan as its points: models in place of the scanned one, and runs of all of them.

    Args:
        written: the section `models` as it was read, presets merged in.

    Raises:
        ConfigError: settings of a point are not valid, or a point is called like another model.
    """
    scanned = {name: dict(_points(name, model, written[name])) for name, model in study.models.items() if model.scan}
    models = {name: model for name, model in study.models.items() if name not in scanned}
    for name, points in scanned.items():
        for point in points:
            if point in models:
                raise ConfigError(f"models.{name}.scan: one of its points is called '{point}', and so is another model")
        models |= points
    order = [point for name in study.models for point in scanned.get(name, [name])]
    runs = [_of(run, model) for run in study.runs for model in scanned.get(run.model, [run.model])]
    return study.model_copy(update={"models": {name: models[name] for name in order}, "runs": runs})


def _points(scan: str, model: Model, written: Mapping[str, Any]) -> Iterator[tuple[str, Model]]:
    rest = {key: value for key, value in written.items() if key != "scan"}
    for settings in points_of(model.scan):
        try:
            networks = with_settings(written["networks"], settings, NetworkStage.model_fields)
            point = {**rest, "networks": networks, "point": {"scan": scan, "settings": settings}}
            yield point_name(scan, settings), validate(Model, point, "")
        except (ConfigError, ValueError) as error:
            text = str(error).removeprefix(": ").removeprefix("scan: ")
            raise ConfigError(f"models.{scan}.scan: {text}") from None


def _of(run: Run, model: str) -> Run:
    return run if run.model == model else run.model_copy(update={"model": model})
