"""Whether the networks of a model can learn what a dataset holds, told by settings alone: steps, conditions, grids, rotations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from calopipe.config.chains import Columns, ModelSettings, latents, layer_energies, shower_numbers, showers, walk
from calopipe.config.datasets import ColumnsDataset
from calopipe.config.links import COLUMNS, LAYER_ENERGIES
from calopipe.errors import ConfigError, GeometryError
from calopipe.geometry import symmetries
from calopipe.workflow.parts import StudyParts


class ChainChecks(StudyParts):
    """Checks of the chains of models; each raises ConfigError, naming the key."""

    def _check_chain(self, dataset: str, model: str) -> None:
        """Every step and network of a model can take what the one before makes of the dataset's showers."""
        parts, geometry = self.model(model), self.geometry(dataset)
        sizes = geometry.layer_shapes, self.where(dataset)["threshold_MeV"]
        encoded: Columns | None = None  # what the latents of the autoencoder come with
        try:
            for link in parts.chain.links:
                if link.learns == COLUMNS:
                    raise ValueError(f"{link.name}.learns: expected what there is of showers, found columns")
                given = showers(*sizes, 1 + len(self.conditions(dataset)), link.gets_energies)
                if link.learns == LAYER_ENERGIES:
                    given = layer_energies(given)
                elif link.learns_latents and encoded is not None:
                    given = latents(given, extras=encoded.extras, hits=encoded.hits)
                end = _through(parts.networks[link.name], given, link.name)
                added = end.cond_dim - given.cond_dim
                if link.contract == "Autoencoder" and parts.chain.latents is not None:
                    encoded = replace(given, extras=added > 0, hits=added > given.n_layers)
                elif added and link.contract != "Refiner":
                    raise ValueError(
                        f"{link.name}.preprocessing: the condition that it makes is not known when showers are sampled; "
                        "expected layer_normalise with extras: data, or layer energies that the network is given (extras: "
                        "given), found extras: condition"
                    )
        except ValueError as error:
            raise ConfigError(f"models.{model}.networks.{error} (on dataset '{dataset}')") from None

    def _check_columns_chain(self, dataset: str, model: str) -> None:
        """The network of a model learns the columns of a dataset, and can take them."""
        parts, settings = self.model(model), self.dataset(dataset)
        if parts.external is not None or not isinstance(settings, ColumnsDataset):
            return
        for link in parts.chain.links:
            where = f"models.{model}.networks.{link.name}"
            if link.learns != COLUMNS:
                raise ConfigError(
                    f"{where}.learns: dataset '{dataset}' holds columns; expected columns, found '{link.learns}'"
                )
            given = Columns((), 0.0, len(settings.columns), len(settings.conditions), raw_energy=False)
            if settings.geometry is not None:
                given = shower_numbers(settings.columns, settings.conditions)
            try:
                _through(parts.networks[link.name], given, link.name)
            except ValueError as error:
                raise ConfigError(f"models.{model}.networks.{error} (on dataset '{dataset}')") from None

    def _check_regressor(self, dataset: str, regressor: str) -> None:
        """A regressor can take the dataset's showers, and has learned showers in the same cells."""
        geometry, learned = self.geometry(dataset), self.trained_on(regressor, dataset)
        if self.is_columns(learned):
            raise ConfigError(
                f"regressors.{regressor}.dataset: expected a dataset of showers, found the columns of '{learned}'"
            )
        other = self.geometry(learned)
        if other.hash != geometry.hash:
            raise ConfigError(
                f"regressors.{regressor}.dataset: expected showers in the cells of dataset '{dataset}', which it judges "
                f"({geometry.n_voxels} voxels, geometry '{geometry.name}'), found '{learned}' ({other.n_voxels} voxels, "
                f"geometry '{other.name}')"
            )
        try:
            settings = self.regressor(regressor).model.settings
            if isinstance(settings, ModelSettings):
                settings.takes(showers(geometry.layer_shapes, geometry.threshold_MeV))
        except ValueError as error:
            raise ConfigError(f"regressors.{regressor}: not for dataset '{dataset}': {error}") from None

    def _check_symmetries(self, dataset: str, model: str) -> None:
        """A network of voxels is trained on rotations only where the geometry has them."""
        for name, network in self.model(model).networks.items():
            try:
                symmetries(self.geometry(dataset), reflections=False, rotations=network.training.rotations)
            except GeometryError as error:
                raise ConfigError(
                    f"models.{model}.networks.{name}.training.rotations: {error} (dataset '{dataset}'); expected false"
                ) from None


def _through(stage: Any, given: Columns, name: str) -> Columns:
    """What leaves the preprocessing of a stage; its network can take it."""
    steps = [(step.name, step.settings) for step in stage.preprocessing]
    try:
        given = walk(steps, given)
        model = stage.model.settings
        if isinstance(model, ModelSettings):
            try:
                model.takes(given)
            except ValueError as error:
                raise ValueError(f"model: '{stage.model.name}' {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from None
    return given
