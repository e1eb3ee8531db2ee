"""What the workflow hands to the report: the files of each run, and what was asked for. Plain JSON types throughout."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from calopipe.errors import ConfigError, nearest


@dataclass(frozen=True)
class RunArtifacts:
    """Files of one run (dataset, model, seed); a path is None where the run has no such stage.

    Attributes:
        dataset: key of the dataset in the configuration.
        model: key of the model in the configuration.
        seed: seed of the training.
        geometry: what :func:`calopipe.geometry.load_geometry` accepts; None: data without a calorimeter.
        description: one line on the model.
        histograms: NPZ of :func:`calopipe.records.histograms.save_histograms`.
        health: JSON of :func:`calopipe.evaluation.health.check_health`.
        metrics: JSON list of scores.
        classifiers: name -> ``{"scores": JSON list of scores, "curves": NPZ, "weights": NPZ}``, and ``"reconstructed"`` and
            ``"unrefined"``, JSON lists of scores, where there are such samples; the curves are fpr (G,),
            tpr (R, G), weights_reference and weights_generated; the weights file holds histograms.
        comparison, confusion: scores (JSON) and matrices (NPZ) of the multi-class test that this run takes part in.
        compared_as: its name there.
        bands: JSON list of scores of :func:`calopipe.evaluation.bands.evaluate_bands`, of all Bayesian runs.
        regression: name of the energy regressor -> ``{"scores": JSON list of scores, "curves": NPZ of
            :func:`calopipe.evaluation.regression.evaluate_regression`, "loss": CSV log, "checkpoint": the regressor}``.
        epochs: JSON of :func:`calopipe.evaluation.epochs.score_epochs`.
        epoch_histograms: its NPZ, see :func:`calopipe.records.histograms.save_histograms`; samples are ``epoch <number>``.
        sampled_epoch: where the generated showers come from: ``final`` checkpoint, ``best`` kept epoch, or its number.
        latent_space: NPZ of :func:`calopipe.records.latent_space.save_space`.
        weight_spread: NPZ of :func:`calopipe.records.weight_spread.save_spread`.
        timing: JSON of :func:`calopipe.evaluation.timing.measure_timing`.
        calomplification: JSON list of scores of the amplification study, one for all seeds of the model.
        divergences: its NPZ, see :func:`calopipe.records.divergences.save_divergences`.
        networks: the chain, one mapping per network: name, learns, given, role, model (its registered name),
            "checkpoint": trained network, "history": CSV log of losses, rates and gradients.
        trainings: further trainings that the generated showers are drawn from, ``{"networks": as above, "epochs": as above}`` each.
        scan: of a point of a scan, ``{"scan": name, "settings": values by the keys of the scan, "by": name of the score}``.
        generated, reconstructed, unrefined, reference: shower files; linked, never opened.
    """

    dataset: str
    model: str
    seed: int
    geometry: str | None
    description: str = ""
    histograms: str | None = None
    health: str | None = None
    metrics: str | None = None
    classifiers: dict[str, dict[str, str]] = field(default_factory=dict)
    comparison: str | None = None
    confusion: str | None = None
    compared_as: str = ""
    bands: str | None = None
    regression: dict[str, dict[str, str]] = field(default_factory=dict)
    epochs: str | None = None
    epoch_histograms: str | None = None
    sampled_epoch: str | int = "final"
    timing: str | None = None
    latent_space: str | None = None
    weight_spread: str | None = None
    calomplification: str | None = None
    divergences: str | None = None
    networks: list[dict[str, Any]] = field(default_factory=list)
    trainings: list[dict[str, Any]] = field(default_factory=list)
    scan: dict[str, Any] | None = None
    generated: str | None = None
    reconstructed: str | None = None
    unrefined: str | None = None
    reference: str | None = None

    @property
    def name(self) -> str:
        """``dataset/model/seed``."""
        return f"{self.dataset}/{self.model}/{self.seed}"

    @property
    def further(self) -> list[RunArtifacts]:
        """The further trainings, with what each has of its own."""
        alone = RunArtifacts(self.dataset, self.model, self.seed, self.geometry, sampled_epoch=self.sampled_epoch)
        return [replace(alone, networks=t["networks"], epochs=t["epochs"]) for t in self.trainings]

    def files(self) -> dict[str, str]:
        """Every file of the run: what it is -> path."""
        named = {
            "generated showers": self.generated,
            "reconstructed showers": self.reconstructed,
            "showers before refinement": self.unrefined,
            "reference showers": self.reference,
            "histograms": self.histograms,
            "health check": self.health,
            "scores": self.metrics,
            "multi-class test: scores": self.comparison,
            "multi-class test: confusion matrix": self.confusion,
            "bands of Bayesian networks and ensembles": self.bands,
            "scores by epoch": self.epochs,
            "histograms by epoch": self.epoch_histograms,
            "timing": self.timing,
            "latent distributions": self.latent_space,
            "variances of weights": self.weight_spread,
            "amplification": self.calomplification,
            "divergences in quantiles": self.divergences,
        }
        for network in self.networks:
            named |= {network["name"]: network["checkpoint"], f"{network['name']} losses": network["history"]}
        for i, training in enumerate(self.further, 2):
            named |= {f"training {i}: {what}": path for what, path in training.files().items()}
        for name, paths in self.classifiers.items():
            named |= {f"classifier {name}: {kind}": path for kind, path in paths.items()}
        for name, paths in self.regression.items():
            named |= {f"regressor {name}: {kind}": path for kind, path in paths.items()}
        return {what: path for what, path in named.items() if path}


@dataclass(frozen=True)
class StudySummary:
    """Everything a report is made from.

    Attributes:
        study: name of the study.
        runs: its runs; models keep the order of their first appearance in all plots and tables.
        config: the configuration with presets resolved and defaults filled in.
        presets: names of the presets merged into it.
        dpi, pdf: appearance of plots, see :class:`calopipe.config.schema.Plots`.
    """

    study: str
    runs: tuple[RunArtifacts, ...]
    config: dict[str, Any] = field(default_factory=dict)
    presets: tuple[str, ...] = ()
    dpi: int = 150
    pdf: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON types; :meth:`from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StudySummary:
        """Rebuild from :meth:`to_dict`. Raises ConfigError on unknown or missing keys."""
        try:
            runs = tuple(RunArtifacts(**run) for run in data["runs"])
            return cls(**{**data, "runs": runs, "presets": tuple(data.get("presets", ()))})
        except KeyError as error:
            raise ConfigError(f"summary of a study: missing key {error}") from error
        except TypeError as error:
            known = {*cls.__dataclass_fields__, *RunArtifacts.__dataclass_fields__}
            word = str(error).split("'")[1] if "'" in str(error) else ""
            raise ConfigError(f"summary of a study: {error}{nearest(word, known)}") from error
