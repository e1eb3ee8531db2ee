"""What each observable is called, what its axes are, and how its histogram is labelled: the one list of built-in observables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from calopipe.errors import ConfigError, nearest, shown
from calopipe.geometry import Geometry

Axes = Literal["shower", "layer", "alpha_layer", "layer_pair", "alpha_layer_pair", "layer_rank"]
Range = Literal["energy_ratio", "layer_ratio", "extremes", "positive", "log", "central", "unit", "levels"]


@dataclass(frozen=True)
class ObservableSpec:
    """One observable: of :func:`calopipe.observables.compute`, or a registered one.

    Attributes:
        group: the page it is plotted on: energies, centroids, widths, brightest, activity, or one of its own.
        axes: what its columns run over: nothing (N,); layers (N, L); layers resolved in two dimensions (N, A); pairs of
            either (N, P), see :func:`layer_pairs`; layers and ranks (N, L, k).
        label: axis label in matplotlib mathtext; ``{a}`` and ``{b}`` become layer ids, ``{k}`` the rank; other braces are
            doubled.
        range: how bins follow the reference sample, see :mod:`calopipe.observables.binning`.
        log_y: whether its entries are drawn on a logarithmic axis.
        sliced: whether it is also filled in slices of incident energy and of further conditions.

    Raises:
        ConfigError: an attribute is none of these, or the label has other places than the axes.
    """

    group: str
    axes: Axes
    label: str
    range: Range
    log_y: bool = False
    sliced: bool = False

    def __post_init__(self) -> None:
        for key, value, known in (("axes", self.axes, get_args(Axes)), ("range", self.range, get_args(Range))):
            if value not in known:
                listed = ", ".join(known)
                raise ConfigError(f"{key}: expected one of {listed}, found {shown(value)}{nearest(value, known)}")
        if self.range == "levels" and self.axes not in ("layer", "alpha_layer"):
            raise ConfigError(f"range: 'levels' are of the voxels of a layer, found with axes '{self.axes}'")
        for key, text in (("group", self.group), ("label", self.label)):
            if not (isinstance(text, str) and text.strip() and text.isprintable() and len(text) <= 200):
                raise ConfigError(f"{key}: expected a line of text, found {shown(text)}")
        self._check_label()

    def _check_label(self) -> None:
        places = {"shower": "", "layer_rank": "ak"}.get(self.axes, "ab" if self.axes.endswith("pair") else "a")
        try:
            label = self.label.format(**dict.fromkeys(places, 0))
        except (LookupError, ValueError, TypeError, AttributeError):
            listed = " and ".join(f"{{{place}}}" for place in places) or "none"
            raise ConfigError(
                f"label: places of layers are {listed} with axes '{self.axes}', other braces are doubled; "
                f"found {shown(self.label)}"
            ) from None
        if label.replace(r"\$", "").count("$") % 2:
            raise ConfigError(f"label: expected a second $ for each first one, found {shown(self.label)}")

    @property
    def log_x(self) -> bool:
        """Whether its bins are equal in the logarithm."""
        return self.range == "log"


@dataclass(frozen=True)
class Column:
    """One histogram's worth of an observable: ``values = observables[name].reshape(N, -1)[:, index]``.

    `key` is the histogram's name: ``EC_eta/12`` (layer id), ``EC_eta_difference/0-1``, ``brightest/0/1`` (rank from 1);
    `voxels` is the number of voxels of the (first) layer it is of, 0 for observables of the whole shower.
    """

    name: str
    key: str
    index: int
    label: str
    spec: ObservableSpec
    voxels: int = 0


def _transverse(x: str) -> dict[str, ObservableSpec]:
    mean, mean_b = (rf"\langle \{x} \rangle_{{{{{{{layer}}}}}}}" for layer in "ab")
    width, width_b = (rf"\sigma_{{{{\{x},{{{layer}}}}}}}" for layer in "ab")
    centroids, widths = f"${mean} - {mean_b}$ [mm]", f"${width} - {width_b}$ [mm]"
    return {
        f"EC_{x}": ObservableSpec("centroids", "alpha_layer", f"${mean}$ [mm]", "central", log_y=True, sliced=True),
        f"EC_{x}_difference": ObservableSpec("centroids", "alpha_layer_pair", centroids, "central", log_y=True),
        f"centre_{x}": ObservableSpec(
            "centroids", "shower", rf"$\langle \{x} \rangle$ of all layers [mm]", "central", log_y=True, sliced=True
        ),
        f"width_{x}": ObservableSpec("widths", "alpha_layer", f"${width}$ [mm]", "positive", log_y=True, sliced=True),
        f"width_{x}_difference": ObservableSpec("widths", "alpha_layer_pair", widths, "central", log_y=True),
    }


#: every observable by its name in the result of ``compute`` (``sparsity``, 1 - ``activity``, is not drawn twice)
SPECS: Mapping[str, ObservableSpec] = {
    "E_tot": ObservableSpec("energies", "shower", r"$E_\mathrm{{tot}}$ [MeV]", "extremes"),
    "E_ratio": ObservableSpec(
        "energies", "shower", r"$E_\mathrm{{tot}} / E_\mathrm{{inc}}$", "energy_ratio", sliced=True
    ),
    "E_layer": ObservableSpec("energies", "layer", r"$E_{{{a}}}$ [MeV]", "log", log_y=True, sliced=True),
    "layer_ratio": ObservableSpec("energies", "layer", r"$E_{{{a}}} / E_\mathrm{{inc}}$", "layer_ratio", sliced=True),
    "layer_fraction": ObservableSpec("energies", "layer", r"$E_{{{a}}} / E_\mathrm{{tot}}$", "extremes"),
    "layer_quotient": ObservableSpec("energies", "layer_pair", r"$E_{{{a}}} / E_{{{b}}}$", "log", log_y=True),
    "depth": ObservableSpec("energies", "shower", r"$\langle z \rangle$ [mm]", "extremes"),
    "depth_width": ObservableSpec("energies", "shower", r"$\sigma_z$ [mm]", "extremes"),
    **_transverse("eta"),
    **_transverse("phi"),
    "EC_r": ObservableSpec("centroids", "layer", r"$\langle r \rangle_{{{a}}}$ [mm]", "positive", log_y=True),
    "width_r": ObservableSpec("widths", "layer", r"$\sigma_{{r,{a}}}$ [mm]", "positive", log_y=True),
    "centre_r": ObservableSpec("centroids", "shower", r"$\langle r \rangle$ of all layers [mm]", "extremes", sliced=True),
    "brightest": ObservableSpec("brightest", "layer_rank", r"$E_{{({k}),{a}}}$ [MeV]", "log", log_y=True),
    "brightest_fraction": ObservableSpec(
        "brightest", "layer_rank", r"$E_{{({k}),{a}}} / E_{{{a}}}$", "unit", log_y=True
    ),
    "activity": ObservableSpec("activity", "layer", r"activity of layer {a}", "levels", log_y=True, sliced=True),
}  # fmt: skip


def layer_pairs(layers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """First and second member of the pairs of layers that are compared, (P,) each.

    All pairs of up to four layers; of more, each layer and the next (990 pairs of 45 layers would tell little more).
    """
    items = list(layers)
    reach = len(items) if len(items) <= 4 else 2
    pairs = [(a, b) for i, a in enumerate(items) for b in items[i + 1 : i + reach]]
    first, second = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(first, dtype=int), np.array(second, dtype=int)


def columns(
    geometry: Geometry, names: Iterable[str], brightest: int = 0, specs: Mapping[str, ObservableSpec] = SPECS
) -> list[Column]:
    """The columns of the observables `names`, in the order of `specs`; `brightest` is the k of ``compute``."""
    wanted = set(names)
    return [c for name, spec in specs.items() if name in wanted for c in _columns(name, spec, geometry, brightest)]


def _columns(name: str, spec: ObservableSpec, geometry: Geometry, brightest: int) -> Iterator[Column]:
    ids = list(geometry.layer_ids)
    if spec.axes.startswith("alpha"):
        ids = [ids[i] for i in geometry.alpha_layers]
    entries: list[tuple[str, dict[str, int]]]
    if spec.axes == "shower":
        entries = [("", {})]
    elif spec.axes == "layer_rank":
        entries = [(f"/{a}/{k}", {"a": a, "k": k}) for a in ids for k in range(1, brightest + 1)]
    elif spec.axes.endswith("pair"):
        entries = [(f"/{a}-{b}", {"a": a, "b": b}) for a, b in zip(*layer_pairs(ids), strict=True)]
    else:
        entries = [(f"/{a}", {"a": a}) for a in ids]
    size = dict(zip(geometry.layer_ids, geometry.layer_sizes, strict=True))
    for index, (suffix, values) in enumerate(entries):
        yield Column(name, name + suffix, index, spec.label.format(**values), spec, size.get(values.get("a", -1), 0))
