"""Hydra's own main, for what its compose API does not offer: sweeps through launchers, and scripts that complete in a shell."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from omegaconf import DictConfig

from seqgen_cli.config.listing import CONFIGS


def hydra_main(command: str, arguments: Sequence[str], task: Callable[[DictConfig], Any]) -> None:
    """Run Hydra on a command's config as if it had been started with these arguments.

    Args:
        task: run once for each job; a function that another process can import.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise errors instead of printing them and leaving
    saved, sys.argv = sys.argv, [sys.argv[0], *arguments]
    # Python 3.14 checks help texts as arguments are added; up to 1.3.8, Hydra gives one that is no text until it is printed.
    formatter = argparse.HelpFormatter
    help_of, formatter._get_help_string = formatter._get_help_string, _help_text  # type: ignore[assignment, method-assign]
    try:
        hydra.main(version_base="1.3", config_path=f"pkg://{CONFIGS}", config_name=command)(task)()
    finally:
        sys.argv = saved
        formatter._get_help_string = help_of  # type: ignore[method-assign]


def print_completion(request: str) -> None:
    """Print Hydra's own script that completes in a shell: `install=bash`, `uninstall=zsh` ..."""
    hydra_main("train", ["-sc", request], _nothing)


def _help_text(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """Of an argument, as argparse expands it; of Hydra's lazy one none, since nobody asks Hydra for help here."""
    return action.help if isinstance(action.help, str) else ""


def _nothing(config: DictConfig) -> None:
    """The task of completion, which runs none."""
