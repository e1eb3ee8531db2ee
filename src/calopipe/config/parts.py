"""Registered parts (models, preprocessing steps, metrics) in settings."""

from __future__ import annotations

from typing import Any

from calopipe.config.base import validate
from calopipe.errors import ConfigError
from calopipe.registry import Registry

MODELS: Registry[Any] = Registry("model", "calopipe.models")
STEPS: Registry[Any] = Registry("preprocessing step", "calopipe.preprocessing")
METRICS: Registry[Any] = Registry("metric", "calopipe.metrics")


def part(registry: Registry[Any], key: str, data: Any) -> dict[str, Any]:
    """Validate ``{key: name, **settings}`` against the settings class that `name` registers; return it complete."""
    if isinstance(data, str):
        data = {key: data}
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"expected a mapping with the key '{key}'")
    settings = {k: v for k, v in data.items() if k != key}
    try:
        cls = registry.config_class(data[key])
        if cls is None:
            if settings:
                raise ValueError(f"{registry.kind} '{data[key]}' takes no settings, found {sorted(settings)}")
            return {key: data[key]}
        return {key: data[key], **validate(cls, settings, data[key]).model_dump(mode="json")}
    except ConfigError as error:  # pydantic collects ValueErrors and adds the path of the key
        raise ValueError(str(error)) from None


def parts(registry: Registry[Any], key: str, value: Any, what: str) -> list[dict[str, Any]]:
    """Validate a list of parts, see :func:`part`."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list of {what}")
    return [part(registry, key, item) for item in value]
