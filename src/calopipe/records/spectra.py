"""Histograms of the energies that a regressor reads off showers, one for each of a few incident energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calopipe.records.histograms import Histogram
from calopipe.records.samples import REFERENCE
from calopipe.records.slices import Slice
from calopipe.units import GeV


@dataclass(frozen=True)
class Spectra:
    """Reconstructed energies of several samples, in bins that all samples share.

    Attributes:
        energies: (E,) incident energies in MeV.
        edges: (E, B + 1) bin edges of the reconstructed energies, in MeV.
        counts: sample name -> (E, B) counts inside the edges; the reference is called ``reference``.
        totals: sample name -> (E,) showers of each energy, inside the edges or not.
    """

    energies: np.ndarray
    edges: np.ndarray
    counts: Mapping[str, np.ndarray]
    totals: Mapping[str, np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays of an NPZ: ``spectra/energies``, ``spectra/edges``, and ``<sample>/counts`` and ``<sample>/totals``."""
        found = {"spectra/energies": self.energies, "spectra/edges": self.edges}
        for sample in self.counts:
            found |= {f"{sample}/counts": self.counts[sample], f"{sample}/totals": self.totals[sample]}
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Spectra | None:
        """The inverse of :meth:`arrays`, among other arrays; None where there are none."""
        if "spectra/edges" not in arrays:
            return None
        samples = [key.removesuffix("/counts") for key in arrays if key.endswith("/counts")]
        counts, totals = ({s: arrays[f"{s}/{kind}"] for s in samples} for kind in ("counts", "totals"))
        return cls(arrays["spectra/energies"], arrays["spectra/edges"], counts, totals)

    def histograms(self, sample: str) -> dict[float, Histogram]:
        """Incident energy in MeV -> histogram of the reference and one sample, in GeV where the energies are such."""
        unit, name = (GeV, "GeV") if len(self.energies) and self.energies.max() >= GeV else (1.0, "MeV")
        both = (REFERENCE, sample)
        return {
            energy: Histogram(
                "E_rec",
                "regression",
                rf"$E_\mathrm{{rec}}$ [{name}]",
                self.edges[i] / unit,
                {s: self.counts[s][i] for s in both},
                {s: int(self.totals[s][i]) for s in both},
                part=Slice.of_energies(energy, energy),
            )
            for i, energy in enumerate(self.energies.tolist())
        }
