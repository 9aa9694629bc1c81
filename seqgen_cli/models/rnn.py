"""Recurrent encoder-decoder with a fixed-size bottleneck (Sutskever et al. 2014; SPEC.md section 1).

h_t^enc = f_enc(h_{t-1}, e_{x_t}); u = the state at the last real position, for each layer; h_0^dec = u; o_t = g(h_t^dec).

Shapes: B sentences, R = B * m decoder rows, S source length, T target length, N real target positions, D hidden.
"""

from typing import Annotated, ClassVar

from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.embeddings import embed_words, word_embedding
from seqgen_cli.layers.recurrent import RecurrentStack, RecurrentState, StackSettings
from seqgen_cli.layers.recurrent_encoder import HandOver, RecurrentEncoder
from seqgen_cli.models.base import Selectable, TeacherForced


class Rnn(TeacherForced):
    """All the decoder knows of the source is the encoder's last state, which is its Memory; a State is the decoder's own.

    Args:
        source_vocab_size, target_vocab_size: V of each side.
        stack: of each side.
        bidirectional: the encoder reads from both ends (layers/recurrent_encoder.py says how they are joined).
        hand_over: what of an LSTM's state the decoder starts from: hidden (h, and c = 0) or all (h and c).
    """

    recurrent: ClassVar[bool] = True

    def __init__(
        self,
        *,
        source_vocab_size: int,
        target_vocab_size: int,
        stack: Annotated[StackSettings, INLINE],
        bidirectional: bool,
        hand_over: HandOver,
    ) -> None:
        super().__init__()
        self.hidden_size = stack.hidden_size
        self.source_embedding = word_embedding(source_vocab_size, stack.embedding_size)
        self.embedding = word_embedding(target_vocab_size, stack.embedding_size)
        self.encoder = RecurrentEncoder(stack, bidirectional, hand_over, outputs=False)
        self.decoder = RecurrentStack(stack)

    def encode(self, batch: Batch) -> RecurrentState:
        assert batch.source_BS is not None and batch.source_lengths_B is not None
        _, state = self.encoder(embed_words(self.source_embedding, batch.source_BS), batch.source_lengths_B)
        return state

    def decode(self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None) -> tuple[Tensor, RecurrentState]:
        assert isinstance(memory, RecurrentState) and (state is None or isinstance(state, RecurrentState))
        if state is None:
            state = memory.repeated(embedded_RTE.shape[0] // memory.rows)
        return self.decoder(embedded_RTE, state)
