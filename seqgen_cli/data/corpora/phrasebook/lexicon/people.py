"""People: pronouns, the family, friends by name, strangers by name, and the relatives of others."""

from typing import Literal, cast

from seqgen_cli.data.corpora.phrasebook.lexicon.nouns import read
from seqgen_cli.data.corpora.phrasebook.tables import entries, phrases
from seqgen_cli.data.corpora.phrasebook.words import Person

_Pronoun = Literal["I", "we", "he", "she", "they"]

I = Person("私", "I", "I")  # noqa: E741 (the word itself)
PRONOUNS = (
    I,
    Person("私たち", "we", "we"),
    Person("彼", "he", "he"),
    Person("彼女", "she", "she"),
    Person("彼ら", "they", "they"),
)

# Who is spoken of, and may not be the family: "she and my mother" would be odd for one's mother.
OTHERS = PRONOUNS[2:]


def _read(table: str, pronoun: str, own: str = "", honorific: str = "") -> tuple[Person, ...]:
    return tuple(Person(ja + honorific, own + en, cast(_Pronoun, pronoun)) for ja, en in entries(table))


FAMILY = (
    *_read("父 father, 兄 older_brother, 弟 younger_brother, 祖父 grandfather, おじ uncle, 夫 husband, 息子 son", "he", "my "),
    *_read("母 mother, 姉 older_sister, 妹 younger_sister, 祖母 grandmother, おば aunt, 妻 wife, 娘 daughter", "she", "my "),
)
FRIENDS = (
    *_read("健 Ken, 一郎 Ichiro, 大輔 Daisuke, トム Tom, ジョン John, ピーター Peter, マルコ Marco", "he", honorific="さん"),
    *_read("由美 Yumi, 直美 Naomi, 恵子 Keiko, メアリー Mary, マリア Maria, アンナ Anna, リン Lynn", "she", honorific="さん"),
)
THIRD = (*FAMILY, *FRIENDS)
PEOPLE = (*PRONOUNS, *THIRD)
# Whose things: no "they", which English would have to explain.
OWNERS = (I, *FAMILY, *FRIENDS)
# Who may be near in age to the speaker.
YOUNG = tuple(person for person in THIRD if person.ja not in ("父", "母", "祖父", "祖母", "おじ", "おば"))

RELATIVES = (
    *_read("お父さん father, お兄さん older_brother, 弟さん younger_brother, おじいさん grandfather, おじさん uncle", "he"),
    *_read("お母さん mother, お姉さん older_sister, 妹さん younger_sister, おばあさん grandmother, おばさん aunt", "she"),
)
SURNAMES = phrases(
    "田中 Tanaka, 佐藤 Sato, 鈴木 Suzuki, 山田 Yamada, 高橋 Takahashi, 中村 Nakamura, スミス Smith, ブラウン Brown, "
    "ミラー Miller, ガルシア Garcia, リー Lee, キム Kim"
)
ACQUAINTANCES = phrases(
    "友達 friend, 同僚 colleague, 隣人 neighbor, 幼なじみ childhood_friend, 同級生 classmate, いとこ cousin, 上司 boss"
)
BROTHERS = read("person", "人", "兄 older_brother, 弟 younger_brother")
SISTERS = read("person", "人", "姉 older_sister, 妹 younger_sister")
