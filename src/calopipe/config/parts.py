"""Registered parts (models, preprocessing steps, metrics, observables) in settings."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, GetJsonSchemaHandler, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from calopipe import extensions
from calopipe.config.base import Section, validate
from calopipe.errors import ConfigError, nearest, repeated, shown
from calopipe.registry import Registry

#: kinds of networks: classes of :mod:`calopipe.models.base`
KINDS = ("GenerativeModel", "Autoencoder", "Refiner", "EnergyRegressor")
#: those that a generator consists of
GENERATOR_KINDS = ("GenerativeModel", "Autoencoder", "Refiner")
MODELS: Registry[Any] = Registry("model", "calopipe.models", "MODELS", KINDS)
STEPS: Registry[Any] = Registry("preprocessing step", "calopipe.preprocessing", "STEPS", ("Step",))
METRICS: Registry[Any] = Registry("metric", "calopipe.metrics", "METRICS")
OBSERVABLES: Registry[Any] = Registry("observable", "calopipe.observables", "OBSERVABLES", ("ShowerObservable",))
#: names of no observable that mean something beside those of observables: 1 - activity, and means of scores over layers
_NO_OBSERVABLE = ("sparsity", "mean_layers")
_OBSERVABLE_NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
#: steps of a chain, metrics of an evaluation
MAX_PARTS = 100


def use_extensions(paths: Iterable[str | Path]) -> None:
    """Let the files in these folders, and in no others, register parts beside the built-in ones.

    The files are read, not imported: see :mod:`calopipe.registry`.

    Raises:
        ConfigError: in one line, what is wrong with a folder or a file.
    """
    extensions.use_folders(paths)
    for registry in (MODELS, STEPS, METRICS, OBSERVABLES):
        registry.check_extensions()
    for name in OBSERVABLES.names():
        module = OBSERVABLES.module_of(name)
        if name in (*built_in_observables(), *_NO_OBSERVABLE):
            raise ConfigError(f"{module}: observable '{name}' is a built-in one; expected another name")
        if not _OBSERVABLE_NAME.fullmatch(name):
            raise ConfigError(f"{module}: observables are named by letters, digits and _, found {shown(name)}")


def built_in_observables() -> list[str]:
    """Those that have histograms: of the table :data:`calopipe.observables.specs.SPECS`, and the spectrum of voxel energies."""
    return [*importlib.import_module("calopipe.observables.specs").SPECS, "voxels"]


def check_observables() -> None:
    """Import the registered observables, whose specs are checked with that. Raises ConfigError."""
    for name in OBSERVABLES.names():
        OBSERVABLES.get(name)


@dataclass(frozen=True)
class Part:
    """A registered part that settings name, with its own settings: validated once, where they are read.

    Attributes:
        key: the key that names it in settings: ``name`` (models), ``step`` or ``metric``.
        name: its name. settings: None where it takes none.
    """

    key: str
    name: str
    settings: Section | None = None

    def plain(self) -> dict[str, Any]:
        """``{key: name, **settings}``, complete, as plain JSON data."""
        return {self.key: self.name, **({} if self.settings is None else self.settings.model_dump(mode="json"))}


def part(registry: Registry[Any], key: str, data: Any) -> Part:
    """Validate ``{key: name, **settings}``, or a name alone, against the settings class that the name registers."""
    if isinstance(data, Part):
        return data
    if isinstance(data, str):
        data = {key: data}
    if not isinstance(data, dict) or key not in data:
        raise ValueError(f"expected a mapping with the key '{key}', found {shown(data)}")
    name, settings = data[key], {k: v for k, v in data.items() if k != key}
    try:
        cls = settings_class(registry, name)
    except ConfigError as error:  # pydantic collects ValueErrors and adds the path of the key
        raise ValueError(str(error)) from None
    if cls is None:
        if settings:
            raise ValueError(f"{registry.kind} '{name}' takes no settings, found {shown(list(settings))}")
        return Part(key, name)
    try:
        return Part(key, name, validate(cls, settings, ""))
    except ConfigError as error:
        raise ValueError(f".{error}" if str(error)[0] != ":" else str(error)[2:]) from None


def parts(registry: Registry[Any], key: str, value: Any, what: str) -> list[Part]:
    """Validate a list of parts, see :func:`part`."""
    if not isinstance(value, list | tuple) or len(value) > MAX_PARTS:
        raise ValueError(f"expected a list of at most {MAX_PARTS} {what}, found {shown(value)}")
    found = []
    for i, item in enumerate(value):
        try:
            found.append(part(registry, key, item))
        except ValueError as error:
            raise ValueError(f".{i}{error}" if str(error).startswith(".") else f".{i}: {error}") from None
    return found


def steps(value: Any) -> list[Part]:
    """Validate a list of preprocessing steps."""
    return parts(STEPS, "step", value, "steps")


def metrics(value: Any) -> list[Part]:
    """Validate a list of metrics; each may stand in it once, because scores are known by the metric's name."""
    found = parts(METRICS, "metric", value, "metrics")
    again = repeated(item.name for item in found)
    if again is not None:
        raise ValueError(f"expected each metric once, found '{again}' twice")
    return found


def network(data: Any, *contracts: str) -> Part:
    """Validate a model, see :func:`part`, of one of the base classes `contracts` of :mod:`calopipe.models.base`."""
    found = part(MODELS, "name", data)
    if contracts and not any(MODELS.is_a(found.name, contract) for contract in contracts):
        able = ", ".join(name for name in MODELS.names() if any(MODELS.is_a(name, c) for c in contracts))
        what = " or ".join(contracts)
        raise ValueError(f"name: expected a model of the kind {what} ({able}), found '{found.name}'")
    return found


def settings_class(registry: Registry[Any], name: str) -> type[Section] | None:
    """The settings class of a part; None where it takes no settings. ConfigError where there is no such part."""
    found = registry.config_class(name)
    if found is not None and not (isinstance(found, type) and issubclass(found, Section)):
        where, what = registry.module_of(name), f"settings of {registry.kind} '{name}'"
        raise ConfigError(f"{where}: {what} must be a class derived from calopipe.config.Section, found {shown(found)}")
    return found


def _field(check: Callable[[Any], Part]) -> Any:
    """What pydantic does with a field that holds a part: validate by `check`, write plain data."""
    plain = PlainSerializer(lambda found: found.plain(), return_type=dict[str, Any])
    return PlainValidator(check, json_schema_input_type=dict[str, Any]), plain, WithJsonSchema(_ANY)


def _observable(name: str) -> str:
    known = (*built_in_observables(), *OBSERVABLES.names())
    if name not in known:
        raise ValueError(f"no observable {shown(name)}{nearest(name, known)}; known: {', '.join(known)}")
    return name


class _ObservableSchema:
    """The JSON schema of an observable's name: editors complete the built-in ones."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"enum": built_in_observables()}, {"type": "string"}]}


_ANY = {"type": "object", "additionalProperties": True}
#: fields of settings: any model, a model of a generator, a regressor; a preprocessing step; a metric
AnyModel = Annotated[Part, *_field(network)]
GeneratorModel = Annotated[Part, *_field(lambda data: network(data, *GENERATOR_KINDS))]
RegressorModel = Annotated[Part, *_field(lambda data: network(data, "EnergyRegressor"))]
StepPart = Annotated[Part, *_field(lambda data: part(STEPS, "step", data))]
MetricPart = Annotated[Part, *_field(lambda data: part(METRICS, "metric", data))]
#: an observable that has histograms, by name
Observable = Annotated[str, AfterValidator(_observable), _ObservableSchema()]
