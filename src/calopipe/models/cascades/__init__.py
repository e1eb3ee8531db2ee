"""Cascades: networks that draw showers from coarse to fine, each step given the one before."""
