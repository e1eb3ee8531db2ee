"""Frechet inception distance (FID) of shower images, with an Inception network that the user supplies.

Werther 2022 applies Inception V3 to showers summed along the beam, and to each layer with the mean over the layers. The
features are made for photographs; she finds that they miss the best epoch.

calopipe ships and downloads no weights. `inception` names a TorchScript file: a module that maps images
(n, 3, 299, 299), float32 from 0 to 255, to features (n, D), such as the one that published FIDs are computed with. What
torchvision calls ``inception_v3`` becomes one by wrapping it with its normalisation and ``torch.jit.save``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from calopipe.config.parts import METRICS
from calopipe.errors import DataError, MetricUnavailable
from calopipe.metrics.base import Sample
from calopipe.metrics.frechet import frechet_estimate
from calopipe.metrics.settings import FidConfig
from calopipe.records.scores import Score

#: images a network is applied to at once; their side in pixels
ROWS, SIDE = 64, 299

Network = Callable[[np.ndarray], np.ndarray]


@METRICS.register("fid", config=FidConfig)
def fid(reference: Sample, generated: Sample, rng: np.random.Generator, config: FidConfig) -> list[Score]:
    """The score ``fid/summed`` or ``fid/layers``.

    Pixels are energies over the reference's largest one, times 255, enlarged bilinearly.

    Raises:
        MetricUnavailable: no file of a network, too few showers, or layers of different shapes.
        DataError: the file is no such network.
    """
    if config.inception is None:
        raise MetricUnavailable("fid needs a network: set 'inception' to a TorchScript file (docs/metrics.md)")
    shapes = set(reference.layer_shapes.values())
    if len(shapes) != 1:
        raise MetricUnavailable(f"fid needs layers of one shape, found {', '.join(map(str, sorted(shapes)))}")
    network = _load(Path(config.inception))
    pairs = [_images(s, next(iter(shapes)), config.images) for s in (reference, generated)]
    found = []
    for real, drawn in zip(*pairs, strict=True):
        scale = 255 / max(float(real.max()), float(np.finfo(np.float32).tiny))
        a, b = (network(np.minimum(x * scale, 255)) for x in (real, drawn))
        found.append(frechet_estimate(a, b, rng, config.splits, config.bootstrap))
    value, floor = (float(np.mean([getattr(f, k) for f in found])) for k in ("value", "floor"))
    error = float(np.mean([f.error for f in found]))  # layers of a shower go together: errors do not average out
    facts = {"images": len(found), "whole_samples": float(np.mean([f.whole for f in found]))}
    return [Score(f"fid/{config.images}", value, error, found[0].n, floor=floor, extra=facts)]


def _images(sample: Sample, shape: tuple[int, int], kind: str) -> list[np.ndarray]:
    """Images (N, a, b): one set, of the sum over the layers, or one per layer."""
    layers = [sample.showers[:, s].reshape(-1, *shape) for s in sample.layers.values()]
    return [np.sum(layers, axis=0)] if kind == "summed" else layers


def _load(path: Path) -> Network:
    """The network in a file as a function of images (N, a, b) from 0 to 255."""
    import torch
    from torch.nn import functional

    if not path.is_file():
        raise DataError(f"fid: inception: no such file {path}")
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:  # a file of anything else can make the reader raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path}: not a TorchScript network ({reason})") from error

    @torch.no_grad()
    def features(images: np.ndarray) -> np.ndarray:
        pieces = []
        for start in range(0, len(images), ROWS):
            x = torch.from_numpy(images[start : start + ROWS].astype(np.float32))[:, None]
            x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1)
            y = module(x)
            if not isinstance(y, torch.Tensor) or y.ndim != 2 or len(y) != len(x) or not torch.isfinite(y).all():
                found = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
                raise DataError(f"{path}: expected finite features ({len(x)}, D) of {len(x)} images, found {found}")
            pieces.append(y.double().numpy())
        return np.concatenate(pieces)

    return features
