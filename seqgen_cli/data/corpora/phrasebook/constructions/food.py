"""Eating, and ordering food."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, adjectives, nouns, people, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Number
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import named, phrases, without
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Word

_EATERIES = phrases("レストラン restaurant, 喫茶店 coffee_shop, ホテル hotel, 食堂 cafeteria, 市場 market")
_MEALS = phrases("朝ご飯 breakfast, 昼ご飯 lunch, 晩ご飯 dinner")
_TRIED = (*actions.MEALS, *actions.PLAYING_SPORTS, *actions.PLAYING_MUSIC, *actions.RIDING, *actions.DRIVING, *actions.BAKING)
_LEFT_OUT = named(
    (*nouns.VEGETABLES, *nouns.GROCERIES), "玉ねぎ トマト じゃがいも 卵 にんじん きゅうり チーズ バター 豆腐 海老 肉"
)
_MEAL_TIMES = without(times.RECENTLY, "先週")
_GOOD = tuple(taste for taste in (*adjectives.TASTES, *adjectives.PRICES) if "dish" in taste.topics)
_PLEASANT = ("おいしい", "安い", "甘い", "辛い")
_INGREDIENTS = (*nouns.FRUIT, *nouns.VEGETABLES, *nouns.GROCERIES)
_FOR_CAKES = (*nouns.FRUIT, *named(_INGREDIENTS, "卵 かぼちゃ チーズ バター チョコレート 蜂蜜 ジャム 果物 ナッツ"))
_FOR_MEALS = without(_INGREDIENTS, "チョコレート 蜂蜜 ジャム 果物 ナッツ パン " + " ".join(fruit.ja for fruit in nouns.FRUIT))
_DRINK = verb("飲む", "drink")


@construction(who=people.PEOPLE, dish=nouns.DISHES, friend=people.THIRD, drink=(*nouns.DISHES, *nouns.DRINKS))
def will_have(who: Person, dish: Noun, friend: Person, drink: Noun) -> Pair:
    if who is friend or dish is drink or who.pronoun == "they" or (who in people.OTHERS and friend in people.FAMILY):
        return None
    return (
        f"{who.ja}は{dish.ja}、{friend.ja}は{drink.ja}にします。",
        capital(f"{who.en} will have {dish.a}, and {friend.en} will have {drink.a}."),
    )


@construction(place=_EATERIES, dish=(*nouns.DISHES, *without(nouns.DRINKS, "水")), first=_GOOD, second=_GOOD)
def tastes(place: Word, dish: Noun, first: Adjective, second: Adjective) -> Pair:
    if first is second or not (first.fits(dish) and second.fits(dish)) or {first.ja, second.ja} >= {"安い", "高い"}:
        return None
    if (first.ja in _PLEASANT) != (second.ja in _PLEASANT) or {first.ja, second.ja} >= {"おいしい", "まずい"}:
        return None
    here = "この" if place.ja in ("レストラン", "喫茶店", "ホテル", "食堂") else "あの"
    this = "this" if here == "この" else "that"
    many = dish.many if dish.number == "count" else dish.en
    be = "are" if dish.number == "count" else "is"
    return (
        f"{here}{place.ja}の{dish.ja}は{first.te}{second.ja}です。",
        capital(f"the {many} at {this} {place.en} {be} {first.en} and {second.en}."),
    )


@construction(missing=_LEFT_OUT, dish=nouns.DISHES, count=times.COUNTS[:6])
def left_out(missing: Noun, dish: Noun, count: Number) -> Pair:
    if dish.ja in ("ケーキ", "アップルパイ", "アイスクリーム", "オムレツ"):
        return None
    return (
        f"{missing.ja}抜きの{dish.ja}を{count.ja}つください。",
        f"I would like {dish.counted(count.value)} without {missing.many}.",
    )


@construction(action=_TRIED, count=times.MANY)
def ever_eaten(action: Action, count: Number) -> Pair:
    often = "twice" if count.value == 2 else f"{count.en} times"
    return (
        f"{action.ta}ことがありますか。はい、{count.ja}回あります。",
        f"Have you ever {action.verb.participle}{action.many}? Yes, {often}.",
    )


@construction(when=_MEAL_TIMES, who=people.PEOPLE, meal=_MEALS, first=_INGREDIENTS, second=(*nouns.DISHES, *nouns.GROCERIES))
def ate_for_meal(when: Word, who: Person, meal: Word, first: Noun, second: Noun) -> Pair:
    if first is second:
        return None
    return (
        f"{when.ja}、{who.ja}は{meal.ja}に{first.ja}と{second.ja}を食べました。",
        capital(f"{who.en} had {first.a} and {second.a} for {meal.en} {when.en}."),
    )


@construction(who=people.PEOPLE, first=(*_INGREDIENTS, *nouns.DISHES), second=(*_INGREDIENTS, *nouns.DISHES))
def cannot_eat(who: Person, first: Noun, second: Noun) -> Pair:
    if first is second:
        return None
    return f"{who.ja}は{first.ja}も{second.ja}も食べられません。", capital(
        f"{who.en} can eat neither {first.many} nor {second.many}."
    )


@construction(first=_INGREDIENTS, second=_INGREDIENTS, dish=nouns.DISHES)
def made_with(first: Noun, second: Noun, dish: Noun) -> Pair:
    fitting = _FOR_CAKES if dish.ja in ("ケーキ", "アップルパイ", "アイスクリーム") else _FOR_MEALS
    if (
        first is second
        or first not in fitting
        or second not in fitting
        or dish.ja in ("おにぎり", "ステーキ", "寿司", "ホットドッグ")
    ):
        return None
    return (
        f"{first.ja}と{second.ja}で{dish.ja}を作りましょう。",
        f"Let's make {dish.a} with {first.many} and {second.many}.",
    )


@construction(this=THIS[:2], dish=nouns.DISHES, taste=adjectives.TASTES, degree=phrases("少し a_little, とても very"))
def dish_was(this: Demonstrative, dish: Noun, taste: Adjective, degree: Word) -> Pair:
    if not taste.fits(dish) or (degree.en == "a little" and taste.ja in ("おいしい", "まずい")):
        return None
    return f"{this.ja}{dish.ja}は{degree.ja}{taste.past}。", capital(f"{this.with_noun(dish)} was {degree.en} {taste.en}.")


@construction(who=people.PEOPLE, drink=nouns.DRINKS, count=times.MANY[:7])
def drinks_a_day(who: Person, drink: Noun, count: Number) -> Pair:
    return (
        f"{who.ja}は1日に{drink.ja}を{count.ja}杯飲みます。",
        capital(f"{who.en} {who.present(_DRINK)} {drink.counted(count.value)} a day."),
    )


CONSTRUCTIONS = collect(list(globals().values()))
