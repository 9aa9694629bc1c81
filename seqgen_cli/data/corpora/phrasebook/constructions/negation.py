"""What is not, was not, need not and must not be."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.tables import named
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Word

DESCRIBED = (
    *nouns.CLOTHES,
    *nouns.GOODS,
    *nouns.FURNITURE,
    *nouns.MACHINES,
    *nouns.READINGS,
    *nouns.SHOWS,
    *nouns.BUILDINGS,
    *nouns.FRUIT,
)
DESCRIBING = tuple(
    {
        adjective.ja: adjective
        for group in (
            (*adjectives.SIZES, *adjectives.AGES, *adjectives.PRICES, *adjectives.WEIGHTS, *adjectives.LENGTHS),
            (*adjectives.TASTES, *adjectives.CONTENTS, *adjectives.QUALITIES),
        )
        for adjective in group
    }.values()
)
_NOT_BUT = (
    nouns.SEASONINGS,
    nouns.DRINKS,
    nouns.FRUIT,
    nouns.GROCERIES,
    nouns.ANIMALS,
    nouns.GOODS,
    nouns.STATIONERY,
    nouns.READINGS,
)
_FORBIDDEN = (
    *actions.EATING,
    *actions.DRINKING,
    *actions.PLAYING_SPORTS,
    *actions.PLAYING_MUSIC,
    *named(actions.PICTURES, "写真を撮る"),
    *actions.RIDING,
)
_SILENT = (
    *places.read(
        "", "in", "図書館 library, 美術館 art_museum, 病院 hospital, 劇場 theater, 教室 classroom, 寺 temple, 博物館 museum"
    ),
)
_WORKING = (*actions.CLEANING, *actions.WASHING, *actions.REPAIRING, *actions.WRITING, *actions.STUDYING, *actions.CHORES_AT_HOME)
_SERVED = (*actions.MEALS, *actions.READING, *actions.WATCHING, *actions.STUDYING, *actions.CHORES, *actions.BAKING)


@construction(who=people.PEOPLE, action=actions.EVERYDAY)
def never_does(who: Person, action: Action) -> Pair:
    never = f"{who.present(action.verb)}{action.many}"
    return f"{who.ja}は全然{action.stem}ません。", capital(f"{who.en} never {never}.")


@construction(who=people.PEOPLE, action=actions.EVERYDAY)
def seldom_does(who: Person, action: Action) -> Pair:
    return f"{who.ja}はあまり{action.stem}ません。", capital(f"{who.en} {who.do} not {action.verb.en}{action.many} very often.")


@construction(when=times.RECENTLY, who=people.PEOPLE, action=actions.DONE)
def did_not(when: Word, who: Person, action: Action) -> Pair:
    return f"{when.ja}、{who.ja}は{action.stem}ませんでした。", capital(f"{who.en} did not {action.base} {when.en}.")


@construction(this=THIS, thing=DESCRIBED, how=DESCRIBING)
def is_not_very(this: Demonstrative, thing: Noun, how: Adjective) -> Pair:
    if not how.fits(thing):
        return None
    return f"{this.ja}{thing.ja}はあまり{how.negative}。", capital(f"{this.with_noun(thing)} {thing.be} not very {how.en}.")


@construction(this=THIS[:2], thing=DESCRIBED, how=DESCRIBING)
def was_not(this: Demonstrative, thing: Noun, how: Adjective) -> Pair:
    if not how.fits(thing):
        return None
    return f"{this.ja}{thing.ja}は{how.negative}でした。", capital(f"{this.with_noun(thing)} {thing.was} not {how.en}.")


@construction(
    this=THIS, wrong=[noun for group in _NOT_BUT for noun in group], right=[noun for group in _NOT_BUT for noun in group]
)
def not_but(this: Demonstrative, wrong: Noun, right: Noun) -> Pair:
    if wrong is right or wrong.topic != right.topic or (wrong.number == "plural") != (right.number == "plural"):
        return None
    return (
        f"{this.pronoun}は{wrong.ja}ではなくて{right.ja}です。",
        capital(f"{this.alone(wrong)} {wrong.be} not {wrong.a} but {right.a}."),
    )


@construction(who=people.PEOPLE, action=actions.DONE)
def not_yet(who: Person, action: Action) -> Pair:
    return f"{who.ja}はまだ{action.te}いません。", capital(f"{who.en} {who.have} not {action.participle} yet.")


@construction(place=_SILENT, action=_FORBIDDEN)
def must_not(place: Place, action: Action) -> Pair:
    return f"{place.ja}で{action.te}はいけません。", f"You must not {action.verb.en}{action.many} {place.there}."


@construction(when=times.LATER, who=people.PEOPLE, action=_WORKING)
def need_not(when: Word, who: Person, action: Action) -> Pair:
    return (
        f"{when.ja}、{who.ja}は{action.nai_stem}なくてもいいです。",
        capital(f"{who.en} {who.do} not have to {action.base} {when.en}."),
    )


@construction(place=(*_SILENT, *places.OUTDOORS), action=_FORBIDDEN)
def please_do_not(place: Place, action: Action) -> Pair:
    if action.fits(place):
        return None
    return f"{place.ja}では{action.nai_stem}ないでください。", f"Please do not {action.verb.en}{action.many} {place.there}."


@construction(who=people.PEOPLE, action=_SERVED, when=times.SOON)
def will_not(who: Person, action: Action, when: Word) -> Pair:
    return f"{who.ja}は{when.ja}{action.stem}ません。", capital(f"{who.en} will not {action.base} {when.en}.")


CONSTRUCTIONS = collect(list(globals().values()))
