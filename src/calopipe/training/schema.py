"""What a checkpoint holds, key by key: one schema, checked once, and weights compared with the network they are for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from calopipe.config.base import Section, validate
from calopipe.config.links import LAYER_ENERGIES, SHOWERS, Contract, Link
from calopipe.config.networks import NetworkSettings
from calopipe.errors import CheckpointError, ConfigError, GeometryError
from calopipe.geometry import Geometry

FORMAT = 3
_Positive = Annotated[int, Field(gt=0)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Loss = Annotated[float, Field(allow_inf_nan=True)]


class _Strict(Section):
    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)


class _Link(_Strict):
    name: str = Field(min_length=1, max_length=100)
    learns: str
    given: list[str] = Field(max_length=2)
    contract: Contract


class _Data(_Strict):
    geometry: dict[str, Any] | None
    threshold_MeV: float = Field(ge=0)
    conditions: list[str] = Field(max_length=10_000)
    columns: list[str] = Field(max_length=10_000)

    @model_validator(mode="after")
    def _is_geometry(self) -> _Data:
        try:
            shape = None if self.geometry is None else Geometry.from_dict(self.geometry)
        except GeometryError as error:
            raise ValueError(f"geometry: {error}") from None
        if (shape is None) != bool(self.columns) or (shape is not None and not self.conditions):
            raise ValueError("columns: expected where there is no geometry, and conditions where there is one")
        self.__dict__["shape"] = shape
        return self


class _Trained(_Strict):
    low: float | None = Field(gt=0)
    high: float | None = Field(gt=0)
    n: _Positive
    conditions: dict[str, tuple[float, float]] = Field(default_factory=dict)


class Content(_Strict):
    """The keys of a checkpoint, as :class:`calopipe.training.checkpoint.Network` describes them.

    upstream: digests of the networks whose output this one learned, by name.
    history: one row per epoch. chain, model: weights and buffers of the preprocessing and of the network.
    """

    format: Literal[3]
    calopipe_version: str
    link: _Link
    settings: NetworkSettings
    data: _Data
    dim: _Positive
    seed: int = Field(ge=0, lt=2**63)
    n_train: _Positive
    latent_dim: _Positive | None
    upstream: dict[str, _Digest]
    trained: _Trained | None
    history: list[dict[str, _Loss]]
    chain: dict[str, Tensor]
    model: dict[str, Tensor]

    @model_validator(mode="after")
    def _consistent(self) -> Content:
        link = Link(self.link.name, self.link.learns, tuple(self.link.given), self.link.contract)
        if (self.latent_dim is not None) != link.learns_latents:
            raise ValueError(
                f"latent_dim: expected of a network that learns latents, and of no other, found {self.latent_dim}"
            )
        shape = self.data.__dict__["shape"]
        if shape is None:
            if self.dim != len(self.data.columns):
                raise ValueError(f"dim: expected {len(self.data.columns)}, the number of columns, found {self.dim}")
            return self
        for learned, n, what in ((SHOWERS, shape.n_voxels, "voxels"), (LAYER_ENERGIES, shape.n_layers, "layers")):
            if link.learns == learned and self.dim != n:
                raise ValueError(f"dim: expected {n}, the {what} of the geometry, found {self.dim}")
        return self


def check_content(content: Any) -> Content:
    """What a checkpoint holds, checked. Raises CheckpointError naming the key, what was expected and what was found."""
    found = content.get("format") if isinstance(content, Mapping) else type(content).__name__
    if isinstance(content, Mapping) and type(found) is int and found != FORMAT:
        raise CheckpointError(f"expected a calopipe checkpoint of format {FORMAT}, found {found}; train it again")
    if not isinstance(content, Mapping) or found is None:
        raise CheckpointError(f"expected a calopipe checkpoint of format {FORMAT}, found {found}")
    try:
        return validate(Content, dict(content), "")
    except ConfigError as error:
        raise CheckpointError(str(error).replace("; : ", "; ").removeprefix(": ")) from None


def check_weights(part: str, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make sure that a state fits a freshly built module, which gets it next.

    Every entry must have the module's shape, and numbers be finite. Integers (which columns a coupling block transforms,
    for example) follow from settings and seed: they must be equal to what the module has, so that no index from a file
    reaches compiled code. Counters of batches are the exception; nothing is looked up by them.

    Raises:
        CheckpointError: naming the first entry that is missing, unknown, or not as expected.
    """
    expected = module.state_dict()
    for word, keys in (("missing", expected.keys() - state.keys()), ("unknown", state.keys() - expected.keys())):
        if keys:
            raise CheckpointError(f"{part}: '{min(keys)}' is {word}; weights do not fit the settings")
    for key, value in state.items():
        _check_entry(f"{part}: '{key}'", expected[key], value)
    check_finite(part, {key: value.to(expected[key].dtype) for key, value in state.items()})


def check_finite(part: str, state: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError naming the first entry that holds NaN or infinity."""
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise CheckpointError(f"{part}: weights are not finite: {bad} of {value.numel()} numbers of '{key}'")


def _check_entry(where: str, expected: Tensor, value: Tensor) -> None:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    floats = expected.is_floating_point()
    if (
        not plain
        or value.is_quantized
        or value.shape != expected.shape
        or (not value.is_floating_point() if floats else value.dtype != expected.dtype)
    ):
        raise CheckpointError(
            f"{where}: weights do not fit the settings: expected {_form(expected)}, found {_form(value)}"
        )
    if where.endswith("num_batches_tracked'"):
        if int(value) < 0:
            raise CheckpointError(f"{where}: expected a number of batches, found {int(value)}")
    elif not floats and value.dtype != torch.bool and not torch.equal(value, expected.cpu()):
        raise CheckpointError(f"{where}: indices that do not follow from the settings and the seed")


def _form(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    odd = "" if value.layout == torch.strided and not value.is_quantized else "sparse or quantised "
    return f"{odd}{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


@contextmanager
def at_most(stored: int) -> Iterator[None]:
    """Stop the building of modules that have far more parameters and buffers than the numbers `stored` in a file.

    It stops before their memory is used. A few damaged or hostile settings would otherwise ask for all memory there is.
    """
    enough = 2 * stored + 10_000  # buffers that are not stored, parts that a constructor replaces
    total, sizes = (
        0,
        dict[tuple[nn.Module, str], int](),
    )  # what is set again, as a spectral normalisation does, counts once

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal total
        size = 0 if value is None else math.prod(value.shape)
        total += size - sizes.get((module, name), 0)
        sizes[module, name] = size
        if total > enough:
            raise CheckpointError(
                f"weights do not fit the settings: these ask for far more than the {stored} stored numbers"
            )

    registers = (register_module_parameter_registration_hook, register_module_buffer_registration_hook)
    hooks = [register(count) for register in registers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
