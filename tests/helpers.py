"""What several tests share: the choices found on disk, a choice built small, and random batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from seqgen_cli.config.groups import PASSED, resolve
from seqgen_cli.config.parts import Part
from seqgen_cli.config.signatures import check_settings
from seqgen_cli.data.batch import Batch, make_batch, pad

CONFIGS = Path(__file__).parents[1] / "configs"

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""The special ids of random batches; ordinary words start at 4."""


def choices(group: str) -> list[str]:
    """The names of every YAML of a config group, sorted."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def generators() -> list[str]:
    """The choices of model that generate; those that classify have laws of their own."""
    return [choice for choice in choices("model") if choice != "bert_gru"]


def fits(model: str, output: str, objective: str) -> bool:
    """Whether these choices may be one run's: classifiers know maximum likelihood alone, and what has no source no rewards."""
    if model == "bert_gru":
        return objective == "mle"
    return output != "sigmoid" and not (model.endswith("_lm") and objective in ("reinforce", "minimum_risk"))


def settings(group: str, choice: str) -> dict[str, Any]:
    """The keys and values of configs/<group>/<choice>.yaml, `_target_` included."""
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{choice}.yaml"), resolve=False)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items() if key != "defaults"}


def make_choice(group: str, choice: str, overrides: dict[str, Any] | None = None, **passed: Any) -> Any:
    """The object a YAML describes, with some of its keys overridden; of `passed`, what it declares."""
    node = {**settings(group, choice), **(overrides or {})}
    cls = resolve(node, group)
    own = {key: value for key, value in node.items() if key != "_target_"}
    values = check_settings(cls, own, group, choice, [*PASSED.get(group, ()), *passed])
    return Part(group, choice, cls, values)(**passed)


def random_batch(
    seed: int = 0,
    batch_size: int = 5,
    source_vocab_size: int = 11,
    target_vocab_size: int = 13,
    max_source_length: int = 8,
    max_target_length: int = 7,
) -> Batch:
    """Ragged random sentences of 1 .. max length ids (`</s>` included); the first row has both full lengths."""
    random = np.random.default_rng(seed)

    def sentences(max_length: int, vocab_size: int) -> list[np.ndarray]:
        lengths = random.integers(0, max_length, size=batch_size)
        lengths[0] = max_length - 1
        return [random.integers(EOS + 1, vocab_size, size=length) for length in lengths]

    return make_batch(
        np.arange(batch_size) + 100,
        sentences(max_source_length, source_vocab_size),
        sentences(max_target_length, target_vocab_size),
        source_pad=PAD,
        target_pad=PAD,
        bos=BOS,
        eos=EOS,
        source_eos=EOS,
    )


def random_texts(seed: int = 0, batch_size: int = 5, vocab_size: int = 11, max_length: int = 8, classes: int = 2) -> Batch:
    """Ragged random texts of 2 .. max_length ids with a class each; the first row has the full length."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, max_length + 1, size=batch_size)
    lengths[0] = max_length
    source_BS, lengths_B = pad([random.integers(EOS + 1, vocab_size, size=length) for length in lengths], PAD)
    labels_B = torch.from_numpy(random.integers(classes, size=batch_size))
    return Batch(torch.arange(batch_size) + 100, source_BS, lengths_B, labels_B=labels_B)
