"""Transformer language model: a causal decoder without cross-attention (Radford et al. 2018; Vaswani et al. 2017).

Shapes: B texts, R = B * m rows, T length, N real positions, D hidden.
"""

from typing import Annotated, ClassVar, cast

from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.blocks import CausalLayer, LayerSettings, TransformerState, causal_mask
from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.embeddings import embed_words, word_embedding
from seqgen_cli.layers.positions import Rotation
from seqgen_cli.models.base import NoSource, Selectable, valid_rows


class TransformerLm(nn.Module):
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

    def hidden_states(self, batch: Batch) -> Tensor:
        assert batch.inputs_BT is not None
        hidden_BTD, _ = self.decode(self.embed(batch.inputs_BT), self.encode(batch))
        return valid_rows(hidden_BTD, batch)

    def encode(self, batch: Batch) -> NoSource:
        return NoSource()

    def embed(self, ids_or_probabilities: Tensor) -> Tensor:
        """Words only: positions are added in `decode`, which knows where the inputs stand."""
        return embed_words(self.embedding, ids_or_probabilities)

    def decode(
        self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None
    ) -> tuple[Tensor, TransformerState]:
        assert state is None or isinstance(state, TransformerState)
        start, length = 0 if state is None else state.length, embedded_RTE.shape[1]
        hidden_RTD = self.dropout(self.positions(embedded_RTE, start))
        mask = causal_mask(start, length, embedded_RTE.device)
        rotation = None if self.rotary_size is None else Rotation(start, length, self.rotary_size, hidden_RTD)
        seen = []
        for place, layer in enumerate(cast("list[CausalLayer]", list(self.layers))):
            past = None if state is None else state.layers[place]
            hidden_RTD, keys_values = layer(hidden_RTD, past, mask, rotation)
            seen.append(keys_values)
        return self.norm(hidden_RTD), TransformerState(tuple(seen))
