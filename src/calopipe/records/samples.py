"""Names of samples, in scores, histograms and tests."""

from __future__ import annotations

#: what the others are compared with: the test showers
REFERENCE = "reference"
#: what a generator made
GENERATED = "generated"
#: the test showers after the autoencoder of a latent model
RECONSTRUCTED = "reconstructed"
