"""Scheduled sampling (Bengio et al. 2015; SPEC.md section 3): the decoder learns to go on from its own words.

At update i the input y_t is the true word with probability eps_i = decay(i), else the word that the model itself predicts there,
given the inputs before it, mixed in the same way. The inputs are settled first; then one pass over them is trained by maximum
likelihood of the true words. `<s>` and the context of a block, which nothing predicts, are never replaced.

What an own word is (`mixing`), w ranging over all words but `<pad>` and `<s>`, p tempered to p^(1/temperature):

    argmax      argmax_w p(w)                                    (Bengio et al. 2015)
    sampled     w ~ p                                            (Bengio et al. 2015)
    gumbel      straight-through Gumbel-softmax: argmax_w (log p(w) + g_w), a draw from p at temperature 1, whose gradient is that
                of softmax((log p + g) / temperature)            (Jang et al. 2017; Goyal et al. 2017)
    expected    sum_w p(w) e_w, the expected embedding           (Goyal et al. 2017)

The first two choose; nothing passes through a choice, so the inputs are settled without gradient and are constants of the
trained pass, as in the paper. The last two are functions of the weights: their gradient is that of what is computed, through
every prediction that an input comes from, back to the first position (step by step) or the first pass (`passes`), and takes the
time and memory of positions x V at the replaced ones. Cutting it off would leave of `gumbel` nothing but `sampled`.

How the inputs are settled (`passes`): step by step, each prediction reading the mixed inputs before it; or by whole passes, the
first over the true words, each further one over the inputs mixed from the one before (Mihaylova and Martins 2019; Duckworth et
al. 2019). p passes give the first p replaced words of a row what stepping gives them, so as many passes as words are the same.

Which inputs are replaced, and what is drawn, depends only on (seed, update, example, position). Own words are predicted with
the dropout of training, by masks of their own.

Shapes: B sentences, T target length, N predictions, M replaced inputs, E embedding, D hidden, V words.
"""

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.decoding.base import Specials
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.random import Key
from seqgen_cli.layers.rows import make_dense, places
from seqgen_cli.models.base import Generator, Selectable, valid_rows
from seqgen_cli.objectives.base import Decay, Loss, Progress
from seqgen_cli.objectives.mle import MaximumLikelihood
from seqgen_cli.outputs.base import Draw, OutputLayer, banned, single
from seqgen_cli.runtime.meters import section

Mixing = Literal["argmax", "sampled", "gumbel", "expected"]


class ScheduledSampling(MaximumLikelihood):
    """Maximum likelihood of the true words after inputs some of which are the model's own.

    Where eps is 1 this is `mle`, to the last bit and at its speed.

    Args:
        model, output: the networks. target_tokenizer: of the target side.
        decay: eps, the probability that an input is the true word.
        per: whether each token or each sequence as a whole is true or the model's own.
        mixing: what the model's own word is. temperature: of its distribution; argmax has none.
        passes: how many whole passes settle the inputs; stepwise: one position after another; auto: as the model reads.

    Raises:
        RequestError: a temperature with argmax.
    """

    def __init__(
        self,
        model: Generator,
        output: OutputLayer,
        target_tokenizer: Any,
        decay: Decay,
        per: Literal["token", "sequence"],
        mixing: Mixing,
        temperature: Annotated[float, Gt(0)],
        passes: Annotated[int, Ge(1)] | Literal["auto", "stepwise"],
    ) -> None:
        super().__init__(model, output)
        if mixing == "argmax" and temperature != 1:
            raise RequestError(
                f"objective.temperature={temperature:g} changes no argmax. "
                "Use objective.mixing=sampled, gumbel or expected, or leave it at 1."
            )
        self.model: Generator = model
        self.decay, self.per, self.mixing, self.temperature = decay, per, mixing, temperature
        self.passes = 1 if passes == "auto" else passes
        if passes == "auto" and getattr(model, "recurrent", False):
            self.passes = "stepwise"
        self.soft = mixing in ("gumbel", "expected")
        if self.soft and make_dense(output):
            output.dense_because = f"objective.mixing={mixing} learns from every word's probability"
        specials = Specials.of(target_tokenizer)
        self.never = sorted({specials.pad, specials.bos} - {specials.eos})  # a tokenizer without <pad> fills with </s>

    def forward(self, batch: Batch, progress: Progress) -> Loss:
        eps = self.decay(progress.update)
        if eps == 1.0:
            loss, replaced = super().forward(batch, progress), torch.zeros((), device=batch.index_B.device)
        else:
            place_M = self._replaced(batch, eps, progress.key)
            replaced = torch.full_like(place_M, 1).sum()
            hidden_BTD = self._read_mixed(batch, place_M, progress.key.fold("own words"))
            loss = self.loss_of(valid_rows(hidden_BTD, batch), batch, progress)
        target_N = batch.targets_N
        return Loss(loss.terms, {**loss.metrics, "eps": eps * torch.full_like(target_N, 1).sum(), "replaced": replaced})

    def _replaced(self, batch: Batch, eps: float, key: Key) -> Tensor:
        """Flat indices into B x T of the inputs to replace, rising: (M,)."""
        assert batch.valid_N is not None and batch.targets_BT is not None and batch.target_lengths_B is not None
        width = batch.targets_BT.shape[1]
        example_N, position_N = batch.examples_N, batch.positions_N
        counters = (example_N, position_N) if self.per == "token" else (example_N,)
        own_N = key.fold("replace inputs").uniform(*counters) >= eps
        is_input_N = position_N + 1 < batch.target_lengths_B[batch.valid_N // width]  # </s> is predicted, and read by none
        return batch.valid_N[places(own_N & is_input_N)] + 1

    def _read_mixed(self, batch: Batch, place_M: Tensor, key: Key) -> Tensor:
        """Hidden vectors (B, T, D) after inputs of which those at `place_M` are the model's own words."""
        assert batch.inputs_BT is not None
        memory = self.model.encode(batch)
        settle = self._step_by_step if self.passes == "stepwise" else self._by_passes
        if self.soft:
            with section("sampling"):
                inputs = settle(self.model.embed(batch.inputs_BT), batch, memory, place_M, key)
        else:
            with section("sampling"), torch.no_grad():
                inputs = settle(batch.inputs_BT, batch, memory, place_M, key)
            # Autocast of older versions of torch hands out weights that it converted without gradient ever after.
            torch.clear_autocast_cache()
        return self._decode(inputs, memory)[0]

    def _by_passes(self, inputs: Tensor, batch: Batch, memory: Selectable, place_M: Tensor, key: Key) -> Tensor:
        """The mixed inputs: ids (B, T), or, where the mixing is soft, embeddings (B, T, E), as given."""
        mixed = inputs
        for _ in range(int(self.passes) if len(place_M) else 0):
            hidden_BTD, _ = self._decode(mixed, memory)
            own_M = self._own(hidden_BTD.flatten(0, 1).index_select(0, place_M - 1), batch, place_M, key)
            mixed = inputs.flatten(0, 1).index_copy(0, place_M, own_M.to(inputs.dtype)).view(inputs.shape)
        return mixed

    def _step_by_step(self, inputs: Tensor, batch: Batch, memory: Selectable, place_M: Tensor, key: Key) -> Tensor:
        """The same as `_by_passes`; what stands between replaced inputs is read at once."""
        width = inputs.shape[1]
        pieces, state, start, column = [], None, 0, inputs[:, :1]
        for place, place_R in _columns(place_M, width):
            pieces.append(torch.cat([column, inputs[:, start + 1 : place]], dim=1))
            hidden_BtD, state = self._decode(pieces[-1], memory, state)
            row_R = place_R // width
            own_R = self._own(hidden_BtD[:, -1].index_select(0, row_R), batch, place_R, key)
            column = inputs[:, place].index_copy(0, row_R, own_R.to(inputs.dtype))[:, None]
            start = place
        return torch.cat([*pieces, column, inputs[:, start + 1 :]], dim=1)

    def _decode(self, inputs: Tensor, memory: Selectable, state: Selectable | None = None) -> tuple[Tensor, Selectable]:
        return self.model.decode(inputs if self.soft else self.model.embed(inputs), memory, state)

    def _own(self, hidden_MD: Tensor, batch: Batch, place_M: Tensor, key: Key) -> Tensor:
        """The model's own words at these inputs, from the hidden vectors before them: ids (M,), or embeddings (M, E)."""
        assert batch.inputs_BT is not None
        never_MX = torch.tensor(self.never, device=place_M.device).expand(len(place_M), -1)
        example_M, position_M = batch.index_B[place_M // batch.inputs_BT.shape[1]], place_M % batch.inputs_BT.shape[1]
        if self.soft:
            log_p_MV = banned(single(self.output.log_probs(hidden_MD)), never_MX)
            if self.mixing == "expected":
                probs_MV = (log_p_MV / self.temperature).softmax(-1)
            else:
                word_V = torch.arange(log_p_MV.shape[1], device=place_M.device)
                uniform_MV = key.uniform(example_M[:, None], position_M[:, None], word_V)
                probs_MV = straight_through_gumbel(log_p_MV, uniform_MV, self.temperature)
            return self.model.embed(probs_MV[:, None])[:, 0]
        if hidden_MD.is_meta:  # where no words can be told apart, the true ones stand in
            return batch.inputs_BT.flatten()[place_M]
        if self.mixing == "argmax":
            return self.output.topk(hidden_MD, 1, never_MX)[1].squeeze(1)
        return self.output.sample(hidden_MD, Draw(key.uniform(example_M, position_M), self.temperature, exclude_NX=never_MX))


def straight_through_gumbel(log_p_MV: Tensor, uniform_MV: Tensor, temperature: float) -> Tensor:
    """A one-hot draw from p for each row, with the gradient of the soft one (Jang et al. 2017): (M, V).

    w = argmax_v (log p_v + g_v), g_v = - log(- log u_v), is distributed as p; its gradient is taken to be that of
    softmax((log p + g) / temperature).

    Args:
        log_p_MV: -inf where a word may not be drawn. uniform_MV: in (0, 1).
    """
    noisy_MV = log_p_MV - (-uniform_MV.log()).log().to(log_p_MV.dtype)
    soft_MV = (noisy_MV / temperature).softmax(-1)
    hard_MV = torch.zeros_like(soft_MV).scatter(1, noisy_MV.argmax(-1, keepdim=True), 1.0)
    drawn_MV: Tensor = _StraightThrough.apply(soft_MV, hard_MV)
    return drawn_MV


class _StraightThrough(torch.autograd.Function):
    """`hard`, exactly (hard + soft - soft would round), with its gradient handed to `soft`."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, hard: Tensor) -> Tensor:
        return hard

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _columns(place_M: Tensor, width: int) -> list[tuple[int, Tensor]]:
    """The places of each column that holds any, the columns rising: (column, (R,) flat indices). Waits for the device once.

    On the meta device, where places are not known, there is one: the second column, all rows.
    """
    if place_M.is_meta:
        return [(1, place_M)] if width > 1 else []
    order_M = (place_M % width).argsort(stable=True)
    column_C, count_C = (place_M % width).cpu().unique(return_counts=True)
    return list(zip(column_C.tolist(), place_M[order_M].split(count_C.tolist()), strict=True))
