"""The plan of a study: files of its runs, and settings and code that each stage depends on (:mod:`.stages`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from calopipe.canonical import digest
from calopipe.codedigest import code_digest, code_packages, code_parts
from calopipe.config import load_study
from calopipe.errors import CalopipeError
from calopipe.origin import package_versions
from calopipe.records.paths import pattern
from calopipe.workflow.artifacts import artifact_files, artifacts
from calopipe.workflow.checks import StudyChecks
from calopipe.workflow.made import Making, read_record
from calopipe.workflow.parts import RunKey
from calopipe.workflow.stage import plain
from calopipe.workflow.stages import STAGES
from calopipe.workflow.stale import input_paths, put_in_order, why_stale


class Plan(StudyChecks):
    """A validated study, seen from the rules. Methods take wildcards by name (`seed` as text or number).

    Attributes:
        scripts: folder of the rules' scripts, whose code counts; None: it does not.
    """

    scripts: Path | None = None

    @cached_property
    def _stale(self) -> dict[str, str | None]:
        """What is known of outputs already."""
        return {}

    @classmethod
    def load(cls, config: Mapping[str, Any], presets: Path, files: bool = True) -> Plan:
        """Validate Snakemake's `config`, merged onto the presets it names, and check it as a whole.

        Args:
            files: look at files that are at hand, too (see :class:`calopipe.workflow.checks.StudyChecks`).

        Raises:
            ConfigError, GeometryError, DataError: one line that names the key or the file.
        """
        plan = cls(load_study(config, presets))
        plan.scripts = presets.parent / "workflow" / "scripts"
        plan.check(files)
        return plan

    def path(self, name: str, **wildcards: Any) -> str:
        """Path of a file of :data:`calopipe.records.paths.FILES`; wildcards that are not given stay in braces."""
        return pattern(self.study.results, name, **wildcards)

    def settings(self, stage: str, **wildcards: Any) -> dict[str, Any]:
        """The settings that enter the result of `stage`, as plain JSON-able data, and nothing else."""
        return STAGES[stage].settings(self, **wildcards)

    def code(self, stage: str, **wildcards: Any) -> str:
        """Digest of the code of `stage`: its script, library modules, and those of the models, steps and metrics it names."""
        return _code_digest(*self._code(stage, **wildcards))

    def used(self, stage: str, **wildcards: Any) -> dict[str, Any]:
        """Digest of the code of `stage`, the modules that it enters, and the versions of its packages."""
        return _used(*self._code(stage, **wildcards))

    def code_parts(self, stage: str, **wildcards: Any) -> dict[str, str]:
        """Digests of all modules and files that enter :meth:`code`, by name."""
        modules, data, script = self._code(stage, **wildcards)
        return code_parts(modules, data, script=script)

    def packages(self, stage: str, **wildcards: Any) -> dict[str, str]:
        """Versions of the packages that `stage` uses."""
        return _package_versions(self._code(stage, **wildcards)[0])

    def _code(self, stage: str, **wildcards: Any) -> tuple[tuple[str, ...], tuple[str, ...], Path | None]:
        used = STAGES[stage]
        modules = {*used.modules, *used.parts(self, **wildcards)}
        script = None if self.scripts is None else self.scripts / f"{used.script or stage}.py"
        return tuple(sorted(modules)), used.data, script

    def files(self, stage: str, **wildcards: Any) -> list[str]:
        """Files from outside of the results that `stage` reads; another content of them reruns it."""
        return STAGES[stage].files(self, **wildcards)

    def gpus(self, stage: str, **wildcards: Any) -> int:
        """1 when the stage may run on a GPU, 0 when its `device` setting is ``cpu``."""
        return int(STAGES[stage].device(self, **wildcards) != "cpu")

    def configuration(self) -> dict[str, Any]:
        """All settings, presets and defaults filled in, as plain data; :meth:`load` makes the same plan of them."""
        return plain(self.study)

    def artifacts(self, run: RunKey) -> dict[str, Any]:
        """Files of a run that the report shows or links."""
        return artifacts(self, run)

    def report_files(self) -> list[str]:
        """All files that the report shows or links; runs of a dataset share some."""
        return list(dict.fromkeys(path for run in self.runs for path in artifact_files(self.artifacts(run))))

    def stale(self, stage: str, outputs: Sequence[str], benchmark: str | None = None, **wildcards: Any) -> str | None:
        """Why the outputs of a job are not what this study would make; None where they are, or one is not there."""
        if not all(Path(output).exists() for output in outputs):
            return None
        reasons = {output: self._why_stale(os.path.normpath(output), stage, wildcards) for output in outputs}
        if benchmark is not None and not any(reasons.values()):
            put_in_order(benchmark, outputs)
        return next((f"{output}: {reason}" for output, reason in reasons.items() if reason is not None), None)

    def _why_stale(self, output: str, stage: str, wildcards: Mapping[str, Any]) -> str | None:
        """The same of one output, after what it was made from: their times are put in order first."""
        if output not in self._stale:
            self._stale[output] = "made from itself"
            for source in input_paths(read_record(output) or {"inputs": {}}, Path(output)):
                made = read_record(source)
                if made is not None and os.path.exists(source) and self.making_of(made) is not None:
                    self._why_stale(source, made["stage"], made["wildcards"])
            self._stale[output] = why_stale(self.making(stage, **wildcards), Path(output))
        return self._stale[output]

    def making(self, stage: str, **wildcards: Any) -> Making:
        """Everything that an output of `stage` depends on besides the files from the results."""
        return Making(
            stage,
            self.settings(stage, **wildcards),
            self.code(stage, **wildcards),
            self.packages(stage, **wildcards),
            self.files(stage, **wildcards),
            {key: str(value) for key, value in wildcards.items()},
        )

    def making_of(self, record: Mapping[str, Any]) -> Making | None:
        """What makes the output of a record now; None where this study has no such job."""
        with suppress(CalopipeError, LookupError, TypeError, ValueError, AttributeError):
            return self.making(record["stage"], **record["wildcards"])
        return None

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

    def sampled(self, **wildcards: Any) -> list[str]:
        """What the showers of a run are drawn from, training by training: the final networks, or the kept epochs of the last."""
        last = self.model(wildcards["model"]).chain.last.name
        found: list[str] = []
        for name in self.trainings(**wildcards):
            training = {**wildcards, "seed": name}
            files = self.checkpoints(**training)
            if self.sampled_epoch(**wildcards) != "final":
                files[last] = self.path("kept", network=last, **training)
            found += files.values()
        return found

    def unrefined(self, **wildcards: Any) -> list[str]:
        """What the showers of a run are drawn from before its refiners, training by training."""
        links = self.model(wildcards["model"]).chain.unrefined
        trainings = [self.checkpoints(**{**wildcards, "seed": name}) for name in self.trainings(**wildcards)]
        return [files[link.name] for files in trainings for link in links]

    def scored(self, **wildcards: Any) -> list[str]:
        """How the kept epochs of each of these trainings scored, where the best of them is sampled."""
        if self.sampled_epoch(**wildcards) != "best":
            return []
        return [self.path("epochs", **{**wildcards, "seed": name}) for name in self.trainings(**wildcards)]

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
        folder = "{dataset}/{model}/seed{seed}".format(**wildcards)
        return self._rolling(folder, network, depends, wildcards["dataset"])

    def regressor_rolling(self, *, dataset: str, regressor: str, **_: Any) -> str:
        """The same for an energy regressor of a dataset."""
        wildcards = {"dataset": dataset, "regressor": regressor}
        depends = [self._used(stage, **wildcards) for stage in ("prepare", "train_regressor")]
        return self._rolling(f"data/{dataset}/{regressor}", "regressor", depends, dataset)

    def regressor_file(self, *, dataset: str, regressor: str, **_: Any) -> str:
        """Checkpoint of an energy regressor that judges showers of `dataset`, whatever it has learned."""
        return self.path("regressor", dataset=self.trained_on(regressor, dataset), regressor=regressor)

    def _used(self, stage: str, **wildcards: Any) -> list[Any]:
        return [self.settings(stage, **wildcards), self.code(stage, **wildcards)]

    def _rolling(self, folder: str, network: str, depends: list[Any], dataset: str) -> str:
        sources = [self.settings("fetch", dataset=dataset, role=role) for role in self.sources(dataset)]
        return f"{self.study.results}/.rolling/{folder}/{network}-{digest([*depends, *sources])}"


@cache
def _code_digest(modules: tuple[str, ...], data: tuple[str, ...], script: Path | None) -> str:
    return code_digest(modules, data, script=script)


@cache
def _used(modules: tuple[str, ...], data: tuple[str, ...], script: Path | None) -> dict[str, Any]:
    packages = _package_versions(modules)
    return {"digest": _code_digest(modules, data, script), "modules": list(modules), "packages": packages}


@cache
def _package_versions(modules: tuple[str, ...]) -> dict[str, str]:
    return package_versions(code_packages(modules))
