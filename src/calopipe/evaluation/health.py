"""The health check: what is unusual about shower files, said before any score is made of them.

Each file is read once, in pieces (:class:`Census`): empty showers and layers, a hash of every shower, responses and
incident energies. What is unusual becomes a :class:`Finding` of one line; a file without any has none. The limits are set
so that two samples of one distribution stay silent: differences must be large as well as beyond chance.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calopipe.evaluation.challenge_inputs import energies_differ
from calopipe.evaluation.inputs import Readout, stream
from calopipe.geometry import Geometry
from calopipe.io import Showers, file_info
from calopipe.io.conditions import TrainedRange
from calopipe.records.findings import Finding, save_findings
from calopipe.records.samples import RECONSTRUCTED, REFERENCE

log = logging.getLogger("calopipe")

#: standard deviations by which a difference of shares must exceed chance
SIGMAS = 5.0
#: smallest difference of the shares of empty showers, and of empty layers, that is told
EMPTY, EMPTY_LAYER = 0.005, 0.05
#: share of empty showers that is told where there is no reference
MANY_EMPTY = 0.05
#: means of E_tot / E_inc that calorimeters have: calibrated as the CaloChallenge's, and any (silicon sees 1 % of a shower)
CALIBRATED, ANY_RESPONSE = (0.1, 3.0), (1e-3, 3.0)
#: factor between two mean responses that looks like another unit
UNITS_FACTOR = 30
#: share of incident energies outside a dataset's range that is told
OUTSIDE_RANGE = 0.01
#: geometry -> incident energies of the published dataset in MeV, and what it is called (arXiv:2410.21611; arXiv:1712.10321)
KNOWN_ENERGIES: Mapping[str, tuple[float, float, str]] = {
    "calochallenge1_photons": (256.0, 4_194_304.0, "CaloChallenge set 1"),
    "calochallenge1_pions": (256.0, 4_194_304.0, "CaloChallenge set 1"),
    "calochallenge2": (1e3, 1e6, "CaloChallenge set 2"),
    "calochallenge3": (1e3, 1e6, "CaloChallenge set 3"),
    "calogan": (1e3, 1e5, "CaloGAN"),
}


@dataclass
class Census:
    """Counts over the showers of one file, piece by piece; energies are after the threshold, hashes of what is in the file.

    Args:
        name: what the sample is called.
        geometry: its voxelisation; None: nothing is known of layers.
        threshold_MeV: voxels below are zero.
    """

    name: str
    geometry: Geometry | None
    threshold_MeV: float
    n: int = 0
    empty: int = 0
    ratio: float = 0.0
    filled_layers: np.ndarray | None = None
    incident: list[np.ndarray] = field(default_factory=list)
    hashes: list[np.ndarray] = field(default_factory=list)
    trained: TrainedRange | None = None

    def add(self, chunk: Showers) -> None:
        """Count a piece of the file."""
        incident = chunk.incident_energies[:, 0].astype(np.float64)
        kept = np.where(chunk.showers >= np.float32(self.threshold_MeV), chunk.showers, np.float32(0))
        parts = [slice(None)] if self.geometry is None else self.geometry.layer_slices
        layers = np.stack([kept[:, part].sum(axis=1, dtype=np.float64) for part in parts], axis=1)
        filled = (layers > 0).sum(axis=0)
        total = layers.sum(axis=1)
        self.n += len(chunk)
        self.empty += int((total == 0).sum())
        self.ratio += float((total / incident).sum())
        self.filled_layers = filled if self.filled_layers is None else self.filled_layers + filled
        self.incident.append(incident)
        self.hashes.append(_hashes(chunk.showers))

    @property
    def label(self) -> str:
        """The sample in a sentence; a file that stands alone has no name."""
        return f"{self.name} " if self.name else ""

    @property
    def energies(self) -> np.ndarray:
        """(N,) incident energies in MeV."""
        return np.concatenate(self.incident) if self.incident else np.empty(0)

    @property
    def mean_ratio(self) -> float:
        """Mean of E_tot / E_inc."""
        return self.ratio / max(self.n, 1)

    @property
    def rows(self) -> np.ndarray:
        """Hashes of the showers that are not empty."""
        return np.concatenate(self.hashes) if self.hashes else np.empty(0, dtype=np.uint64)


def census(name: str, path: Path, readout: Readout, read: Callable[..., Iterable[Showers]] = stream) -> Census:
    """Read a file once. Raises DataError like :func:`calopipe.evaluation.inputs.stream`."""
    found = Census(name, readout.geometry, readout.threshold_MeV, trained=trained_range([path]))
    for chunk in read(path, readout.geometry, f"health of {name}"):
        found.add(chunk)
    return found


def trained_range(paths: Sequence[Path]) -> TrainedRange | None:
    """The energies that the generator of all these files was trained on; None where one of them does not say."""
    found = [TrainedRange.from_attributes(file_info(path).attributes) for path in paths]
    return found[0] if found and all(f == found[0] for f in found) else None


def _hashes(showers: np.ndarray) -> np.ndarray:
    """One 64-bit hash per shower that is not empty; empty showers are counted elsewhere."""
    filled = np.ascontiguousarray(showers[showers.any(axis=1)])
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in filled)
    return np.frombuffer(digests, dtype=np.uint64)


# ---- the checks ---------------------------------------------------------------------------------------------------------
def check_file(one: Census, alone: bool = True) -> list[Finding]:
    """What is unusual about a file by itself: energies, units, copies; where it is `alone`, many empty showers too."""
    found = [*_energies(one), *_response(one), *_copies(one)]
    if alone and one.n and one.empty > MANY_EMPTY * one.n:
        found.append(Finding("empty showers", one.name, f"{one.empty} of {one.n} showers are empty"))
    return found


def check_pair_of_samples(reference: Census, generated: Census, energies: bool = True) -> list[Finding]:
    """What is unusual about a sample beside the reference.

    `energies`: whether incident energies are compared too (`calopipe evaluate` refuses those that differ).
    """
    found = [*_empty(reference, generated), *_response_of_pair(reference, generated)]
    if energies:
        found += _incident(reference, generated)
    return found + shared_showers(generated, reference)


def shared_showers(sample: Census, other: Census) -> list[Finding]:
    """Showers of `sample` that `other` has too, voxel by voxel."""
    both = int(np.isin(sample.rows, other.rows).sum())
    if not both:
        return []
    text = f"{both} of {sample.n} {sample.name} showers are also among the {other.name} showers, voxel by voxel"
    return [Finding("shared", sample.name, text)]


def _copies(one: Census) -> Iterator[Finding]:
    _, counts = np.unique(one.rows, return_counts=True)
    extra = int((counts - 1).sum())
    if extra:
        text = f"{extra} of {one.n} {one.label}showers are copies of others in the same sample"
        yield Finding("copies", one.name, text)


def _energies(one: Census) -> Iterator[Finding]:
    energies = one.energies
    if one.geometry is not None and one.geometry.name in KNOWN_ENERGIES and len(energies):
        low, high, what = KNOWN_ENERGIES[one.geometry.name]
        outside = float(np.mean((energies < low * 0.99) | (energies > high * 1.01)))
        if outside > OUTSIDE_RANGE:
            yield Finding(
                "incident energies", one.name,
                f"{outside:.0%} of the {one.label}incident energies ({energies.min():g} to {energies.max():g} MeV) "
                f"are outside those of {what} ({low:g} to {high:g} MeV){_unit(energies, low, high)}",
            )  # fmt: skip
    complaint = None if one.trained is None else one.trained.complaint(energies)
    if complaint is not None:
        yield Finding(
            "trained energies", one.name, f"{one.label}{complaint}" if not one.name else f"{one.name}: {complaint}"
        )


def _unit(energies: np.ndarray, low: float, high: float) -> str:
    for factor, unit in ((1e3, "GeV"), (1e-3, "keV"), (1e6, "TeV")):
        if np.mean((energies * factor >= low * 0.99) & (energies * factor <= high * 1.01)) > 1 - OUTSIDE_RANGE:
            return f": is the file in {unit}? The unit is MeV"
    return ""


def _response(one: Census) -> Iterator[Finding]:
    """A mean E_tot / E_inc, of the showers that are not empty, that no calorimeter has."""
    filled = one.n - one.empty
    calibrated = one.geometry is not None and one.geometry.name.startswith("calochallenge")
    low, high = CALIBRATED if calibrated else ANY_RESPONSE
    mean = one.ratio / filled if filled else low
    if not low <= mean <= high:
        yield Finding(
            "units", one.name,
            f"mean E_tot / E_inc of {one.label}showers is {mean:.3g}, expected {low:g} to {high:g}: are the voxels in MeV, and "
            "the incident energies too?",
        )  # fmt: skip


def _response_of_pair(reference: Census, generated: Census) -> Iterator[Finding]:
    if reference.ratio > 0 and not 1 / UNITS_FACTOR < generated.mean_ratio / reference.mean_ratio < UNITS_FACTOR:
        yield Finding(
            "units", generated.name,
            f"mean E_tot / E_inc of the {generated.name} sample is {generated.mean_ratio:.3g}, in the {reference.name} "
            f"{reference.mean_ratio:.3g}: are the voxels in MeV, and the incident energies too?",
        )  # fmt: skip


def _beyond_chance(k: np.ndarray | int, n: int, expected: np.ndarray | int, m: int) -> np.ndarray:
    """Whether shares k / n and expected / m differ by more than SIGMAS standard deviations of equal ones."""
    p = (np.asarray(k) + np.asarray(expected)) / (n + m)
    sigma = np.sqrt(np.maximum(p * (1 - p), 1 / (n + m)) * (1 / n + 1 / m))
    return np.abs(np.asarray(k) / n - np.asarray(expected) / m) > SIGMAS * sigma


def _empty(reference: Census, generated: Census) -> Iterator[Finding]:
    n, m = generated.n, reference.n
    if not (n and m):
        return
    difference = abs(generated.empty / n - reference.empty / m)
    if difference > EMPTY and _beyond_chance(generated.empty, n, reference.empty, m):
        text = f"{generated.empty} of {n} {generated.name} showers are empty, {reference.empty} of {m} in the {reference.name}"
        yield Finding("empty showers", generated.name, text)
        return  # then its layers are empty too
    if generated.geometry is None or generated.filled_layers is None or reference.filled_layers is None:
        return
    shares = generated.filled_layers / n, reference.filled_layers / m
    strange = _beyond_chance(generated.filled_layers, n, reference.filled_layers, m)
    strange &= (np.abs(shares[0] - shares[1]) > EMPTY_LAYER) | (generated.filled_layers == 0)
    if strange.any():
        worst = int(np.argmax(np.where(strange, np.abs(shares[0] - shares[1]), -1)))
        more = f" (and {int(strange.sum()) - 1} more layers differ)" if strange.sum() > 1 else ""
        yield Finding(
            "empty layers", generated.name,
            f"layer {generated.geometry.layer_ids[worst]} is empty in {1 - shares[0][worst]:.2%} of the {generated.name} showers, "
            f"in {1 - shares[1][worst]:.2%} of the {reference.name} ones{more}",
        )  # fmt: skip


def _incident(reference: Census, generated: Census) -> Iterator[Finding]:
    text = energies_differ(reference.energies, generated.energies)
    if text is not None:
        yield Finding("incident energies", generated.name, f"{generated.name}: {text}")


# ---- the files of a study -------------------------------------------------------------------------------------------------
def check_health(
    reference: Path,
    samples: Mapping[str, Path],
    readout: Readout,
    *,
    training: Sequence[Path] = (),
    out: Path | None = None,
) -> list[Finding]:
    """Check the samples of a run, its reference (the test split) and whether either repeats training showers.

    Args:
        reference: shower file of the test split.
        samples: name -> shower file.
        readout: what they are compared in.
        training: shower files of the training and validation splits.
        out: JSON file to write; None: none.

    Raises:
        DataError: a file is unreadable, or does not fit the geometry.
    """
    base = census(REFERENCE, reference, readout)
    found = check_file(base)
    others = [census(name, path, readout) for name, path in samples.items()]
    for one in others:
        found += check_file(one, alone=False) + check_pair_of_samples(base, one)
    for i, path in enumerate(training):
        split = census("training" if i == 0 else "validation", path, readout)
        found += shared_showers(base, split)
        found += [f for one in others if one.name != RECONSTRUCTED for f in shared_showers(one, split)]
    for finding in found:
        log.warning("warning: %s", finding.text)
    if out is not None:
        sizes = {c.name: {"n": c.n, "empty": c.empty, "mean_E_ratio": c.mean_ratio} for c in (base, *others)}
        save_findings(out, found, sizes)
    return found
