"""Linear layers whose weights are normal distributions, and how networks are made of them.

In training every row has weights of its own, by the local reparametrisation: sums of normal weights are normal, so the
outputs are drawn instead. In evaluation one draw of all weights is fixed, so that a network is a function again, or the means
are taken.

Sources: Kingma 2013 (reparametrisation), Kingma 2015 (local reparametrisation), Ernst 2023, section 3.3.6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from calopipe import seeds

#: added to the variance of outputs in training, whose square root has no slope at 0
_LEAST = 1e-8
#: standard deviation of the log variances that weights start with
_SPREAD = 1e-3


class VariationalLinear(nn.Linear):
    """A linear layer with a normal distribution for each weight and a plain bias.

    Args:
        log_variance: ln of the variances, at the start. zero: means start at 0; else they are drawn with variance 1 / inputs.

    Attributes:
        weight: means (O, I). log_variance: ln of the variances (O, I).
        drawn: seed of the weights that evaluation uses; None: the means.
    """

    def __init__(self, inputs: int, outputs: int, log_variance: float, zero: bool = False) -> None:
        super().__init__(inputs, outputs)
        nn.init.normal_(self.weight, 0.0, 0.0 if zero else 1 / math.sqrt(inputs))
        nn.init.zeros_(self.bias)
        self.log_variance = nn.Parameter(torch.empty(outputs, inputs).normal_(log_variance, _SPREAD))
        self.drawn: int | None = None
        self._noise: tuple[int, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean = super().forward(x)
            variance = nn.functional.linear(x.square(), self.log_variance.exp()) + _LEAST
            return mean + variance.sqrt() * torch.randn_like(mean)
        return nn.functional.linear(x, self.evaluated(), self.bias)

    def evaluated(self) -> Tensor:
        """The weights (O, I) that evaluation uses: a draw, or the means."""
        if self.drawn is None:
            return self.weight
        return self.weight + (0.5 * self.log_variance).exp() * self._standard(self.drawn)

    def _standard(self, seed: int) -> Tensor:
        """Standard normal numbers (O, I) of a seed, the same on every device; kept for the next call."""
        if self._noise is None or self._noise[0] != seed:
            self._noise = seed, torch.randn(self.weight.shape, generator=torch.Generator().manual_seed(seed))
        if self._noise[1].dtype != self.weight.dtype or self._noise[1].device != self.weight.device:
            self._noise = seed, self._noise[1].to(self.weight)
        return self._noise[1]

    def kl(self, precision: float) -> Tensor:
        """KL divergence in nats, summed over the weights, from a normal prior around 0 with this 1 / variance."""
        variance = self.log_variance.exp()
        terms = precision * (self.weight.square() + variance) - self.log_variance - 1 - math.log(precision)
        return 0.5 * terms.sum()


def variational(net: nn.Sequential, log_variance: float, every: bool) -> None:
    """Put variational layers in place of a network's last linear layer, whose means start at 0, or of all of them."""
    places = [i for i, layer in enumerate(net) if isinstance(layer, nn.Linear)]
    for i in places if every else places[-1:]:
        layer = net[i]
        assert isinstance(layer, nn.Linear)
        net[i] = VariationalLinear(layer.in_features, layer.out_features, log_variance, zero=i == places[-1])


def layers_of(module: nn.Module) -> Iterator[VariationalLinear]:
    """The variational layers of a module."""
    return (layer for layer in module.modules() if isinstance(layer, VariationalLinear))


def fix(module: nn.Module, seed: int, number: int | None) -> None:
    """Let evaluation use the weights of draw `number` (None: the means): the same ones for the same seed and number."""
    for i, layer in enumerate(layers_of(module)):
        layer.drawn = None if number is None else seeds.derive(seed, "weights drawn", number, i)
