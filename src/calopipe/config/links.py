"""The chain of networks that a generator is: what each learns, what else it is given, and how showers come of it.

One description for the settings of a study and for checkpoints, without the networks themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from calopipe.errors import nearest

#: what a network can learn besides the latents of an earlier autoencoder
SHOWERS, LAYER_ENERGIES, COLUMNS = "showers", "layer_energies", "columns"
#: what a regressor learns, outside of generators
INCIDENT_ENERGY = "incident_energy"
#: names that a network cannot have
TAKEN = (SHOWERS, LAYER_ENERGIES, COLUMNS, INCIDENT_ENERGY, "conditions")
Contract = Literal["GenerativeModel", "Autoencoder", "Refiner", "EnergyRegressor"]


@dataclass(frozen=True)
class Link:
    """One network of a chain.

    Attributes:
        name: its name in the model.
        learns: ``showers``, ``layer_energies``, ``columns``, or the name of the autoencoder whose latents it learns;
            ``incident_energy`` for a regressor.
        given: what it is given besides the conditions: ``layer_energies``, or for a refiner the name of the network whose
            showers it refines.
        contract: name of the base class of its network, in :mod:`calopipe.models.base`.
    """

    name: str
    learns: str
    given: tuple[str, ...] = ()
    contract: Contract = "GenerativeModel"

    @property
    def gets_energies(self) -> bool:
        """Whether the layer energies are given to it."""
        return LAYER_ENERGIES in self.given

    @property
    def learns_latents(self) -> bool:
        """Whether it learns the latents of an autoencoder."""
        return self.learns not in TAKEN

    @property
    def refined(self) -> str | None:
        """Name of the network whose showers a refiner refines."""
        return next((name for name in self.given if name != LAYER_ENERGIES), None)

    @property
    def role(self) -> str:
        """What it does in the chain, in one word."""
        if self.contract != "GenerativeModel":
            return {"Autoencoder": "autoencoder", "Refiner": "refiner", "EnergyRegressor": "regressor"}[self.contract]
        if self.learns == LAYER_ENERGIES:
            return LAYER_ENERGIES
        return "latent_flow" if self.learns_latents else "flow"


@dataclass(frozen=True)
class GeneratorChain:
    """How the links of a checked chain work together.

    Attributes:
        links: all of them, in order.
        energies: learns the layer energies; None where nothing does.
        maker: makes showers: a generative model, or an autoencoder that decodes.
        latents: learns the latents of the maker; None: it needs none, or draws them from its prior.
        refiners: refine the showers, in order.
    """

    links: tuple[Link, ...]
    energies: Link | None
    maker: Link
    latents: Link | None
    refiners: tuple[Link, ...]

    @property
    def autoencoder(self) -> Link | None:
        """The maker, where it is an autoencoder."""
        return self.maker if self.maker.contract == "Autoencoder" else None

    @property
    def unrefined(self) -> tuple[Link, ...]:
        """The networks that make showers, without those that refine them."""
        return tuple(link for link in self.links if link not in self.refiners)

    @property
    def last(self) -> Link:
        """The network whose kept epochs can be sampled: no other has learned what it makes."""
        return self.refiners[-1] if self.refiners else self.latents or self.maker

    def before(self, link: Link) -> tuple[Link, ...]:
        """Links whose output `link` learns or refines: they are trained before it. Layer energies are given as they are
        in the training showers.
        """
        if link.learns_latents:
            return (self.maker,)
        if link.contract != "Refiner":
            return ()
        return (self.maker, *self.refiners[: self.refiners.index(link)])

    def __getitem__(self, name: str) -> Link:
        return next(link for link in self.links if link.name == name)


def chain_of(links: Sequence[Link], energies_known: bool = False) -> GeneratorChain:
    """Check a chain, and say how its links work together.

    Args:
        energies_known: layer energies come from outside, so that no network needs to learn them.

    Raises:
        ValueError: beginning with the name of the network (and its key) that is wrong.
    """
    earlier: list[Link] = []
    for link in links:
        if link.name in TAKEN:
            raise ValueError(f"{link.name}: this name says what a network can learn; expected another one")
        _check_learns(link, earlier)
        _check_given(link, earlier, energies_known)
        earlier.append(link)
    energies = [link for link in links if link.learns == LAYER_ENERGIES]
    makers = [link for link in links if link.learns in (SHOWERS, COLUMNS) and link.contract != "Refiner"]
    if len(makers) != 1:
        found = ", ".join(link.name for link in makers) or "none"
        raise ValueError(
            f": expected one network that makes showers (a generative model or an autoencoder that learns showers), "
            f"found {found}"
        )
    if energies and not any(link.gets_energies for link in links):
        raise ValueError(f"{energies[0].name}: the layer energies that it learns are given to no network")
    latents = [link for link in links if link.learns_latents]
    if len(energies) > 1 or len(latents) > 1:
        twice = energies if len(energies) > 1 else latents
        raise ValueError(f"{twice[1].name}.learns: '{twice[1].learns}' is learned by '{twice[0].name}' already")
    refiners = [link for link in links if link.contract == "Refiner"]
    _check_refiners(makers[0], refiners)
    return GeneratorChain(tuple(links), energies[0] if energies else None, makers[0], latents[0] if latents else None,
                tuple(refiners))  # fmt: skip


def _check_learns(link: Link, earlier: Sequence[Link]) -> None:
    autoencoders = [other.name for other in earlier if other.contract == "Autoencoder"]
    valid = [SHOWERS, LAYER_ENERGIES, COLUMNS, *autoencoders]
    if link.learns not in valid:
        raise ValueError(
            f"{link.name}.learns: expected one of {', '.join(valid[:3])}, or an autoencoder before it "
            f"({_listed(autoencoders)}), found '{link.learns}'{nearest(link.learns, valid)}"
        )
    able = ("GenerativeModel", "Autoencoder", "Refiner") if link.learns == SHOWERS else ("GenerativeModel",)
    if link.contract not in able:
        raise ValueError(
            f"{link.name}.model.name: '{link.learns}' are learned by a {' or '.join(able)}, found an {link.contract}"
        )


def _check_given(link: Link, earlier: Sequence[Link], energies_known: bool) -> None:
    learned = energies_known or any(other.learns == LAYER_ENERGIES for other in earlier)
    known = [LAYER_ENERGIES] if learned else []
    makers = [other.name for other in earlier if other.learns == SHOWERS]
    if link.learns in (LAYER_ENERGIES, COLUMNS) and link.given:
        raise ValueError(
            f"{link.name}.given: a network that learns {link.learns} is given nothing else, found {link.given[0]}"
        )
    if link.contract == "Refiner":
        known += makers
        if link.refined is None:
            raise ValueError(
                f"{link.name}.given: a refiner needs the network whose showers it refines; there are {_listed(makers)}"
            )
    for name in link.given:
        if name not in known:
            hint = "" if name != LAYER_ENERGIES else " (expected a network before it that learns them)"
            raise ValueError(
                f"{link.name}.given: expected any of {_listed(known)}, found '{name}'{hint}{nearest(name, known)}"
            )
    if len(set(link.given)) < len(link.given) or len([n for n in link.given if n != LAYER_ENERGIES]) > 1:
        raise ValueError(
            f"{link.name}.given: expected each once, and one network to refine, found {_listed(link.given)}"
        )


def _check_refiners(maker: Link, refiners: Iterable[Link]) -> None:
    last = maker.name
    for link in refiners:
        if link.refined != last:
            raise ValueError(
                f"{link.name}.given: expected '{last}', whose showers no refiner has refined yet, found '{link.refined}'"
            )
        last = link.name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
