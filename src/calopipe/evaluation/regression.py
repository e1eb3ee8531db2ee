"""The samples seen by an energy regressor: linearity, resolution and Frechet regression distance (FRD).

The FRD is the Frechet distance of the regressor's last hidden layer between reference and generated showers (Werther
2022). Its unit is that of the features, so values of different regressors do not compare; each has its floor and, as
control, the distances that networks with fresh weights find.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calopipe.config.evaluation import RegressionConfig
from calopipe.devices import pick_device
from calopipe.errors import CheckpointError, MetricUnavailable, NumericsError
from calopipe.evaluation.inputs import Readout, check_samples, stream, with_reference
from calopipe.evaluation.spectra import reference_spectra, with_sample
from calopipe.geometry import Geometry
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

    @property
    def n(self) -> int:
        """Number of showers."""
        return len(self.incident)


def evaluate_regression(
    reference: Path,
    samples: Mapping[str, Path],
    readout: Readout,
    *,
    checkpoint: Path,
    config: RegressionConfig,
    seed: int,
    name: str,
    scores: Path,
    curves: Path,
) -> None:
    """Apply a regressor to all samples; write scores, and linearity and resolution against the incident energy.

    Scores are ``energy_regression/<name>/linearity`` and ``/resolution`` (relative differences to the reference, mean
    over the bins), ``frd/<name>`` and ``frd/<name>/untrained``. The NPZ holds ``edges`` (B + 1,) in MeV and
    ``<sample>/<curve>`` (B,) for the reference and every sample, see :class:`calopipe.metrics.resolution.Response`; and
    histograms at single incident energies, see :class:`calopipe.records.spectra.Spectra`.

    Args:
        reference: shower file of the reference.
        samples: name -> shower file.
        readout: what they are compared in.
        checkpoint: a trained regressor.
        seed: seed of splits, bootstraps and untrained networks.
        name: what the regressor is called in the scores.
        scores, curves: JSON and NPZ file to write.

    Raises:
        CheckpointError: no regressor, or one of another geometry.
        DataError: a file does not fit the geometry, or holds values that are not energies.
        NumericsError: a network's output is not finite.
    """
    check_samples(with_reference(reference, samples), readout.geometry)
    network = load_regressor(checkpoint, readout.geometry, config.device)
    networks = [network, *(untrained(network, derive(seed, "untrained", i)) for i in range(config.untrained))]

    def read(what: str, path: Path) -> Reading:
        return apply_networks(networks, path, readout, max_showers=config.max_showers, seed=seed, what=what)

    judge = _Judge(read(REFERENCE, reference), config, seed, name)
    found: list[Score] = []
    for sample, path in samples.items():
        reading = read(sample, path)
        found += judge.responses(sample, reading)
        found += judge.distances(sample, reading)
        judge.spectra = with_sample(judge.spectra, sample, reading.predicted, reading.incident)
        log.info("energy regression of %s by %s: done", sample, name)
    save_scores(scores, found)
    write_npz(curves, {**judge.curves, **(judge.spectra.arrays() if len(judge.spectra.energies) else {})})


def load_regressor(checkpoint: Path, geometry: Geometry, device: str = "auto") -> Network:
    """Load a regressor and make sure that it was trained on showers of `geometry`.

    Raises:
        CheckpointError: no regressor, or of another geometry.
    """
    network = load_network(checkpoint, "EnergyRegressor", pick_device(device))
    trained = network.data.shape
    if trained is None or trained.hash != geometry.hash:
        name = "none" if trained is None else trained.name
        raise CheckpointError(
            f"{checkpoint}: regressor trained on geometry '{name}', but the samples are in "
            f"'{geometry.name}' (the two differ in their cells)"
        )
    return network


def untrained(network: Network, seed: int) -> Network:
    """A network of the same settings with fresh weights; the scales of in- and output stay, as they are not learned."""
    where = next(network.model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_network(network.link, network.settings, network.data, dim=network.dim, seed=seed,
                              n_train=network.inputs.n_train)  # fmt: skip
    scales = {k: v for k, v in network.model.state_dict().items() if k.endswith("_scale")}
    fresh.model.load_state_dict(scales, strict=False)
    fresh.model.to(where)
    return fresh.eval()


@torch.no_grad()
def apply_networks(
    networks: Sequence[Network], path: Path, readout: Readout, *, max_showers: int | None, seed: int, what: str
) -> Reading:
    """Energies and features of the showers in a file (a random `max_showers` of them), streamed."""
    n = check_samples({what: path}, readout.geometry)[what]
    rows = None
    if max_showers is not None and n > max_showers:
        rows = np.sort(generator(seed, "regression rows", what).choice(n, max_showers, replace=False))
    incident, predicted = [], []
    features: list[list[np.ndarray]] = [[] for _ in networks]
    for chunk in stream(path, readout.geometry, f"regression of {what}", chunk_rows=ROWS, rows=rows):
        x = torch.from_numpy(readout.kept(chunk.showers))
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


class _Judge:
    """Judges readings of samples against that of the reference, and collects the curves and histograms of all of them.

    Args:
        base: of the reference.
        name: of the regressor.
    """

    def __init__(self, base: Reading, config: RegressionConfig, seed: int, name: str) -> None:
        self.base, self.config, self.seed, self.name = base, config, seed, name
        self.curves: dict[str, np.ndarray] = {}
        self.spectra = reference_spectra(base.predicted, base.incident, config.energies_MeV)
        self.reference: Response | MetricUnavailable
        try:
            self.edges = energy_bins(base.incident, config.bins)
            self.reference = self._response(REFERENCE, base)
            self.curves["edges"] = self.edges
        except MetricUnavailable as error:
            self.reference = error

    def _response(self, sample: str, reading: Reading) -> Response:
        """Linearity and resolution of a sample, whose curves are kept."""
        rng = generator(self.seed, "response", sample)
        found = response(reading.predicted, reading.incident, self.edges, rng, self.config.bootstrap)
        self.curves |= {f"{sample}/{k}": getattr(found, k) for k in CURVES}
        return found

    def responses(self, sample: str, reading: Reading) -> list[Score]:
        """How far linearity and resolution are from the reference's."""
        n = min(self.base.n, reading.n)
        about: dict[str, Any] = {"seed": self.seed, "sample": sample}
        prefix = f"energy_regression/{self.name}"
        try:
            if isinstance(self.reference, MetricUnavailable):
                raise self.reference
            differences = mean_differences(self.reference, self._response(sample, reading))
        except MetricUnavailable as problem:
            return [Score.absent(f"{prefix}/{k}", n, problem, **about) for k in ("linearity", "resolution")]
        error = np.abs(self.base.predicted / self.base.incident - 1).mean()
        facts = {"bins": len(self.edges) - 1, "mean_relative_error_on_reference": float(error)}
        return [
            Score(f"{prefix}/{k}", value, spread, n, floor=0.0, extra=facts, **about)
            for k, (value, spread) in differences.items()
        ]

    def distances(self, sample: str, reading: Reading) -> list[Score]:
        """FRD by the trained network, and its mean and standard deviation over the untrained ones."""
        about: dict[str, Any] = {"seed": self.seed, "sample": sample}
        names = [f"frd/{self.name}"] + [f"frd/{self.name}/untrained"] * bool(self.config.untrained)
        try:
            found = [
                frechet_estimate(
                    a, b, generator(self.seed, "frd", sample, i), self.config.splits, self.config.bootstrap
                )
                for i, (a, b) in enumerate(zip(self.base.features, reading.features, strict=True))
            ]
        except MetricUnavailable as error:
            return [Score.absent(full, min(self.base.n, reading.n), error, **about) for full in names]
        first, control = found[0], found[1:]
        size = self.base.features[0].shape[1]
        facts = {"whole_samples": first.whole, "floor_error": first.floor_error, "features": size}
        scores = [Score(names[0], first.value, first.error, first.n, floor=first.floor, extra=facts, **about)]
        return scores + [_control(name, control, about) for name in names[1:]]


def _control(name: str, found: Sequence[FrechetEstimate], about: Mapping[str, Any]) -> Score:
    values = [f.value for f in found]
    error = float(np.std(values, ddof=1)) if len(values) > 1 else found[0].error
    facts = {"values": values, "floors": [f.floor for f in found]}
    floor = float(np.mean(facts["floors"]))
    return Score(name, float(np.mean(values)), error, found[0].n, floor=floor, extra=facts, **about)
