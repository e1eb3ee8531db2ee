"""The bounded-information-bottleneck autoencoder: settings, networks, and how they are trained."""
