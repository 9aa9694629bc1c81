"""Transformer language model: a causal decoder without cross-attention (Radford et al. 2018; Vaswani et al. 2017).

Shapes: B texts, R = B * m rows, T length, N real positions, D hidden.
"""

from typing import Annotated, ClassVar, cast

from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.blocks import CausalLayer, LayerSettings, TransformerState, decoder_input
from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.embeddings import word_embedding
from seqgen_cli.models.base import NoSource, Selectable, TeacherForced


class TransformerLm(TeacherForced):
    """Causal attention layers; the embedding size is the hidden size, so embedding and output can be tied.

    Embeddings are sqrt(D) times rows drawn from N(0, 1/D). Pre-norm ends with one more LayerNorm.

    Args:
        target_vocab_size: V.
        layer: what every layer is like. layers: at least 1.
    """

    reads_source: ClassVar[bool] = False

    def __init__(
        self,
        *,
        target_vocab_size: int,
        layer: Annotated[LayerSettings, INLINE],
        layers: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.hidden_size, self.longest, self.rotary_size = layer.hidden_size, layer.longest, layer.rotary_size
        self.embedding = word_embedding(target_vocab_size, layer.hidden_size)
        self.positions = layer.added_positions()
        self.dropout = Dropout(layer.dropout)
        self.layers = nn.ModuleList(CausalLayer(layer) for _ in range(layers))
        self.norm = layer.last_norm()

    def encode(self, batch: Batch) -> NoSource:
        return NoSource()

    def decode(
        self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None
    ) -> tuple[Tensor, TransformerState]:
        assert state is None or isinstance(state, TransformerState)
        hidden_RTD, mask, rotation = decoder_input(embedded_RTE, state, self.positions, self.dropout, self.rotary_size)
        seen = []
        for place, layer in enumerate(cast("list[CausalLayer]", list(self.layers))):
            past = None if state is None else state.layers[place]
            hidden_RTD, keys_values = layer(hidden_RTD, past, mask, rotation)
            seen.append(keys_values)
        return self.norm(hidden_RTD), TransformerState(tuple(seen))
