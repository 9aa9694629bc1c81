"""Word embeddings, e_w = sqrt(E) W_w, with W drawn from N(0, 1/E).

The scale gives inputs of unit variance while the rows of W have unit length, as an output layer that shares W needs
(Vaswani et al. 2017, section 3.4; Press and Wolf 2017).

Shapes: R rows, T positions, V words, E embedding.
"""

import math

from torch import Tensor, nn


def word_embedding(vocab_size: int, size: int) -> nn.Embedding:
    """A (V, E) table drawn from N(0, 1/E)."""
    embedding = nn.Embedding(vocab_size, size)
    nn.init.normal_(embedding.weight, std=size**-0.5)
    return embedding


def embed_words(embedding: nn.Embedding, ids_or_probabilities: Tensor) -> Tensor:
    """Ids (R, T), or distributions over words (R, T, V) -> (expected) embeddings (R, T, E), scaled by sqrt(E)."""
    if ids_or_probabilities.is_floating_point():
        embedded = ids_or_probabilities @ embedding.weight
    else:
        embedded = embedding(ids_or_probabilities)
    return embedded * math.sqrt(embedding.embedding_dim)
