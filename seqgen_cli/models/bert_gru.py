"""BERT-GRU: a pretrained BERT encoder, then a bidirectional GRU, then one vector for each text (SPEC.md section 1).

Shapes: B texts, S word pieces ([CLS] and [SEP] included), E encoder size, D hidden size of a GRU,
P = 2D features of a position.

A text's vector does not depend on its batch: attention is masked beyond a text's length, and the GRU respects true lengths.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.bidirectional import BidirectionalGRU
from seqgen_cli.layers.dropout import Dropout
from seqgen_cli.layers.pretrained import TINY
from seqgen_cli.models.encoders import Shape, encoder_layers, encoder_shape, max_positions, pretrained_encoder, random_encoder

Pooling = Literal["last", "mean", "max", "attention"]


class BertGru(nn.Module):
    """A classifier: encoder -> GRU -> pooling -> dropout.

    A frozen encoder stays in evaluation mode without gradient, whatever mode the rest is in; its parameters ask for no
    gradient, so no optimizer holds them. Parameters that are trained carry their own learning rate.

    Args:
        source_vocab_size: word pieces; sizes the embeddings of encoder=tiny.
        encoder: minilm, tiny, a local folder, or a name on the Hugging Face hub.
        max_length: word pieces of the longest input.
        unfreeze: top layers of the encoder that are trained; "all": every parameter but the unused pooler.
        encoder_lr: learning rate of what is trained in the encoder.
        gru_layers, gru_hidden: of the GRU; gru_hidden is D.
        dropout: between GRU layers, and of the pooled vector.
        normalize: give the GRU each position's features with mean 0 and variance 1 (no parameters). An encoder made for
            sentence vectors, as minilm, leaves token features so small that the GRU learns slowly.
        pooling: [last forward; last backward] state, or mean, maximum or learned attention over all positions.
        shape: of the encoder, filled in by checkpoints, whose weights are then loaded into it; None: as `encoder` says.

    Raises:
        RequestError: the encoder is not there, is not BERT-like, or reads less than max_length.
    """

    classifies = True

    def __init__(
        self,
        source_vocab_size: int | None,
        encoder: str = "bert-base-uncased",
        max_length: Annotated[int, Ge(3)] = 512,
        unfreeze: Annotated[int, Ge(0)] | Literal["all"] = 0,
        encoder_lr: Annotated[float, Gt(0)] = 2e-5,
        gru_layers: Annotated[int, Ge(1)] = 2,
        gru_hidden: Annotated[int, Ge(1)] = 256,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.25,
        normalize: bool = False,
        pooling: Pooling = "last",
        shape: Shape | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape if shape is not None else encoder_shape(encoder, source_vocab_size)
        if max_length > max_positions(self.shape):
            raise RequestError(
                f"model.max_length={max_length} is longer than what model.encoder={encoder} reads, {max_positions(self.shape)} "
                f"word pieces. Use model.max_length={max_positions(self.shape)} or less."
            )
        # The meta device holds no weights: there the shape alone is asked for.
        fresh = shape is not None or encoder == TINY or torch.empty(0, device=None).is_meta  # torch's default device
        self.encoder = random_encoder(self.shape) if fresh else pretrained_encoder(encoder)
        config: Any = self.encoder.config
        self.feature_size: int = config.hidden_size
        self.hidden_size = 2 * gru_hidden
        self.gru = BidirectionalGRU(self.feature_size, gru_hidden, gru_layers, dropout)
        self.attention = nn.Linear(self.hidden_size, 1) if pooling == "attention" else None
        self.dropout = Dropout(dropout)
        self.normalize, self.pooling = normalize, pooling
        self._trained_parts = _unfreeze(self.encoder, unfreeze, encoder_lr)
        self.train()

    @property
    def resolved_settings(self) -> dict[str, Shape]:
        """Settings that a checkpoint's config must hold so that the model can be built without the encoder's files."""
        return {"shape": self.shape}

    @property
    def features_are_fixed(self) -> bool:
        """Whether training leaves `features` as they are, so that they may be computed once."""
        return not self._trained_parts

    def train(self, mode: bool = True) -> BertGru:
        """Training mode for all but the frozen layers."""
        super().train(mode)
        self.encoder.eval()
        for part in self._trained_parts:
            part.train(mode)
        return self

    def hidden_states(self, batch: Batch) -> Tensor:
        """(B, 2D): one vector for each text, from its cached features or from its word pieces."""
        assert batch.source_lengths_B is not None
        if batch.features_BSE is not None:
            features_BSE = batch.features_BSE
        else:
            assert batch.source_BS is not None
            features_BSE = self.features(batch.source_BS, batch.source_lengths_B)
        if self.normalize:
            features_BSE = nn.functional.layer_norm(features_BSE, (self.feature_size,))
        output_SBP, last_BP = self.gru(features_BSE.transpose(0, 1).contiguous(), batch.source_lengths_B)
        return self.dropout(self._pool(output_SBP, last_BP, batch.source_lengths_B))

    def features(self, source_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """The encoder's top layer, (B, S) ids -> (B, S, E); meaningless beyond each text's length."""
        # transformers asks whether a mask hides anything at all, which the meta device cannot answer.
        real_BS = (torch.arange(source_BS.shape[1], device=source_BS.device) < lengths_B[:, None]).long()
        mask_BS = None if source_BS.is_meta else real_BS
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.features_are_fixed):
            features_BSE: Tensor = self.encoder(input_ids=source_BS, attention_mask=mask_BS).last_hidden_state
        return features_BSE

    def features_fingerprint(self) -> str:
        """A hash of the weights that decide the features (the pooler, which they do not pass, left out)."""
        digest = hashlib.sha256(repr(sorted(self.shape.items())).encode())
        for name, weight in sorted(self.encoder.state_dict().items()):
            if not name.startswith("pooler."):
                digest.update(name.encode())
                digest.update(weight.detach().contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _pool(self, output_SBP: Tensor, last_BP: Tensor, lengths_B: Tensor) -> Tensor:
        if self.pooling == "last":
            return last_BP
        real_SB1 = (torch.arange(output_SBP.shape[0], device=lengths_B.device)[:, None] < lengths_B)[:, :, None]
        if self.pooling == "mean":
            return output_SBP.masked_fill(~real_SB1, 0.0).sum(0) / lengths_B[:, None]
        if self.pooling == "max":
            return output_SBP.masked_fill(~real_SB1, float("-inf")).amax(0)
        assert self.attention is not None
        score_SB1 = self.attention(output_SBP.tanh()).float().masked_fill(~real_SB1, float("-inf"))
        # The weighted sum must not meet what stands beyond a text's end, which may be of any size.
        return (score_SB1.softmax(0).to(output_SBP.dtype) * output_SBP.masked_fill(~real_SB1, 0.0)).sum(0)


def _unfreeze(encoder: nn.Module, unfreeze: int | Literal["all"], learning_rate: float) -> list[nn.Module]:
    """Freeze the encoder but its top `unfreeze` layers; the parts that are trained."""
    encoder.requires_grad_(False)
    if unfreeze == 0:
        return []
    parts: list[nn.Module]
    if unfreeze == "all":
        parts = [module for name, module in encoder.named_children() if name != "pooler"]
    else:
        layers = encoder_layers(encoder)
        if unfreeze > len(layers):
            raise RequestError(f"model.unfreeze={unfreeze}: this encoder has {len(layers)} layers; use that or less, or all.")
        parts = list(layers[len(layers) - unfreeze :])
    for part in parts:
        for parameter in part.requires_grad_(True).parameters():
            parameter.learning_rate = learning_rate  # type: ignore[attr-defined]
    return parts
