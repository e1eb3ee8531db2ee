"""What can be known of a study before its first job, beyond each setting by itself: what the settings mean together, and
whether they fit the files that are at hand. One method per question; each raises ConfigError, naming the key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from calopipe.config import ColumnsDataset, Dataset, Source
from calopipe.config.calomplification import ImageSettings
from calopipe.config.datasets import EnergySelection, window_and_centre
from calopipe.devices import gpu_visible
from calopipe.errors import CalopipeError, ConfigError, DataError, GeometryError
from calopipe.geometry import load_geometry, prepared_geometry
from calopipe.workflow.chain_checks import ChainChecks
from calopipe.workflow.parts import RunKey


class StudyChecks(ChainChecks):
    """Checks of a validated study. `files` says whether files at hand are looked at (their sizes, never their showers)."""

    def check(self, files: bool = True) -> None:
        """All checks of what the study's runs use."""
        if files:
            self._check_results()
        for dataset in self.datasets():
            self._check_geometry(dataset)
            for role in self.sources(dataset):
                _check_source(f"datasets.{dataset}.{role}", getattr(self.dataset(dataset), role), role)
            sizes = self._sizes(dataset, files)
            for run in (run for run in self.runs if run.dataset == dataset):
                self._check_blocks(run, sizes)
            for model in dict.fromkeys(run.model for run in self.runs if run.dataset == dataset):
                self._check_learned(dataset, model, files)
        for dataset, model in dict.fromkeys((run.dataset, run.model) for run in self.runs):
            self._check_model(dataset, model, files)
        for run in self.runs:
            self._check_generation(run)
            self._check_slices(run)
            self._check_images(run)
        for dataset, name in dict.fromkeys((run.dataset, name) for run in self.runs for name in self.regressors(run)):
            self._check_regressor(dataset, name)
        if files:
            self._check_spectra()

    def _check_spectra(self) -> None:
        """Reconstructed energies are asked for at incident energies that test showers have."""
        for dataset, name in dict.fromkeys((run.dataset, run.evaluation) for run in self.runs):
            asked = self.study.evaluations[name].regression
            if asked.regressors and asked.energies_MeV:
                selection = EnergySelection(values=asked.energies_MeV)
                key = f"evaluations.{name}.regression.energies_MeV"
                self._check_energies(dataset, self.sources(dataset)[-1], selection, key)

    def _check_model(self, dataset: str, model: str, files: bool) -> None:
        if self.is_columns(dataset):
            self._check_columns_chain(dataset, model)
            self._check_columns_runs(dataset, model)
            return
        if self.external(model) is None:
            self._check_chain(dataset, model)
        elif files:
            self._check_external(dataset, model)
        self._check_symmetries(dataset, model)
        self._check_amplification(dataset, model)

    def _check_columns_runs(self, dataset: str, model: str) -> None:
        """Nothing is asked of data that are no showers that needs a calorimeter."""
        if self.external(model) is not None:
            raise ConfigError(
                f"models.{model}.external: expected a dataset of showers, found the columns of '{dataset}'"
            )
        for run in (r for r in self.runs if (r.dataset, r.model) == (dataset, model)):
            evaluation, where = self.study.evaluations[run.evaluation], f"evaluations.{run.evaluation}"
            asked = {
                "regression.regressors": bool(evaluation.regression.regressors),
                "calomplification": evaluation.calomplification is not None,
            }
            for key in (key for key, found in asked.items() if found):
                raise ConfigError(f"{where}.{key}: only of showers, but dataset '{dataset}' holds columns")

    def check_devices(self, run_here: Callable[[], bool] = lambda: True) -> None:
        """Raise ConfigError where a run asks for a GPU that this machine does not have, and its jobs `run_here`.

        A job on another machine looks for itself, before it begins.
        """
        asked = next((key for run in self.runs for key, device in self._devices(run) if device == "cuda"), None)
        if asked is not None and not gpu_visible() and run_here():
            raise ConfigError(f"{asked}: 'cuda' was asked for, but this machine has no GPU that torch can use; "
                              "expected auto or cpu, or jobs on other machines (docs/cluster.md)")  # fmt: skip

    def _devices(self, run: RunKey) -> Iterator[tuple[str, str]]:
        """Keys and values of all `device` settings that a run uses."""
        for name, network in self.model(run.model).networks.items():
            yield f"models.{run.model}.networks.{name}.training.device", network.training.device
        evaluation, where = self.study.evaluations[run.evaluation], f"evaluations.{run.evaluation}"
        for key in ("generation", "timing", "regression"):
            yield f"{where}.{key}.device", getattr(evaluation, key).device
        for name, classifier in evaluation.tests.items():
            yield f"{where}.classifiers.{name}.device", classifier.device
        if evaluation.multiclass is not None:
            yield f"{where}.multiclass.device", evaluation.multiclass.device
        for name in self.regressors(run):
            yield f"regressors.{name}.training.device", self.regressor(name).training.device

    def _check_results(self) -> None:
        """The results folder, or the nearest folder above it that exists, is a folder."""
        path = Path(self.study.results)
        while not os.path.lexists(path) and path != path.parent:
            path = path.parent
        if not path.is_dir():
            raise ConfigError(f"results: expected a folder, found the file {path}")

    def _check_geometry(self, dataset: str) -> None:
        """The geometry of showers is there, and has the layers, and can be cropped, summed and pooled, as asked."""
        files = self.files_of(dataset)
        if isinstance(files, Dataset):
            try:
                self.geometry(dataset)
            except GeometryError as error:
                raise GeometryError(f"datasets.{dataset}.{_wrong(files)}: {error}") from None
            self._check_numbers(dataset)
        if isinstance(self.dataset(dataset), Dataset):
            judged, trained = self.showers(dataset).evaluation_threshold_MeV, self._threshold(dataset)
            if judged is not None and judged < trained:
                raise ConfigError(
                    f"datasets.{dataset}.evaluation_threshold_MeV: expected at least the {trained:g} MeV below which the showers "
                    f"of training are cut (threshold_MeV), found {judged:g}"
                )

    def _check_numbers(self, dataset: str) -> None:
        """Columns and conditions that are numbers of showers are such as these have."""
        settings = self.dataset(dataset)
        if isinstance(settings, ColumnsDataset):
            from calopipe.io.shower_columns import check_names

            for key in ("columns", "conditions"):
                try:
                    check_names(getattr(settings, key), self.geometry(dataset))
                except DataError as error:
                    raise ConfigError(f"datasets.{dataset}.{key}: {error}") from None

    # ---- sizes --------------------------------------------------------------------------------------------------
    def _sizes(self, dataset: str, files: bool) -> dict[str, int] | None:
        """Rows in each split, as far as files at hand or a maximum (then: at most) tell; None: not known."""
        settings, counts = self.dataset(dataset), {}
        most = settings.max_showers if isinstance(settings, Dataset) else settings.max_rows
        for role in self.sources(dataset):
            found = self._rows_at_hand(dataset, role) if files else None
            limits = [n for n in (found, most) if n is not None]
            if not limits:
                return None
            counts[role] = min(limits)
        from calopipe.io.splits import split_counts

        split = settings.split
        try:
            sizes = split_counts(counts["source"], (split.train, split.val, split.test), counts.get("reference"))
        except CalopipeError as error:
            raise ConfigError(f"datasets.{dataset}.split: {error}") from None
        if sizes["train"] < 2:
            raise ConfigError(f"datasets.{dataset}.split.train: expected 2 showers or more, found {sizes['train']}")
        return sizes

    def _rows_at_hand(self, dataset: str, role: str) -> int | None:
        """Rows that the raw files of a source on this machine hold, each checked against the settings; None: not here."""
        settings = self.files_of(dataset)
        source = getattr(settings, role)
        if source.kind == "download":
            return None
        if source.kind == "made":  # how many electrons stay within the detector is left to chance
            return None if source.made.recipe == "detector_smearing" else source.made.rows
        from calopipe.sources import bundled

        paths = [bundled(source.name)] if source.kind == "bundled" else [Path(path) for path in source.paths]
        odd = next((path for path in paths if path.exists() and not path.is_file()), None)
        if odd is not None:
            raise ConfigError(f"datasets.{dataset}.{role}.paths: expected files, found the folder or device {odd}")
        if not all(path.is_file() for path in paths):
            return None  # Snakemake names an input that is missing
        if isinstance(settings, Dataset):
            key = "layout" if settings is self.dataset(dataset) else "shower_layout"
            return _showers_used(settings, f"datasets.{dataset}", role, paths, key)
        from calopipe.io.columns import column_rows

        return sum(column_rows(path, [*settings.columns, *settings.conditions], settings.layout) for path in paths)

    def _check_blocks(self, run: RunKey, sizes: dict[str, int] | None) -> None:
        """A run's block of training showers, and its evaluation's truth, are within the splits."""
        if sizes is None:
            return
        block, n = self.model(run.model).training_showers, sizes["train"]
        if block is not None and (run.seed + 1) * block > n:
            raise ConfigError(
                f"models.{run.model}.training_showers: the training split of dataset '{run.dataset}' has at most {n} "
                f"showers, {n // block} blocks of {block}; seed {run.seed} needs block {run.seed} (they count from 0)"
            )
        study = self.study.evaluations[run.evaluation].calomplification
        if study is not None and study.truth is not None and study.truth > sizes["test"]:
            raise ConfigError(
                f"evaluations.{run.evaluation}.calomplification.truth: expected at most the {sizes['test']} test showers of "
                f"dataset '{run.dataset}', found {study.truth}"
            )

    def _check_learned(self, dataset: str, model: str, files: bool) -> None:
        """The incident energies that a model learns are among those of the dataset, as far as files at hand tell."""
        selection, key = self.model(model).training_energies_MeV, f"models.{model}.training_energies_MeV"
        if selection is None:
            return
        if self.is_columns(dataset):
            raise ConfigError(f"{key}: expected a dataset of showers, found the columns of '{dataset}'")
        if files:
            self._check_energies(dataset, "source", selection, key)

    def _check_energies(self, dataset: str, role: str, selection: EnergySelection, key: str) -> None:
        """Incident energies are among those of files at hand."""
        settings = self.showers(dataset)
        paths = [Path(path) for path in self.local_files(dataset, role)]
        if not paths or not all(path.is_file() for path in paths):
            return
        from calopipe.io.selection import check_selection, used_energies

        try:
            check_selection(
                used_energies(paths, settings.energies_MeV, settings.layout), selection, f"dataset '{dataset}'"
            )
        except DataError as error:
            raise ConfigError(f"{key}: {error}") from None

    def _check_external(self, dataset: str, model: str) -> None:
        """The files of an external sample have the voxels of the dataset's prepared showers."""
        from calopipe.io import file_info

        external, geometry = self.external(model), self.geometry(dataset)
        assert external is not None
        named = [("generated", path) for path in external.generated]
        named += [(f"epochs.{epoch}", path) for epoch, path in external.epochs.items()]
        for key, path in named:
            if Path(path).is_file() and file_info(path).n_voxels != geometry.n_voxels:
                raise ConfigError(
                    f"models.{model}.external.{key}: expected showers of {geometry.n_voxels} voxels (geometry '{geometry.name}' of "
                    f"dataset '{dataset}'), found {file_info(path).n_voxels} in {path}"
                )

    def _check_generation(self, run: RunKey) -> None:
        """True layer energies are asked for only where a network is given them; draws of weights only of one training."""
        mix, draws = self.model(run.model).mix, self.study.evaluations[run.evaluation].generation.draws
        if mix > 1 and draws > 1 and self.has_draws(run.model):
            raise ConfigError(
                f"models.{run.model}.mix: expected 1, as its showers are dealt to draws of its weights already "
                f"(evaluations.{run.evaluation}.generation.draws: {draws}), found {mix}"
            )
        asked = self.study.evaluations[run.evaluation].generation.layer_energies
        external = self.external(run.model) is not None
        if (
            asked == "true"
            and not external
            and not any(link.gets_energies for link in self.model(run.model).chain.links)
        ):
            raise ConfigError(
                f"evaluations.{run.evaluation}.generation.layer_energies: no network of model '{run.model}' is given layer "
                "energies; expected learned, found true"
            )

    def _check_slices(self, run: RunKey) -> None:
        """Histograms are sliced by conditions that the dataset has, and metrics look at such only."""
        evaluation = self.study.evaluations[run.evaluation]
        asked = [("histograms.slices", name) for name in evaluation.histograms.slices]
        for where, metrics in (("metrics", evaluation.metrics), ("epochs.metrics", evaluation.epochs.metrics)):
            named = ((i, getattr(metric.settings, "condition", None)) for i, metric in enumerate(metrics))
            asked += [(f"{where}.{i}.condition", name) for i, name in named if name is not None]
        for key, name in asked:
            if name not in self.conditions(run.dataset):
                known = ", ".join(self.conditions(run.dataset)) or "none"
                raise ConfigError(
                    f"evaluations.{run.evaluation}.{key}: '{name}' is not among the conditions of dataset "
                    f"'{run.dataset}' ({known})"
                )

    def _check_amplification(self, dataset: str, model: str) -> None:
        """The runs of a model ask for one amplification study, and its showers can be made images."""
        runs = self.amplified(dataset, model)
        names = list(dict.fromkeys(r.evaluation for r in runs))
        if runs and self.model(model).training_energies_MeV is not None:
            raise ConfigError(
                f"evaluations.{names[0]}.calomplification: model '{model}' learns some incident energies only "
                "(training_energies_MeV), and is judged by showers of all; expected null"
            )
        asked = [(e.calomplification, e.seed) for e in map(self.study.evaluations.__getitem__, names)]
        for name, other in zip(names, asked, strict=True):
            if other != asked[0]:
                raise ConfigError(
                    f"evaluations.{name}.calomplification: dataset '{dataset}' and model '{model}' have one amplification "
                    f"study for all seeds, and evaluation '{names[0]}' asks for another one"
                )

    def _check_images(self, run: RunKey) -> None:
        """Showers that are judged as images can be made such."""
        evaluation, where = self.study.evaluations[run.evaluation], f"evaluations.{run.evaluation}"
        asked: list[tuple[str, Any]] = [("calomplification", evaluation.calomplification)]
        for key, metrics in (("metrics", evaluation.metrics), ("epochs.metrics", evaluation.epochs.metrics)):
            asked += [(f"{key}.{i}", metric.settings) for i, metric in enumerate(metrics)]
        for key, settings in () if self.is_columns(run.dataset) else asked:
            if isinstance(settings, ImageSettings) and settings.image_pool is not None:
                try:
                    self.geometry(run.dataset).image(settings.image_pool)
                except GeometryError as error:
                    raise ConfigError(f"{where}.{key}.image_pool: not for dataset '{run.dataset}': {error}") from None


def _wrong(settings: Dataset) -> str:
    """What a geometry cannot be made of: the key `crop` where there is no such window, or else `geometry`."""
    window, centre = window_and_centre(settings.crop)
    try:
        geometry = prepared_geometry(load_geometry(settings.geometry), settings.layers)
    except GeometryError:
        return "geometry"
    try:
        prepared_geometry(geometry, crop=window, centre=centre)
    except GeometryError:
        return "crop"
    return "geometry"


def _check_source(where: str, source: Source, role: str) -> None:
    """A bundled sample, or a registered download with files of this role, exists."""
    from calopipe.sources import REFERENCE, TRAIN, bundled, registered

    try:
        if source.kind == "bundled":
            bundled(str(source.name))
        elif source.kind == "download" and source.name:
            registered(source.name).of_role(TRAIN if role == "source" else REFERENCE)
    except ConfigError as error:
        raise ConfigError(f"{where}.name: {error}") from None


def _showers_used(settings: Dataset, where: str, role: str, paths: list[Path], key: str) -> int:
    """Showers that the files of a source hold, of the chosen energies; they fit geometry, layout (called `key`) and conditions."""
    from calopipe.io import file_info
    from calopipe.io.selection import selected_rows

    geometry, total = load_geometry(settings.geometry), 0
    for path in paths:
        try:
            info = file_info(path, settings.layout, geometry if settings.layout else None, settings.conditions)
        except GeometryError as error:
            raise ConfigError(f"{where}.{key}: {error}") from None
        if info.n_voxels != geometry.n_voxels:
            raise ConfigError(
                f"{where}.geometry: '{geometry.name}' has {geometry.n_voxels} voxels, but the showers of {path} have "
                f"{info.n_voxels}"
            )
        total += info.n_showers
    if settings.energies_MeV is None:
        return total
    try:
        return sum(map(len, selected_rows(paths, settings.energies_MeV, settings.layout)))
    except DataError as error:
        raise ConfigError(f"{where}.energies_MeV: {role}: {error}") from None
