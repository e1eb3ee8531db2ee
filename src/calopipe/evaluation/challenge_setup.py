"""What two files are compared in, and the modes of the comparison, by the names of the challenge's script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calopipe.config.classifiers import ALWAYS
from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import ConfigError
from calopipe.evaluation.inputs import Readout
from calopipe.sources import SETS

#: modes that train a classifier, and what it is called: two of ours, with their power, and those of the challenge
CLASSIFIERS: Mapping[str, str] = {
    "trees": "trees",
    "low-log": "low_log",
    "cls-low": "low",
    "cls-low-normed": "low-normed",
    "cls-high": "high",
    "cls-resnet": "resnet",
}
MODES = ("avg", "avg-E", "hist", "chi2", *CLASSIFIERS, "fpd", "kpd", "prdc")
#: names of the challenge's script, and short names of several modes
ALIASES: Mapping[str, tuple[str, ...]] = {
    "all": MODES,
    "no-cls": tuple(m for m in MODES if m not in CLASSIFIERS),
    "hist-p": ("hist",),
    "hist-chi": ("chi2",),
}


@dataclass(frozen=True)
class Setup:
    """What two files are compared in.

    Attributes:
        dataset: a key of :data:`calopipe.sources.SETS`; None for another calorimeter.
        readout: the voxelisation, and the minimum readout.
    """

    dataset: str | None
    readout: Readout

    @classmethod
    def of(cls, dataset: str | None, geometry: str | Path | None, threshold_MeV: float | None = None) -> Setup:
        """The setup of a set, or of any other geometry; the threshold is the geometry's unless given.

        Raises:
            ConfigError: neither or both are given, an unknown set, or a negative threshold.
            GeometryError: unknown geometry.
        """
        if (dataset is None) == (geometry is None):
            raise ConfigError("give either --dataset (1-photons, 1-pions, 2 or 3) or --geometry")
        if dataset is not None and dataset not in SETS:
            raise ConfigError(f"unknown dataset '{dataset}'; there are {', '.join(SETS)}")
        where = geometry if dataset is None else SETS[dataset]
        assert where is not None  # one of the two is given
        found = Readout.of(where, threshold_MeV)
        if not found.threshold_MeV >= 0:
            raise ConfigError(f"the threshold must be at least 0 MeV, found {found.threshold_MeV}")
        return cls(dataset, found)

    def modes(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """`wanted` with aliases resolved, in the order of :data:`MODES`; ``all`` leaves out what is not defined here."""
        found = {mode for name in wanted for mode in ALIASES.get(name, (name,))}
        unknown = sorted(found - set(MODES))
        if unknown:
            raise ConfigError(f"unknown mode {unknown[0]}; there are {', '.join((*MODES, *ALIASES))}")
        if "all" in wanted and "cls-resnet" not in wanted and not self._is_regular():
            found.discard("cls-resnet")
        return tuple(m for m in MODES if m in found)

    def _is_regular(self) -> bool:
        """Whether all layers are voxelised alike, as the three-dimensional classifier needs."""
        geometry = self.readout.geometry
        return len({geometry.layer_shape(i) for i in range(geometry.n_layers)}) == 1


def classifier_of(mode: str) -> ClassifierConfig:
    """Settings of the classifier that a mode of :data:`CLASSIFIERS` trains."""
    from calopipe.metrics.classifier_presets import challenge_classifier

    name = CLASSIFIERS[mode]
    return ClassifierConfig(preset=name) if name in ALWAYS else challenge_classifier(name)
