"""The contract of registered observables: a user's own, in a folder of extensions, or further ones in a file of this package.

They are histogrammed, drawn, and judged by the metrics of histograms like the built-in ones of
:data:`~calopipe.observables.specs.SPECS`. No published score and no classifier test looks at them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from calopipe.geometry import Geometry
from calopipe.observables.specs import ObservableSpec


class ShowerObservable:
    """One number per shower, or one per layer. Registered as ``@OBSERVABLES.register("name")``.

    Attributes:
        spec: MUST say what axes it has, how it is labelled, and how its bins follow the reference.
    """

    spec: ClassVar[ObservableSpec]

    def compute(self, showers: np.ndarray, incident_energies: np.ndarray, geometry: Geometry) -> np.ndarray:
        """MUST give (N,), or (N, L) and so on, as `spec.axes` says; row by row, so that showers can come in pieces.

        Args:
            showers: (N, V) voxel energies in MeV, those below the threshold zero.
            incident_energies: (N,) in MeV.
            geometry: the voxels' layers and centres.
        """
        raise NotImplementedError
