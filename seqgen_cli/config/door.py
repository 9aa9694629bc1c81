"""The door: what a person asked for, looked at once and as a whole, before any data are read and anything is written."""

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from seqgen_cli.config import build, fitness
from seqgen_cli.config.checked import Config
from seqgen_cli.config.compose import compose, nothing_chosen, plain
from seqgen_cli.config.listing import default_groups, groups, read_settings
from seqgen_cli.config.parts import owner
from seqgen_cli.config.settings import TOP_LEVEL, flag_of, takes_text, texts_in
from seqgen_cli.errors import RequestError, SeqgenError, UnknownSettingError, did_you_mean

_log = logging.getLogger(__name__)

_MAY_BE_EMPTY = ("text", "prompt")
_SOME = 2**15  # words, where nothing says how many


def config_of(command: str, overrides: Sequence[str] = ()) -> Config:
    """The checked config of `seqgen <command> overrides...`.

    Raises:
        RequestError: an override is malformed, or something that it sets is wrong.
    """
    return checked(plain(compose(command, overrides)), command)


def check_keys(command: str, overrides: Sequence[str]) -> None:
    """Refuse a misspelt key, whatever else may be wrong.

    Raises:
        UnknownSettingError: names the nearest match.
    """
    try:
        config_of(command, overrides)
    except UnknownSettingError:
        raise
    except SeqgenError:
        return


def checked(values: Mapping[str, Any], command: str | None = None) -> Config:
    """The config with everything in it right, and its choices fitting each other, as far as can be told without data.

    Args:
        values: plain data, with `choices`.
        command: whose config it is; None: a part of one, for nothing by itself.

    Raises:
        RequestError: names the key, its value, what is allowed and the nearest match.
    """
    config = Config(values)
    if command is not None:
        for group, default in default_groups(command).items():
            if default is not None and group not in config:
                raise RequestError(nothing_chosen(command, group))
            if default is not None and group not in config.chosen:
                raise RequestError(
                    f"{owner(group, config.choices)} names no class: its YAML needs _target_: package.module.Class."
                )
    for key in values:
        if key in config.chosen:
            getattr(config, key)
        elif key not in TOP_LEVEL and key not in groups() and key != "choices":
            raise UnknownSettingError(f"{key} is not a setting.{did_you_mean(key, [*TOP_LEVEL, *groups()])}")
    _check_texts(values, command)
    parts = [part for group in config.chosen for part in config.part(group).whole()]
    fitness.check_fit({part.group: part.cls for part in parts}, values, config.choices)
    if "trainer" in config:
        _check_training(config)
    if command is not None and "data" in config.chosen and "tokenizer" in config:
        config.corpus  # noqa: B018  looks for its files
    if "objective" in config:
        _try_networks(config)
    return config


def _check_texts(values: Mapping[str, Any], command: str | None) -> None:
    """Refuse an empty name, as of a shell's variable that is not set, and text that no checkpoint's config may hold."""
    for key, value in values.items():
        if key in TOP_LEVEL and takes_text(key) and key not in _MAY_BE_EMPTY and (value == "" or value == [""]):
            raise RequestError(f"{flag_of(key)} is empty: give it a value, or leave it out.")
        if command == "train" and (text := next((text for text in texts_in(value) if "${" in text), None)) is not None:
            told = "no checkpoint keeps text with `${`, by which settings name others"
            raise RequestError(f"{key} holds {text!r}: {told}. Rename it, or link to it.")


def _check_training(config: Config) -> None:
    """Refuse a schedule without an end, data that nothing is left out of, what cannot be measured, and a best checkpoint by
    what nothing measures.
    """
    trainer, task = config.trainer, config.task
    for split in ("train", "valid"):
        if split not in getattr(config.corpus, "split_names", (split,)):
            raise RequestError(f"data.{split} is missing: training needs a split to {split} on.")
    config.schedule(total_updates=trainer.total_updates(None))
    task.try_figures(config)
    name, measured = trainer.best_metric, task.figures(config)
    if measured is None:
        task.higher_is_better(name)
    elif name not in measured:
        decoding_all = task.figures(config.changed({"trainer": {"decode_limit": None}})) or ()
        why = " (trainer.decode_limit=0 leaves out what takes decoding)" if name in decoding_all else ""
        near = did_you_mean(name, measured)
        raise RequestError(
            f"trainer.best_metric={name} is not measured in this run{why}.{near} What is: {', '.join(sorted(measured))}."
        )


def _try_networks(config: Config) -> None:
    """Make networks and objective of stand-ins for what data will say, without memory: settings that do not fit one another
    are refused by the constructors that know.

    Vocabularies are as large as the tokenizer's settings let them be. Only refusals count: what else goes wrong, of code that
    needs the data themselves, goes wrong when they are there.
    """
    task, sizes = config.task, config.task.largest(config)
    if sizes is None and not task.writes:
        return
    if sizes is None:  # of the output layer then only what does not depend on them
        softmax = {**read_settings("output/softmax"), "tied": config.output.settings.get("tied", False)}
        config, sizes = config.changed({"output": softmax}), (_SOME if task.reads_source else None, _SOME)
    tokenizer = SimpleNamespace(pad=0, unk=1, bos=2, eos=3, vocab_size=sizes[1])
    try:
        with torch.device("meta"):
            counts_V = torch.ones(sizes[1], dtype=torch.int64, device="cpu")
            networks = build.network(config, *sizes, counts_V)
            build.objective(config, *networks, tokenizer, getattr(config.corpus, "target_language", None), counts_V)
    except RequestError:
        raise
    except Exception:
        _log.debug("The networks could not be tried before there are data:", exc_info=True)
