"""The plan of a study: files of its runs, and settings and code that each stage depends on (:mod:`.stages`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from calopipe.codedigest import code_digest
from calopipe.config import load_study
from calopipe.records.paths import pattern
from calopipe.workflow.artifacts import artifact_files, artifacts
from calopipe.workflow.checks import StudyChecks
from calopipe.workflow.made import why_stale
from calopipe.workflow.parts import RunKey, short_digest
from calopipe.workflow.stages import STAGES


class Plan(StudyChecks):
    """A validated study, seen from the rules. Methods take wildcards by name (`seed` as text or number)."""

    @classmethod
    def load(cls, config: Mapping[str, Any], presets: Path, files: bool = True) -> Plan:
        """Validate Snakemake's `config`, merged onto the presets it names, and check it as a whole.

        Args:
            files: look at files that are at hand, too (see :class:`calopipe.workflow.checks.StudyChecks`).

        Raises:
            ConfigError, GeometryError, DataError: one line that names the key or the file.
        """
        plan = cls(load_study(config, presets))
        plan.check(files)
        return plan

    def path(self, name: str, **wildcards: Any) -> str:
        """Path of a file of :data:`calopipe.records.paths.FILES`; wildcards that are not given stay in braces."""
        return pattern(self.study.results, name, **wildcards)

    def settings(self, stage: str, **wildcards: Any) -> dict[str, Any]:
        """The settings that enter the result of `stage`, as plain JSON-able data, and nothing else."""
        return STAGES[stage].settings(self, **wildcards)

    def code(self, stage: str, **wildcards: Any) -> str:
        """Digest of the library modules `stage` uses: its own, and those of the models, steps and metrics it names."""
        used = STAGES[stage]
        modules = {*used.modules, *used.parts(self, **wildcards)}
        return _code_digest(tuple(sorted(modules)), used.data)

    def files(self, stage: str, **wildcards: Any) -> list[str]:
        """Files from outside of the results that `stage` reads; another content of them reruns it."""
        return STAGES[stage].files(self, **wildcards)

    def gpus(self, stage: str, **wildcards: Any) -> int:
        """1 when the stage may run on a GPU, 0 when its `device` setting is ``cpu``."""
        return int(STAGES[stage].device(self, **wildcards) != "cpu")

    def artifacts(self, run: RunKey) -> dict[str, Any]:
        """Files of a run that the report shows or links."""
        return artifacts(self, run)

    def report_files(self) -> list[str]:
        """All files that the report shows or links; runs of a dataset share some."""
        return list(dict.fromkeys(path for run in self.runs for path in artifact_files(self.artifacts(run))))

    def stale(self, stage: str, outputs: Sequence[str], **wildcards: Any) -> str | None:
        """Why the outputs of a job are not what this study would make; None where they are, or are not there."""
        settings, code = self.settings(stage, **wildcards), self.code(stage, **wildcards)
        return why_stale(stage, outputs, settings, code, self.files(stage, **wildcards))

    def learned(self, split: str, *, model: str, network: str, **wildcards: Any) -> dict[str, str]:
        """Files that a network learns from, of the split ``train`` or ``val``: showers or latents, as `split`; for a
        refiner also the showers that the chain before it makes of them, as ``refined_<split>``.
        """
        chain = self.model(model).chain
        link = chain[network]
        wildcards = {**wildcards, "model": model, "split": split}
        if link.learns_latents:
            return {split: self.path("latents", network=link.learns, **wildcards)}
        files = {split: self.path("prepared", **wildcards)}
        if link.refined is not None:
            files[f"refined_{split}"] = self.path("remade", network=link.refined, **wildcards)
        return files

    def checkpoints(self, *, model: str, upto: str | None = None, **wildcards: Any) -> dict[str, str]:
        """Checkpoints of a model's networks by name, in order; `upto`: only those that make the showers of that network."""
        chain = self.model(model).chain
        links = chain.links if upto is None else [*chain.before(chain[upto]), chain[upto]]
        return {link.name: self.path("checkpoint", model=model, network=link.name, **wildcards) for link in links}

    def sampled(self, **wildcards: Any) -> dict[str, str]:
        """What the showers of a run are drawn from: the final networks, or the kept epochs of the last of them."""
        files = self.checkpoints(**wildcards)
        if self.sampled_epoch(**wildcards) != "final":
            last = self.model(wildcards["model"]).chain.last.name
            files[last] = self.path("kept", network=last, **wildcards)
        return files

    def external_epochs(self, model: str) -> dict[str, str]:
        """Files of the epochs of an external sample, by number as text (as rules hand it on)."""
        external = self.external(model)
        return {} if external is None else {str(epoch): path for epoch, path in external.epochs.items()}

    def rolling(self, *, network: str, **wildcards: Any) -> str:
        """Folder of a training's rolling checkpoints, outside the declared outputs, which Snakemake deletes.

        Its name holds a digest of everything configured that leads up to the training: an interrupted training goes on
        from its checkpoints as long as nothing it depends on has changed, and never from another one's.
        """
        chain = self.model(wildcards["model"]).chain
        depends = [self._used("prepare", **wildcards)]
        for link in (*chain.before(chain[network]), chain[network]):
            depends.append(self._used("train", network=link.name, **wildcards))
        return self._rolling(self.run(**wildcards).folder, network, depends, wildcards["dataset"])

    def regressor_rolling(self, *, dataset: str, regressor: str, **_: Any) -> str:
        """The same for an energy regressor of a dataset."""
        wildcards = {"dataset": dataset, "regressor": regressor}
        depends = [self._used(stage, **wildcards) for stage in ("prepare", "train_regressor")]
        return self._rolling(f"data/{dataset}/{regressor}", "regressor", depends, dataset)

    def _used(self, stage: str, **wildcards: Any) -> list[Any]:
        return [self.settings(stage, **wildcards), self.code(stage, **wildcards)]

    def _rolling(self, folder: str, network: str, depends: list[Any], dataset: str) -> str:
        sources = [self.settings("fetch", dataset=dataset, role=role) for role in self.sources(dataset)]
        return f"{self.study.results}/.rolling/{folder}/{network}-{short_digest([*depends, *sources])}"


@cache
def _code_digest(modules: tuple[str, ...], data: tuple[str, ...]) -> str:
    return code_digest(modules, data)
