"""Reward-augmented maximum likelihood (Norouzi et al. 2016; SPEC.md section 3): likelihood of targets drawn around the true one.

q(y'|y) ~ exp(-d(y', y) / tau), d the Hamming distance: y' is as long as y, and differs from it at e of its n words with

    P(e) ~ C(n, e) (V' - 1)^e exp(-e / tau),

all sets of e positions and all other words equally likely, V' the number of ordinary words (`<pad>`, `<unk>`, `<s>` and
`</s>` are never drawn, and `</s>` stays). d is a sum over positions, so q is a product: each word is another one with probability

    (V' - 1) exp(-1/tau) / (1 + (V' - 1) exp(-1/tau)) = sigmoid(log(V' - 1) - 1/tau),

which is how it is drawn. A true `<unk>` has V' for V' - 1: all ordinary words differ from it.

Shapes: B sentences, T target length, N predictions, V words, W ordinary words.
"""

import math
from dataclasses import replace
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.decoding.base import Specials
from seqgen_cli.layers.random import Key
from seqgen_cli.models.base import Generator
from seqgen_cli.objectives.base import Loss, Progress
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.outputs.base import OutputLayer
from seqgen_cli.runtime.devices import sum_dtype


class RewardAugmented(MaximumLikelihood):
    """Maximum likelihood of one target drawn from q at each update; the decoder reads the drawn words too.

    What is drawn depends only on (seed, update, example, position). Validation measures the true targets.

    Args:
        model, output: the networks. target_tokenizer: of the target side.
        tau: temperature of q, in words.
    """

    def __init__(self, model: Generator, output: OutputLayer, target_tokenizer: Any, tau: Annotated[float, Gt(0)]) -> None:
        super().__init__(model, output)
        self.tau = tau
        specials = Specials.of(target_tokenizer)
        self.eos = specials.eos
        self.special = sorted({specials.pad, specials.unk, specials.bos, specials.eos})

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        assert batch.targets_BT is not None and batch.inputs_BT is not None and batch.valid_N is not None
        drawn_N = self.draw(batch.targets_N, batch.examples_N, batch.positions_N, progress.key.fold("targets"))
        targets_BT = batch.targets_BT.flatten().index_copy(0, batch.valid_N, drawn_N).view(batch.targets_BT.shape)
        # An input is the target before it; what comes before the first stays.
        changed_BT = torch.where(targets_BT != batch.targets_BT, targets_BT, batch.inputs_BT.roll(-1, 1))
        inputs_BT = torch.cat([batch.inputs_BT[:, :1], changed_BT[:, :-1]], dim=1)
        loss = super().forward(replace(batch, inputs_BT=inputs_BT, targets_BT=targets_BT), progress)
        return Loss(loss.terms, {**loss.metrics, "changed": (drawn_N != batch.targets_N).sum()})

    def draw(self, target_N: Tensor, example_N: Tensor, position_N: Tensor, key: Key) -> Tensor:
        """Words drawn around the true ones: (N,) -> (N,)."""
        special_X = torch.tensor(self.special, device=target_N.device)
        ordinary_V = torch.ones(self.output.vocab_size, dtype=torch.int64, device=target_N.device).index_fill(0, special_X, 0)
        words = self.output.vocab_size - len(self.special)
        word_W = ordinary_V.argsort(descending=True, stable=True)[:words]
        is_ordinary_N = ordinary_V[target_N] > 0
        others_N = words - is_ordinary_N.long()
        chances = [self._chance(words), self._chance(words - 1)]  # of changing one that is not ordinary, and one that is
        chance_N = torch.tensor(chances, dtype=sum_dtype(target_N.device), device=target_N.device)[is_ordinary_N.long()]
        changes_N = (key.uniform(example_N, position_N) < chance_N) & (target_N != self.eos) & (others_N > 0)
        # The number of another ordinary word, passing over the true one.
        place_N = (key.fold("word").uniform(example_N, position_N) * others_N).long()
        place_N = torch.minimum(place_N, others_N - 1)  # the product may be rounded up
        own_N = ordinary_V.cumsum(0)[target_N] - 1
        place_N = place_N + (is_ordinary_N & (place_N >= own_N))
        return torch.where(changes_N, word_W[place_N.clamp(0, max(0, words - 1))], target_N)

    def _chance(self, others: int) -> float:
        """others exp(-1/tau) / (1 + others exp(-1/tau)), by powers of e below 1."""
        if others < 1:
            return 0.0
        log_odds = math.log(others) - 1 / self.tau
        return 1 / (1 + math.exp(-log_odds)) if log_odds > 0 else math.exp(log_odds) / (1 + math.exp(log_odds))
