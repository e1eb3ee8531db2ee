"""The contract of registered observables: a user's own, in a folder of extensions, or further ones in a file of this package.

They are histogrammed, drawn, and judged by the metrics of histograms like the built-in ones of
:data:`~calopipe.observables.specs.SPECS`. No published score and no classifier test looks at them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from calopipe.errors import ConfigError, shown
from calopipe.geometry import Geometry
from calopipe.observables.specs import ObservableSpec


class ShowerObservable:
    """One number per shower, or one per layer. Registered as ``@OBSERVABLES.register("name")``.

    Attributes:
        spec: MUST say what axes it has, how it is labelled, and how its bins follow the reference.
    """

    spec: ClassVar[ObservableSpec]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        spec = getattr(cls, "spec", None)
        if not isinstance(spec, ObservableSpec):
            raise ConfigError(f"{cls.__name__}.spec: expected an ObservableSpec, found {shown(spec)}")
        if spec.axes == "layer_rank":
            raise ConfigError(f"{cls.__name__}.spec.axes: ranks are of the brightest voxels alone, found 'layer_rank'")

    def compute(self, showers: np.ndarray, incident_energies: np.ndarray, geometry: Geometry) -> np.ndarray | None:
        """MUST give (N,), or (N, L) and so on, as `spec.axes` says; row by row, so that showers can come in pieces;
        finite. None where the geometry does not have it.

        Args:
            showers: (N, V) voxel energies in MeV, those below the threshold zero; read-only.
            incident_energies: (N,) in MeV; read-only.
            geometry: the voxels' layers and centres.
        """
        raise NotImplementedError
