"""Normalizing flows: densities that can be evaluated and sampled."""
