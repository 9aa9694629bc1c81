"""Ways to part the words into groups (SPEC.md section 2): each gives the group of every word, no group empty.

Shapes: V words, C groups, E width of word vectors.
"""

from pathlib import Path

import numpy as np

from seqgen_cli.errors import RequestError


def equal_sizes(order_V: np.ndarray, num_classes: int) -> np.ndarray:
    """Groups of V / C neighbours in this order of the words, one more or less."""
    class_of_V = np.empty(len(order_V), dtype=np.int64)
    class_of_V[order_V] = np.arange(len(order_V)) * num_classes // len(order_V)
    return class_of_V


def equal_masses(order_V: np.ndarray, counts_V: np.ndarray, num_classes: int) -> np.ndarray:
    """Groups of neighbours in this order, from the most frequent down: each takes words until it has 1 / (groups left) of the
    counts left.

    That is one word at least, and never so many that a later group has none: counts are at least 1, and fall.
    """
    upto = np.concatenate([[0], np.cumsum(counts_V[order_V])])
    class_of_V = np.empty(len(order_V), dtype=np.int64)
    first = 0
    for group in range(num_classes):
        wanted = upto[first] - (upto[first] - upto[-1]) // (num_classes - group)  # rounded up
        stop = int(np.searchsorted(upto, wanted))
        class_of_V[order_V[first:stop]] = group
        first = stop
    return class_of_V


def clustered(vectors_VE: np.ndarray, num_classes: int) -> np.ndarray:
    """Groups of nearby vectors, of V / C words, one more or less: cut in two across the direction of most variance, and again."""
    class_of_V = np.empty(len(vectors_VE), dtype=np.int64)
    todo = [(np.arange(len(vectors_VE)), 0, num_classes)]
    while todo:
        words, first, groups = todo.pop()
        if groups == 1:
            class_of_V[words] = first
            continue
        left = groups // 2
        order = words[np.argsort(_principal(vectors_VE[words]), kind="stable")]
        cut = len(words) * left // groups
        todo += [(order[:cut], first, left), (order[cut:], first + left, groups - left)]
    return class_of_V


def _principal(vectors_WE: np.ndarray) -> np.ndarray:
    """Each vector's coordinate along the direction of most variance, by power iteration."""
    centred = vectors_WE - vectors_WE.mean(0)
    # From the longest vector: it has a part in the direction looked for, unless all are equal.
    direction_E = centred[np.square(centred).sum(1).argmax()]
    for _ in range(10):
        direction_E = centred.T @ (centred @ direction_E)
        length = np.linalg.norm(direction_E)
        if length == 0:
            break
        direction_E = direction_E / length
    return np.asarray(centred @ direction_E)


def read_vectors(path: str | None, vocab_size: int) -> np.ndarray:
    """The word vectors (V, E) of a .npy file.

    Raises:
        RequestError: there is none, or it holds something else.
    """
    if path is None:
        raise RequestError("output.grouping=clustered needs word vectors: set output.vectors to a .npy file of one row a word.")
    try:
        vectors = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RequestError(f"output.vectors={path} cannot be read as a .npy file ({error}).") from error
    if not isinstance(vectors, np.ndarray):
        raise RequestError(f"output.vectors={path} holds several arrays. Save one, as .npy.")
    if vectors.ndim != 2 or len(vectors) != vocab_size or not np.issubdtype(vectors.dtype, np.floating):
        raise RequestError(
            f"output.vectors={path} must hold {vocab_size} rows of floating-point numbers, one row a word of the vocabulary; "
            f"it has shape {vectors.shape} and type {vectors.dtype}."
        )
    if not np.isfinite(vectors).all():
        raise RequestError(f"output.vectors={path} holds numbers that are not finite. Give every word a vector.")
    return vectors.astype(np.float64)
