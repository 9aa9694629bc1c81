"""What shapes a layer by word frequency: the training counts, kept with the weights so that a checkpoint alone can rebuild it."""

import numpy as np
import torch
from torch import Tensor

from seqgen_cli.layers.random import Key
from seqgen_cli.outputs.base import OutputLayer


class CountedLayer(OutputLayer):
    """An output layer whose structure follows from the words' training counts.

    The counts are part of its weights. Where weights with other counts are loaded, the structure is made anew from them.

    Args:
        hidden_size: D. vocab_size: V.
        counts_V: training counts; None: all words equally frequent.

    Raises:
        ValueError: the counts are not V numbers of 0 or more.
    """

    counts_V: Tensor

    def __init__(self, hidden_size: int, vocab_size: int, counts_V: Tensor | None) -> None:
        super().__init__()
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        if counts_V is None:
            counts_V = torch.ones(vocab_size, dtype=torch.int64, device=None)
        if counts_V.shape != (vocab_size,) or (not counts_V.is_meta and vocab_size and int(counts_V.min()) < 0):
            raise ValueError(f"counts must be {vocab_size} numbers of 0 or more")
        place = torch.empty(0, device=None).device  # torch's default device
        self.register_buffer("counts_V", counts_V.to(device=place, dtype=torch.int64, copy=True))
        self.arranged = floored(counts_V)
        self.register_load_state_dict_post_hook(_arrange_anew)

    def arrange(self, counts_V: np.ndarray) -> None:
        """Set the buffers (none of them saved) that hold the structure for these counts, each at least 1."""
        raise NotImplementedError("abstract")

    def constant(self, name: str, values: np.ndarray) -> None:
        """Keep an array as a buffer that is not saved."""
        self.register_buffer(name, torch.as_tensor(values, device=self.counts_V.device), persistent=False)


def floored(counts_V: Tensor) -> np.ndarray:
    """The counts as int64, at least 1 each: unseen words must stay possible. All 1 where the tensor holds no data (meta)."""
    if counts_V.is_meta:
        return np.ones(counts_V.shape, dtype=np.int64)
    return np.asarray(counts_V.cpu().numpy().astype(np.int64).clip(min=1))


def by_frequency(counts_V: np.ndarray) -> np.ndarray:
    """Word ids from the most frequent down; equal counts in the order of their ids."""
    return np.argsort(-counts_V, kind="stable")


def rarest_first(counts_V: np.ndarray) -> np.ndarray:
    """Word ids from the rarest up; equal counts from the highest id down."""
    return by_frequency(counts_V)[::-1]


def shuffled(counts_V: np.ndarray) -> np.ndarray:
    """Word ids in an arbitrary order, always the same for as many words."""
    draws_V = Key.of("order of words").bits(torch.arange(len(counts_V), device="cpu"))
    return np.argsort(draws_V.numpy(), kind="stable")


def entropy_bits(counts_V: np.ndarray) -> float:
    """Entropy of the counts' distribution, in bits."""
    p_V = counts_V / counts_V.sum()
    return float(-(p_V * np.log2(p_V)).sum())


def _arrange_anew(layer: CountedLayer, incompatible_keys: object) -> None:
    counts_V = floored(layer.counts_V)
    if not np.array_equal(counts_V, layer.arranged):
        layer.arranged = counts_V
        layer.arrange(counts_V)
