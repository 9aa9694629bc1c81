"""Two-level softmax: p(w|h) = p(c(w)|h) p(w|c(w),h)  (Goodman, 2001; SPEC.md section 2).

Shapes: N predictions, D hidden, V words sorted by class, C classes, G words of the largest class, P pairs of a position and a
class, K best words, X words excluded for each row.
"""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from seqgen_cli.errors import RequestError
from seqgen_cli.layers.rows import RowTable
from seqgen_cli.outputs import groupings
from seqgen_cli.outputs.base import Draw, OutputLayer, banned, exact_scores, linear_scores, of_rows, row_chunks, topk_of
from seqgen_cli.outputs.draws import excluded, pick, pick_word, remaining
from seqgen_cli.outputs.frequencies import by_frequency, floored, shuffled
from seqgen_cli.outputs.grouped import Block, blocks, log_probs_of, word_log_probs
from seqgen_cli.runtime.devices import wide

Grouping = Literal["equal_size", "equal_mass", "random", "clustered"]
_MONITORED = 8
"""Figures on the classes' share of the mass: many classes are taken together."""


class ClassSoftmax(OutputLayer):
    """Hierarchical softmax over `num_classes` groups of words.

    Scoring one word costs O(C + G) instead of O(V); with C near sqrt(V) both terms are O(sqrt(V)). Only the classes that
    occur in a batch are read and get a gradient.

    `topk` opens the classes that may hold a better word than those found (a class's probability bounds its words'); a row
    that would open many is computed whole. `sample` draws a class and a word of it, unless the distribution is cut or
    heated, which takes all of it.

    The grouping is part of the weights: loading them brings theirs.

    Args:
        hidden_size: D. vocab_size: V.
        counts_V: training counts; None: all equal, whatever `grouping` says (weights are loaded next).
        num_classes: C; None: ceil(sqrt(V)).
        grouping: by frequency in groups of equal size or equal mass, at random, or by nearby word vectors.
        vectors: .npy file of these, (V, any width).

    Raises:
        RequestError: more classes than words; vectors that do not fit, are missing, or serve nothing.
        ValueError: the counts are not V numbers.
    """

    refused: ClassVar[dict[str, str]] = {
        "tied": "its words are sorted by class",
        "label_smoothing": "it needs every word's score, and only those of the target's class are computed",
    }
    class_of_V: Tensor
    place_V: Tensor
    word_V: Tensor
    sizes_C: Tensor
    starts_C: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        counts_V: Tensor | None = None,
        num_classes: Annotated[int, Ge(1)] | None = None,
        grouping: Grouping = "equal_size",
        vectors: str | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        self.num_classes = num_classes or math.ceil(math.sqrt(vocab_size))
        if self.num_classes > vocab_size:
            raise RequestError(f"output.num_classes={num_classes} is more than the {vocab_size} words of the vocabulary.")
        if vectors is not None and grouping != "clustered":
            raise RequestError(f"output.vectors serves output.grouping=clustered alone; it is {grouping}. Leave one of them out.")
        self.class_weight = nn.Parameter(torch.empty(self.num_classes, hidden_size, device=None))  # None: torch's default device
        nn.init.uniform_(self.class_weight, -(hidden_size**-0.5), hidden_size**-0.5)
        self.class_bias = nn.Parameter(torch.zeros(self.num_classes, device=None))
        self.words = RowTable(vocab_size, hidden_size)
        self.word_bias = nn.Parameter(torch.zeros(vocab_size, device=None))
        class_of_V = _classes(counts_V, vocab_size, self.num_classes, grouping, vectors)
        self.register_buffer("class_of_V", torch.tensor(class_of_V, device=self.class_bias.device))
        self._arrange(class_of_V)
        self.register_load_state_dict_post_hook(_arrange_anew)

    def _arrange(self, class_of_V: np.ndarray) -> None:
        """What follows from the words' classes."""
        self.arranged = class_of_V
        word_V = np.argsort(class_of_V, kind="stable")
        sizes = np.bincount(class_of_V, minlength=self.num_classes)
        starts = np.cumsum(sizes) - sizes
        self.size_C, self.start_C = sizes.tolist(), starts.tolist()  # for the host's loop over classes
        arrays = {"word_V": word_V, "place_V": np.argsort(word_V, kind="stable"), "sizes_C": sizes, "starts_C": starts}
        for name, values in arrays.items():
            self.register_buffer(name, torch.as_tensor(values, device=self.class_of_V.device), persistent=False)

    def score(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        class_N = self.class_of_V[target_N]
        log_class_N = self._class_log_probs(hidden_ND).gather(1, class_N[:, None]).squeeze(1)
        order_N = class_N.argsort(stable=True)
        local_N = (self.place_V[target_N] - self.starts_C[class_N])[order_N]
        log_word_N = word_log_probs(hidden_ND[order_N], self.words, self.word_bias, local_N, self._plan(class_N))
        return log_class_N + torch.zeros_like(log_word_N).index_copy(0, order_N, log_word_N)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        return self._sorted_log_probs(hidden_ND).index_select(1, self.place_V)

    def topk(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first = -(-k // min(self.size_C))
        if 4 * first >= self.num_classes or hidden_ND.is_meta:  # nothing to compare bounds with
            return self._best_of_all(hidden_ND, k, exclude_NX)
        log_class_NC = self._class_log_probs(hidden_ND)
        class_NF = log_class_NC.topk(first, dim=1).indices
        best_Nk, id_Nk = self._merge(
            hidden_ND, log_class_NC, class_NF, torch.ones_like(class_NF, dtype=torch.bool), k, exclude_NX
        )
        may_NC = (log_class_NC >= best_Nk[:, -1:]).scatter(1, class_NF, False)
        whole_N = 4 * may_NC.sum(1) > self.num_classes
        for rows, whole in ((whole_N, True), ((may_NC.any(1) & ~whole_N), False)):
            row_R = rows.nonzero().squeeze(1)
            if not row_R.shape[0]:
                continue
            exclude_RX = of_rows(exclude_NX, row_R)
            if whole:
                best, ids = self._best_of_all(hidden_ND[row_R], k, exclude_RX)
            else:
                most = int(may_NC[row_R].sum(1).max())
                class_RO = may_NC[row_R].long().topk(most, dim=1).indices
                is_open_RO = may_NC[row_R].gather(1, class_RO)
                more, more_ids = self._merge(hidden_ND[row_R], log_class_NC[row_R], class_RO, is_open_RO, k, exclude_RX)
                best, place = torch.cat([best_Nk[row_R], more], dim=1).topk(k, dim=1)
                ids = torch.cat([id_Nk[row_R], more_ids], dim=1).gather(1, place)
            best_Nk, id_Nk = best_Nk.index_copy(0, row_R, best), id_Nk.index_copy(0, row_R, ids)
        return best_Nk, id_Nk

    def sample(self, hidden_ND: Tensor, draw: Draw) -> Tensor:
        if not draw.is_plain:
            return super().sample(hidden_ND, draw)
        p_NC = wide(self._class_log_probs(hidden_ND)).exp()
        word_NX, here_NX, p_NX = excluded(self, hidden_ND, draw.exclude_NX)
        rest_NC = remaining(p_NC, self.sizes_C, self.class_of_V[word_NX], here_NX, p_NX)
        class_N1, uniform_N1 = pick(rest_NC, draw.uniform_N[:, None])
        row_P = class_N1.squeeze(1).argsort(stable=True)
        drawn = []
        for rows in row_chunks(row_P.shape[0], max(self.size_C)):
            row_R = row_P[rows]
            log_p_RG = self._in_class(hidden_ND[row_R], class_N1[row_R, 0], of_rows(draw.exclude_NX, row_R))
            drawn.append(self._word(class_N1[row_R, 0], pick_word(log_p_RG, uniform_N1[row_R])))
        word_N = torch.zeros_like(row_P).index_copy(0, row_P, torch.cat(drawn))
        return torch.where((rest_NC > 0).any(1), word_N, -1)

    def monitors(self, hidden_ND: Tensor, target_N: Tensor) -> dict[str, Tensor]:
        """The probability given to classes: first to last, several together where they are many."""
        p_NC = self._class_log_probs(hidden_ND).exp()
        parts = np.array_split(np.arange(self.num_classes), min(self.num_classes, _MONITORED))
        return {f"mass_of_classes_{part[0]}_to_{part[-1]}": p_NC[:, part[0] : part[-1] + 1].sum() for part in parts}

    def _sorted_log_probs(self, hidden_ND: Tensor) -> Tensor:
        """All words' log-probabilities, words sorted by class."""
        score_NV = exact_scores(hidden_ND, self.words.weight, self.word_bias)
        log_z_NC = torch.stack([part_NG.logsumexp(1) for part_NG in score_NV.split(self.size_C, dim=1)], dim=1)
        return score_NV + (self._class_log_probs(hidden_ND) - log_z_NC).index_select(1, self.class_of_V[self.word_V])

    def _best_of_all(self, hidden_ND: Tensor, k: int, exclude_NX: Tensor | None) -> tuple[Tensor, Tensor]:
        """`topk` by the whole distribution, some rows at a time."""
        place_NX = None if exclude_NX is None else torch.where(exclude_NX < 0, -1, self.place_V[exclude_NX.clamp_min(0)])
        chunks = row_chunks(hidden_ND.shape[0], self.vocab_size)
        best_Nk, place_Nk = topk_of(lambda rows: self._sorted_log_probs(hidden_ND[rows]), chunks, k, place_NX)
        return best_Nk, self.word_V[place_Nk]

    def _class_log_probs(self, hidden_ND: Tensor) -> Tensor:
        return linear_scores(hidden_ND, self.class_weight, self.class_bias).log_softmax(-1)

    def _plan(self, class_N: Tensor) -> list[Block]:
        """The blocks of positions sorted by class. Here the host waits for the device."""
        if class_N.is_meta:  # no classes to be seen: as if all were the first
            count_C = [class_N.shape[0], *[0] * (self.num_classes - 1)]
        else:
            count_C = torch.bincount(class_N, minlength=self.num_classes).tolist()
        return list(blocks(count_C, self.start_C, self.size_C))

    def _in_class(self, hidden_PD: Tensor, class_P: Tensor, exclude_PX: Tensor | None) -> Tensor:
        """log p(v | class, h) of each word of the class, -inf past its end and at excluded words: (P, G). Sorted by class."""
        found_PG = hidden_PD.new_full((hidden_PD.shape[0], max(self.size_C)), float("-inf"), dtype=self.word_bias.dtype)
        for block in self._plan(class_P):
            log_p_CG = log_probs_of(block, hidden_PD, self.words.weight, self.word_bias)
            found_PG[block.positions, : log_p_CG.shape[1]] = log_p_CG.to(found_PG.dtype)
        if exclude_PX is None:
            return found_PG
        word_PX = exclude_PX.clamp_min(0)
        mine_PX = (exclude_PX >= 0) & (self.class_of_V[word_PX] == class_P[:, None])
        return banned(found_PG, torch.where(mine_PX, self.place_V[word_PX] - self.starts_C[class_P][:, None], -1))

    def _merge(
        self, hidden_ND: Tensor, log_class_NC: Tensor, class_NO: Tensor, is_open_NO: Tensor, k: int, exclude_NX: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The k best words of some classes of each row (those that are open): (N, k)."""
        pair_P = is_open_NO.flatten().nonzero().squeeze(1)
        pair_P = pair_P[class_NO.flatten()[pair_P].argsort(stable=True)]
        kept = min(k, max(self.size_C))
        best_QK = log_class_NC.new_full((class_NO.numel(), kept), float("-inf"))
        id_QK = torch.zeros_like(best_QK, dtype=torch.int64)
        for pairs in row_chunks(pair_P.shape[0], max(self.size_C)):
            place_P = pair_P[pairs]
            row_P, class_P = place_P // class_NO.shape[1], class_NO.flatten()[place_P]
            log_p_PG = self._in_class(hidden_ND[row_P], class_P, of_rows(exclude_NX, row_P))
            best, local = log_p_PG.topk(kept, dim=1)
            best_QK[place_P] = best + log_class_NC[row_P, class_P, None]
            id_QK[place_P] = self._word(class_P[:, None], local)
        shape = (len(class_NO), class_NO.shape[1] * kept)
        best_NP, id_NP = best_QK.view(shape), id_QK.view(shape)
        missing = max(0, k - best_NP.shape[1])
        best_NP = nn.functional.pad(best_NP, (0, missing), value=float("-inf"))
        best_Nk, place_Nk = best_NP.topk(k, dim=1)
        return best_Nk, nn.functional.pad(id_NP, (0, missing)).gather(1, place_Nk)

    def _word(self, class_: Tensor, local: Tensor) -> Tensor:
        """The word at a place of its class; past the class's end an arbitrary one."""
        return self.word_V[(self.starts_C[class_] + local).clamp(max=self.vocab_size - 1)]


def _classes(counts_V: Tensor | None, vocab_size: int, num_classes: int, grouping: Grouping, vectors: str | None) -> np.ndarray:
    if counts_V is None:
        return groupings.equal_sizes(np.arange(vocab_size), num_classes)
    if counts_V.shape != (vocab_size,):
        raise ValueError(f"counts must be {vocab_size} numbers of 0 or more")
    known_V = floored(counts_V)
    if grouping == "clustered":
        return groupings.clustered(groupings.read_vectors(vectors, vocab_size), num_classes)
    if grouping == "equal_mass":
        return groupings.equal_masses(by_frequency(known_V), known_V, num_classes)
    return groupings.equal_sizes(shuffled(known_V) if grouping == "random" else by_frequency(known_V), num_classes)


def _arrange_anew(layer: ClassSoftmax, incompatible_keys: object) -> None:
    class_of_V = layer.class_of_V.cpu().numpy().copy()  # not a view: the buffer may change again
    if not np.array_equal(class_of_V, layer.arranged):
        layer._arrange(class_of_V)
