"""Composes a command's config through Hydra, and says in one sentence what is wrong with an override."""

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

from seqgen_cli.config import signatures
from seqgen_cli.config.groups import place, resolve
from seqgen_cli.config.listing import CONFIGS, choosers, default_groups, group_choices, groups, inner_groups, top_level
from seqgen_cli.errors import RequestError, did_you_mean, join_and, join_or

Config = DictConfig
"""The composed config of a command, or a run's own."""


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


def as_config(values: Mapping[str, Any]) -> Config:
    """Plain data as a config."""
    return OmegaConf.create(dict(values))


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
    """A config with some keys changed, at any depth."""
    found = OmegaConf.merge(dict(values), changes)
    assert isinstance(found, DictConfig)
    return found


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
    """Overrides of single keys of a group that the command leaves to the checkpoint are added to what it says there;
    `group=null`, of which Hydra knows nothing, is left out where the command starts from none.

    Raises:
        RequestError: the command needs a choice there.
    """
    mine = default_groups(command)
    left = {f"{group}=null" for group, choice in mine.items() if choice is None}
    for override in overrides:
        group, _, value = override.partition("=")
        if value == "null" and group in groups() and group not in top_level(command) and override not in left:
            ours = group in mine or group.partition("/")[0] in mine
            raise RequestError(nothing_chosen(command, group) if ours else _not_here(command, group))
    kept = [override for override in overrides if override not in left]
    chosen = {override.partition("=")[0].lstrip("+") for override in kept}
    open_groups = tuple(f"{group}." for group, choice in mine.items() if choice is None and group not in chosen)
    return [f"++{override}" if open_groups and override.startswith(open_groups) else override for override in kept]


def nothing_chosen(command: str, group: str) -> str:
    """The sentence for `model=null`."""
    return f"{group}=null chooses nothing, and seqgen {command} needs one: {group}={join_or(group_choices(group))}."


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
                    text = override.input_line
                    raise RequestError(f"{text} gives several values: add -m to run them all, or quote the value if it is one.")
        search = [text for text, override in zip(overrides, parsed, strict=True) if override.key_or_group == "hydra.searchpath"]
        with _hydra():
            _check_groups(command, parsed, search)
            _check_keys(command, parsed, search)
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
        key, _, value = text.partition("=")
        raise RequestError(
            f"{text} cannot be read as key=value. Quote a value with spaces, commas or other signs: {key}=\"'{value}'\"."
        ) from error


def _values(override: Override) -> list[Any]:
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]


def _first_of(override: Override) -> str:
    """The override as written; of a sweep's, the first of its values."""
    return f"{override.key_or_group}={_values(override)[0]}" if override.is_sweep_override() else str(override.input_line)


def _options(command: str, group: str, search: Sequence[str]) -> list[str]:
    """The choices of a group, the user's own folder (an override of hydra.searchpath) included."""
    return GlobalHydra.instance().config_loader().get_group_options(group, config_name=command, overrides=list(search))


def _check_groups(command: str, overrides: Sequence[Override], search: Sequence[str]) -> None:
    mine = default_groups(command)
    for override in overrides:
        group = override.key_or_group
        options = _options(command, group, search)
        if not (options or group in mine) or group.startswith("hydra") or group in top_level(command):
            continue
        if group not in mine and group.rpartition("/")[0] not in mine and not override.is_add():
            raise RequestError(_not_here(command, group))
        for value in _values(override):
            if isinstance(value, str) and value.strip("'\"") not in options:
                near = did_you_mean(value, options)
                there = ", ".join(sorted(options)) or "nothing yet"
                raise RequestError(f"{group}={value} is not a choice.{near} {group} is one of {there}.")
    inner = [
        override.key_or_group
        for override in overrides
        if override.key_or_group.partition("/")[0] in mine and not override.is_add()
    ]
    _check_inner_groups(command, [group for group in inner if "/" in group], overrides, search)


def _check_inner_groups(command: str, inner: Sequence[str], overrides: Sequence[Override], search: Sequence[str]) -> None:
    """Refuse choosing `objective/decay` where the objective chosen has no use for one."""
    if not inner:
        return
    outer = [_first_of(override) for override in overrides if override.key_or_group in default_groups(command)]
    choices = hydra_compose(command, [*outer, *search], return_hydra_config=True).hydra.runtime.choices
    for group in inner:
        if group not in choices:
            parent = group.rpartition("/")[0]
            fitting = [f"{parent}={chooser}" for chooser in choosers(group)]
            hint = f" It belongs to {join_or(fitting)}." if fitting else did_you_mean(group, inner_groups(parent))
            raise RequestError(f"{group} is not a choice of {parent}={choices.get(parent)}.{hint}")


def _not_here(command: str, group: str) -> str:
    if "ckpt" in top_level(command):
        return f"{group} cannot be set in seqgen {command}: it comes from the checkpoint. {_settable(command)}"
    return f"{group} is not a setting of seqgen {command}. {_settable(command)}"


def _settable(command: str) -> str:
    return f"What can be set: {join_and([*default_groups(command), *top_level(command)])}."


def _check_keys(command: str, overrides: Sequence[Override], search: Sequence[str]) -> None:
    """Find the override of a key that does not exist in the config of the chosen groups."""
    own = top_level(command)
    chosen = [o for o in overrides if o.key_or_group not in own and _options(command, o.key_or_group, search)]
    config = hydra_compose(command, [*map(_first_of, chosen), *search], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    for override in overrides:
        key = override.key_or_group
        if override in chosen or override.is_add() or override.is_force_add() or key.startswith("hydra."):
            continue
        group, _, inner = key.partition(".")
        if group not in config:
            known = [*default_groups(command), *top_level(command)]
            if inner and _options(command, group, search):
                raise RequestError(_not_here(command, group))
            raise RequestError(f"{key} is not a setting of seqgen {command}.{did_you_mean(group, known)} {_settable(command)}")
        _check_key(config[group], group, inner, choices)


def _check_key(node: Any, group: str, key: str, choices: Mapping[str, Any]) -> None:
    """Refuse a key that the chosen group's node does not have; one of a part that it chooses in turn is looked up there."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return
    name, _, rest = key.partition(".")
    if name in node:
        _check_key(node[name], f"{group}/{name}", rest, choices)
        return
    cls, path = resolve(node, group), place(group)
    hints = signatures.settings(cls)
    allowed = {f"{path}.{known}": hints[known].annotation for known in node if known != "_target_" and known in hints}
    owner = f"{group}={choices[group]}" if group in choices else path
    raise RequestError(signatures.why_not(cls, key, path, owner) or signatures.unknown_key(f"{path}.{key}", owner, allowed))
