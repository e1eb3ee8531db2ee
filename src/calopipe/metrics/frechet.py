"""Frechet distance of two Gaussians fitted to features: FID, FRD and the like.

d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^{1/2}) is the squared 2-Wasserstein distance of two normal distributions
(Dowson and Landau 1982; arXiv:1706.08500, eq. 6; Werther 2022). It sees means and covariances only.

The estimate from samples is biased upwards: two samples of one distribution give more than 0, and more so the smaller
they are and the more features there are (arXiv:1911.07023). So a value is told together with the floor, the distance of
two disjoint parts of the reference of the same size, and values of different sizes are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calopipe.errors import MetricUnavailable, NumericsError

#: fewest rows per sample from which a distance is estimated
MIN_ROWS = 10


def frechet_distance(mu1: np.ndarray, cov1: np.ndarray, mu2: np.ndarray, cov2: np.ndarray) -> float:
    """Squared Frechet distance of the normal distributions (mu1, cov1) and (mu2, cov2).

    With S_1 = R_1 R_1^T and S_2 = R_2 R_2^T, tr (S_1 S_2)^{1/2} is the sum of the singular values of R_1^T R_2: real and not
    negative by construction, also for covariances without full rank, for which the square root of the (not symmetric)
    product fails.

    Args:
        mu1, mu2: (D,) means.
        cov1, cov2: (D, D) covariances, symmetric and positive semidefinite up to rounding.

    Returns:
        The distance, in squared units of the features; never negative.

    Raises:
        NumericsError: shapes do not fit, a value is not finite, or a covariance has a truly negative eigenvalue.
    """
    mu1, mu2 = (np.atleast_1d(np.asarray(m, dtype=np.float64)) for m in (mu1, mu2))
    cov1, cov2 = (np.atleast_2d(np.asarray(c, dtype=np.float64)) for c in (cov1, cov2))
    if not (mu1.shape == mu2.shape and cov1.shape == cov2.shape == (mu1.size, mu1.size)):
        shapes = ", ".join(str(a.shape) for a in (mu1, cov1, mu2, cov2))
        raise NumericsError(f"Frechet distance: means and covariances of shapes {shapes} do not fit together")
    if not all(np.isfinite(a).all() for a in (mu1, cov1, mu2, cov2)):
        raise NumericsError("Frechet distance: a mean or covariance is not finite")
    cross = np.linalg.svd(_factor(cov1).T @ _factor(cov2), compute_uv=False).sum()
    return float(max(0.0, ((mu1 - mu2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross))


def _factor(cov: np.ndarray) -> np.ndarray:
    """R (D, D) with R R^T = cov: Cholesky's, or where there is none, of eigenvalues cut off at 0."""
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(0.5 * (cov + cov.T))
    if values[0] < -1e-6 * max(values[-1], 0.0) - 1e-300:
        raise NumericsError(
            f"Frechet distance: a covariance has eigenvalues from {values[0]:.3g} to {values[-1]:.3g}, below zero"
        )
    return vectors * np.sqrt(np.clip(values, 0, None))


def distance_of_samples(features1: np.ndarray, features2: np.ndarray) -> float:
    """Squared Frechet distance of features (N, D) and (M, D), with unbiased covariances."""
    (mu1, cov1), (mu2, cov2) = (_moments(f) for f in (features1, features2))
    return frechet_distance(mu1, cov1, mu2, cov2)


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = np.asarray(features, dtype=np.float64)
    if len(features) < MIN_ROWS:
        raise MetricUnavailable(f"a Frechet distance needs {MIN_ROWS} showers per sample, found {len(features)}")
    return features.mean(axis=0), np.cov(features, rowvar=False)


@dataclass(frozen=True)
class FrechetEstimate:
    """A Frechet distance with what is needed to judge it.

    Attributes:
        value: mean distance of a random part of the reference from as many generated showers.
        error: standard deviation over bootstrap resamplings of both.
        floor: mean distance of two disjoint parts of the reference of the same size.
        floor_error: standard deviation between the splits.
        n: showers of each part.
        whole: distance of the whole samples, whose bias is smaller and not that of the floor.
    """

    value: float
    error: float
    floor: float
    floor_error: float
    n: int
    whole: float


def frechet_estimate(
    reference: np.ndarray, generated: np.ndarray, rng: np.random.Generator, splits: int = 10, bootstrap: int = 50
) -> FrechetEstimate:
    """Distance of two sets of features and its floor, all at the same number of showers n = min(N // 2, M).

    Args:
        reference, generated: (N, D) and (M, D) features.
        splits: random splits of the reference over which value and floor are averaged.
        bootstrap: resamplings for the error.

    Raises:
        MetricUnavailable: fewer than 2 * MIN_ROWS reference or MIN_ROWS generated showers.
    """
    n = min(len(reference) // 2, len(generated))
    if n < MIN_ROWS:
        raise MetricUnavailable(
            f"a Frechet distance with its floor needs {2 * MIN_ROWS} reference and {MIN_ROWS} generated showers, "
            f"found {len(reference)} and {len(generated)}"
        )
    values, floors = [], []
    for _ in range(splits):
        rows = rng.permutation(len(reference))
        drawn = generated[rng.permutation(len(generated))[:n]]
        values.append(distance_of_samples(reference[rows[:n]], drawn))
        floors.append(distance_of_samples(reference[rows[:n]], reference[rows[n : 2 * n]]))
    resampled = [
        distance_of_samples(*(f[rng.integers(0, len(f), n)] for f in (reference, generated))) for _ in range(bootstrap)
    ]
    whole = distance_of_samples(reference, generated)
    means = float(np.mean(values)), float(np.mean(floors))
    return FrechetEstimate(means[0], _spread(resampled), means[1], _spread(floors), n, whole)


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
