"""Language tags (BCP 47, by langcodes), however they are spelt: JA, jpn, ja_JP and jpn_Jpan name what ja does."""

import re

from langcodes import Language, standardize_tag
from langcodes.tag_parser import LanguageTagError

_OF_A_FILE = re.compile(r"\.([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*)(?:\.gz)?$")


def script(tag: str) -> str | None:
    """The script that a language is mostly written in: ja_JP -> Jpan, zh -> Hans; None where the tag names no language."""
    language = _parsed(tag)
    return None if language is None else language.maximize().script


def suggestion(tag: str) -> str:
    """`" Did you mean ja?"` for the code of a country (jp), or nothing."""
    if not re.fullmatch("[A-Za-z]{2}", tag):
        return ""
    meant = Language.make(territory=tag.upper()).maximize().language
    return f" Did you mean {meant}?" if meant not in ("en", tag) else ""  # en is the guess for what is no country either


def of_file(path: str) -> str | None:
    """The language that a file's ending names: corpus/test.ja.gz, test.jpn, test.ja_JP.

    An ending of three letters counts where it has a code of two, too: .txt would be Citak.
    """
    found = _OF_A_FILE.search(path)
    if found is None or _parsed(found[1]) is None:
        return None
    return found[1] if len(standardize_tag(re.split("[-_]", found[1])[0], macro=True)) == 2 else None


def _parsed(tag: str) -> Language | None:
    """The tag, if its language is one."""
    try:
        language = Language.get(tag)
    except LanguageTagError:
        return None
    return language if language.language and Language.make(language.language).is_valid() else None
