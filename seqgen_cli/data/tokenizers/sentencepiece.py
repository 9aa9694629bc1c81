"""SentencePiece's tokenizers (Kudo and Richardson, 2018), trained here or brought by the user."""

import io
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import sentencepiece
from annotated_types import Ge, Gt, Le

from seqgen_cli.data.tokenizers.model_file import ModelFile
from seqgen_cli.errors import RequestError, SeqgenError

_LONGEST = 1000  # characters of a line that train the vocabulary: SentencePiece skips lines above 4,192 bytes
_COVERAGE = 0.9995  # of the characters of a large set, as SentencePiece's authors advise for Chinese and Japanese
_THREADS = 8  # fixed, whatever the machine: the vocabulary trained must not depend on it
_sampling = threading.Lock()  # SentencePiece's random generator is one for the process


class Tokenizer(ModelFile):
    """A SentencePiece model: lines to ids and back. Pickles, and gives the same ids in every process.

    Args:
        model: the bytes of a SentencePiece .model file.
        name: what error messages call it.

    Raises:
        RequestError: not a SentencePiece model, or one without `<s>`, `</s>` or the unknown token.
    """

    kind, ending = "SentencePiece model", ".model"

    def __init__(self, model: bytes, name: str = "tokenizer") -> None:
        super().__init__(model, name)
        self._processor = _processor(model, name)
        self.vocab_size: int = self._processor.vocab_size()
        self.unk: int = self._processor.unk_id()
        self.bos: int = self._processor.bos_id()
        self.eos: int = self._processor.eos_id()
        missing = [token for token, number in (("<unk>", self.unk), ("<s>", self.bos), ("</s>", self.eos)) if number < 0]
        if missing:
            raise RequestError(
                f"{name} has no {' and no '.join(missing)}: "
                "train it with SentencePiece's --bos_id, --eos_id and --unk_id at 0 or more."
            )
        # Without a padding token any id may fill up rows: masks come from lengths, and no result depends on it.
        self.pad: int = self._processor.pad_id() if self._processor.pad_id() >= 0 else self.eos

    def encode_flat(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all lines in one array (int32), and the number of ids of each line (int64)."""
        rows = self._processor.encode(list(lines), num_threads=_THREADS)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum())), lengths

    def encode_sampled(self, lines: Sequence[str], seeds: Sequence[int], alpha: float, nbest: int = -1) -> list[np.ndarray]:
        """One random segmentation of each line, decided by its own seed alone (Kudo, 2018; BPE: Provilkov et al., 2020).

        Args:
            lines, seeds: a seed (0 .. 2^32 - 2) for each line.
            alpha: unigram: smoothing, p ~ p(segmentation)^alpha; BPE: the probability to leave out a merge.
            nbest: unigram: how many best segmentations to choose from; -1 = all.
        """
        rows = []
        with _sampling:
            for line, seed in zip(lines, seeds, strict=True):
                sentencepiece.set_random_generator_seed(seed)
                rows.append(self._processor.encode(line, enable_sampling=True, alpha=alpha, nbest_size=nbest))
        return [np.array(row, np.int32) for row in rows]

    def decode(self, rows: Iterable[Sequence[int] | np.ndarray]) -> list[str]:
        """The text of each id sequence; `<s>`, `</s>` and padding leave nothing."""
        return [self._processor.decode([int(number) for number in row]) for row in rows]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The subwords behind ids, as SentencePiece writes them (▁ for a space)."""
        return [self._processor.id_to_piece(int(number)) for number in ids]


Normalization = Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "whitespace", "identity"]


@dataclass(frozen=True)
class SentencePiece:
    """How to tokenise: train one model a side, one for both, or use given ones.

    Args:
        kind: unigram language model or byte-pair encoding.
        vocab_size: subwords of each side, special tokens included. A corpus too small for so many gets as many as it has.
        target_vocab_size: the same for the target; None = vocab_size.
        joint: one model for both sides, trained on both together.
        character_coverage: share of the corpus's characters that get a token; the rest become unknown. None = all of them
            where so many tokens are at most half of the vocabulary, else 0.9995.
        byte_fallback: 256 of the subwords are bytes, which write every character that has no token: nothing is unknown.
        normalization: what is done to every line: nmt_nfkc (NFKC, cleaned white space, no joiners), nfkc, both with _cf for
            lower case, whitespace (every kind of white space is a space), or identity. None = nmt_nfkc for a source, and
            whitespace for a target and a joint model, which write only what this leaves: NFKC takes full-width signs.
        training_lines: lines that train the vocabulary, drawn evenly from a larger corpus.
        sampling_alpha: subword sampling in training (see Tokenizer.encode_sampled); None = always the best segmentation.
        sampling_nbest: see Tokenizer.encode_sampled.
        source_model, target_model: paths of given models; both or none, and the same path twice for a joint one; without
            a source, target_model alone.
    """

    kind: Literal["unigram", "bpe"] = "unigram"
    vocab_size: Annotated[int, Ge(8)] = 8000
    target_vocab_size: Annotated[int, Ge(8)] | None = None
    joint: bool = False
    character_coverage: Annotated[float, Ge(0.98), Le(1)] | None = None
    byte_fallback: bool = False
    normalization: Normalization | None = None
    training_lines: Annotated[int, Ge(1)] = 1_000_000
    sampling_alpha: Annotated[float, Gt(0), Le(1)] | None = None
    sampling_nbest: Annotated[int, Ge(-1)] = -1
    source_model: str | None = None
    target_model: str | None = None

    def __post_init__(self) -> None:
        if self.target_model is None and self.source_model is not None:
            raise RequestError("Give both tokenizer.source_model and tokenizer.target_model, or neither.")
        if self.sampling_nbest in (0, 1):
            raise RequestError(
                f"tokenizer.sampling_nbest={self.sampling_nbest} leaves nothing to choose: use 2 or more, or -1 for all."
            )

    @property
    def sampling(self) -> tuple[float, int] | None:
        return None if self.sampling_alpha is None else (self.sampling_alpha, self.sampling_nbest)

    @property
    def mends(self) -> dict[str, str]:
        if self.target_model is not None:
            trained = "a tokenizer trained on these lines (tokenizer.source_model=null tokenizer.target_model=null)"
            return {"changed": trained, "unknown": trained}
        lossless = self._rule("target") in ("whitespace", "identity")
        mends = {} if lossless else {"changed": "tokenizer.normalization=null"}
        return mends if self.byte_fallback else {**mends, "unknown": "tokenizer.byte_fallback=true"}

    def training_key(self, sides: Sequence[str]) -> list[object]:
        joint = self.joint and len(sides) > 1
        sizes = [self.vocab_size] if joint else [self._size(side) for side in sides]
        bytes_too = ["bytes"] if self.byte_fallback else []
        return [self.kind, sizes, joint, self.character_coverage, self.normalization, self.training_lines, *bytes_too]

    def given(self, sides: Sequence[str]) -> tuple[Tokenizer, ...] | None:
        if self.target_model is None:
            return None
        paths = {"source": self.source_model, "target": self.target_model}
        opened: dict[str, Tokenizer] = {}
        for path in [paths[side] for side in sides]:
            if path is None:
                raise RequestError("Give both tokenizer.source_model and tokenizer.target_model, or neither.")
            opened[path] = opened.get(path) or Tokenizer.from_file(Path(path))
        return tuple(opened[str(paths[side])] for side in sides)

    def open(self, model: bytes) -> Tokenizer:
        return Tokenizer(model)

    def largest(self, side: str) -> int | None:
        """The most subwords that a side can get; None where models are given."""
        if self.target_model is not None:
            return None
        return self.vocab_size if self.joint else self._size(side)

    def _size(self, side: str) -> int:
        return self.target_vocab_size or self.vocab_size if side == "target" else self.vocab_size

    def _rule(self, side: str) -> Normalization:
        return self.normalization or ("nmt_nfkc" if side == "source" else "whitespace")

    def train(self, side: str, lines: Iterable[str]) -> tuple[bytes, str | None]:
        """Train the model of a side ("source", "target" or "joint") on lines; the same lines give the same bytes.

        Returns:
            the bytes of the model, and a note when the corpus was too small for the vocabulary asked for.
        """
        wanted, rule, lines = self._size(side), self._rule(side), [line[:_LONGEST] for line in lines]
        sentencepiece.set_random_generator_seed(1)
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type=self.kind,
                vocab_size=wanted,
                hard_vocab_limit=False,
                character_coverage=self.character_coverage or _coverage(lines, wanted),
                byte_fallback=self.byte_fallback,
                **_normalizing(rule),
                pad_id=0,
                unk_id=1,
                bos_id=2,
                eos_id=3,
                num_threads=_THREADS,
                minloglevel=3,
            )
        except RuntimeError as error:
            raise self._explained(error, side, wanted) from error
        size = _processor(model.getvalue(), side).vocab_size()
        note = (
            f"tokenizer, {side}: the corpus has subwords for a vocabulary of {size:,}, not {wanted:,}." if size < wanted else None
        )
        return model.getvalue(), note

    @staticmethod
    def _explained(error: RuntimeError, side: str, wanted: int) -> SeqgenError:
        if needed := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
            setting = "target_vocab_size" if side == "target" else "vocab_size"
            return RequestError(
                f"A {side} vocabulary of {wanted:,} cannot hold the corpus's {int(needed[1]):,} characters and special tokens: "
                f"raise tokenizer.{setting} to at least that, or lower tokenizer.character_coverage."
            )
        if "sentences_.empty()" in str(error):
            return RequestError(f"The {side} side has no text to train a tokenizer on.")
        return SeqgenError(f"SentencePiece could not train the {side} tokenizer: {error}")


def _coverage(lines: Sequence[str], vocab_size: int) -> float:
    """Of characters: an alphabet whole, its rare signs too; not each of thousands of characters."""
    characters: set[str] = set()
    for line in lines:
        characters.update(line)
    return 1.0 if 2 * len(characters) <= vocab_size else _COVERAGE


def _normalizing(rule: Normalization) -> dict[str, Any]:
    """A rule as SentencePiece's trainer takes it."""
    if rule != "whitespace":
        return {"normalization_rule_name": rule}
    others = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace() and chr(code) != " "]
    return {"normalizer": sentencepiece.SentencePieceNormalizer(norm_map=[(character, " ") for character in others])}


def _processor(model: bytes, name: str) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        raise RequestError(f"{name} is not a SentencePiece model.") from None
