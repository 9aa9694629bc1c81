"""Composes a command's config through Hydra, and says in one sentence what is wrong with an override."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

CONFIGS = "seqgen_cli.configs"


def compose(command: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config of `seqgen <command> overrides...`, with the chosen name of each group under `choices`."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(CONFIGS, version_base="1.3"):
            config = hydra_compose(command, list(overrides), return_hydra_config=True)
    finally:
        GlobalHydra.instance().clear()
    choices = {group: choice for group, choice in config.hydra.runtime.choices.items() if not group.startswith("hydra/")}
    with open_dict(config):
        del config["hydra"]
        config["choices"] = choices
    return config


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain data, interpolations resolved."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
