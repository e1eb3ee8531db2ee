"""Registered parts (models, preprocessing steps, metrics) in settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from calopipe import extensions
from calopipe.config.base import Section, validate
from calopipe.errors import ConfigError, repeated, shown
from calopipe.registry import Registry

#: kinds of networks: classes of :mod:`calopipe.models.base`
KINDS = ("GenerativeModel", "Autoencoder", "Refiner", "EnergyRegressor")
MODELS: Registry[Any] = Registry("model", "calopipe.models", "MODELS", KINDS)
STEPS: Registry[Any] = Registry("preprocessing step", "calopipe.preprocessing", "STEPS", ("Step",))
METRICS: Registry[Any] = Registry("metric", "calopipe.metrics", "METRICS")
#: steps of a chain, metrics of an evaluation
MAX_PARTS = 100


def use_extensions(paths: Iterable[str | Path]) -> None:
    """Let the files in these folders, and in no others, register models, steps and metrics beside the built-in ones.

    The files are read, not imported: see :mod:`calopipe.registry`.

    Raises:
        ConfigError: in one line, what is wrong with a folder or a file.
    """
    extensions.use_folders(paths)
    for registry in (MODELS, STEPS, METRICS):
        registry.check_extensions()


def part(registry: Registry[Any], key: str, data: Any) -> dict[str, Any]:
    """Validate ``{key: name, **settings}`` against the settings class that `name` registers; return it complete."""
    if isinstance(data, str):
        data = {key: data}
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"expected a mapping with the key '{key}', found {shown(data)}")
    settings = {k: v for k, v in data.items() if k != key}
    try:
        cls = settings_class(registry, data[key])
    except ConfigError as error:  # pydantic collects ValueErrors and adds the path of the key
        raise ValueError(str(error)) from None
    if cls is None:
        if settings:
            raise ValueError(f"{registry.kind} '{data[key]}' takes no settings, found {shown(list(settings))}")
        return {key: data[key]}
    try:
        return {key: data[key], **validate(cls, settings, "").model_dump(mode="json")}
    except ConfigError as error:
        raise ValueError(f".{error}" if str(error)[0] != ":" else str(error)[2:]) from None


def parts(registry: Registry[Any], key: str, value: Any, what: str) -> list[dict[str, Any]]:
    """Validate a list of parts, see :func:`part`."""
    if not isinstance(value, list) or len(value) > MAX_PARTS:
        raise ValueError(f"expected a list of at most {MAX_PARTS} {what}, found {shown(value)}")
    found = []
    for i, item in enumerate(value):
        try:
            found.append(part(registry, key, item))
        except ValueError as error:
            raise ValueError(f".{i}{error}" if str(error).startswith(".") else f".{i}: {error}") from None
    return found


def metrics(value: Any) -> list[dict[str, Any]]:
    """Validate a list of metrics; each may stand in it once, because scores are known by the metric's name."""
    found = parts(METRICS, "metric", value, "metrics")
    again = repeated(item["metric"] for item in found)
    if again is not None:
        raise ValueError(f"expected each metric once, found '{again}' twice")
    return found


def settings_class(registry: Registry[Any], name: str) -> type[Section] | None:
    """The settings class of a part; None where it takes no settings. ConfigError where there is no such part."""
    found = registry.config_class(name)
    if found is not None and not (isinstance(found, type) and issubclass(found, Section)):
        where, what = registry.module_of(name), f"settings of {registry.kind} '{name}'"
        raise ConfigError(f"{where}: {what} must be a class derived from calopipe.config.Section, found {shown(found)}")
    return found


def settings_of(registry: Registry[Any], key: str, data: Mapping[str, Any]) -> Section | None:
    """The settings object of a part that :func:`part` has validated; None where it takes no settings."""
    cls = settings_class(registry, data[key])
    return None if cls is None else validate(cls, {k: v for k, v in data.items() if k != key}, data[key])


def network(data: Any, *contracts: str) -> dict[str, Any]:
    """Validate a model, see :func:`part`, of one of the base classes `contracts` of :mod:`calopipe.models.base`."""
    found = part(MODELS, "name", data)
    if not any(MODELS.is_a(found["name"], contract) for contract in contracts):
        able = ", ".join(name for name in MODELS.names() if any(MODELS.is_a(name, c) for c in contracts))
        what = " or ".join(contracts)
        raise ValueError(f"name: expected a model of the kind {what} ({able}), found '{found['name']}'")
    return found
