"""Conditional VAE with a Bernoulli reconstruction loss, the published VAE of CaloChallenge 1 (Ernst 2023, section
4.4.1 and Table 5; details after the authors' code, heidelberg-hepml/CaloINN).
"""

from __future__ import annotations

from calopipe.config.parts import MODELS
from calopipe.models.autoencoders.settings import BernoulliVAEConfig
from calopipe.models.autoencoders.shower_vae import ShowerVAE


@MODELS.register("bernoulli_vae", config=BernoulliVAEConfig)
class BernoulliVAE(ShowerVAE):
    """A ``shower_vae`` whose terms are the binary cross entropy with the reconstruction as a shower.

    x is continuous: the BCE is used as a loss, not as the log-likelihood of a continuous variable. Where the term is
    ``continuous_bce``, it is one; ``decode`` then returns the mean of that distribution instead of its parameter.
    """
