"""Values of command-line options: each with bounds and one line of complaint, and the challenge script's own options."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

from pydantic import Field, TypeAdapter, ValidationError

from calopipe.config.bounds import BatchSize, Dropout, Epochs, LearningRate, Width
from calopipe.config.evaluation import ClassifierConfig
from calopipe.errors import ConfigError, printable

log = logging.getLogger("calopipe")

#: characters of a name that stands in titles and tables
LONGEST_NAME = 200
Layers = Annotated[int, Field(ge=0, le=31)]


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        self.exit(2, f"{self.prog}: {printable(message, 300)} (usage: {self.prog} --help)\n")


def number(option: str, kind: Any) -> Callable[[str], Any]:
    """A type for argparse: a number within the bounds of a type of :mod:`calopipe.config.bounds`, else a ConfigError."""
    adapter = TypeAdapter(kind)

    def parse(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise ConfigError(f"{option}: expected {reason}, found '{printable(text, 60)}'") from None

    return parse


def name(text: str) -> str:
    """A type for argparse: a name for titles and tables."""
    if len(text) > LONGEST_NAME:
        raise ConfigError(f"--name: expected at most {LONGEST_NAME} characters, found {len(text)}")
    return text


def add_script_options(parser: argparse.ArgumentParser) -> None:
    """The options of the challenge's ``evaluate.py`` that mean something here; those of its GPU are taken as they were meant."""
    group = parser.add_argument_group(
        "options of the challenge's script",
        "taken as they are there; the classifiers' are told in the leaderboard where they are not the challenge's",
    )
    add = group.add_argument
    add("--input_file_2", dest="input_file", action="append", help="a second file of the same sample (set 3)")
    add("--reference_file_2", dest="reference", action="append", help="a second file of the reference (set 3)")
    add(
        "--cls_n_epochs",
        dest="cls_epochs",
        type=number("--cls_n_epochs", Epochs),
        metavar="N",
        help="the same as --cls-epochs",
    )
    add(
        "--cls_n_layer",
        type=number("--cls_n_layer", Layers),
        metavar="N",
        help="hidden layers after the input layer (there: 2)",
    )
    add(
        "--cls_n_hidden",
        type=number("--cls_n_hidden", Width),
        metavar="N",
        help="neurons of each layer (published: 2048)",
    )
    add(
        "--cls_dropout_probability",
        type=number("--cls_dropout_probability", Dropout),
        metavar="P",
        help="dropout (there: 0)",
    )
    add(
        "--cls_batch_size",
        type=number("--cls_batch_size", BatchSize),
        metavar="N",
        help="showers per step (there: 1000)",
    )
    add("--cls_lr", type=number("--cls_lr", LearningRate), metavar="RATE", help="learning rate (there: 2e-4)")
    add("--no_cuda", action="store_true", help="the same as --device cpu")
    add("--which_cuda", type=int, metavar="N", help="only 0; to use another one set CUDA_VISIBLE_DEVICES=N")
    add("--save_mem", action="store_true", help="no effect: data always go to the GPU batch by batch")


def script_device(options: argparse.Namespace) -> str:
    """The device, from ``--device``, ``--no_cuda`` and ``--which_cuda``. Raises ConfigError where they contradict."""
    if options.no_cuda and options.device == "cuda":
        raise ConfigError("--no_cuda and --device cuda contradict each other")
    if options.which_cuda not in (None, 0):
        raise ConfigError(
            f"--which_cuda {options.which_cuda}: to use that GPU, set the environment variable "
            f"CUDA_VISIBLE_DEVICES={options.which_cuda} and leave the option out"
        )
    if options.save_mem:
        log.info("--save_mem: no effect, data always go to the GPU batch by batch")
    return "cpu" if options.no_cuda else options.device


def adjusted(config: ClassifierConfig, options: argparse.Namespace, device: str) -> ClassifierConfig:
    """Settings of a classifier with what the options say; validated. Those of its network are for the challenge's own."""
    wanted = {
        "device": device,
        "repeats": options.cls_repeats,
    }
    network = {
        "epochs": options.cls_epochs,
        "dropout": options.cls_dropout_probability,
        "batch_size": options.cls_batch_size,
        "lr": options.cls_lr,
    }
    if config.patience is None:
        wanted |= network
    if (
        config.patience is None
        and config.network == "mlp"
        and (options.cls_n_layer, options.cls_n_hidden) != (None, None)
    ):
        layers = len(config.hidden) if options.cls_n_layer is None else options.cls_n_layer + 1
        wanted["hidden"] = [options.cls_n_hidden or config.hidden[0]] * layers
    changes = {k: v for k, v in wanted.items() if v is not None}
    try:
        return ClassifierConfig.model_validate({**config.model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError(f"options of the classifiers: {error.errors()[0]['msg']}") from error


def is_file(text: str) -> bool:
    """Whether there is a file of this name; a text that cannot be one names none."""
    try:
        return os.path.isfile(text)
    except (OSError, ValueError):
        return False
