"""What networks are built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class DropoutReLU(nn.Module):
    """ReLU whose output is dropped with probability `p` in training (the order does not matter: both keep zeros)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(torch.relu_(x), self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def mlp(
    sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, zero: bool = False, norm: bool = False
) -> nn.Sequential:
    """Linear layers of the given widths with an activation between them (none after the last).

    zero: the last layer starts at zero, so that the network starts as the constant 0. norm: batch normalisation before
    each activation.
    """
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        last = nn.Linear(a, b)
        layers.append(last)
        if i < len(sizes) - 2:
            layers += [nn.BatchNorm1d(b), activation()] if norm else [activation()]
    if zero:
        start_at_zero(last)
    return nn.Sequential(*layers)


def output(name: str, slope: float = 0.01) -> nn.Module:
    """A last activation: linear, relu, leaky_relu of a slope, sigmoid or tanh."""
    made = {"linear": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
    return nn.LeakyReLU(slope) if name == "leaky_relu" else made[name]()


def start_at_zero(layer: nn.Linear) -> nn.Linear:
    """`layer` with weights and biases of 0."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def wrap(x: Tensor, dim: int, cells: int = 1) -> Tensor:
    """x continued periodically along `dim`, by so many cells at either end: padding for an index that is an angle."""
    n = x.shape[dim]
    return torch.cat([x.narrow(dim, n - cells, cells), x, x.narrow(dim, 0, cells)], dim=dim)


def surrounded(x: Tensor, periodic: bool) -> Tensor:
    """Cells x (..., a, b) of a layer with the neighbours of those at its rim around them, (..., a + 2, b + 2).

    Where the first index is an angle its ends are neighbours, and before the innermost ring stand the opposite cells of that
    ring: half a turn on, which for an odd number of cells is the one just before it. Elsewhere, and around layers of one
    cell in angle, are zeros. Source: Ernst 2023, section 4.3.2, figure 27.
    """
    a = x.shape[-2]
    if not periodic or a == 1:
        return nn.functional.pad(x, (1, 1, 1, 1))
    opposite = x[..., :1].roll(a // 2, dims=-2)
    return wrap(nn.functional.pad(torch.cat([opposite, x], dim=-1), (0, 1)), -2)


def in_pieces(function: Callable[..., Tensor], rows: int, *arguments: Tensor) -> Tensor:
    """What a function that treats rows alone makes of them, at most so many at once: for networks whose images need memory."""
    pieces = zip(*(argument.split(rows) for argument in arguments), strict=True)
    return torch.cat([function(*piece) for piece in pieces])


def draw(mu: Tensor, logvar: Tensor) -> Tensor:
    """One reparametrised draw from N(mu, exp(logvar))."""
    return mu + (0.5 * logvar).exp() * torch.randn_like(mu)


#: largest log variance of a part of a mixture
LARGEST = 6.0


def mixture(out: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, means and log variances (..., K, 1), these between `least` and `LARGEST`, of what a network says (..., 3 K)."""
    weights, mean, log_var = out.chunk(3, dim=-1)
    return weights.log_softmax(-1)[..., None], mean[..., None], log_var.clamp(least, LARGEST)[..., None]


def draw_mixture(weights: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Values (N, G) of mixtures of normals with log weights, means and log variances (N, K, G)."""
    if weights.shape[1] == 1:
        return draw(mean[:, 0], log_var[:, 0])
    gumbel = -torch.empty_like(weights).exponential_().log()  # the largest sum is a draw from the weights
    chosen = (weights + gumbel).argmax(1, keepdim=True)
    return draw(mean.gather(1, chosen)[:, 0], log_var.gather(1, chosen)[:, 0])


class Standardisation(nn.Module):
    """Zero mean and unit variance per column, kept in buffers; the identity until it is fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def fit(self, x: Tensor, floor: float = 1e-3) -> None:
        """Take mean and standard deviation, of at least `floor`, from x (N, dim)."""
        if x.shape[1] == 0:
            return
        x = x.double()
        self.set(x.mean(0), x.std(0).clamp(min=floor))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take what was computed elsewhere, (dim,) each."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def inverse(self, y: Tensor) -> Tensor:
        """x of standardised y."""
        return y * self.std + self.mean


class LearnableNorm(nn.Module):
    """y = x * scale + shift with a learned scale and shift of each column (those of `chosen`; others stay as they are).

    They start at 1 and 0. The inverse has the same numbers. Source: Ernst 2023, section 4.4.2.
    """

    chosen: Tensor

    def __init__(self, chosen: Sequence[bool]) -> None:
        super().__init__()
        self.register_buffer("chosen", torch.tensor(chosen, dtype=torch.bool), persistent=False)
        n = sum(chosen)
        self.scale, self.shift = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))

    def _whole(self) -> tuple[Tensor, Tensor]:
        scale = torch.ones(len(self.chosen), device=self.scale.device, dtype=self.scale.dtype)
        return scale.masked_scatter(self.chosen, self.scale), (0 * scale).masked_scatter(self.chosen, self.shift)

    def fit(self, x: Tensor) -> None:
        """Nothing: it is learned."""

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self._whole()
        return x * scale + shift

    def inverse(self, y: Tensor) -> Tensor:
        """x of normed y."""
        scale, shift = self._whole()
        return (y - shift) / scale


def alpha_logit(x: Tensor, alpha: float, alpha_1: float | None = None) -> Tensor:
    """logit of alpha + (1 - alpha - alpha_1) x for x in [0, 1]; x outside is moved to the nearer end. alpha_1: alpha if None."""
    k = (1 - alpha - (alpha if alpha_1 is None else alpha_1)) * x.clamp(0, 1) + alpha
    return torch.log(k) - torch.log1p(-k.clamp(max=1 - 1e-7))


def alpha_sigmoid(y: Tensor, alpha: float, alpha_1: float | None = None) -> Tensor:
    """The inverse of :func:`alpha_logit`; it may leave [0, 1] by alpha below, by alpha_1 above."""
    return (torch.sigmoid(y) - alpha) / (1 - alpha - (alpha if alpha_1 is None else alpha_1))
