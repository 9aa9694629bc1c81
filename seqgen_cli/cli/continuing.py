"""`seqgen train continue=RUN ...`: the run's own config with the few settings changed that a run under way may change."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from seqgen_cli.checkpoints.untrusted import read_config
from seqgen_cli.config.settings import once
from seqgen_cli.errors import RequestError, join_or

GROUPS = ("trainer", "optimizer", "schedule", "decoding", "metrics", "runtime")
"""Groups whose single settings may change."""


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
        if group not in GROUPS or not setting:
            raise RequestError(
                f"{override.input_line} cannot change in a run under way (continue={run}): "
                f"only single settings of {join_or(GROUPS)} can, e.g. trainer.steps=20000."
            )
        OmegaConf.update(merged, override.key_or_group, override.value())
    for key in once():
        if key in config:
            OmegaConf.update(merged, key, config[key])
    return merged
