"""Recurrent language model (Mikolov et al. 2010; Sundermeyer et al. 2012).

p(y) = prod_t p(y_t | h_t), h_t = f(h_{t-1}, e_{y_{t-1}}), h_0 = 0, y_0 = <s>.

Shapes: B texts, R = B * m rows, T length, N real positions, E embedding, D hidden.
"""

from typing import Annotated, ClassVar

from torch import Tensor

from seqgen_cli.data.batch import Batch
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.embeddings import word_embedding
from seqgen_cli.layers.recurrent import RecurrentStack, RecurrentState, StackSettings
from seqgen_cli.models.base import NoSource, Selectable, TeacherForced


class RnnLm(TeacherForced):
    """A stack of LSTM or GRU layers that starts each text from the zero state.

    Args:
        target_vocab_size: V.
        stack: of layers.
    """

    reads_source: ClassVar[bool] = False
    recurrent: ClassVar[bool] = True

    def __init__(
        self,
        *,
        target_vocab_size: int,
        stack: Annotated[StackSettings, INLINE],
    ) -> None:
        super().__init__()
        self.hidden_size = stack.hidden_size
        self.embedding = word_embedding(target_vocab_size, stack.embedding_size)
        self.layers = RecurrentStack(stack)

    def encode(self, batch: Batch) -> NoSource:
        return NoSource()

    def decode(self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None) -> tuple[Tensor, RecurrentState]:
        assert state is None or isinstance(state, RecurrentState)
        return self.layers(embedded_RTE, self.layers.start(embedded_RTE) if state is None else state)
