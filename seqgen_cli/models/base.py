"""What a model promises to the rest: hidden vectors at the positions to predict, and, if it generates, one step at a time.

Shapes: B examples, S source length, T target length, N real target positions, E embedding, D hidden, V words, R rows of a search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from seqgen_cli.data.batch import Batch
from seqgen_cli.layers.embeddings import embed_words


class Selectable(Protocol):
    """What a search may do with a model's Memory (the encoded source) or State (what decoding has seen so far)."""

    def select(self, index_R: Tensor) -> Selectable:
        """Keep rows `index_R` (int64; repeats and any order allowed)."""
        ...


@runtime_checkable
class Model(Protocol):
    """Turns a batch into one hidden vector for each prediction.

    One for a task that is none of seqgen's own names it: `task = "package.module"` (tasks/base.py).
    """

    hidden_size: int
    """D, the size of the vectors given to the output layer."""

    def hidden_states(self, batch: Batch) -> Tensor:
        """(N, D): hidden vectors at the valid target positions (`batch.valid_N`), or one for each example (`labels_B`)."""
        ...


@runtime_checkable
class Generator(Model, Protocol):
    """A model of sequences, p(y_t | y_<t, source). Law: one pass over T inputs = T passes over one input each.

    One whose passes read their inputs one after another anyway may say so: `recurrent = True`. One that has its target
    embedding (V, E) as `embedding`, an nn.Embedding, lets an output layer share its weight where E = D. (Submodules are no
    part of a protocol: from Python 3.12 on, isinstance does not find them.)

    A memory of B rows serves R = B * m decoder rows: decoder row i reads memory row i // m. Beams and samples of one
    sentence stand together, so the encoded source is never repeated.
    """

    def encode(self, batch: Batch) -> Selectable:
        """The encoded source, once a batch (empty for a language model)."""
        ...

    def embed(self, ids_or_probabilities: Tensor) -> Tensor:
        """Ids (R, T) int64, or distributions over words (R, T, V) float -> embeddings (R, T, E)."""
        ...

    def decode(self, embedded_RTE: Tensor, memory: Selectable, state: Selectable | None = None) -> tuple[Tensor, Selectable]:
        """Read T more inputs after `state` (None: from the start): hidden (R, T, D) and the state after them.

        Rows may be of unequal true length when state is None: a position never reads later ones, so padding
        on the right changes nothing before it.
        """
        ...


@runtime_checkable
class LanguageModel(Generator, Protocol):
    """A generator that says whether it has a source at all: one without (False) models p(y), and its memory is empty.

    A generator that does not say reads one. One that cannot read or write texts of any length has `longest`, in tokens.
    """

    reads_source: bool


@runtime_checkable
class Aligner(Generator, Protocol):
    """A generator that can say where it looked."""

    def alignments(self, batch: Batch) -> Tensor:
        """(B, T, S): attention of each target position over the source, teacher-forced; rows sum to 1 over real positions."""
        ...


@runtime_checkable
class Classifier(Model, Protocol):
    """A model with one hidden vector for each example."""

    classifies: bool


@runtime_checkable
class Encoder(Model, Protocol):
    """A model whose first part turns a source into features that may be computed once."""

    feature_size: int
    """E."""

    @property
    def features_are_fixed(self) -> bool:
        """Whether training leaves the features as they are."""
        ...

    def features(self, source_BS: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, S) ids -> (B, S, E); what stands beyond a row's length means nothing. `hidden_states` takes them as
        `batch.features_BSE` in place of ids."""
        ...

    def features_fingerprint(self) -> str:
        """A hash of the weights that decide the features."""
        ...


class TeacherForced(nn.Module):
    """What generators share that read their target's words through one embedding."""

    embedding: nn.Embedding

    def hidden_states(self: Generator, batch: Batch) -> Tensor:
        """(N, D): the decoder's outputs over the true words before each position to predict."""
        assert batch.inputs_BT is not None
        hidden_BTD, _ = self.decode(self.embed(batch.inputs_BT), self.encode(batch))
        return valid_rows(hidden_BTD, batch)

    def embed(self, ids_or_probabilities: Tensor) -> Tensor:
        """Words only: positions, where a model adds any, are added in `decode`, which knows where the inputs stand."""
        return embed_words(self.embedding, ids_or_probabilities)


@dataclass(frozen=True)
class NoSource:
    """The Memory of a language model, which has no source to encode."""

    def select(self, index_R: Tensor) -> NoSource:
        return self


def valid_rows(hidden_BTD: Tensor, batch: Batch) -> Tensor:
    """(B, T, D) -> (N, D) at the batch's real target positions."""
    assert batch.valid_N is not None
    return hidden_BTD.flatten(0, 1)[batch.valid_N]
