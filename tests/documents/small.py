"""What a command of the documents is run with besides its own words: sizes and budgets that take a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqgen_cli.cli.grammar import Request, parse
from seqgen_cli.config.compose import compose, plain
from seqgen_cli.errors import SeqgenError

_MODELS = {
    "bert_gru": ["model.gru_hidden=4", "model.max_length=16"],
    "transformer": ["model.hidden_size=16", "model.ffn_size=16", "model.heads=2"],
    "transformer_lm": ["model.hidden_size=16", "model.ffn_size=16", "model.heads=2", "model.layers=1"],
}
_RECURRENT = ["model.hidden_size=16"]
_DATA = {
    "phrasebook": ["data.train_size=300", "data.valid_size=20", "data.test_size=12"],
    "mini_reviews": ["data.train_size=40", "data.valid_size=8", "data.test_size=8"],
    "iwslt_ja_en": ["data.archive={files}/ja-en.tgz", "data.expected_pairs=null", "cleaning.drop_overlap=none"],
    "imdb": ["data.archive={files}/aclImdb_v1.tar.gz", "data.limit=30"],
    "imdb_text": ["data.archive={files}/aclImdb_v1.tar.gz", "data.limit=30"],
}
_TRAINER = ["trainer.steps=2", "trainer.epochs=null", "trainer.samples=2", "trainer.tensorboard=false", "trainer.plots=false"]
_BENCH = ["bench.warmup=0", "bench.steps=1", "bench.sentences=2", "synthetic.sentences=20", "synthetic.source_vocab_size=60"]
_BENCH += ["synthetic.target_vocab_size=60"]
_LAYER = ["layer.vocab_sizes=[64,128]", "layer.positions=8", "layer.hidden_size=8", "layer.repeats=1"]


def scaled(words: Sequence[str], files: str) -> list[str]:
    """The words of a command line, and further ones.

    Args:
        files: folder of the archives that a person would download.
    """
    try:
        request = parse(list(words))
    except SeqgenError:
        return list(words)
    if request.command is None or request.help or request.cfg:
        return list(words)
    return [*words, *(word.format(files=files) for word in _more(request))]


def _more(request: Request) -> list[str]:
    cpu = ["runtime.device=cpu"]
    if request.command == "eval":
        return [*cpu, "limit=4", "metrics.bootstrap=5"]
    if request.command not in ("train", "prepare", "bench"):
        return cpu
    if any(word.startswith("continue=") for word in request.overrides):
        return [*cpu, "trainer.steps=4"]
    values, choices = _composed(request)
    data = _DATA.get(choices.get("data", ""), [])
    if request.command == "prepare":
        return [*cpu, *data]
    model = choices["model"]
    more = [*cpu, *data, *_MODELS.get(model, _RECURRENT)]
    if "vocab_size" in values.get("tokenizer", {}):
        more.append("tokenizer.vocab_size=700")
    if request.command == "bench":
        return [*more, *(_LAYER if values["layer"].get("vocab_sizes") else _BENCH)]
    more += _TRAINER + (["trainer.decode_limit=4"] if choices["metrics"] == "translation" else [])
    more += ["schedule.warmup=1"] if "warmup" in values["schedule"] else []
    return more + (["schedule.end=3"] if "end" in values["schedule"] and "~schedule.end" not in request.overrides else [])


def _composed(request: Request) -> tuple[dict[str, Any], dict[str, str]]:
    """The values and choices of the request; of a sweep's choices the first."""
    single = [
        word if word.startswith("hydra.") else word.split(",")[0] if "=[" not in word else word for word in request.overrides
    ]
    values = plain(compose(request.command or "", [word for word in single if not word.startswith("~")]))
    return dict(values), {group: str(choice) for group, choice in values["choices"].items() if choice is not None}
