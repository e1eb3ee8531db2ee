"""Data that are made here, with a seed: toy distributions, and the smearing of electrons by a parametrised detector.

Source: Albergo 2018, sections 2.1, 2.2 and 3.1 (tables 3.1 and 3.2). Its text and its table 3.4 contradict each other:
docs/differences.md says what was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from calopipe.config.recipes import (
    BetaRecipe,
    ConditionalGaussianRecipe,
    DetectorSmearingRecipe,
    GaussianRecipe,
    Recipe,
)
from calopipe.errors import DataError
from calopipe.io import Columns, write_columns
from calopipe.seeds import generator

#: |eta| below which a track has the constant term a and the slope b of its width sqrt(a^2 + (b p_T)^2), in MeV
TRACKS = ((0.5, 0.03, 0.013), (1.7, 0.05, 0.017), (2.5, 0.15, 0.031))
#: stochastic and constant term of sigma_E / E of the calorimeter, for E in MeV
ECAL = (0.101, 0.0017)
ELECTRON_MASS_MEV = 0.511

Numbers = Mapping[str, np.ndarray]


def make(recipe: Recipe, path: Path) -> None:
    """Write the columns of a recipe; the same recipe gives the same file.

    Raises:
        DataError: no electron is within the detector.
    """
    values, conditions = _MAKERS[recipe.recipe](recipe, generator(recipe.seed, "made", recipe.recipe))
    columns = Columns(values, conditions, f"recipe {recipe.recipe}")
    write_columns(path, columns, attributes={"source": f"made: {recipe.recipe}", "seed": recipe.seed})


def _gaussian(recipe: GaussianRecipe, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    return {"x": rng.normal(recipe.mean, recipe.sigma, recipe.rows)}, {}


def _beta(recipe: BetaRecipe, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    return {"x": rng.beta(recipe.a, recipe.b, recipe.rows)}, {}


def _conditional_gaussian(recipe: ConditionalGaussianRecipe, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    mu = np.resize(np.asarray(recipe.means), recipe.rows)
    return {"x": rng.normal(mu, recipe.sigma)}, {"mu": mu}


def _detector_smearing(recipe: DetectorSmearingRecipe, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    energy, eta, phi = _gun(recipe, rng)
    within = np.abs(eta) < TRACKS[-1][0]
    if recipe.eta is not None:
        within &= np.any([(low <= np.abs(eta)) & (np.abs(eta) < high) for low, high in recipe.eta], axis=0)
    if not within.any():
        raise DataError(
            f"made: detector_smearing: none of {recipe.rows} electrons is within |eta| {recipe.eta or '< 2.5'}"
        )
    energy, eta, phi = energy[within], eta[within], phi[within]
    pt = np.sqrt(energy**2 - ELECTRON_MASS_MEV**2) / np.cosh(eta)
    residual = -rng.normal(0.0, smearing_width(energy, eta, pt, recipe.terms))
    return {"pt_residual": residual}, {"eta": eta, "phi": phi, "pt": pt}


def _gun(recipe: DetectorSmearingRecipe, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energy (MeV), eta and phi of electrons shot in all directions."""
    n = recipe.rows
    if recipe.energies is None:
        energy = 10.0 ** (1 + (np.log10(recipe.max_energy) - 1) * rng.uniform(size=n))
    else:
        energy = np.resize(np.asarray(recipe.energies), n)
    eta = np.arctanh(rng.uniform(-1, 1, n))  # -ln tan(theta / 2) of a uniform cos theta
    return energy, eta, rng.uniform(-np.pi, np.pi, n)


def smearing_width(energy: np.ndarray, eta: np.ndarray, pt: np.ndarray, terms: str = "both") -> np.ndarray:
    """Standard deviation (N,) in MeV of the measured transverse momentum, of energies and transverse momenta in MeV.

    terms: ``track``; ``ecal``; ``both``: of the mean of the two weighted with their inverse variances.
    """
    part = np.searchsorted([edge for edge, _, _ in TRACKS[:-1]], np.abs(eta), side="right")
    a, b = (np.array(column)[part] for column in list(zip(*TRACKS, strict=True))[1:])
    track = np.sqrt(a**2 + (b * pt) ** 2)
    ecal = pt * np.sqrt(ECAL[0] ** 2 / energy + ECAL[1] ** 2)
    return {"track": track, "ecal": ecal, "both": 1 / np.sqrt(1 / track**2 + 1 / ecal**2)}[terms]


_MAKERS: Mapping[str, Callable[..., tuple[Numbers, Numbers]]] = {
    "gaussian": _gaussian,
    "beta": _beta,
    "conditional_gaussian": _conditional_gaussian,
    "detector_smearing": _detector_smearing,
}
