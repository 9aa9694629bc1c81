"""What people do: verbs with the objects that make sense for them, and verbs that need none."""

from collections.abc import Sequence

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.lexicon import nouns
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import entries, named, without
from seqgen_cli.data.corpora.phrasebook.words import Noun


def _with(
    ja: str, en: str, objects: Sequence[Noun], kind: str, particle: str = "を", definite: bool = False
) -> tuple[Action, ...]:
    """The verb with each of the objects."""
    used = verb(ja, en)
    return tuple(
        Action(f"{noun.ja}{particle}{ja}", f"{en} {noun.en}", used, noun, noun.ja + particle, kind, definite) for noun in objects
    )


def _alone(kind: str, table: str) -> tuple[Action, ...]:
    """Verbs without an object: `Japanese English` entries."""
    return tuple(Action(ja, en, verb(ja, en), None, "", kind) for ja, en in entries(table))


_BAKED = nouns.read("dish", "つ", "ケーキ cake, アップルパイ apple_pie, ピザ pizza")
_BAKED = (*_BAKED, *nouns.read("dish", "つ", "クッキー cookies", "plural"))
_HOUSEHOLD = nouns.read("area", "", "部屋 room, 台所 kitchen, 風呂場 bathroom, 庭 garden, 廊下 hallway, 車庫 garage")

EATING = _with("食べる", "eat", (*nouns.FRUIT, *nouns.DISHES, *named(nouns.GROCERIES, "肉 魚 鶏肉 牛肉 豚肉 パン チーズ")), "eat")
DRINKING = _with("飲む", "drink", nouns.DRINKS, "drink")
READING = _with("読む", "read", nouns.READINGS, "read")
WRITING = _with("書く", "write", named(nouns.READINGS, "手紙 小説 報告書 本"), "study")
BUYING_FOOD = _with("買う", "buy", (*nouns.FRUIT, *nouns.VEGETABLES, *nouns.GROCERIES), "food")
BUYING_GOODS = _with("買う", "buy", (*nouns.CLOTHES, *nouns.GOODS, *nouns.MACHINES, *nouns.FURNITURE, *nouns.STATIONERY), "buy")
MAKING = _with("作る", "make", without(nouns.DISHES, "ステーキ ホットドッグ ケーキ アップルパイ ピザ"), "make")
BAKING = _with("焼く", "bake", _BAKED, "make")
CLEANING = _with("掃除する", "clean", _HOUSEHOLD, "", definite=True)
WASHING = _with("洗う", "wash", nouns.read("machine", "台", "車 car"), "", definite=True)
WASHING = (*WASHING, *_with("洗う", "wash", nouns.read("goods", "枚", "皿 dishes, 窓 windows", "plural"), "", definite=True))
REPAIRING = _with("直す", "repair", nouns.MACHINES, "", definite=True)
PAINTING = _with("塗る", "paint", nouns.PARTS_OF_HOUSE, "", definite=True)
BORROWING = _with("借りる", "borrow", nouns.BOOKS, "borrow")
WATCHING = _with("見る", "watch", nouns.SHOWS, "show")
LISTENING = _with("聞く", "listen to", nouns.MUSIC, "rest")
PLAYING_SPORTS = _with("する", "play", without(nouns.SPORTS, "将棋"), "play")
PLAYING_MUSIC = (
    *_with(
        "弾く",
        "play",
        [noun for noun in nouns.INSTRUMENTS if noun.ja not in ("フルート", "トランペット")],
        "music",
        definite=True,
    ),
    *_with(
        "吹く", "play", [noun for noun in nouns.INSTRUMENTS if noun.ja in ("フルート", "トランペット")], "music", definite=True
    ),
)
STUDYING = _with("勉強する", "study", (*nouns.LANGUAGES, *nouns.SUBJECTS), "study")
SPEAKING = _with("話す", "speak", nouns.LANGUAGES, "talk")
TEACHING = _with("教える", "teach", (*nouns.LANGUAGES, *nouns.SUBJECTS), "teach")
PICTURES = (
    *_with("撮る", "take", nouns.read("goods", "枚", "写真 picture"), "photo"),
    *_with("描く", "draw", nouns.read("goods", "枚", "似顔絵 portrait, 地図 map"), "photo"),
)
DRIVING = _with("運転する", "drive", nouns.read("machine", "台", "車 car, トラック truck, バス bus"), "")
RIDING = _with("乗る", "ride", nouns.read("machine", "台", "自転車 bicycle, 馬 horse, バイク motorcycle"), "", "に")
SEEKING = _with("探す", "look for", (*nouns.GOODS, *nouns.STATIONERY), "buy")
CARRYING = _with("運ぶ", "carry", (*nouns.FURNITURE, *named(nouns.MACHINES, "テレビ 洗濯機 扇風機")), "", definite=True)
SELLING = _with("売る", "sell", (*nouns.MACHINES, *nouns.FURNITURE), "")
OUTINGS = (
    *_alone("walk", "散歩する take_a_walk"),
    *_alone("swim", "泳ぐ swim"),
    *_alone("walk", "走る run"),
    *_alone("buy", "買い物する go_shopping"),
    *_alone("fish", "釣りをする go_fishing"),
)
EXERCISE = _alone("exercise", "運動する exercise")
HOUSEWORK = _alone(
    "home", "料理する cook, 洗濯する do_the_laundry, 宿題をする do_homework, 昼寝する take_a_nap, シャワーを浴びる take_a_shower"
)
CHORES_AT_HOME = without(HOUSEWORK, "昼寝する シャワーを浴びる")
MUSIC_MAKING = _alone("music", "踊る dance, 歌う sing")

MEALS = (*EATING, *DRINKING)
SHOPPING = (*BUYING_FOOD, *BUYING_GOODS)
HOBBIES = (
    *without(READING, "手紙を読む 報告書を読む"),
    *WATCHING,
    *LISTENING,
    *PLAYING_SPORTS,
    *PLAYING_MUSIC,
    *STUDYING,
    *PICTURES,
    *named(OUTINGS, "散歩する 泳ぐ 走る"),
    *MUSIC_MAKING,
)
CHORES = (*CLEANING, *WASHING, *REPAIRING, *PAINTING, *CHORES_AT_HOME)
AT_HOME = (*READING, *WRITING, *WATCHING, *LISTENING, *STUDYING, *BAKING, *MAKING, *HOUSEWORK)
ABILITIES = (
    *PLAYING_SPORTS,
    *PLAYING_MUSIC,
    *SPEAKING,
    *DRIVING,
    *RIDING,
    *MAKING,
    *BAKING,
    *named(OUTINGS, "泳ぐ"),
    *MUSIC_MAKING,
)
EVERYDAY = (
    *EATING,
    *without(DRINKING, "水を飲む"),
    *READING,
    *WATCHING,
    *LISTENING,
    *PLAYING_SPORTS,
    *STUDYING,
    *HOUSEWORK,
    *without(OUTINGS, "釣りをする"),
)
DONE = (*MEALS, *READING, *WRITING, *SHOPPING, *MAKING, *BAKING, *CHORES, *WATCHING, *STUDYING, *BORROWING, *SELLING, *SEEKING)
ANYWHERE = (
    *MEALS,
    *READING,
    *SHOPPING,
    *STUDYING,
    *PLAYING_SPORTS,
    *PICTURES,
    *named(OUTINGS, "散歩する 泳ぐ"),
    *MAKING,
    *BORROWING,
    *WRITING,
    *named(SPEAKING, "英語を話す 日本語を話す フランス語を話す"),
)
