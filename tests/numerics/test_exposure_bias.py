"""The exposure-bias recipe against a loop over sentences and positions, each prefix read anew; its bootstrap; its files."""

from __future__ import annotations

import importlib.util
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from seqgen_cli.config import build
from seqgen_cli.data.batch import make_batch
from seqgen_cli.layers.random import Key
from tests.helpers import BOS, EOS, PAD, UNK, make_choice, settings

PLACE = Path(__file__).parents[2] / "recipes" / "objectives" / "exposure_bias.py"
WORDS = 9


@pytest.fixture(scope="module")
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("exposure_bias", PLACE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["exposure_bias"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Digits:
    """A tokenizer of lines of digits."""

    pad, unk, bos, eos, vocab_size = PAD, UNK, BOS, EOS, WORDS

    def encode(self, lines: list[str]) -> list[np.ndarray]:
        return [np.array([int(word) for word in line.split()], dtype=np.int64) for line in lines]


def translator(model: str, seed: int) -> Any:
    torch.manual_seed(seed)
    small = {
        "embedding_size": 6,
        "hidden_size": 8,
        "ffn_size": 12,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "layers": 1,
    }
    small = {key: value for key, value in small.items() if key in settings("model", model)}
    network = make_choice("model", model, small, source_vocab_size=WORDS, target_vocab_size=WORDS).double().eval()
    output = build.output_layer("softmax", hidden_size=8, vocab_size=WORDS).double()
    with torch.no_grad():
        for parameter in [*network.parameters(), *output.parameters()]:
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    return SimpleNamespace(
        networks=[(network, output)],
        source_tokenizer=Digits(),
        target_tokenizer=Digits(),
        runtime=SimpleNamespace(device="cpu", autocast=nullcontext),
        evaluating=nullcontext,
    )


SOURCES = ["4 5 6", "8", "7 7 4 5", "5 4"]
TARGETS = ["5 5", "4 6 7 8 4 1", "8", "6 6 6"]


def by_hand(opened: Any, source: str, target: str, line: int, own: str, sample: int) -> list[tuple[bool, float, bool, float]]:
    """(hit, nll) after the true and after the own prefix, at each position."""
    (model, output), digits = opened.networks[0], opened.target_tokenizer
    words, rows, prefix = [*digits.encode([target])[0].tolist(), EOS], [], []
    for place, word in enumerate(words):
        found: list[Any] = []
        for before in (words[:place], prefix):
            one = make_batch(
                [0], digits.encode([source]), [np.array(before, dtype=np.int64)],
                source_pad=PAD, target_pad=PAD, bos=BOS, eos=EOS, source_eos=EOS,
            )  # fmt: skip
            log_p_V = output.log_probs(model.hidden_states(one)[-1:])[0].detach()
            found += [int(log_p_V.argmax()) == word, -float(log_p_V[word])]
        rows.append(tuple(found))
        allowed = [each for each in range(WORDS) if each not in (PAD, UNK, BOS, EOS)]
        if own == "greedy":
            prefix.append(max(allowed, key=lambda each, log_p_V=log_p_V: float(log_p_V[each])))
        else:
            left = Key.of(3, "own prefix").uniform(*map(torch.tensor, (line, place, sample))).item()
            cumulative = log_p_V[allowed].softmax(-1).cumsum(-1)
            prefix.append(allowed[int((cumulative < left).sum())])
    return rows


@pytest.mark.parametrize(("own", "samples"), [("greedy", 1), ("sampled", 3)])
@pytest.mark.parametrize("model", ["attention", "transformer"])
def test_every_figure_is_that_of_a_plain_loop(recipe: Any, model: str, own: str, samples: int) -> None:
    opened = translator(model, 4)
    measured = recipe.measure(opened, SOURCES, TARGETS, own, samples, 3)
    names = ("true_correct", "true_nll", "own_correct", "own_nll")
    for line, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        runs = [by_hand(opened, source, target, line, own, sample) for sample in range(samples)]
        expected = np.mean(np.array(runs, dtype=np.float64), axis=0)
        length = len(expected)
        assert measured.count_LT[line].tolist() == [1.0] * length + [0.0] * (7 - length)
        for column, name in enumerate(names):
            assert measured.sums[name][line, :length] == pytest.approx(expected[:, column], rel=1e-9, abs=1e-12)
            assert not measured.sums[name][line, length:].any()


def test_groups_and_intervals(recipe: Any) -> None:
    random = np.random.default_rng(1)
    lengths = random.integers(1, 31, size=300)
    count_LT = (np.arange(30) < lengths[:, None]).astype(float)

    def model(accuracy: float) -> Any:
        sums = {name: count_LT * (random.random(count_LT.shape) < 0.8) for name in recipe.FIGURES}
        sums["own_correct"] = count_LT * (random.random(count_LT.shape) < accuracy)
        return recipe.Measured(count_LT, sums)

    measured = {"first": model(0.5), "second": model(0.7)}
    figures = recipe.figures_of(measured)
    assert figures["positions"] == ["1", "2", "3-4", "5-8", "9-12", "13-16", "17-24", "25+", "all"]
    assert figures["words"][2] == int(count_LT[:, 2:4].sum()) and figures["words"][-1] == int(count_LT.sum())
    own = figures["models"]["second"]["groups"]["own_accuracy"]
    assert own[3]["value"] == measured["second"].sums["own_correct"][:, 4:8].sum() / count_LT[:, 4:8].sum()
    # For a mean over so many independent words the percentile interval is about 1.96 standard errors each way.
    for each, words in zip(own, figures["words"], strict=True):
        half = (each["high"] - each["low"]) / 2
        assert half == pytest.approx(1.96 * (each["value"] * (1 - each["value"]) / words) ** 0.5, rel=0.25)
    less = figures["models"]["second"]["groups"]["less_lost_accuracy"][-1]
    lost = [figures["models"][name]["groups"]["lost_accuracy"][-1]["value"] for name in measured]
    assert less["value"] == pytest.approx(lost[0] - lost[1]) and 0.1 < less["low"] < less["value"] < less["high"] < 0.3
    assert "less_lost_nll" not in figures["models"]["first"]["groups"]


def test_its_files(recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dev.ja").write_text("\n".join([*SOURCES, "4", ""]) + "\n")
    (tmp_path / "dev.en").write_text("\n".join([*TARGETS, "", "5"]) + "\n")
    opened = {"a": translator("attention", 1), "b": translator("attention", 2)}
    words = ["--source", str(tmp_path / "dev.ja"), "--target", str(tmp_path / "dev.en"), "--out", str(tmp_path / "out")]
    recipe.main([*words, "x=a", "y=b"], lambda place, device: opened[place])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"exposure_bias.{end}" for end in ("json", "md", "png")]
    figures = json.loads((tmp_path / "out" / "exposure_bias.json").read_text())
    assert figures["sentences"] == 4 and list(figures["models"]) == ["x", "y"]
    text = (tmp_path / "out" / "exposure_bias.md").read_text()
    assert text in capsys.readouterr().out
    assert text.count("| x |") == text.count("| y |") == 2 * (len(figures["positions"]))
    with pytest.raises(SystemExit):
        recipe.main([*words, "a"], lambda place, device: opened[place])
    (tmp_path / "dev.en").write_text("5\n")
    with pytest.raises(SystemExit, match=r"dev.ja has 6 lines and .*dev.en 1"):
        recipe.main([*words, "x=a"], lambda place, device: opened[place])
