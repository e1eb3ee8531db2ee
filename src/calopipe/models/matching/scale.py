"""Energies of cells whose values are logarithms or roots of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: the logarithm of an energy is at most this, in units of the mean energy of hits
_MOST = 12.0


class Moments(NamedTuple):
    """Of energies whose values are normally distributed: E, E^2, and the slope of E with the value times the width of the value, on average."""

    first: Tensor
    second: Tensor
    slope: Tensor


class Scale(NamedTuple):
    """Energies exp(u - unit) or, with a ``root``, u^root exp(-unit), where u = factor x value + shift."""

    root: int | None
    factor: Tensor
    shift: Tensor
    unit: Tensor

    def energy(self, value: Tensor) -> Tensor:
        """Energies of values, of any shape."""
        u = self._u(value)
        return (u - self.unit).clamp(max=_MOST).exp() if self.root is None else u**self.root * (-self.unit).exp()

    def slope(self, value: Tensor) -> Tensor:
        """By how much energies rise with their values."""
        if self.root is None:
            return self.factor * self.energy(value)
        return self.factor * self.root * self._u(value) ** (self.root - 1) * (-self.unit).exp()

    def moments(self, mean: Tensor, width: Tensor) -> Moments:
        """Of values with these means and widths."""
        width = self.factor * width
        if self.root is None:
            first = (self._u(mean) - self.unit + 0.5 * width.square()).clamp(max=_MOST).exp()
            return Moments(first, first.square() * width.square().clamp(max=4).exp(), first * width)
        powers = [torch.ones_like(mean), self._u(mean)]  # E[u^n] = E[u] E[u^(n-1)] + (n-1) width^2 E[u^(n-2)]
        for n in range(2, 2 * self.root + 1):
            powers.append(powers[1] * powers[-1] + (n - 1) * width.square() * powers[-2])
        one = (-self.unit).exp()
        return Moments(
            one * powers[self.root],
            one.square() * powers[2 * self.root],
            one * self.root * powers[self.root - 1] * width,
        )

    def _u(self, value: Tensor) -> Tensor:
        u = self.factor * value + self.shift
        return u if self.root is None else u.clamp(min=0)
