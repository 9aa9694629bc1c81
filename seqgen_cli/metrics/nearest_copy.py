"""What copying earns: BLEU of answering every source with the translation of the most similar training source.

A model that only remembers does no better; the gap above it is what was learnt of translating.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from sacrebleu.metrics.bleu import BLEU, BLEUScore


class NearestSource:
    """Finds the line most similar to another by the cosine of their character n-gram counts, rare n-grams weighing more.

    An inverted index: for every n-gram, the lines that hold it and its share in them. Looking a line up adds the postings of
    its own n-grams only. Memory: about 40 bytes for each distinct n-gram of each line.

    Args:
        lines: what to search; not empty.
        orders: lengths of the n-grams, in characters.
    """

    def __init__(self, lines: Sequence[str], orders: Sequence[int] = (1, 2, 3, 4)) -> None:
        self._orders, self._size = tuple(orders), len(lines)
        self._ids: dict[str, int] = {}
        grams, rows, counts = [], [], []
        for row, line in enumerate(lines):
            for gram, count in self._grams(line).items():
                grams.append(self._ids.setdefault(gram, len(self._ids)))
                rows.append(row)
                counts.append(count)
        gram_P, row_P = np.array(grams, dtype=np.int64), np.array(rows, dtype=np.int64)
        document_frequency = np.bincount(gram_P, minlength=len(self._ids))
        self._rarity = np.log((1 + self._size) / document_frequency)
        weight_P = np.array(counts, dtype=np.float64) * self._rarity[gram_P]
        norm = np.sqrt(np.bincount(row_P, weights=weight_P**2, minlength=self._size))
        order = np.argsort(gram_P, kind="stable")
        self._rows = row_P[order]
        self._weights = (weight_P / norm[row_P])[order]
        self._starts = np.concatenate([[0], np.cumsum(document_frequency)])

    def find(self, line: str) -> int:
        """The number of the nearest line; the first of several equally near, line 0 when nothing is shared."""
        known = [(self._ids[gram], count) for gram, count in self._grams(line).items() if gram in self._ids]
        if not known:
            return 0
        spans = [slice(self._starts[gram], self._starts[gram + 1]) for gram, _ in known]
        rows = np.concatenate([self._rows[span] for span in spans])
        weights = np.concatenate(
            [self._weights[span] * (count * self._rarity[gram]) for span, (gram, count) in zip(spans, known, strict=True)]
        )
        return int(np.bincount(rows, weights=weights, minlength=self._size).argmax())

    def _grams(self, line: str) -> Counter[str]:
        return Counter(line[at : at + n] for n in self._orders for at in range(len(line) - n + 1))


def nearest_copy_bleu(train: Iterable[tuple[str, str]], test: Iterable[tuple[str, str]], tokenizer: str) -> BLEUScore:
    """Corpus BLEU of copying: each test source is answered with the target of the nearest training source.

    Args:
        train, test: (source, target) lines.
        tokenizer: how BLEU cuts text into words, in sacrebleu's names.
    """
    sources, targets = zip(*train, strict=True)
    nearest = NearestSource(sources)
    pairs = list(test)
    copies = [targets[nearest.find(source)] for source, _ in pairs]
    metric = BLEU(tokenize=tokenizer)
    return metric.corpus_score(copies, [[target for _, target in pairs]])
