"""Composes a command's config through Hydra, and says in one sentence what is wrong with an override."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from seqgen_cli.config.listing import CONFIGS, choosers, default_groups, group_choices, groups, inner_groups, top_level
from seqgen_cli.errors import RequestError, did_you_mean, join_and, join_or


def compose(command: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config of `seqgen <command> overrides...`, with the chosen name of each group under `choices`.

    Raises:
        RequestError: an override is malformed, or names a choice or a setting that does not exist.
    """
    overrides = amended(command, overrides)
    try:
        with _hydra():
            config = hydra_compose(command, list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(command, overrides, error) from error
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    return with_choices(config, choices)


def with_choices(config: DictConfig, choices: Mapping[str, Any]) -> DictConfig:
    """The config, noting which choice of each group it is made of."""
    with open_dict(config):
        config["choices"] = {group: choice for group, choice in choices.items() if "hydra/" not in group}
    return config


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved.

    Raises:
        RequestError: an interpolation refers to nothing.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise RequestError(f"{error.full_key or 'a setting'} cannot be resolved: {_first_line(error)}.") from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def amended(command: str, overrides: Sequence[str]) -> list[str]:
    """The overrides as Hydra should have them: it adds single keys that it does not know, of choices that a checkpoint makes
    (`seqgen eval data.years=[2015]`) or misspelt, which config/door.py refuses with what the class declares; and is told
    nothing of `group=null`, of which it knows nothing, where the command starts from none.

    Raises:
        RequestError: the command has no such group or setting, or needs a choice there.
    """
    mine, own = default_groups(command), top_level(command)
    kept = []
    for override in overrides:
        key, equals, _ = override.partition("=")
        section = re.split(r"[./]", key)[0]
        if not equals or key.startswith(("+", "~")) or section == "hydra":
            kept.append(override)
        elif section not in mine and section not in own:
            raise RequestError(_not_here(command, key))
        elif "." in key:
            kept.append(f"++{override}")
        elif key in own or not {"None", "null"} & set(map(str, _values(_parse(override)))):
            kept.append(override)
        elif key not in mine or mine[key] is not None or not override.endswith("=null"):
            raise RequestError(nothing_chosen(command, key))
    return kept


def nothing_chosen(command: str, group: str) -> str:
    """The sentence for `model=null`."""
    return f"{group}=null chooses nothing, and seqgen {command} needs one: {group}={join_or(group_choices(group))}."


def _not_here(command: str, key: str) -> str:
    """The sentence for a group, or a setting, that the command has not."""
    mine, section = [*default_groups(command), *top_level(command)], re.split(r"[./]", key)[0]
    can = f"What can be set: {join_and(mine)}."
    if section in groups() and "ckpt" in mine:
        return f"{key.partition('.')[0]} cannot be set in seqgen {command}: it comes from the checkpoint. {can}"
    return f"{key} is not a setting of seqgen {command}.{did_you_mean(section, mine)} {can}"


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra's global state for one composition, gone afterwards."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(CONFIGS, version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().clear()


def explain(command: str, overrides: Sequence[str], error: Exception, multirun: bool = False) -> RequestError:
    """The sentence for overrides that Hydra refused with `error`."""
    try:
        parsed = [_parse(override) for override in overrides]
        if not multirun:
            for override in parsed:
                if override.is_sweep_override():
                    text = str(override.input_line).lstrip("+")
                    raise RequestError(f"{text} gives several values: add -m to run them all, or quote the value if it is one.")
        search = [text for text, override in zip(overrides, parsed, strict=True) if override.key_or_group == "hydra.searchpath"]
        with _hydra():
            _check_groups(command, parsed, search)
    except RequestError as found:
        return found
    except (HydraException, OmegaConfBaseException) as other:
        error = other
    return RequestError(f"{_first_line(error)}.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or str(error.__cause__)).splitlines()[0].rstrip(".")


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        text = text.lstrip("+")
        key, _, value = text.partition("=")
        flag = f"--{key} {_shell_quoted(value)}"
        raise RequestError(
            f"{text} cannot be read as key=value. Write a value with spaces, commas or other signs as a flag: {flag}"
        ) from error


def _shell_quoted(value: str) -> str:
    """As people write it, where double quotes will do."""
    return shlex.quote(value) if re.search(r'["$`\\!]', value) else f'"{value}"'


def _values(override: Override) -> list[Any]:
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]


def first_of(text: str) -> str:
    """The override as written; of a sweep's, the first of its values."""
    override = _parse(text)
    return f"{override.key_or_group}={_values(override)[0]}" if override.is_sweep_override() else text


def _check_groups(command: str, overrides: Sequence[Override], search: Sequence[str]) -> None:
    """Refuse a choice that does not exist, the user's own folder (an override of hydra.searchpath) included."""
    for override in overrides:
        group = override.key_or_group
        options = GlobalHydra.instance().config_loader().get_group_options(group, config_name=command, overrides=list(search))
        if not (options or group in default_groups(command)) or group.startswith("hydra") or group in top_level(command):
            continue
        for value in _values(override):
            if isinstance(value, str) and value.strip("'\"") not in options:
                near = did_you_mean(value, options)
                there = ", ".join(sorted(options)) or "nothing yet"
                raise RequestError(f"{group}={value} is not a choice.{near} {group} is one of {there}.")
    inner = [override.key_or_group for override in overrides if "/" in override.key_or_group and not override.is_add()]
    _check_inner_groups(command, [group for group in inner if not group.startswith("hydra/")], overrides, search)


def _check_inner_groups(command: str, inner: Sequence[str], overrides: Sequence[Override], search: Sequence[str]) -> None:
    """Refuse choosing `objective/decay` where the objective chosen has no use for one."""
    if not inner:
        return
    outer = [first_of(str(each.input_line)) for each in overrides if each.key_or_group in default_groups(command)]
    choices = hydra_compose(command, [*outer, *search], return_hydra_config=True).hydra.runtime.choices
    for group in inner:
        if group not in choices:
            parent = group.rpartition("/")[0]
            fitting = [f"{parent}={chooser}" for chooser in choosers(group)]
            hint = f" It belongs to {join_or(fitting)}." if fitting else did_you_mean(group, inner_groups(parent))
            raise RequestError(f"{group} is not a choice of {parent}={choices.get(parent)}.{hint}")
