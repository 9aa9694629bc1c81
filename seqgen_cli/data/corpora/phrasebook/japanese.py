"""Japanese morphology: conjugation of verbs and adjectives from the dictionary form.

Verb groups: "5" godan (書く), "1" ichidan (食べる), "s" する and its compounds, "k" 来る.
"""

from typing import Literal

VerbGroup = Literal["5", "1", "s", "k"]

_I_ROW = dict(zip("うくぐすつぬぶむる", "いきぎしちにびみり", strict=True))
_A_ROW = dict(zip("うくぐすつぬぶむる", "わかがさたなばまら", strict=True))
_E_ROW = dict(zip("うくぐすつぬぶむる", "えけげせてねべめれ", strict=True))
_TE = {
    "う": "って",
    "つ": "って",
    "る": "って",
    "む": "んで",
    "ぶ": "んで",
    "ぬ": "んで",
    "く": "いて",
    "ぐ": "いで",
    "す": "して",
}
_TA = str.maketrans("てで", "ただ")


def stem(verb: str, group: VerbGroup) -> str:
    """The form before ます: 書く -> 書き, 食べる -> 食べ."""
    if group == "5":
        return verb[:-1] + _I_ROW[verb[-1]]
    return verb[:-2] + "し" if group == "s" else verb[:-1]


def te(verb: str, group: VerbGroup) -> str:
    """書く -> 書いて, 行く -> 行って, 飲む -> 飲んで."""
    if verb.endswith("行く"):
        return verb[:-1] + "って"
    return verb[:-1] + _TE[verb[-1]] if group == "5" else stem(verb, group) + "て"


def ta(verb: str, group: VerbGroup) -> str:
    """書く -> 書いた, 飲む -> 飲んだ."""
    form = te(verb, group)
    return form[:-1] + form[-1].translate(_TA)


def nai_stem(verb: str, group: VerbGroup) -> str:
    """The form before ない: 書く -> 書か, 買う -> 買わ, する -> し."""
    return verb[:-1] + _A_ROW[verb[-1]] if group == "5" else stem(verb, group)


def potential_stem(verb: str, group: VerbGroup) -> str:
    """The potential form without る: 書く -> 書け, 食べる -> 食べられ, する -> でき."""
    if group == "5":
        return verb[:-1] + _E_ROW[verb[-1]]
    return verb[:-2] + "でき" if group == "s" else verb[:-1] + "られ"


def adjective_stem(adjective: str, kind: Literal["i", "na"]) -> str:
    """大きい -> 大き; な-adjectives are listed by their stem."""
    return adjective[:-1] if kind == "i" else adjective
