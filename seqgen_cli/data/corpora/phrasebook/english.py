"""English morphology: plurals, articles, verb forms, comparison, numbers. Irregular forms stand in the lexicon's tables
where they belong to one word (child/children, eat ate eaten), and here where they belong to spelling."""

_VOWELS = "aeiou"
# One-syllable endings and stressed last syllables that double their consonant before -ing and -ed.
_DOUBLING = frozenset({"run", "swim", "sit", "get", "cut", "put", "shop", "plan", "stop", "forget"})
_SPOKEN_WITH_CONSONANT = ("uni", "use", "eur", "one")
_SPOKEN_WITH_VOWEL = ("hour", "honest")
_SHORT_COMPARATIVES = frozenset({"gentle", "simple", "narrow"})
_IRREGULAR_COMPARISON = {"bad": ("worse", "worst")}
_THIRD_PERSON = {"have": "has", "be": "is"}

_ONES_TABLE = (
    "zero one two three four five six seven eight nine ten eleven twelve "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS_TABLE = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES, _TENS = _ONES_TABLE.split(), _TENS_TABLE.split()
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def plural(noun: str) -> str:
    """Regular plural: box -> boxes, city -> cities, toy -> toys."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def with_article(phrase: str) -> str:
    """The phrase with `a` or `an`, by sound: an umbrella, a uniform, an hour."""
    lower = phrase.lower()
    vowel = lower[0] in _VOWELS and not lower.startswith(_SPOKEN_WITH_CONSONANT)
    return ("an " if vowel or lower.startswith(_SPOKEN_WITH_VOWEL) else "a ") + phrase


def _head(verb: str) -> tuple[str, str]:
    """The word that inflects and the rest: "get up" -> ("get", " up")."""
    head, space, rest = verb.partition(" ")
    return head, space + rest


def third_person(verb: str) -> str:
    """go -> goes, study -> studies, play -> plays, get up -> gets up."""
    head, rest = _head(verb)
    if head in _THIRD_PERSON:
        return _THIRD_PERSON[head] + rest
    return (head + "es" if head.endswith("o") else plural(head)) + rest


def past(verb: str) -> str:
    """Regular past: wash -> washed, bake -> baked, study -> studied, shop -> shopped."""
    head, rest = _head(verb)
    if head in _DOUBLING:
        head += head[-1]
    if head.endswith("e"):
        return head + "d" + rest
    if head.endswith("y") and head[-2] not in _VOWELS:
        return head[:-1] + "ied" + rest
    return head + "ed" + rest


def ing(verb: str) -> str:
    """make -> making, swim -> swimming, see -> seeing, get up -> getting up."""
    head, rest = _head(verb)
    if head in _DOUBLING:
        head += head[-1]
    elif head.endswith("e") and not head.endswith(("ee", "ye", "oe")):
        head = head[:-1]
    return head + "ing" + rest


def _takes_endings(adjective: str) -> bool:
    """Whether comparison is by -er, -est (one syllable, or two ending in -y) rather than more, most."""
    if adjective.endswith("y") or adjective in _SHORT_COMPARATIVES:
        return True
    groups, inside = 0, False
    for letter in adjective.removesuffix("e"):
        groups += letter in _VOWELS and not inside
        inside = letter in _VOWELS
    return groups == 1 and " " not in adjective


def _compared(adjective: str, ending: str, word: str) -> str:
    if not _takes_endings(adjective):
        return f"{word} {adjective}"
    if adjective.endswith("e"):
        return adjective + ending[1:]
    if adjective.endswith("y"):
        return adjective[:-1] + "i" + ending
    short = adjective[-1] not in _VOWELS + "wxy" and adjective[-2] in _VOWELS and adjective[-3] not in _VOWELS
    return adjective + (adjective[-1] if short else "") + ending


def comparative(adjective: str) -> str:
    """big -> bigger, heavy -> heavier, famous -> more famous."""
    if adjective in _IRREGULAR_COMPARISON:
        return _IRREGULAR_COMPARISON[adjective][0]
    return _compared(adjective, "er", "more")


def superlative(adjective: str) -> str:
    """big -> biggest, heavy -> heaviest, famous -> most famous."""
    if adjective in _IRREGULAR_COMPARISON:
        return _IRREGULAR_COMPARISON[adjective][1]
    return _compared(adjective, "est", "most")


def number(value: int) -> str:
    """0 .. 99 in words: 42 -> forty-two."""
    if value < 20:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def ordinal(value: int) -> str:
    """3 -> 3rd, 11 -> 11th."""
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def ordinal_word(value: int) -> str:
    """1 .. 6 in words: first .. sixth."""
    return _ORDINALS[value - 1]


def possessive(name: str) -> str:
    """Ken -> Ken's, parents -> parents'."""
    return name + ("'" if name.endswith("s") else "'s")


def capital(text: str) -> str:
    """The text with its first letter capitalised."""
    return text[0].upper() + text[1:]
