"""Losses of autoencoders that are put together of terms."""
