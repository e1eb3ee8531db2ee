"""Invertible chains from showers (MeV) to network inputs; postprocessing is their inverse, never a second
implementation.
"""

from calopipe.preprocessing.base import Chain, Layout, Step, build_chain

__all__ = ["Chain", "Layout", "Step", "build_chain"]
