"""Transformer encoder-decoder (Vaswani et al. 2017; SPEC.md section 1).

Shapes: B sentences, R = B * m decoder rows, S source length, T target length, N real target positions, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.errors import RequestError
from seqgen_cli.hints import INLINE
from seqgen_cli.layers.blocks import DecoderLayer, EncoderLayer, LayerSettings, TransformerState, decoder_input
from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.embeddings import embed_words, word_embedding
from seqgen_cli.layers.masks import real_positions
from seqgen_cli.layers.multihead import KeysValues
from seqgen_cli.layers.positions import Rotation, rotation_of
from seqgen_cli.models.base import Selectable, TeacherForced


@dataclass(frozen=True)
class TransformerMemory:
    """Cross-attention keys and values of each decoder layer, and which source positions are real."""

    layers: tuple[KeysValues, ...]
    mask_B11S: Tensor

    def select(self, index_R: Tensor) -> TransformerMemory:
        layers = tuple(layer.select(index_R) for layer in self.layers)
        return TransformerMemory(layers, self.mask_B11S.index_select(0, index_R))


class Transformer(TeacherForced):
    """Encoder and decoder of attention layers; the embedding size is the hidden size, so embedding and output can be tied.

    Embeddings are sqrt(D) times rows drawn from N(0, 1/D). Pre-norm ends each side with one more LayerNorm.

    Args:
        source_vocab_size, target_vocab_size: V of each side.
        layer: what every layer is like. encoder_layers, decoder_layers: at least 1 each.
        share_embeddings: one table for source and target; both sides need the same (joint) vocabulary.
        alignment_layer: decoder layer, from 1, whose cross-attention `alignments` shows; None: the last but one, which
            follows the words best (Garg et al. 2019).

    Raises:
        RequestError: sizes that do not fit one another.
    """

    def __init__(
        self,
        *,
        source_vocab_size: int,
        target_vocab_size: int,
        layer: Annotated[LayerSettings, INLINE],
        encoder_layers: Annotated[int, Ge(1)],
        decoder_layers: Annotated[int, Ge(1)],
        share_embeddings: bool,
        alignment_layer: Annotated[int, Ge(1)] | None,
    ) -> None:
        super().__init__()
        if share_embeddings and source_vocab_size != target_vocab_size:
            raise RequestError(
                f"model.share_embeddings=true needs one vocabulary for both sides, but the source has {source_vocab_size} "
                f"words and the target {target_vocab_size}. Use a joint tokenizer, or model.share_embeddings=false."
            )
        if alignment_layer is not None and alignment_layer > decoder_layers:
            raise RequestError(f"model.alignment_layer={alignment_layer} is not one of the {decoder_layers} decoder layers.")
        self.hidden_size, self.longest, self.rotary_size = layer.hidden_size, layer.longest, layer.rotary_size
        self.alignment_layer = max(1, decoder_layers - 1) if alignment_layer is None else alignment_layer
        self.embedding = word_embedding(target_vocab_size, layer.hidden_size)
        self.source_embedding = None if share_embeddings else word_embedding(source_vocab_size, layer.hidden_size)
        self.source_positions, self.target_positions = layer.added_positions(), layer.added_positions()
        self.dropout = Dropout(layer.dropout)
        self.encoder_layers = nn.ModuleList(EncoderLayer(layer) for _ in range(encoder_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(layer) for _ in range(decoder_layers))
        self.encoder_norm, self.decoder_norm = layer.last_norm(), layer.last_norm()

    def encode(self, batch: Batch) -> TransformerMemory:
        assert batch.source_BS is not None and batch.source_lengths_B is not None
        embedding = self.embedding if self.source_embedding is None else self.source_embedding
        hidden_BSD = self.dropout(self.source_positions(embed_words(embedding, batch.source_BS), start=0))
        mask_B11S = real_positions(batch.source_lengths_B, batch.source_BS.shape[1])[:, None, None]
        rotation = rotation_of(hidden_BSD, 0, self.rotary_size)
        for layer in self.encoder_layers:
            hidden_BSD = layer(hidden_BSD, mask_B11S, rotation)
        encoded_BSD = self.encoder_norm(hidden_BSD)
        return TransformerMemory(
            tuple(layer.cross_attention.keys_values(encoded_BSD) for layer in self._decoder_layers()), mask_B11S
        )

    def decode(
        self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None
    ) -> tuple[Tensor, TransformerState]:
        assert isinstance(memory, TransformerMemory) and (state is None or isinstance(state, TransformerState))
        hidden_RTD, mask, rotation = self._start(embedded_RTE, state)
        seen = []
        for place, layer in enumerate(self._decoder_layers()):
            past = None if state is None else state.layers[place]
            hidden_RTD, keys_values = layer.read_target(hidden_RTD, past, mask, rotation)
            hidden_RTD = layer.read_source(hidden_RTD, memory.layers[place], memory.mask_B11S)
            seen.append(keys_values)
        return self.decoder_norm(hidden_RTD), TransformerState(tuple(seen))

    def alignments(self, batch: Batch) -> Tensor:
        """(B, T, S): cross-attention of decoder layer `alignment_layer`, mean over its heads, teacher-forced."""
        assert batch.inputs_BT is not None
        memory = self.encode(batch)
        hidden_BTD, mask, rotation = self._start(self.embed(batch.inputs_BT), None)
        *below, chosen = self._decoder_layers()[: self.alignment_layer]
        for layer, source in zip(below, memory.layers, strict=False):
            hidden_BTD, _ = layer.read_target(hidden_BTD, None, mask, rotation)
            hidden_BTD = layer.read_source(hidden_BTD, source, memory.mask_B11S)
        hidden_BTD, _ = chosen.read_target(hidden_BTD, None, mask, rotation)
        return chosen.source_weights(hidden_BTD, memory.layers[self.alignment_layer - 1], memory.mask_B11S)

    def _decoder_layers(self) -> list[DecoderLayer]:
        return cast("list[DecoderLayer]", list(self.decoder_layers))

    def _start(self, embedded_RTE: Tensor, state: TransformerState | None) -> tuple[Tensor, Tensor | None, Rotation | None]:
        return decoder_input(embedded_RTE, state, self.target_positions, self.dropout, self.rotary_size)
