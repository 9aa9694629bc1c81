"""Asking, inviting, advising, being allowed and having to."""

from __future__ import annotations

from seqgen_cli.data.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.phrasebook.english import capital
from seqgen_cli.data.phrasebook.lexicon import actions, nouns, people, places, times
from seqgen_cli.data.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.phrasebook.lexicon.times import read
from seqgen_cli.data.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.phrasebook.words import Action, Noun, Person, Place, Verb, Word

_PORTABLE = (*nouns.GOODS[:8], *nouns.GOODS[9:13], *nouns.STATIONERY, *nouns.READINGS, *nouns.MACHINES[:3])
_HANDED = (verb("見せる", "show"), verb("渡す", "hand"), verb("貸す", "lend"), verb("あげる", "give"))
_USED = (*nouns.FURNITURE, *nouns.MACHINES, *nouns.GOODS, *nouns.STATIONERY, *nouns.INSTRUMENTS)
_USES = (verb("使う", "use"), verb("借りる", "borrow"), verb("洗う", "wash"), verb("開ける", "open"))
_WASHED, _OPENED = (
    ("カップ", "皿", "タオル", "スプーン", "フォーク", "毛布", "カーテン", "車", "自転車"),
    ("箱", "かばん", "スーツケース", "引き出し", "封筒", "傘"),
)
_FIXED = ("冷蔵庫", "洗濯機", "ピアノ", "ベッド", "ソファー", "棚", "引き出し", "鏡", "テーブル", "机")
_INVITED = (*actions.WATCHING, *actions.EATING, *actions.DRINKING, *actions.PLAYING_SPORTS, *actions.OUTINGS, *actions.STUDYING)
_DUTIES = (*actions.CHORES, *actions.STUDYING, *actions.WRITING, *actions.SHOPPING)
_CONDITIONS = read(
    "疲れている you_are_tired, 忙しい you_are_busy, 暇な you_are_free, 眠い you_are_sleepy, 病気の you_are_sick, 悲しい you_are_sad, "
    "おなかがすいた you_are_hungry, のどが渇いた you_are_thirsty"
)
_ADVISED = {
    "疲れている": (*actions.LISTENING, *actions.HOUSEWORK[3:]),
    "忙しい": (*actions.DRINKING[:3], *actions.EATING[8:14]),
    "暇な": (*actions.READING, *actions.STUDYING, *actions.CLEANING, *actions.WATCHING),
    "眠い": (*actions.DRINKING[:3], *actions.HOUSEWORK[3:], *actions.OUTINGS[:1]),
    "病気の": (*actions.DRINKING[4:7], *actions.EATING[:8]),
    "悲しい": (*actions.LISTENING, *actions.WATCHING[:3], *actions.OUTINGS, *actions.READING[1:5]),
    "おなかがすいた": actions.EATING,
    "のどが渇いた": actions.DRINKING[:12],
}
_ERRANDS = (*actions.CHORES, *actions.BUYING_FOOD, *actions.CARRYING, *actions.MAKING, *actions.PICTURES[:1])


@construction(person=people.THIRD, this=THIS, thing=_PORTABLE, act=_HANDED)
def hand_to(person: Person, this: Demonstrative, thing: Noun, act: Verb) -> Pair:
    return (
        f"{person.ja}に{this.ja}{thing.ja}を{act.te}ください。",
        f"Please {act.en} {this.with_noun(thing)} to {person.object}.",
    )


@construction(this=THIS, thing=_USED, act=_USES)
def may_i(this: Demonstrative, thing: Noun, act: Verb) -> Pair:
    if (act.en == "wash" and thing.ja not in _WASHED) or (act.en == "open" and thing.ja not in _OPENED):
        return None
    if act.en == "borrow" and thing.ja in _FIXED:
        return None
    return f"{this.ja}{thing.ja}を{act.te}もいいですか。", f"May I {act.en} {this.with_noun(thing)}?"


@construction(when=times.SOON, action=_INVITED)
def would_you_like(when: Word, action: Action) -> Pair:
    return f"{when.ja}一緒に{action.stem}ませんか。", f"Would you like to {action.base} with me {when.en}?"


@construction(when=times.SOON, who=people.PEOPLE, action=_DUTIES)
def has_to(when: Word, who: Person, action: Action) -> Pair:
    return (
        f"{when.ja}、{who.ja}は{action.nai_stem}なければなりません。",
        capital(f"{who.en} {who.have} to {action.base} {when.en}."),
    )


@construction(action=_ERRANDS, when=times.SOON)
def please_do(action: Action, when: Word) -> Pair:
    return f"すみませんが、{when.ja}{action.te}ください。", f"Excuse me, but please {action.base} {when.en}."


@construction(
    condition=_CONDITIONS,
    action=(
        *actions.MEALS,
        *actions.READING,
        *actions.WATCHING,
        *actions.STUDYING,
        *actions.LISTENING,
        *actions.CLEANING,
        *actions.OUTINGS,
        *actions.HOUSEWORK[3:],
    ),
)
def you_should(condition: Word, action: Action) -> Pair:
    if action not in _ADVISED[condition.ja]:
        return None
    return f"{condition.ja}ときは、{action.ta}ほうがいいです。", f"You should {action.base} when {condition.en}."


@construction(day=times.WEEKDAYS, place=(*places.INDOORS, *places.OUTDOORS), friend=people.THIRD, action=actions.ANYWHERE)
def let_us_with(day: Word, place: Place, friend: Person, action: Action) -> Pair:
    if not action.fits(place):
        return None
    return (
        f"{day.ja}に{place.ja}で{friend.ja}と{action.stem}ましょう。",
        f"Let's {action.base} {place.there} with {friend.object} on {day.en}.",
    )


@construction(person=people.FRIENDS, action=_ERRANDS)
def tell_to(person: Person, action: Action) -> Pair:
    return (
        f"{person.ja}に{action.plain}ように言ってください。",
        f"Please tell {person.en} to {action.base}.",
    )


CONSTRUCTIONS = collect(list(globals().values()))
