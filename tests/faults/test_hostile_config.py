"""A checkpoint is data from a stranger: what its config and weights may and may not ask for."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from seqgen_cli.checkpoints.restored import from_checkpoint
from seqgen_cli.checkpoints.untrusted import read_config
from seqgen_cli.checkpoints.weights import SkipRandomInit, load_weights, network_weights
from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.tokenizers.pair import save_pair
from seqgen_cli.data.tokenizers.sentencepiece import SentencePiece, Tokenizer
from seqgen_cli.errors import RequestError, SeqgenError
from tests.helpers import random_batch


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    lines = [f"word{a} word{b} thing{a * b}" for a in range(20) for b in range(20)]
    return Tokenizer(SentencePiece(vocab_size=50).train("joint", lines)[0])


@pytest.fixture
def checkpoint(tmp_path, tokenizer: Tokenizer) -> Path:
    """A small tied Transformer's checkpoint, without its manifest."""
    config = config_of("train", ["model=transformer", "model.hidden_size=8", "output.tied=true"])
    torch.manual_seed(0)
    model, output = build.network(config, tokenizer.vocab_size, tokenizer.vocab_size)
    (tmp_path / "tokenizers").mkdir()
    save_pair(tmp_path / "tokenizers", tokenizer, tokenizer)
    save_file(network_weights(model, output), tmp_path / "model.safetensors")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.values), encoding="utf-8")
    return tmp_path


def change(checkpoint: Path, *keys: str, value: Any) -> None:
    """Set one value in the checkpoint's config."""
    values = yaml.safe_load((checkpoint / "config.yaml").read_text())
    node = values
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    (checkpoint / "config.yaml").write_text(yaml.safe_dump(values))


def test_a_checkpoint_restores_the_very_networks(checkpoint: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    restored = from_checkpoint(checkpoint)
    assert torch.equal(torch.get_rng_state(), state), "restoring draws no random number"
    torch.manual_seed(0)
    model, output = build.network(restored.config, tokenizer.vocab_size, tokenizer.vocab_size)
    expected, found = (nn.ModuleList(pair).state_dict() for pair in ((model, output), (restored.model, restored.output)))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert restored.output.weight is restored.model.embedding.weight, "still tied"
    assert not restored.model.training and restored.source_tokenizer is restored.target_tokenizer
    batch = random_batch()
    with torch.no_grad():
        assert torch.equal(restored.model.hidden_states(batch), model.eval().hidden_states(batch))


HOSTILE = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "seqgen_cli.models",  # a package, no class
    "seqgen_cli.models.transformer.nn.Linear",  # reached through a module of ours, defined elsewhere
    "seqgen_cli.models.transformer.Tensor",
    "seqgen_cli.data.prepare.store.Path.unlink",
    "seqgen_cli.models.transformer.Transformer.forward",
    "seqgen_cli.models.transformer.__builtins__",
    "seqgen_cli.modelsx.Evil",
    "seqgen_cli.outputs.softmax.Softmax",  # ours, but of another group
    "seqgen_cli.models.transformer",
    "seqgen_cli.models.base.Model ",
    "..models.transformer.Transformer",
    "hostile_package.Model",
    ["seqgen_cli.models.transformer.Transformer"],
    None,
]


@pytest.mark.parametrize("target", HOSTILE, ids=str)
def test_a_target_must_be_a_class_of_its_groups_own_package(checkpoint: Path, target: Any, tmp_path, monkeypatch) -> None:
    ran = checkpoint / "ran"
    (checkpoint / "hostile_package.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\n")
    monkeypatch.syspath_prepend(checkpoint)
    change(checkpoint, "model", "_target_", value=target)
    with pytest.raises(RequestError) as caught:
        from_checkpoint(checkpoint)
    assert "model._target_=" in str(caught.value)
    assert not ran.exists() and "hostile_package" not in sys.modules, "a stranger's module is not even imported"


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("data", "seqgen_cli.data.prepare.store.Path"),  # a class in a module of ours, defined elsewhere
        ("data", "seqgen_cli.data.prepare.store.TextWriter"),  # ours, of that package, but no corpus: it would write files
        ("data", "seqgen_cli.data.prepare.cleaning.StandardCleaning"),
        ("cleaning", "seqgen_cli.data.corpora.text.TextCorpus"),
        ("runtime", "seqgen_cli.runtime.process.Path"),
        ("trainer", "seqgen_cli.training.trainer.Watch"),
        ("optimizer", "seqgen_cli.training.trainer.Trainer"),
        ("metrics", "seqgen_cli.metrics.base.Figure"),
        ("nothing", "seqgen_cli.models.transformer.Transformer"),
    ],
)
def test_every_part_must_be_of_its_group(checkpoint: Path, group: str, target: str) -> None:
    change(checkpoint, group, value={"_target_": target})
    with pytest.raises(RequestError, match=f"{group}._target_={target} is not a choice of {group}"):
        from_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "os.system"}, "objective.decay._target_=os.system is not a choice of objective/decay in seqgen"),
        ({"_target_": "seqgen_cli.objectives.base.Loss"}, "is not a choice of objective/decay: it lacks __call__"),
        ({"_target_": "seqgen_cli.objectives.decays.math.log"}, "objective.decay._target_=seqgen_cli.objectives.decays.math.log"),
        ({"_target_": "seqgen_cli.objectives.decays.Constant", "value": {"_target_": "os.system"}}, "where none belongs"),
        ([{"_target_": "seqgen_cli.objectives.decays.Constant", "value": 1}], "where none belongs"),
    ],
)
def test_what_a_choice_chooses_in_turn_must_be_of_its_group(checkpoint: Path, node: Any, message: str) -> None:
    decay = {"_target_": "seqgen_cli.objectives.decays.Constant", "value": 1}
    change(checkpoint, "objective", "decay", value=decay)
    assert read_config(checkpoint / "config.yaml")["objective"]["decay"] == decay
    change(checkpoint, "objective", "decay", value=node)
    with pytest.raises(RequestError) as caught:
        from_checkpoint(checkpoint)
    assert message in str(caught.value)


def test_a_users_package_needs_their_word(checkpoint: Path, monkeypatch) -> None:
    (checkpoint / "trusted_choices.py").write_text(
        "from seqgen_cli.models.transformer import Transformer\nclass Mine(Transformer):\n    pass\n"
    )
    monkeypatch.syspath_prepend(checkpoint)
    change(checkpoint, "model", "_target_", value="trusted_choices.Mine")
    with pytest.raises(RequestError, match=r"If you trust the package that defines it, say trust=\[trusted_choices\]"):
        from_checkpoint(checkpoint)
    with pytest.raises(RequestError):
        from_checkpoint(checkpoint, trust=["trusted"])
    assert "trusted_choices" not in sys.modules
    assert type(from_checkpoint(checkpoint, trust=["trusted_choices"]).model).__name__ == "Mine"
    sys.modules.pop("trusted_choices")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("model", "dropout"), "${oc.env:HOME}"),
        (("data", "corpus_seed"), "${oc.env:SECRET}"),
        (("seed",), "${now:%Y}"),
        (("metrics", "${x}"), 3),
        (("data", "list"), ["a", {"b": "x${seed}"}]),
    ],
)
def test_interpolations_are_refused(checkpoint: Path, keys: tuple[str, ...], value: Any) -> None:
    change(checkpoint, *keys, value=value)
    with pytest.raises(RequestError, match="interpolation"):
        from_checkpoint(checkpoint)


@pytest.mark.parametrize("keys", [("model", "layers"), ("extra",), ("_target_",), ("model", "inner")])
def test_nested_and_stray_targets_are_refused(checkpoint: Path, keys: tuple[str, ...]) -> None:
    change(checkpoint, *keys, value="x" if keys == ("_target_",) else {"deep": [{"_target_": "os.system"}]})
    with pytest.raises(RequestError, match="_target_"):
        from_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.system [touch ran]", "is not plain YAML"),
        ("a: &a [1]\nb: *a\n", "it uses aliases"),
        ("a: [", "is not plain YAML"),
        ("- a\n", "it names no model and output"),
        ("model: x\noutput: y\n", "it names no model and output"),
        ("[" * 5000, "is not plain YAML"),
        ("# " + "x" * (2 << 20), "too large"),
    ],
)
def test_other_files_are_no_config(tmp_path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(SeqgenError, match=message):
        read_config(tmp_path / "config.yaml")


def test_settings_of_a_stranger_are_checked_like_anyones(checkpoint: Path) -> None:
    change(checkpoint, "model", "hidden_size", value=-5)
    with pytest.raises(RequestError, match=r"model.hidden_size is -5; it must be int, 2 or more"):
        from_checkpoint(checkpoint)


def test_a_pickle_in_place_of_weights_is_never_opened(checkpoint: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(checkpoint / "ran"), "w"))

    stream = io.BytesIO()
    torch.save({"model.x": Evil()}, stream)
    for content in (pickle.dumps(Evil()), stream.getvalue(), b"", b"\xff" * 100):
        (checkpoint / "model.safetensors").write_bytes(content)
        with pytest.raises(SeqgenError, match="is not a safetensors file, or is damaged"):
            from_checkpoint(checkpoint)
    assert not (checkpoint / "ran").exists()


def test_weights_that_do_not_fit_are_named(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    whole = load_file(path)
    name = next(name for name in whole if "embedding" not in name)
    cases = [
        ({key: value for key, value in whole.items() if key != name}, f"no {name}"),
        ({**whole, "model.extra": torch.zeros(1)}, "an unknown model.extra"),
        ({**whole, name: torch.zeros(1, 2, 3)}, f"{name} of shape (1, 2, 3) where {tuple(whole[name].shape)} is needed"),
    ]
    for weights, message in cases:
        save_file(weights, path)
        with pytest.raises(SeqgenError) as caught:
            from_checkpoint(checkpoint)
        assert message in str(caught.value)


def test_skipping_the_random_initialisation_skips_it_everywhere() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with SkipRandomInit():
        layers = [nn.Linear(3, 4), nn.Embedding(5, 6), nn.LSTM(3, 4), nn.MultiheadAttention(4, 2), nn.Conv1d(2, 3, 1)]
        nn.init.trunc_normal_(layers[0].weight)
        nn.init.xavier_normal_(layers[0].weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(nn.LayerNorm(3).weight, torch.ones(3))


def test_a_buffer_counts_as_weights() -> None:
    class WithBuffer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("counts_V", torch.zeros(3))

    network = WithBuffer()
    load_weights({"output": network}, {"output.counts_V": torch.tensor([1.0, 2, 3])}, "here")
    assert network.counts_V.tolist() == [1, 2, 3]
    with pytest.raises(SeqgenError, match=r"they hold no output\.counts_V\."):
        load_weights({"output": network}, {}, "here")
