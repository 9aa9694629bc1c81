"""Nouns described by clauses."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.constructions.negation import DESCRIBED, DESCRIBING
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import named, without
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Verb, Word

_MADE = (
    *actions.BAKING,
    *actions.MAKING,
    *actions.REPAIRING,
    *actions.BUYING_GOODS,
    *actions.WRITING,
    *actions.PICTURES,
    *actions.SELLING,
)
_BOUGHT = tuple(noun for noun in DESCRIBED if noun.topic not in ("building", "show"))
_WEAR = {
    "着る": ("シャツ", "セーター", "ジャケット", "コート", "ドレス", "着物", "スーツ"),
    "はく": ("スカート", "靴", "靴下", "ブーツ", "ズボン"),
    "かぶる": ("帽子",),
    "する": ("ネクタイ", "ベルト"),
}
_WORN_TE = {
    noun: {"着る": "着て", "はく": "はいて", "かぶる": "かぶって", "する": "して"}[how]
    for how, worn in _WEAR.items()
    for noun in worn
}
_POSITIONS = (
    verb("立つ", "stand"),
    verb("座る", "sit"),
    verb("待つ", "wait"),
    verb("眠る", "sleep"),
    verb("歌う", "sing"),
    verb("笑う", "laugh"),
)
_MOVES = (verb("眠る", "sleep"), verb("走る", "run"), verb("歩く", "walk"), verb("遊ぶ", "play"))
_SKILLS = (
    *actions.PLAYING_MUSIC,
    *actions.SPEAKING,
    *without(actions.DRIVING, "車を運転する"),
    *actions.TEACHING,
    *actions.REPAIRING,
)
_PETS = named(nouns.ANIMALS, "犬 猫 うさぎ 馬 牛 豚 羊 猿")


@construction(this=THIS, who=people.PEOPLE, action=_MADE)
def this_is_what(this: Demonstrative, who: Person, action: Action) -> Pair:
    noun = action.noun
    assert noun is not None
    return (
        f"{this.pronoun}は{who.ja}が{action.verb.ta}{noun.ja}です。",
        capital(f"{this.alone(noun)} {noun.be} the {noun.en} that {who.en} {action.verb.past}."),
    )


@construction(when=times.RECENTLY, who=people.PEOPLE, thing=_BOUGHT, how=DESCRIBING)
def what_was_bought(when: Word, who: Person, thing: Noun, how: Adjective) -> Pair:
    if not how.fits(thing):
        return None
    return (
        f"{who.ja}が{when.ja}買った{thing.ja}はとても{how.ja}です。",
        f"The {thing.en} that {who.en} bought {when.en} {thing.be} very {how.en}.",
    )


@construction(colour=adjectives.COLOURS, thing=nouns.CLOTHES, friend=people.FRIENDS, kin=people.RELATIVES)
def person_wearing(colour: Adjective, thing: Noun, friend: Person, kin: Person) -> Pair:
    return (
        f"{colour.before_noun}{thing.ja}を{_WORN_TE[thing.ja]}いる人は{friend.ja}の{kin.ja}です。",
        f"The person wearing {thing.described(colour.en)} is {friend.whose} {kin.en}.",
    )


@construction(side=named(places.RELATIONS, "隣 前 後ろ"), mark=places.TOWN, does=_POSITIONS, friend=people.FRIENDS)
def person_standing(side: Word, mark: Place, does: Verb, friend: Person) -> Pair:
    return (
        f"{mark.ja}の{side.ja}で{does.te}いる人は{friend.ja}です。",
        f"The person {does.ing} {side.en} {mark.en} is {friend.en}.",
    )


@construction(who=people.PEOPLE, work=places.WORKPLACES, side=places.RELATIONS, mark=places.TOWN)
def place_where_works(who: Person, work: Place, side: Word, mark: Place) -> Pair:
    if work is mark:
        return None
    verb_ = who.present(verb("働く", "work"))
    return (
        f"{who.ja}が働いている{work.ja}は{mark.ja}の{side.ja}にあります。",
        f"{capital(work.en)} where {who.en} {verb_} is {side.en} {mark.en}.",
    )


@construction(who=people.PEOPLE, action=_SKILLS)
def looking_for_someone(who: Person, action: Action) -> Pair:
    noun = action.noun
    assert noun is not None
    be = f"{who.be} looking for"
    return (
        f"{who.ja}は{noun.ja}{action.lead[len(noun.ja) :]}{action.verb.potential_stem}る人を探しています。",
        capital(f"{who.en} {be} someone who can {action.base}."),
    )


@construction(place=without(places.FIELDS, "市場 谷"), does=_MOVES, animal=_PETS, owner=people.OWNERS)
def animal_that(place: Place, does: Verb, animal: Noun, owner: Person) -> Pair:
    return (
        f"{place.ja}で{does.te}いる{animal.ja}は{owner.ja}のです。",
        f"The {animal.en} {does.ing} {place.there} is {owner.theirs}.",
    )


@construction(job=nouns.JOBS, place=places.CITIES, who=people.PEOPLE)
def knows_someone(job: Noun, place: Place, who: Person) -> Pair:
    know = "knows" if who.third else "know"
    return (
        f"{who.ja}は{place.ja}に住んでいる{job.ja}を知っています。",
        capital(f"{who.en} {know} {job.a} who lives in {place.en}."),
    )


@construction(
    who=people.PEOPLE,
    thing=(*nouns.GOODS, *nouns.STATIONERY, *nouns.CLOTHES, *nouns.READINGS),
    friend=people.THIRD,
    when=times.RECENTLY,
)
def lost_what_was_given(who: Person, thing: Noun, friend: Person, when: Word) -> Pair:
    if who is friend or (who in people.PRONOUNS and who is not people.I):
        return None
    return (
        f"{who.ja}は{when.ja}{friend.ja}に借りた{thing.ja}をなくしました。",
        capital(f"{who.en} lost the {thing.en} that {who.pronoun} borrowed from {friend.object} {when.en}."),
    )


CONSTRUCTIONS = collect(list(globals().values()))
