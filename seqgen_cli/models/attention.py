"""Recurrent encoder-decoder with attention (SPEC.md section 1).

bahdanau (Bahdanau et al. 2015):  c_t = attend(h_{t-1}),  h_t = f(h_{t-1}, [e_{y_{t-1}}; c_t]),  the output layer sees h_t.
luong (Luong et al. 2015):        h_t = f(h_{t-1}, e_{y_{t-1}}),  c_t = attend(h_t),  it sees h~_t = tanh(W [h_t; c_t]).
luong with input feeding:         h_t = f(h_{t-1}, [e_{y_{t-1}}; h~_{t-1}]),  h~_0 = 0.

f is a stack of residual layers: the h_{t-1} that bahdanau attends with is the state of its top layer, the h_t that
luong attends with is its output (the same but for residual connection and dropout). The decoder starts as in models/rnn.py
from what the encoder hands over, layer by layer.

Shapes: B sentences, R = B * m decoder rows, S source length, T target length, N real target positions, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.errors import RequestError
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.attention import Attention, Score
from seqgen_cli.layers.embeddings import embed_words, word_embedding
from seqgen_cli.layers.masks import real_positions
from seqgen_cli.layers.recurrent import RecurrentStack, RecurrentState, StackSettings, SteppedStack
from seqgen_cli.layers.recurrent_encoder import HandOver, RecurrentEncoder
from seqgen_cli.models.base import Selectable, TeacherForced


@dataclass(frozen=True)
class AttentionMemory:
    """The encoded source, its keys, which positions are real, and the state the decoder starts from."""

    keys_BSD: Tensor
    encoded_BSD: Tensor
    mask_BS: Tensor
    initial: RecurrentState

    def select(self, index_R: Tensor) -> AttentionMemory:
        return AttentionMemory(
            self.keys_BSD.index_select(0, index_R),
            self.encoded_BSD.index_select(0, index_R),
            self.mask_BS.index_select(0, index_R),
            self.initial.select(index_R),
        )


@dataclass(frozen=True)
class AttentionState:
    """The decoder's recurrent state, and h~_t of the last position where it is fed back."""

    recurrent: RecurrentState
    fed_RD: Tensor | None

    def select(self, index_R: Tensor) -> AttentionState:
        fed_RD = None if self.fed_RD is None else self.fed_RD.index_select(0, index_R)
        return AttentionState(self.recurrent.select(index_R), fed_RD)


class RecurrentAttention(TeacherForced):
    """Recurrent encoder and decoder, joined by attention.

    Args:
        source_vocab_size, target_vocab_size: V of each side.
        stack: of each side.
        style: bahdanau or luong. score: see layers/attention.py. input_feeding: luong only.
        bidirectional: the encoder reads from both ends (layers/recurrent_encoder.py says how they are joined).
        hand_over: what of an LSTM's state the decoder starts from: hidden (h, and c = 0) or all (h and c).

    Raises:
        RequestError: input feeding with style bahdanau, which feeds the context already.
    """

    recurrent: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_vocab_size: int,
        target_vocab_size: int,
        stack: Annotated[StackSettings, INLINE],
        style: Literal["bahdanau", "luong"],
        score: Score,
        input_feeding: bool,
        bidirectional: bool,
        hand_over: HandOver,
    ) -> None:
        super().__init__()
        if input_feeding and style == "bahdanau":
            raise RequestError("model.input_feeding=true belongs to model.style=luong; bahdanau feeds the context already.")
        self.hidden_size = stack.hidden_size
        self.input_feeding = input_feeding
        self.source_embedding = word_embedding(source_vocab_size, stack.embedding_size)
        self.embedding = word_embedding(target_vocab_size, stack.embedding_size)
        size = stack.hidden_size
        self.encoder = RecurrentEncoder(stack, bidirectional, hand_over, outputs=True)
        self.attention = Attention(score, size)
        self.decoder = RecurrentStack(stack, further_size=size if style == "bahdanau" or input_feeding else 0)
        self.combine = nn.Linear(2 * size, size, bias=False) if style == "luong" else None

    def encode(self, batch: Batch) -> AttentionMemory:
        assert batch.source_BS is not None and batch.source_lengths_B is not None
        encoded_BSD, state = self.encoder(embed_words(self.source_embedding, batch.source_BS), batch.source_lengths_B)
        mask_BS = real_positions(batch.source_lengths_B, batch.source_BS.shape[1])
        return AttentionMemory(self.attention.key(encoded_BSD), encoded_BSD, mask_BS, state)

    def decode(self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None) -> tuple[Tensor, AttentionState]:
        assert isinstance(memory, AttentionMemory) and (state is None or isinstance(state, AttentionState))
        hidden_RTD, _, state = self._read(embedded_RTE, memory, state)
        return hidden_RTD, state

    def alignments(self, batch: Batch) -> Tensor:
        """(B, T, S): alpha of each target position, teacher-forced."""
        assert batch.inputs_BT is not None
        _, weights_BTS, _ = self._read(self.embed(batch.inputs_BT), self.encode(batch), None)
        return weights_BTS

    def _read(
        self, embedded_RTE: Tensor, memory: AttentionMemory, state: AttentionState | None
    ) -> tuple[Tensor, Tensor, AttentionState]:
        """Hidden vectors (R, T, D), attention weights (R, T, S), and the state after the T inputs."""
        if state is None:
            initial = memory.initial.repeated(embedded_RTE.shape[0] // memory.initial.rows)
            state = AttentionState(initial, torch.zeros_like(initial.top_RD) if self.input_feeding else None)
        if self.combine is None:
            return self._read_bahdanau(embedded_RTE, memory, state)
        if state.fed_RD is not None:
            return self._read_feeding(embedded_RTE, memory, state.recurrent, state.fed_RD)
        top_RTD, recurrent = self.decoder(embedded_RTE, state.recurrent)
        hidden_RTD, weights_RTS = self._combined(top_RTD, memory)
        return hidden_RTD, weights_RTS, AttentionState(recurrent, None)

    def _read_bahdanau(
        self, embedded_RTE: Tensor, memory: AttentionMemory, state: AttentionState
    ) -> tuple[Tensor, Tensor, AttentionState]:
        recurrent, hidden, weights = state.recurrent, [], []
        steps = SteppedStack(self.decoder, embedded_RTE)
        for place in range(embedded_RTE.shape[1]):
            context_R1D, weights_R1S = self._attend(recurrent.top_RD[:, None], memory)
            hidden_RD, recurrent = steps.step(place, context_R1D[:, 0], recurrent)
            hidden.append(hidden_RD)
            weights.append(weights_R1S)
        return torch.stack(hidden, dim=1), torch.cat(weights, dim=1), AttentionState(recurrent, None)

    def _read_feeding(
        self, embedded_RTE: Tensor, memory: AttentionMemory, recurrent: RecurrentState, fed_RD: Tensor
    ) -> tuple[Tensor, Tensor, AttentionState]:
        hidden, weights = [], []
        steps = SteppedStack(self.decoder, embedded_RTE)
        for place in range(embedded_RTE.shape[1]):
            top_RD, recurrent = steps.step(place, fed_RD, recurrent)
            hidden_R1D, weights_R1S = self._combined(top_RD[:, None], memory)
            fed_RD = hidden_R1D[:, 0]
            hidden.append(fed_RD)
            weights.append(weights_R1S)
        return torch.stack(hidden, dim=1), torch.cat(weights, dim=1), AttentionState(recurrent, fed_RD)

    def _combined(self, top_RTD: Tensor, memory: AttentionMemory) -> tuple[Tensor, Tensor]:
        """h~ = tanh(W [h; c]), and the weights that made c."""
        assert self.combine is not None
        context_RTD, weights_RTS = self._attend(top_RTD, memory)
        return self.combine(torch.cat([top_RTD, context_RTD], dim=-1)).tanh(), weights_RTS

    def _attend(self, query_RTD: Tensor, memory: AttentionMemory) -> tuple[Tensor, Tensor]:
        return self.attention(query_RTD, memory.keys_BSD, memory.encoded_BSD, memory.mask_BS)
