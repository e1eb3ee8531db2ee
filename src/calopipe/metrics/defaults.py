"""What metrics do where settings leave it to them: part of their code, and light, so that settings can name their scores."""

from __future__ import annotations

from typing import get_args

from calopipe.config.calomplification import ImageObservable
from calopipe.config.parts import Observable

#: observables of the default score of ``fidelity``, those that the geometry has
FIDELITY: tuple[Observable, ...] = (
    "voxels",
    "activity",
    "E_tot",
    "depth",
    "layer_fraction",
    "EC_eta",
    "EC_phi",
    "width_eta",
    "width_phi",
)

#: observables whose separation powers CaloMan averages (Reyes-González 2023); of those with layers it takes the mean over them
SIX: tuple[Observable, ...] = ("E_ratio", "E_layer", "EC_eta", "EC_phi", "width_eta", "width_phi")

#: observables of images whose divergences ``image_divergence`` averages (Bieringer 2022, section 2)
IMAGE: tuple[ImageObservable, ...] = get_args(ImageObservable)
