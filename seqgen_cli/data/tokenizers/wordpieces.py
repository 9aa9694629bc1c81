"""The tokenizer of a pretrained encoder (WordPiece, Wu et al. 2016, for BERT), and how a text too long for it is cut."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.layers.pretrained import TINY, library, loading, locate, only_here, read_config

Truncation = Literal["head", "tail", "head_tail"]
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LINES_AT_ONCE = 1024


class EncoderTokenizer:
    """Texts to ids as the encoder wants them: [CLS] pieces [SEP], at most `max_length` of them. Pickles.

    Args:
        rules: a tokenizer.json of the tokenizers library.
        pad, unk, bos, eos: ids of padding, unknown piece, [CLS] and [SEP] (by the names of the Tokenizer interface).
        max_length: the most pieces of one text, [CLS] and [SEP] included.
        truncation: what is kept of a longer one: its beginning, its end, or the first quarter and the last three.
    """

    def __init__(self, rules: str, pad: int, unk: int, bos: int, eos: int, max_length: int, truncation: Truncation) -> None:
        self._rules = rules
        self._tokenizer = library("tokenizers").Tokenizer.from_str(rules)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.pad, self.unk, self.bos, self.eos = pad, unk, bos, eos
        self.max_length, self.truncation = max_length, truncation
        self.vocab_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the ids."""
        return hashlib.sha256(json.dumps(self._settings()).encode()).hexdigest()

    def encode(self, lines: Sequence[str]) -> list[np.ndarray]:
        """Ids (int32) of each text, cut to `max_length`, [CLS] and [SEP] included."""
        return [self.cut(row) for row in self.encode_whole(lines)]

    def encode_whole(self, lines: Sequence[str]) -> list[np.ndarray]:
        """Ids (int32) of each text, of any length, without [CLS] and [SEP]."""
        rows = []
        for start in range(0, len(lines), _LINES_AT_ONCE):
            encoded = self._tokenizer.encode_batch_fast(list(lines[start : start + _LINES_AT_ONCE]), add_special_tokens=False)
            rows += [np.array(each.ids, np.int32) for each in encoded]
        return rows

    def is_cut(self, ids: np.ndarray) -> bool:
        """Whether whole ids are too many for the encoder."""
        return len(ids) > self.max_length - 2

    def cut(self, ids: np.ndarray) -> np.ndarray:
        """Whole ids -> [CLS], what is kept, [SEP]."""
        room = self.max_length - 2
        if self.is_cut(ids):
            # A quarter from the head, the rest from the tail: Sun et al. (2019) found 128 + 382 of 510 best.
            head = {"head": room, "tail": 0, "head_tail": room // 4}[self.truncation]
            ids = np.concatenate([ids[:head], ids[len(ids) - (room - head) :]])
        return np.concatenate([[self.bos], ids, [self.eos]]).astype(np.int32)

    def decode(self, rows: Iterable[Sequence[int] | np.ndarray]) -> list[str]:
        """The text of each id sequence, without special pieces."""
        return [self._tokenizer.decode([int(number) for number in row], skip_special_tokens=True) for row in rows]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The word pieces behind ids."""
        return [self._tokenizer.id_to_token(int(number)) for number in ids]

    def save(self, folder: Path, name: str) -> None:
        """Write FOLDER/NAME.json."""
        (folder / f"{name}.json").write_text(json.dumps(self._settings()), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, name: str) -> EncoderTokenizer:
        """Read FOLDER/NAME.json.

        Raises:
            SeqgenError: it is missing or of another format.
        """
        path = folder / f"{name}.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise SeqgenError(f"The tokenizer {path} cannot be read: {error.strerror}.") from error
        except Exception as error:  # the tokenizers library raises bare Exception
            raise SeqgenError(f"{path} is not a tokenizer of seqgen ({error}).") from error

    def _settings(self) -> dict[str, Any]:
        specials = {"pad": self.pad, "unk": self.unk, "bos": self.bos, "eos": self.eos}
        return {"rules": self._rules, **specials, "max_length": self.max_length, "truncation": self.truncation}

    def __getstate__(self) -> dict[str, Any]:
        return self._settings()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


@dataclass(frozen=True)
class WordPieces:
    """How to tokenise for an encoder: by the tokenizer it was trained with.

    Args:
        encoder: the model's encoder; tiny has no tokenizer, so one is trained on the training texts.
        max_length: word pieces of the longest input, [CLS] and [SEP] included.
        truncation: what is kept of a longer text.
        vocab_size: word pieces trained for tiny.
    """

    encoder: str
    max_length: Annotated[int, Ge(3)] = 512
    truncation: Truncation = "head"
    vocab_size: Annotated[int, Ge(64)] = 4000

    @property
    def needs_training(self) -> bool:
        return self.encoder == TINY

    def pretrained(self) -> EncoderTokenizer:
        """The encoder's own tokenizer.

        Raises:
            RequestError: it is not there, not of the BERT family, or lacks one of the special pieces.
        """
        read_config(self.encoder)  # a small file first: what the encoder is shows there
        with loading(self.encoder, "tokenizer") as transformers:
            place = locate(self.encoder)
            found = transformers.AutoTokenizer.from_pretrained(
                place, trust_remote_code=False, use_fast=True, local_files_only=only_here(place)
            )
            rules = found.backend_tokenizer.to_str()
        ids = {"pad": found.pad_token_id, "unk": found.unk_token_id, "bos": found.cls_token_id, "eos": found.sep_token_id}
        missing = [name for name, number in zip(_SPECIALS, ids.values(), strict=True) if number is None]
        if missing:
            raise RequestError(
                f"The tokenizer of model.encoder={self.encoder} has no {' and no '.join(missing)}: is it BERT-like?"
            )
        return EncoderTokenizer(rules, **ids, max_length=self.max_length, truncation=self.truncation)

    def train(self, texts: Iterable[str]) -> EncoderTokenizer:
        """A lower-casing WordPiece tokenizer built as BERT's is: the most frequent words whole, all else by characters.

        The tokenizers library's own trainer gives another vocabulary every time (ties fall by the order of a hash table);
        this one depends on the texts alone.
        """
        tokenizers = library("tokenizers")
        normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
        characters = sorted({character for word in counts for character in word})
        pieces = [*_SPECIALS, *characters, *(f"##{character}" for character in characters)]
        words = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
        pieces += words[: max(0, self.vocab_size - len(pieces))]
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        model = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token=_SPECIALS[1]))
        model.normalizer, model.pre_tokenizer = normalizer, splitter
        model.decoder = tokenizers.decoders.WordPiece()
        model.add_special_tokens(list(_SPECIALS))
        pad, unk, bos, eos = (vocabulary[piece] for piece in _SPECIALS)
        return EncoderTokenizer(model.to_str(), pad, unk, bos, eos, self.max_length, self.truncation)
