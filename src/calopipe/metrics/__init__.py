"""Metrics: arrays of two samples and an rng in, numbers out. One file per metric, registered by name; see `base`."""
