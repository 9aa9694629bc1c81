"""Adjectives, each with the topics of the nouns it may describe. な-adjectives are listed without な."""

from typing import Literal

from seqgen_cli.data.corpora.phrasebook.tables import entries
from seqgen_cli.data.corpora.phrasebook.words import Adjective

_I: Literal["i"] = "i"
_NA: Literal["na"] = "na"


def read(kind: Literal["i", "na"], topics: str, table: str) -> tuple[Adjective, ...]:
    """The adjectives of a table of `Japanese English` entries; `_` is a space."""
    return tuple(Adjective(ja, en, kind, frozenset(topics.split())) for ja, en in entries(table))


SIZES = read(_I, "goods machine furniture clothes building instrument house area animal", "大きい big, 小さい small")
AGES = (
    *read(_I, "goods machine furniture clothes building instrument house reading", "古い old"),
    *read(_I, "goods machine furniture clothes building instrument house reading show", "新しい new"),
)
PRICES = read(_I, "goods machine furniture clothes instrument reading food dish drink shop", "高い expensive, 安い cheap")
WEIGHTS = read(_I, "goods machine furniture instrument", "重い heavy, 軽い light")
LENGTHS = read(_I, "clothes reading show event", "長い long, 短い short")
COLOURS = read(
    _I, "goods clothes machine furniture house", "赤い red, 青い blue, 白い white, 黒い black, 黄色い yellow, 茶色い brown"
)
TASTES = (
    *read(_I, "food dish", "おいしい delicious, まずい bad"),
    *read(_I, "food dish drink", "甘い sweet, 酸っぱい sour"),
    *read(_I, "dish", "辛い spicy, 塩辛い salty, 脂っこい greasy"),
    *read(_NA, "food", "新鮮 fresh"),
    *read(_I, "food", "硬い hard, 柔らかい soft"),
)
CONTENTS = (
    *read(_I, "reading show event", "面白い interesting, つまらない boring, 素晴らしい wonderful, 悲しい sad"),
    *read(_I, "reading subject language", "難しい difficult"),
    *read(_NA, "reading show", "有名 famous"),
    *read(_NA, "reading subject language", "簡単 simple"),
)
QUALITIES = (
    *read(_NA, "goods machine furniture clothes", "丈夫 sturdy"),
    *read(_NA, "goods machine", "便利 useful"),
    *read(_NA, "goods furniture clothes", "すてき lovely, 派手 flashy, 地味 plain"),
    *read(_I, "goods clothes animal", "かわいい cute"),
    *read(_I, "goods clothes building area", "美しい beautiful"),
    *read(_I, "goods clothes machine house", "汚い dirty"),
    *read(_I, "goods clothes reading", "厚い thick, 薄い thin"),
)
AREAS = (
    *read(_I, "area", "うるさい noisy, 暗い dark"),
    *read(_NA, "area", "静か quiet, にぎやか lively, きれい clean, 便利 convenient"),
)
CHARACTERS = (
    *read(_I, "character", "若い young, 忙しい busy, 優しい gentle, 背が高い tall, 厳しい strict"),
    *read(_NA, "character", "親切 kind, 真面目 serious, 元気 cheerful, 有名 famous, 正直 honest"),
)
TEMPERATURES = read(_I, "weather", "暑い hot, 寒い cold, 暖かい warm, 涼しい cool, 蒸し暑い humid")
