"""The contract of a metric: two samples and an rng in, scores out.

A metric is one file of this package with a settings class and a function::

    class FooConfig(Section): ...

    @METRICS.register("foo", config=FooConfig)
    def foo(reference: Sample, generated: Sample, rng: np.random.Generator, config: FooConfig) -> list[Score]: ...

It raises MetricUnavailable, with the reason, where it is not defined on its input; it never returns NaN for that.
The scores (:class:`calopipe.records.scores.Score`) are without seed and sample, which a metric does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from calopipe.config.calomplification import ImageSettings
from calopipe.errors import MetricUnavailable
from calopipe.metrics.features import features_high

#: up to so many different incident energies are taken as a set of beam energies (CaloChallenge 1 has 15)
MAX_ENERGIES = 20


@dataclass(frozen=True)
class BinnedCounts:
    """One histogram: edges (B + 1,), counts (B,) inside the range, and entries in total.

    `blocks` holds the counts (K, B) of K disjoint blocks of showers, for errors that respect that the entries of one
    shower, in this and in other histograms, belong together; None where they are not kept.
    """

    edges: np.ndarray
    counts: np.ndarray
    total: int
    blocks: np.ndarray | None = None


class Images(Protocol):
    """Observables of N showers as images, see :class:`calopipe.observables.image.ImageObservables`."""

    @property
    def n(self) -> int:
        """Number of showers."""

    def values(self, names: Sequence[str]) -> np.ndarray:
        """(N, D) values of D observables, or (P, 1) for E_pixel, shower after shower."""

    def starts(self, names: Sequence[str]) -> np.ndarray:
        """(N + 1,) row of :meth:`values` at which each shower starts."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What metrics may look at of one sample of N showers; each array is read or computed when first asked for.

    Args:
        n: number of showers.
        threshold_MeV: readout threshold; all arrays are after it.
        layers: layer id -> the voxels of the layer.
        loaders: functions that return what the properties (and ``some_showers``) of the same name describe.
        latent: dimension of the latent space that the generator uses, where it has one.
    """

    n: int
    threshold_MeV: float
    layers: Mapping[int, slice]
    loaders: Mapping[str, Callable[..., Any]]
    latent: int | None = None

    def _load(self, name: str) -> Any:
        if name not in self.loaders:
            raise MetricUnavailable(f"this sample does not offer '{name}'")
        return self.loaders[name]()

    @cached_property
    def observables(self) -> Mapping[str, np.ndarray]:
        """What ``calopipe.observables.compute_all`` returns for all showers, without the brightest voxels; float64."""
        return self._load("observables")

    @cached_property
    def incident_energies(self) -> np.ndarray:
        """(N,) incident energies in MeV."""
        return self._load("incident_energies")

    @cached_property
    def high_features(self) -> np.ndarray:
        """(N, F) float32: the CaloChallenge's high-level features, see :func:`calopipe.metrics.features.features_high`."""
        return features_high(self.observables, self.incident_energies)

    @cached_property
    def block_means(self) -> np.ndarray:
        """(K, V) mean shower in MeV of K disjoint blocks of equally many showers (to one); for jackknife errors."""
        return self._load("block_means")

    @cached_property
    def row_moments(self) -> Callable[[np.ndarray], Mapping[tuple[int, str], Any]]:
        """Function of average showers (..., V): layer id and axis -> energy, position and width of the middle rows.

        See :class:`calopipe.observables.RowMoments`.
        """
        return self._load("row_moments")

    @cached_property
    def images(self) -> Callable[[ImageSettings], Images]:
        """Function of what an image is: E_vis, E_peak, E_pixel, CG_x and CG_y of all showers.

        Raises MetricUnavailable where the geometry makes no such images.
        """
        return self._load("images")

    @cached_property
    def condition(self) -> Callable[[str], np.ndarray]:
        """Function of the name of a condition: (N,) its values, in its unit. Raises DataError where the sample has none."""
        return self._load("condition")

    @cached_property
    def largest_voxel(self) -> float:
        """Largest voxel energy of all showers, in MeV."""
        return self._load("largest_voxel")

    @cached_property
    def histograms(self) -> Mapping[str, BinnedCounts]:
        """Histograms of the observables over all incident energies, with bins common to all samples."""
        return self._load("histograms")

    @cached_property
    def challenge_values(self) -> Mapping[str, np.ndarray]:
        """What the challenge's histograms are filled with, (N,) each, and ``voxels``, the largest voxel (1,).

        Raises MetricUnavailable where the geometry is not cylindrical, or there is no readout threshold.
        """
        return self._load("challenge_values")

    @cached_property
    def challenge_histograms(self) -> Mapping[str, BinnedCounts]:
        """The CaloChallenge's own histograms, in its bins, with blocks of showers.

        Raises MetricUnavailable where the geometry is not cylindrical.
        """
        return self._load("challenge_histograms")

    @cached_property
    def shower_bins(self) -> Mapping[str, np.ndarray]:
        """Histogram of `histograms` -> bin of each shower, (N,) integers, -1 outside; without voxels and brightest."""
        return self._load("shower_bins")

    @cached_property
    def voxel_counts(self) -> np.ndarray:
        """(N, B + 1) voxels above the threshold of each shower in the bins of ``histograms["voxels"]``, then outside."""
        return self._load("voxel_counts")

    @cached_property
    def layer_shapes(self) -> Mapping[int, tuple[int, int]]:
        """Layer id -> cells along the first and the second index."""
        return self._load("layer_shapes")

    @cached_property
    def showers(self) -> np.ndarray:
        """(N, V) float32 voxel energies in MeV: all showers in memory, for metrics that cannot do without."""
        return self._load("showers")

    def some_showers(self, rows: np.ndarray) -> np.ndarray:
        """(n, V) float32 voxel energies in MeV of the showers in `rows` (n,), ascending; only these are in memory."""
        if "some_showers" in self.loaders and "showers" not in self.__dict__:
            return self.loaders["some_showers"](rows)
        return self.showers[rows]
