"""A run's folder: named for its choices and a hash of every setting that changes numbers, with its config inside."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from seqgen_cli.checkpoints.older import is_older_name
from seqgen_cli.config.checked import Config
from seqgen_cli.config.identity import identity, name_of
from seqgen_cli.config.settings import once
from seqgen_cli.errors import RequestError


def run_name(config: Config) -> str:
    """`<data>-<model>-<output>-<objective>-<hash>`; the hash covers every setting that changes numbers and reads no data."""
    return f"{_words(config)}-{name_of(config)}"


def folder_of(config: Config, report: Callable[[str], None]) -> Path:
    """Where the run lives: the folder of its name or, where there is none, the one that it got before names were as they are.

    Args:
        report: told of an older name.
    """
    folder = config.runtime.runs_folder / run_name(config)
    if not folder.exists():
        for older in sorted(folder.parent.glob(f"{_words(config)}-" + 8 * "[0-9a-f]")):
            if is_older_name(older, config):
                report(f"This run stands under its older name, {older}.")
                return older
    return folder


def _words(config: Config) -> str:
    words = [str(config.choices.get(group) or "none") for group in ("data", "model", "output", "objective")]
    return re.sub(r"[^\w.-]", "_", "-".join(words))


def kept_config(config: Config, model: Any = None) -> dict[str, Any]:
    """What is kept of a run's config, in its folder and its checkpoints.

    Args:
        model: makes a checkpoint do without the files that the model was first made from.
    """
    values = {key: value for key, value in config.values.items() if key not in once()}
    return values if model is None else {**values, "model": {**values["model"], **getattr(model, "resolved_settings", {})}}


def claim(run: Path, config: Config) -> None:
    """Make the run's folder; write its config and, in a new one, what its name is the hash of.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        new = not run.exists()
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(kept_config(config), allow_unicode=True, sort_keys=False)
        (run / "config.yaml").write_text(text, encoding="utf-8")
        if new:
            text = json.dumps(identity(config), indent=1, ensure_ascii=False)
            (run / "identity.json").write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"The run's folder {run} cannot be written ({error.strerror}). Choose another place with runtime.runs_folder=PATH."
        ) from error
