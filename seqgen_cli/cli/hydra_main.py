"""Hydra's own main, for what its compose API does not offer: sweeps through launchers, and shell completion."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from omegaconf import DictConfig

from seqgen_cli.cli.completion import candidates
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


def complete(arguments: Sequence[str]) -> int:
    """Answer the shell (`-sc query=bash`), whose line is in COMP_LINE, or print what it should evaluate (`-sc install=bash`),
    which is Hydra's own."""
    if any(word.startswith("query=") for word in arguments):
        line = os.environ.get("COMP_LINE", "")
        found = candidates(line[: int(os.environ.get("COMP_POINT", len(line)))])
        print(("\n" if "query=fish" in arguments else " ").join(found))
    else:
        hydra_main("train", ["-sc", *(word for word in arguments if "=" in word)], _nothing)
    return 0


def _help_text(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """Of an argument, as argparse expands it; of Hydra's lazy one none, since nobody asks Hydra for help here."""
    return action.help if isinstance(action.help, str) else ""


def _nothing(config: DictConfig) -> None:
    """The task of completion, which runs none."""
