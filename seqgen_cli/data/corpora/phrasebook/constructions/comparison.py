"""Comparing things, people and places, and saying what they are like."""

from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.constructions.negation import DESCRIBED, DESCRIBING
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import phrases
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Word

_GROUPS = places.read("", "in", "クラス class, 会社 company, 家族 family, 村 village", "this ")
_GROUPS = (*_GROUPS, *places.read("", "on", "チーム team", "this "))
_CITY_ADJECTIVES = tuple(
    a for a in (*adjectives.AREAS, *adjectives.QUALITIES[-4:]) if a.en in ("noisy", "quiet", "lively", "clean", "convenient")
)
_CITY_ADJECTIVES = (
    *_CITY_ADJECTIVES,
    *adjectives.read("i", "area", "美しい beautiful, 大きい big, 小さい small, 古い old, 新しい new"),
)
_CITIES = (*places.CITIES, *places.ABROAD)
_SHOPS = (
    *places.read("", "in", "店 store, デパート department_store, 町 town", "this "),
    *places.read("", "at", "市場 market", "this "),
)
_LIKE = verb("好く", "like")
_GROUPS_OF_TASTE = (
    *nouns.FRUIT,
    *nouns.DISHES,
    *nouns.DRINKS,
    *nouns.SPORTS,
    *nouns.SUBJECTS,
    *nouns.ANIMALS,
    *nouns.SEASONS,
    *nouns.MUSIC,
)
_CHANGING = nouns.read(
    "area", "", "町 town, 村 village, 公園 park, 通り street, 駅 station, 港 harbor, 学校 school, 図書館 library"
)
_YEARS_AGO = tuple(Word(f"{years.ja}年前", f"{years.en} years ago") for years in times.MANY)
_CONTRAST = {
    "positive": (
        "安い",
        "軽い",
        "丈夫",
        "便利",
        "かわいい",
        "美しい",
        "新しい",
        "面白い",
        "すてき",
        "おいしい",
        "有名",
        "素晴らしい",
    ),
    "negative": ("高い", "重い", "地味", "派手", "汚い", "古い", "長い", "つまらない", "難しい", "硬い", "悲しい"),
}


@construction(this=THIS, thing=DESCRIBED, other=THIS, how=DESCRIBING)
def this_more_than(this: Demonstrative, thing: Noun, other: Demonstrative, how: Adjective) -> Pair:
    if this is other or not how.fits(thing):
        return None
    that = {"この": "this one", "その": "that one", "あの": "that one over there"}[other.ja]
    if thing.number == "plural":
        that = {"この": "these", "その": "those", "あの": "those over there"}[other.ja]
    return (
        f"{this.ja}{thing.ja}は{other.ja}{thing.ja}より{how.ja}です。",
        capital(f"{this.with_noun(thing)} {thing.be} {how.comparative} than {that}."),
    )


@construction(who=people.THIRD, group=_GROUPS, how=adjectives.CHARACTERS)
def most_of_group(who: Person, group: Place, how: Adjective) -> Pair:
    return (
        f"{who.ja}はこの{group.ja}で一番{how.ja}です。",
        capital(f"{who.en} is the {how.superlative} {group.there}."),
    )


@construction(this=THIS, shop=_SHOPS, how=DESCRIBING, thing=DESCRIBED)
def most_in_shop(this: Demonstrative, shop: Place, how: Adjective, thing: Noun) -> Pair:
    if not how.fits(thing) or (thing.topic in ("show", "building")) != (shop.ja == "町"):
        return None
    return (
        f"{this.pronoun}はこの{shop.ja}で一番{how.before_noun}{thing.ja}です。",
        capital(f"{this.alone(thing)} {thing.be} the {how.superlative} {thing.en} {shop.there}."),
    )


@construction(first=_CITIES, second=_CITIES, how=_CITY_ADJECTIVES)
def not_as_as(first: Place, second: Place, how: Adjective) -> Pair:
    if first is second:
        return None
    return f"{first.ja}は{second.ja}ほど{how.negative}。", f"{first.en} is not as {how.en} as {second.en}."


@construction(who=people.PEOPLE, less=_GROUPS_OF_TASTE, more=_GROUPS_OF_TASTE)
def likes_better(who: Person, less: Noun, more: Noun) -> Pair:
    if less is more or less.topic != more.topic:
        return None
    return (
        f"{who.ja}は{less.ja}より{more.ja}のほうが好きです。",
        capital(f"{who.en} {who.present(_LIKE)} {more.many} better than {less.many}."),
    )


@construction(first=people.THIRD, second=people.THIRD, how=adjectives.CHARACTERS)
def person_more_than(first: Person, second: Person, how: Adjective) -> Pair:
    if first is second:
        return None
    return f"{first.ja}は{second.ja}より{how.ja}です。", capital(f"{first.en} is {how.comparative} than {second.object}.")


@construction(this=THIS, thing=DESCRIBED, good=DESCRIBING, bad=DESCRIBING)
def but_is(this: Demonstrative, thing: Noun, good: Adjective, bad: Adjective) -> Pair:
    if not (good.fits(thing) and bad.fits(thing)) or good.ja not in _CONTRAST["positive"] or bad.ja not in _CONTRAST["negative"]:
        return None
    if {good.ja, bad.ja} in ({"安い", "高い"}, {"軽い", "重い"}, {"新しい", "古い"}, {"面白い", "つまらない"}):
        return None
    return (
        f"{this.ja}{thing.ja}は{good.ja}ですが、少し{bad.ja}です。",
        capital(f"{this.with_noun(thing)} {thing.be} {good.en}, but a little {bad.en}."),
    )


@construction(who=people.PEOPLE, this=THIS[:2], thing=DESCRIBED, how=DESCRIBING)
def thinks(who: Person, this: Demonstrative, thing: Noun, how: Adjective) -> Pair:
    if not how.fits(thing):
        return None
    think = "thinks" if who.third else "think"
    return (
        f"{who.ja}は{this.ja}{thing.ja}は{how.plain}と思っています。",
        capital(f"{who.en} {think} {this.with_noun(thing)} {thing.be} {how.en}."),
    )


@construction(degree=phrases("とても very, 本当に really, 少し a_little"), how=DESCRIBING, thing=DESCRIBED, who=people.OWNERS)
def belongs(degree: Word, how: Adjective, thing: Noun, who: Person) -> Pair:
    if (
        not how.fits(thing)
        or thing.topic in ("building", "show", "food")
        or (degree.en == "a little" and how.ja in _CONTRAST["positive"])
    ):
        return None
    return (
        f"{who.ja}の{thing.ja}は{degree.ja}{how.ja}です。",
        capital(f"{who.whose} {thing.en} {thing.be} {degree.en} {how.en}."),
    )


@construction(area=_CHANGING, when=_YEARS_AGO, how=adjectives.AREAS)
def has_become(area: Noun, when: Word, how: Adjective) -> Pair:
    return (
        f"この{area.ja}は{when.ja}より{how.adverb}なりました。",
        f"This {area.en} has become {how.comparative} than it was {when.en}.",
    )


CONSTRUCTIONS = collect(list(globals().values()))
