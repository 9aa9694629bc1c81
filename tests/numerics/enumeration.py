"""Every output of a tiny model, with its probability and its gradient: the truth that estimators are compared with.

Log-probabilities come from one teacher-forced pass over all outputs and the whole log-distribution, never from the code that
draws and scores samples.

Shapes: S outputs, T longest, P parameters, B sentences, K columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqgen_cli.config.signatures import arguments
from seqgen_cli.data.batch import Batch
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives import trials
from seqgen_cli.objectives.base import Progress
from seqgen_cli.objectives.baselines import Baseline
from seqgen_cli.objectives.handovers import Constant
from seqgen_cli.objectives.reinforce import Reinforce
from seqgen_cli.objectives.rollouts import Rollouts
from tests.helpers import make_choice

SHAPES: dict[str, dict[str, Any]] = {
    "rnn": {"embedding_size": 3, "hidden_size": 4, "layers": 1},
    "attention": {"embedding_size": 3, "hidden_size": 4, "layers": 1},
    "transformer": {"hidden_size": 4, "ffn_size": 5, "heads": 2, "encoder_layers": 1, "decoder_layers": 1},
}
PAD, UNK, BOS, EOS = 1, 0, 1, 2
SOURCE, REFERENCE = [3, 4, 3], [3]
GREEDY = 3  # the number of some output, to play the greedy one


class Numbers:
    """A tokenizer whose text is the ids."""

    pad, unk, bos, eos = PAD, UNK, BOS, EOS

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(map(str, row)) for row in rows]


def earned(words: Sequence[int]) -> float:
    """What an output earns: its words' own number in [0, 1); nothing without words."""
    kept = [word for word in words if word not in (PAD, BOS, EOS)]
    return Key.of("reward", *kept).state % 1000 / 1000 if kept else 0.0


@dataclass(frozen=True)
class Table:
    """The reward `earned`, of texts."""

    def __call__(self, hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
        return [earned([int(word) for word in text.split()]) for text in hypotheses]


class World:
    """A model in float64 over `vocab_size` words, and all its outputs of at most `longest` words."""

    def __init__(
        self,
        choice: str,
        output: str = "softmax",
        vocab_size: int = 4,
        longest: int = 3,
        seed: int = 1,
        settings: dict[str, Any] | None = None,
    ) -> None:
        torch.manual_seed(seed)
        sizes = {"source_vocab_size": 5, "target_vocab_size": vocab_size}
        shape = {**SHAPES[choice], "dropout": 0.0, **({"attention_dropout": 0.0} if choice == "transformer" else {})}
        self.model = make_choice("model", choice, shape, **sizes).double()
        passed = {"hidden_size": self.model.hidden_size, "vocab_size": vocab_size, "counts_V": torch.arange(vocab_size) + 1}
        self.output = make_choice("output", output, settings, **passed).double()
        self.networks = nn.ModuleList([self.model, self.output])
        self.parameters = list(self.networks.parameters())
        with torch.no_grad():
            for parameter in self.parameters:  # far from the even distribution of fresh weights
                parameter.copy_(0.8 * torch.randn_like(parameter))
        self.longest = longest
        words = [word for word in range(vocab_size) if word != EOS]
        self.outputs = [(*front, EOS) for size in range(longest) for front in itertools.product(words, repeat=size)]
        self.outputs += list(itertools.product(words, repeat=longest))

    def batch(self, outputs: Sequence[Sequence[int]]) -> Batch:
        """The same source with each of these as a target, as they are."""
        lengths_B = torch.tensor([len(output) for output in outputs])
        width = int(lengths_B.max())
        targets_BT = torch.tensor([[*output, *[PAD] * (width - len(output))] for output in outputs])
        count = len(outputs)
        inputs_BT = torch.cat([torch.full((count, 1), BOS), targets_BT[:, :-1]], dim=1)
        valid_N = (torch.arange(width) < lengths_B[:, None]).flatten().nonzero().squeeze(1)
        source = torch.tensor([[*SOURCE, EOS]]).expand(count, -1).contiguous(), torch.full((count,), len(SOURCE) + 1)
        return Batch(torch.arange(count), *source, inputs_BT, targets_BT, lengths_B, valid_N)

    def references(self, count: int) -> Batch:
        """The source `count` times, with its reference."""
        return self.batch([[*REFERENCE, EOS]] * count)

    def log_p(self) -> Tensor:
        """log p of each word of each output, 0 after the last: (S, T)."""
        batch = self.batch(self.outputs)
        log_p_N = self.output.log_probs(self.model.hidden_states(batch)).gather(1, batch.targets_N[:, None]).squeeze(1)
        assert batch.targets_BT is not None and batch.valid_N is not None
        return log_p_N.new_zeros(batch.targets_BT.numel()).index_copy(0, batch.valid_N, log_p_N).view(batch.targets_BT.shape)

    def gradient(self, value: Tensor) -> Tensor:
        """d value / d parameters, (P,); the graph stays."""
        found = torch.autograd.grad(value, self.parameters, retain_graph=True, allow_unused=True)
        pairs = zip(found, self.parameters, strict=True)
        return torch.cat([torch.zeros_like(own).flatten() if each is None else each.to_dense().flatten() for each, own in pairs])

    def rewards(self) -> Tensor:
        """G of each output: (S,)."""
        return torch.tensor([earned(output) for output in self.outputs], dtype=torch.float64)

    def scores(self) -> Tensor:
        """d log p of each word of each output: (S, T, P)."""
        log_p_ST = self.log_p()
        rows = [
            torch.stack([self.gradient(log_p_ST[row, place]) for place in range(log_p_ST.shape[1])])
            for row in range(len(log_p_ST))
        ]
        return torch.stack(rows)


def progress(update: int = 0, **metrics: float) -> Progress:
    return Progress(update, Key.of(7, update), metrics)


def limits(world: World) -> dict[str, Any]:
    """Settings that end a sample at the world's longest output."""
    return {"max_length_factor": 0.0, "max_length_offset": world.longest}


def forced(monkeypatch: pytest.MonkeyPatch, world: World, columns: Sequence[Sequence[int]]) -> None:
    """Let the model draw these outputs (by their number) for each sentence, whatever their probability."""
    rows = [[world.outputs[number] for number in sentence] for sentence in columns]
    width = world.longest
    ids_BKT = torch.tensor([[[*output, *[PAD] * (width - len(output))] for output in row] for row in rows])
    lengths_BK = torch.tensor([[len(output) for output in row] for row in rows])

    def draw(network: Any, memory: Any, batch: Batch, *rest: Any) -> Rollouts:
        return Rollouts(ids_BKT, lengths_BK, torch.zeros_like(lengths_BK[:, 0]))

    monkeypatch.setattr(trials, "draw", draw)


def numbered(batch: Batch, first: int) -> Batch:
    """The same batch with example indices from `first` on."""
    return replace(batch, index_B=batch.index_B + first)


def reinforce(world: World, baseline: Baseline, handover: Any = None, **settings: Any) -> Reinforce:
    given = arguments(Reinforce, {"samples": 1, **limits(world), **settings})
    return Reinforce(world.model, world.output, Numbers(), Table(), baseline, handover or Constant(), **given).double()


def estimate(world: World, objective: Reinforce, batch: Any, **metrics: float) -> Tensor:
    """The gradient of J that the objective estimates, (P,)."""
    return -world.gradient(objective(batch, progress(0, **metrics)).terms["sequences"]) / len(batch)
