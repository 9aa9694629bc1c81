"""A run's folder: named for its choices and a hash of every setting that changes numbers, with its config inside."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from seqgen_cli.config.moved import named_at_first
from seqgen_cli.errors import RequestError

COMMAND = ("continue", "dry_run", "trust", "json", "fresh")
"""Settings of `seqgen train`, not of the run."""

_MEANINGLESS = {
    "": ("runtime", "choices", *COMMAND),
    "objective": ("reward_processes",),
    "trainer": ("log_every", "samples", "tensorboard", "plots", "progress", "keep_last", "save_every"),
}
"""Settings that change no trained number: whole sections ("": top level) or keys of a section. Precision is added back."""


def run_name(values: Mapping[str, Any]) -> str:
    """`<data>-<model>-<output>-<objective>-<hash>`; the hash covers every setting that changes numbers and reads no data.

    Args:
        values: the run's config as plain data, with its `choices`.
    """
    kept = {key: value for key, value in values.items() if key not in _MEANINGLESS[""]}
    for section, names in _MEANINGLESS.items():
        if isinstance(kept.get(section), Mapping):
            kept[section] = {key: value for key, value in kept[section].items() if key not in names}
    kept["precision"] = values.get("runtime", {}).get("precision")
    text = json.dumps(named_at_first(kept), sort_keys=True, ensure_ascii=False)
    choices = values.get("choices", {})
    words = [str(choices.get(group) or "none") for group in ("data", "model", "output", "objective")]
    return re.sub(r"[^\w.-]", "_", "-".join([*words, hashlib.sha256(text.encode()).hexdigest()[:8]]))


def kept_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run's config, in its folder and its checkpoints."""
    return {key: value for key, value in values.items() if key not in COMMAND}


def claim(run: Path, values: Mapping[str, Any]) -> None:
    """Make the run's folder and write its config.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(kept_config(values), allow_unicode=True, sort_keys=False)
        (run / "config.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"The run's folder {run} cannot be written ({error.strerror}). Choose another place with runtime.runs_folder=PATH."
        ) from error
