"""Samplers of few showers by compiled code on the CPU: where it can be had, and weights as it takes them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor, nn

log = logging.getLogger(__name__)
#: rows up to which it is faster than PyTorch, which reads the weights once for all of them
FEW = 4
#: how numba compiles functions that others call: numbers that are not finite stay what they are
FAST: Any = {"error_model": "numpy", "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

_M = TypeVar("_M", bound=nn.Module)
_T = TypeVar("_T")


def load_compiled(
    what: str, load: Callable[[], Callable[[str], Callable[..., None]]], *sources: str
) -> Callable[..., None] | None:
    """A compiled function, or None (logged) where numba does not work on this machine.

    Args:
        what: what it draws, for the log.
        load: imports the function that compiles it, which takes the digest of its sources.
        sources: files in this folder and below, or patterns, that constants and functions of it are taken from, beside this one.
    """
    folder = Path(__file__).parent
    try:
        files = sorted({file for pattern in ("compiled_code.py", *sources) for file in folder.glob(pattern)})
        function = load()(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
    except Exception as reason:  # numba missing, unsupported processor
        log.warning("compiled %s are not available (%s: %s); using PyTorch", what, type(reason).__name__, reason)
        return None
    log.info("compiled %s are loaded, or compiled where they are not cached (up to half a minute)", what)
    return function


def compiled_once(function: Callable[..., None], digest: str) -> Callable[..., None]:
    """A function compiled by numba and cached, where a cache can be written, in files of its own for each `digest` of the sources.

    numba looks at the file of the function alone. A cache that was made of other sources would be taken for one of these, or
    cannot even be read where types have moved since.
    """
    function.__qualname__ = f"{function.__name__}_{digest[:16]}"
    from numba import njit

    options: Any = {"error_model": "numpy", "nogil": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to write a cache
        return njit(**options)(function)


class _Kept(NamedTuple, Generic[_T]):
    """What was made of a module, and of which tensors: their places, addresses and versions."""

    tensors: list[dict[str, Any]]
    state: list[tuple[int, int]]
    made: _T


class Packing(Generic[_M, _T]):
    """What `pack` makes of the weights of a module, made again only where they have changed.

    Args:
        pack: of the module. parts: modules whose own parameters and buffers it is made of.
    """

    def __init__(self, pack: Callable[[_M], _T], parts: Callable[[_M], Iterable[nn.Module]]) -> None:
        self._pack, self._parts = pack, parts
        self._kept: WeakKeyDictionary[_M, _Kept[_T]] = WeakKeyDictionary()

    def __call__(self, module: _M) -> _T:
        kept = self._kept.get(module)
        if kept is None or kept.state != _state(kept.tensors):
            every = [d for part in self._parts(module) for d in (part._parameters, part._buffers) if d]
            kept = self._kept[module] = _Kept(every, _state(every), self._pack(module))
        return kept.made


def _state(tensors: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(t.data_ptr(), t._version) for some in tensors for t in some.values() if t is not None]


def array(tensor: Tensor) -> np.ndarray:
    """A tensor as compiled code takes it."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


class Network(NamedTuple):
    """A fully connected network: of each linear layer its weights (inputs, outputs), then its bias; the widths of inputs, hidden layers, outputs."""

    weights: np.ndarray
    widths: np.ndarray

    @classmethod
    def of(cls, network: Iterable[nn.Module]) -> Network:
        """The linear layers of a network."""
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        weights = [array(part).reshape(-1) for layer in layers for part in (layer.weight.T, layer.bias)]
        widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
        return cls(np.concatenate(weights), np.array(widths, np.int64))
