"""Asking, inviting, advising, being allowed and having to."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import joined, named, phrases, without
from seqgen_cli.data.corpora.phrasebook.words import Noun, Person, Place, Verb, Word

_PORTABLE = (
    *without(nouns.GOODS, "カーテン 枕 ナイフ"),
    *nouns.STATIONERY,
    *nouns.READINGS,
    *named(nouns.MACHINES, "カメラ パソコン"),
)
_HANDED = (verb("見せる", "show"), verb("渡す", "hand"), verb("貸す", "lend"), verb("あげる", "give"))
_USED = (
    *named(nouns.PARTS_OF_HOUSE, "窓 ドア 門"),
    *nouns.FURNITURE,
    *nouns.MACHINES,
    *nouns.GOODS,
    *nouns.STATIONERY,
    *nouns.INSTRUMENTS,
)
_USES = (verb("使う", "use"), verb("借りる", "borrow"), verb("洗う", "wash"), verb("開ける", "open"), verb("閉める", "close"))
_WASHED, _OPENED = (
    ("カップ", "皿", "タオル", "スプーン", "フォーク", "毛布", "カーテン", "車", "自転車"),
    ("箱", "かばん", "スーツケース", "引き出し", "封筒", "傘", "窓", "ドア", "門", "カーテン"),
)
_FIXED = ("冷蔵庫", "洗濯機", "ピアノ", "ベッド", "ソファー", "棚", "引き出し", "鏡", "テーブル", "机")
_INVITED = (*actions.WATCHING, *actions.EATING, *actions.DRINKING, *actions.PLAYING_SPORTS, *actions.OUTINGS, *actions.STUDYING)
_DUTIES = (*actions.CHORES, *actions.STUDYING, *actions.WRITING, *actions.SHOPPING)
_CONDITIONS = phrases(
    "疲れている tired, 忙しい busy, 暇な free, 眠い sleepy, 病気の sick, 悲しい sad, おなかがすいた hungry, のどが渇いた thirsty"
)
_HOT = named(actions.DRINKING, "コーヒーを飲む 紅茶を飲む 緑茶を飲む ココアを飲む")
_OUT = named(actions.OUTINGS, "散歩する 泳ぐ 走る")
_QUICK = named(
    actions.EATING,
    "ハンバーガーを食べる サンドイッチを食べる おにぎりを食べる ホットドッグを食べる ピザを食べる パンを食べる バナナを食べる",
)
_LIGHT = named(
    actions.EATING, "りんごを食べる オレンジを食べる 桃を食べる 梨を食べる うどんを食べる スープを食べる アイスクリームを食べる"
)
_REST = named(actions.HOUSEWORK, "昼寝する シャワーを浴びる")
# What one does in each condition.
_RELIEVED: dict[str, tuple[Action, ...]] = {
    "疲れている": (*actions.LISTENING, *_REST, *actions.DRINKING),
    "忙しい": (*_HOT, *_QUICK),
    "暇な": (*actions.READING, *actions.STUDYING, *actions.CLEANING, *actions.WATCHING, *actions.PLAYING_SPORTS, *actions.BAKING),
    "眠い": (*_HOT, *_REST, *named(_OUT, "散歩する")),
    "病気の": (*_LIGHT, *named(actions.DRINKING, "水を飲む 牛乳を飲む オレンジジュースを飲む 緑茶を飲む")),
    "悲しい": (
        *actions.LISTENING,
        *named(actions.WATCHING, "映画を見る アニメを見る"),
        *_OUT,
        *actions.READING,
        *actions.PLAYING_MUSIC,
    ),
    "おなかがすいた": actions.EATING,
    "のどが渇いた": without(actions.DRINKING, "ワインを飲む ビールを飲む ココアを飲む"),
}
_ADVISED = (*actions.STUDYING, *actions.CLEANING, *actions.PLAYING_SPORTS, *_OUT, *actions.EXERCISE, *actions.CHORES_AT_HOME)
_ADVISED = (*_ADVISED, *actions.WASHING, *named(actions.READING, "本を読む 新聞を読む"), *actions.PLAYING_MUSIC)
_ERRANDS = (*actions.CHORES, *actions.BUYING_FOOD, *actions.CARRYING, *actions.MAKING, *named(actions.PICTURES, "写真を撮る"))


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
    if (act.en == "close" and thing.ja not in _OPENED) or (act.en in ("use", "borrow") and thing.topic == "house"):
        return None
    if act.en == "borrow" and thing.ja in _FIXED:
        return None
    return f"{this.ja}{thing.ja}を{act.te}もいいですか。", f"May I {act.en} {this.with_noun(thing)}?"


@construction(when=times.SOON, action=_INVITED)
def would_you_like(when: Word, action: Action) -> Pair:
    return f"{when.ja}一緒に{action.stem}ませんか。", f"Would you like to {action.base} with me {when.en}?"


@construction(when=times.LATER, who=people.PEOPLE, action=_DUTIES)
def has_to(when: Word, who: Person, action: Action) -> Pair:
    return (
        f"{when.ja}、{who.ja}は{action.nai_stem}なければなりません。",
        capital(f"{who.en} {who.have} to {action.base} {when.en}."),
    )


@construction(action=_ERRANDS, when=times.SOON)
def please_do(action: Action, when: Word) -> Pair:
    return f"すみませんが、{when.ja}{action.te}ください。", f"Excuse me, but please {action.base} {when.en}."


@construction(who=people.PEOPLE, condition=_CONDITIONS, action=joined(*_RELIEVED.values()))
def does_when(who: Person, condition: Word, action: Action) -> Pair:
    if action not in _RELIEVED[condition.ja]:
        return None
    return (
        f"{who.ja}は{condition.ja}とき、{action.stem}ます。",
        capital(f"{who.en} {who.present(action.verb)}{action.many} when {who.pronoun} {who.be} {condition.en}."),
    )


@construction(when=times.HABITUALLY, action=_ADVISED)
def should_do(when: Word, action: Action) -> Pair:
    return f"{when.ja}{action.ta}ほうがいいです。", f"You should {action.verb.en}{action.many} {when.en}."


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
