"""`seqgen train continue=RUN ...`: the run's own config with the few settings changed that a run under way may change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from seqgen_cli.checkpoints.untrusted import read_config
from seqgen_cli.config.groups import resolve
from seqgen_cli.config.settings import once
from seqgen_cli.config.signatures import settings
from seqgen_cli.errors import RequestError, join_or
from seqgen_cli.hints import Neutral, marked

GROUPS = ("trainer", "optimizer", "schedule", "decoding", "metrics", "runtime")
"""Groups whose single settings may change; of the others those that change no numbers."""


def continued(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The config of the run that `config.continue` names, with the overrides given now.

    Raises:
        RequestError: there is no such run, or an override would make it another run.
    """
    run = Path(config["continue"])
    if config.get("fresh"):
        raise RequestError(f"continue={run} goes on with a run, fresh=true throws it away: say one of them.")
    if not (run / "config.yaml").is_file():
        raise RequestError(f"continue={run} is not a run: {run / 'config.yaml'} does not exist.")
    trust = config.get("trust") or ()
    merged = OmegaConf.create(read_config(run / "config.yaml", [trust] if isinstance(trust, str) else list(trust)))
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group, _, setting = override.key_or_group.partition(".")
        if group in once():
            continue
        if not setting or not (group in GROUPS or _is_neutral(merged.get(group), group, setting)):
            raise RequestError(
                f"{override.input_line} cannot change in a run under way (continue={run}): "
                f"only single settings of {join_or(GROUPS)} can, and those that change no numbers, e.g. trainer.steps=20000."
            )
        OmegaConf.update(merged, override.key_or_group, override.value())
    for key in once():
        if key in config:
            OmegaConf.update(merged, key, config[key])
    return merged


def _is_neutral(node: Any, group: str, setting: str) -> bool:
    """Whether the class of a group's choice says that a setting changes no numbers."""
    declared = settings(resolve(node, group)).get(setting) if isinstance(node, Mapping) and "_target_" in node else None
    return declared is not None and marked(declared.annotation, Neutral) is not None
