"""The samples seen by an energy regressor: linearity, resolution and Frechet regression distance (FRD).

The FRD is the Frechet distance of the regressor's last hidden layer between reference and generated showers (Werther
2022). Its unit is that of the features, so values of different regressors do not compare; each has its floor and, as
control, the distances that networks with fresh weights find.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calopipe.config.evaluation import RegressionConfig
from calopipe.devices import pick_device
from calopipe.errors import CheckpointError, MetricUnavailable, NumericsError
from calopipe.evaluation.inputs import check_samples, stream
from calopipe.geometry import Geometry, load_geometry
from calopipe.metrics.frechet import FrechetEstimate, frechet_estimate
from calopipe.metrics.resolution import Response, energy_bins, mean_differences, response
from calopipe.models.base import EnergyRegressor
from calopipe.records.files import write_npz
from calopipe.records.samples import REFERENCE
from calopipe.records.scores import Score, save_scores
from calopipe.seeds import derive, generator
from calopipe.training.checkpoint import Network, build_network, load_network

log = logging.getLogger("calopipe")

#: showers a network is applied to at once
ROWS = 500
CURVES = ("energy", "n", "linearity", "linearity_error", "resolution", "resolution_error")


@dataclass(frozen=True)
class Reading:
    """What regressors say of N showers: incident and predicted energies (N,) in MeV, and features (N, F) per network.

    The prediction is the first network's, the trained one.
    """

    incident: np.ndarray
    predicted: np.ndarray
    features: list[np.ndarray]


def evaluate_regression(
    reference: Path,
    samples: Mapping[str, Path],
    checkpoint: Path,
    geometry: Geometry | str | Path,
    threshold_MeV: float | None,
    config: RegressionConfig,
    seed: int,
    name: str,
    out_json: Path,
    out_npz: Path,
) -> None:
    """Apply a regressor to all samples; write scores, and linearity and resolution against the incident energy.

    Scores are ``energy_regression/<name>/linearity`` and ``/resolution`` (relative differences to the reference, mean
    over the bins), ``frd/<name>`` and ``frd/<name>/untrained``. The NPZ holds ``edges`` (B + 1,) in MeV and
    ``<sample>/<curve>`` (B,) for the reference and every sample, see :class:`calopipe.metrics.resolution.Response`.

    Args:
        reference: shower file of the reference.
        samples: name -> shower file.
        checkpoint: a trained regressor.
        geometry: voxelisation, or its name or file.
        threshold_MeV: voxels below are zero; None: the geometry's threshold.
        seed: seed of splits, bootstraps and untrained networks.
        name: what the regressor is called in the scores.

    Raises:
        CheckpointError: no regressor, or one of another geometry.
        DataError: a file does not fit the geometry, or holds values that are not energies.
        NumericsError: a network's output is not finite.
    """
    geometry = load_geometry(geometry)
    threshold = geometry.threshold_MeV if threshold_MeV is None else threshold_MeV
    check_samples({REFERENCE: reference, **samples}, geometry)
    network = load_regressor(checkpoint, geometry, config.device)
    networks = [network, *(untrained(network, derive(seed, "untrained", i)) for i in range(config.untrained))]

    def read(what: str, path: Path) -> Reading:
        return apply_networks(networks, path, geometry, threshold, config.max_showers, seed, what)

    base = read(REFERENCE, reference)
    curves, judged = _responses(base, config, seed)
    scores: list[Score] = []
    for sample, path in samples.items():
        reading = read(sample, path)
        scores += judged(sample, reading, name)
        scores += _frechet_scores(base, reading, config, seed, sample, name)
        log.info("energy regression of %s by %s: done", sample, name)
    save_scores(out_json, scores)
    write_npz(out_npz, curves)


def load_regressor(checkpoint: Path, geometry: Geometry, device: str = "auto") -> Network:
    """Load a regressor and make sure that it was trained on showers of `geometry`.

    Raises:
        CheckpointError: no regressor, or of another geometry.
    """
    network = load_network(checkpoint, "regressor", pick_device(device))
    if network.geometry["hash"] != geometry.hash:
        raise CheckpointError(
            f"{checkpoint}: regressor trained on geometry '{network.geometry['name']}', but the samples are in "
            f"'{geometry.name}' (the two differ in their cells)"
        )
    return network


def untrained(network: Network, seed: int) -> Network:
    """A network of the same settings with fresh weights; the scales of in- and output stay, as they are not learned."""
    settings, layout = network.settings, network.layout
    where = next(network.model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_network("regressor", settings, network.geometry, layout, network.dim, network.cond_dim, seed)
    scales = {k: v for k, v in network.model.state_dict().items() if k.endswith("_scale")}
    fresh.model.load_state_dict(scales, strict=False)
    fresh.model.to(where)
    return fresh.eval()


@torch.no_grad()
def apply_networks(
    networks: Sequence[Network],
    path: Path,
    geometry: Geometry,
    threshold_MeV: float,
    max_showers: int | None,
    seed: int,
    what: str,
) -> Reading:
    """Energies and features of the showers in a file (a random `max_showers` of them), streamed."""
    n = check_samples({what: path}, geometry)[what]
    rows = None
    if max_showers is not None and n > max_showers:
        rows = np.sort(generator(seed, "regression rows", what).choice(n, max_showers, replace=False))
    incident, predicted, features = [], [], [[] for _ in networks]
    for chunk in stream(path, geometry, f"regression of {what}", chunk_rows=ROWS, rows=rows):
        x = torch.from_numpy(np.where(chunk.showers >= np.float32(threshold_MeV), chunk.showers, np.float32(0)))
        incident.append(chunk.incident_energies[:, 0].astype(np.float64))
        for i, network in enumerate(networks):
            model = network.model
            assert isinstance(model, EnergyRegressor)
            found = model.features(x.to(next(model.parameters()).device))
            features[i].append(found.double().cpu().numpy())
            if i == 0:
                predicted.append(model.energy(found).double().cpu().numpy())
    reading = Reading(np.concatenate(incident), np.concatenate(predicted), [np.concatenate(f) for f in features])
    if not all(np.isfinite(a).all() for a in (reading.predicted, *reading.features)):
        raise NumericsError(f"{what} sample {path}: a regressor's output is not finite")
    return reading


Judge = Callable[[str, Reading, str], list[Score]]


def _responses(base: Reading, config: RegressionConfig, seed: int) -> tuple[dict[str, np.ndarray], Judge]:
    """The curves (the reference's, and those of every sample judged) and the function that judges a sample."""
    curves: dict[str, np.ndarray] = {}
    reason, edges, reference = None, np.zeros(0), None
    try:
        edges = energy_bins(base.incident, config.bins)
        reference = _response(base, edges, config, seed, REFERENCE)
        curves |= {"edges": edges, **_curves(REFERENCE, reference)}
    except MetricUnavailable as error:
        reason = str(error)

    def judge(sample: str, reading: Reading, name: str) -> list[Score]:
        n = min(len(base.incident), len(reading.incident))
        names = {k: f"energy_regression/{name}/{k}" for k in ("linearity", "resolution")}
        judged = {"seed": seed, "sample": sample}
        try:
            if reference is None:
                raise MetricUnavailable(reason)
            found = _response(reading, edges, config, seed, sample)
            curves.update(_curves(sample, found))
            differences = mean_differences(reference, found)
        except MetricUnavailable as error:
            return [Score.absent(full, n, error, **judged) for full in names.values()]
        error = np.abs(base.predicted / base.incident - 1).mean()
        facts = {"bins": len(edges) - 1, "mean_relative_error_on_reference": float(error)}
        return [
            Score(names[k], value, spread, n, floor=0.0, extra=facts, **judged)
            for k, (value, spread) in differences.items()
        ]

    return curves, judge


def _response(reading: Reading, edges: np.ndarray, config: RegressionConfig, seed: int, sample: str) -> Response:
    rng = generator(seed, "response", sample)
    return response(reading.predicted, reading.incident, edges, rng, config.bootstrap)


def _curves(sample: str, found: Response) -> dict[str, np.ndarray]:
    return {f"{sample}/{k}": getattr(found, k) for k in CURVES}


def _frechet_scores(
    base: Reading, reading: Reading, config: RegressionConfig, seed: int, sample: str, name: str
) -> list[Score]:
    """FRD by the trained network, and its mean and standard deviation over the untrained ones."""
    n = min(len(base.incident), len(reading.incident))
    names = [f"frd/{name}"] + [f"frd/{name}/untrained"] * bool(config.untrained)
    try:
        found = [
            frechet_estimate(a, b, generator(seed, "frd", sample, i), config.splits, config.bootstrap)
            for i, (a, b) in enumerate(zip(base.features, reading.features, strict=True))
        ]
    except MetricUnavailable as error:
        return [Score.absent(full, n, error, seed=seed, sample=sample) for full in names]
    first, control = found[0], found[1:]
    facts = {"whole_samples": first.whole, "floor_error": first.floor_error, "features": base.features[0].shape[1]}
    scores = [
        Score(names[0], first.value, first.error, first.n, seed=seed, sample=sample, floor=first.floor, extra=facts)
    ]
    return scores + ([_control(names[1], control, seed, sample)] if control else [])


def _control(name: str, found: Sequence[FrechetEstimate], seed: int, sample: str) -> Score:
    values = [f.value for f in found]
    error = float(np.std(values, ddof=1)) if len(values) > 1 else found[0].error
    facts = {"values": values, "floors": [f.floor for f in found]}
    floor = float(np.mean(facts["floors"]))
    return Score(name, float(np.mean(values)), error, found[0].n, seed=seed, sample=sample, floor=floor, extra=facts)
