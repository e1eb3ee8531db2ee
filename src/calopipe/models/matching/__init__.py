"""Generators whose samples follow a learned field of velocities from noise."""
