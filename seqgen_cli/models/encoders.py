"""BERT-family encoders: their shapes as plain data, and the networks from a pretrained checkpoint or from a shape alone.

A checkpoint of ours keeps the shape beside the weights, so loading one asks neither the hub nor the encoder's folder. A
shape may come from a stranger: only the families and the keys listed here are taken, so it can name no code.
"""

from typing import Any

import torch
from torch import nn

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.pretrained import FAMILY, OFFSET_POSITIONS, TINY, loading, locate, only_here, read_config

Shape = dict[str, str | int | float | bool | None]
"""An encoder's transformers configuration: model_type and sizes."""

_KEYS = frozenset(
    [
        "model_type",
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "max_position_embeddings",
        "type_vocab_size",
        "initializer_range",
        "layer_norm_eps",
        "pad_token_id",
        "embedding_size",
        "num_hidden_groups",
        "inner_group_num",
        "relative_attention_num_buckets",
        "dim",
        "n_layers",
        "n_heads",
        "hidden_dim",
        "dropout",
        "attention_dropout",
        "activation",
        "sinusoidal_pos_embds",
    ]
)

# bert-base-uncased's sizes are the defaults of transformers' BertConfig (Devlin et al. 2019), so its parameters can be
# counted without the hub.
_KNOWN_SHAPES: dict[str, Shape] = {
    "bert-base-uncased": {"model_type": "bert"},
    TINY: {
        "model_type": "bert",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
    },
}


def encoder_shape(encoder: str, vocab_size: int | None = None) -> Shape:
    """The shape of a named encoder; of a pretrained one, its config alone is read.

    Args:
        encoder: see seqgen_cli.layers.pretrained. vocab_size: word pieces of `tiny`, which has none of its own.

    Raises:
        RequestError: there is no such encoder, or it is not of the BERT family.
    """
    known = _KNOWN_SHAPES.get(encoder)
    if known is not None:
        return {**known, "vocab_size": vocab_size} if encoder == TINY and vocab_size else dict(known)
    values = read_config(encoder)
    return {key: value for key, value in values.items() if key in _KEYS and isinstance(value, str | int | float | bool | None)}


def random_encoder(shape: Shape) -> nn.Module:
    """An encoder of this shape with random weights (torch's global generator).

    Raises:
        RequestError: the shape is not of the BERT family, or holds a key that is no size.
    """
    unknown = sorted(set(shape) - _KEYS)
    if shape.get("model_type") not in FAMILY or unknown:
        wrong = unknown[0] if unknown else f"model_type={shape.get('model_type')}"
        raise RequestError(f"model.shape does not describe an encoder of the BERT family: {wrong}.")
    with loading(TINY, "encoder") as transformers:
        sizes = {key: value for key, value in shape.items() if key != "model_type"}
        config = transformers.AutoConfig.for_model(shape["model_type"], **sizes)
        encoder: nn.Module = transformers.AutoModel.from_config(config, attn_implementation="sdpa")
    return encoder


def pretrained_encoder(encoder: str) -> nn.Module:
    """A pretrained encoder in float32, read from safetensors only; no code of its own is run.

    Raises:
        RequestError: it is not there, or has no safetensors weights.
    """
    with loading(encoder, "encoder") as transformers:
        place = locate(encoder)
        network: nn.Module = transformers.AutoModel.from_pretrained(
            place,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=only_here(place),
            attn_implementation="sdpa",
            dtype=torch.float32,
        )
    return network


def max_positions(shape: Shape) -> int:
    """The longest input in tokens, [CLS] and [SEP] included. The RoBERTa kind numbers positions from its padding id + 1."""
    positions = int(shape.get("max_position_embeddings") or 512)
    if shape["model_type"] in OFFSET_POSITIONS:
        return positions - int(shape.get("pad_token_id") or 0) - 1
    return positions


def encoder_layers(encoder: nn.Module) -> nn.ModuleList:
    """The stack of layers, bottom first.

    Raises:
        RequestError: there is none (ALBERT shares one layer).
    """
    depth: Any = getattr(encoder.config, "num_hidden_layers", 0)
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise RequestError("This encoder's layers share their weights: use model.unfreeze=0 or model.unfreeze=all.")
