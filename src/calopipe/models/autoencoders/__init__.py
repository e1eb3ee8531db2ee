"""Autoencoders, variational or not: an encoder to a latent space and a decoder back."""
