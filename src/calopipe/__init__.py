"""calopipe: a reproducible workflow to build and judge generative models of calorimeter showers."""

__version__ = "0.1.0"
