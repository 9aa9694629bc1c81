"""What things cost."""

from seqgen_cli.data.corpora.phrasebook import english
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Number
from seqgen_cli.data.corpora.phrasebook.tables import named, without
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Word

_WARES = (
    *nouns.CLOTHES,
    *nouns.GOODS,
    *nouns.STATIONERY,
    *nouns.BOOKS,
    *nouns.INSTRUMENTS,
    *without(nouns.MACHINES, "車 バイク"),
)
# What the cheapest and the dearest of a kind may cost, in yen.
_PRICE_OF = {"goods": (200, 20_000), "clothes": (900, 40_000), "reading": (300, 4_000), "machine": (3_000, 40_000)}
_PRICE_OF |= {"instrument": (12_000, 40_000), "stationery": (80, 3_000)}
_BY_THE_PIECE = (*nouns.FRUIT, *nouns.VEGETABLES, *named(nouns.STATIONERY, "切手 葉書 封筒 カード 鉛筆 ペン 消しゴム ノート"))
_OPPOSITES = {"大きい": "小さい", "高い": "安い", "重い": "軽い", "長い": "短い", "派手": "地味", "厚い": "薄い"}
_OPPOSITES |= {right: left for left, right in _OPPOSITES.items()}
_BY_JA = {
    adjective.ja: adjective
    for adjective in (*adjectives.SIZES, *adjectives.PRICES, *adjectives.WEIGHTS, *adjectives.LENGTHS, *adjectives.QUALITIES)
}
_GRADED = tuple(_BY_JA[ja] for ja in _OPPOSITES)


def _plausible(thing: Noun, price: Number) -> bool:
    low, high = _PRICE_OF["stationery" if thing in nouns.STATIONERY else thing.topic]
    return low <= price.value <= high


@construction(this=THIS, thing=_WARES, price=times.PRICES)
def costs(this: Demonstrative, thing: Noun, price: Number) -> Pair:
    if not _plausible(thing, price):
        return None
    verb = "cost" if thing.number == "plural" else "costs"
    return f"{this.ja}{thing.ja}は{price.ja}です。", capital(f"{this.with_noun(thing)} {verb} {price.en}.")


@construction(this=THIS, thing=_WARES, price=times.PRICES)
def how_much(this: Demonstrative, thing: Noun, price: Number) -> Pair:
    if not _plausible(thing, price):
        return None
    return (
        f"{this.ja}{thing.ja}はいくらですか。{price.ja}です。",
        f"How much {thing.be} {this.with_noun(thing)}? {capital(thing.it)} {thing.be} {price.en}.",
    )


@construction(thing=_BY_THE_PIECE, count=times.MANY, price=times.PRICES)
def price_together(thing: Noun, count: Number, price: Number) -> Pair:
    if not 50 <= price.value / count.value <= 300:
        return None
    return (
        f"{thing.ja}を{count.ja}{thing.counter}ください。全部で{price.ja}ですね。",
        capital(f"{thing.counted(count.value)}, please. That is {price.en} in total, right?"),
    )


@construction(this=THIS, thing=_WARES, quality=_GRADED)
def too_much(this: Demonstrative, thing: Noun, quality: Adjective) -> Pair:
    if not quality.fits(thing):
        return None
    other = _BY_JA[_OPPOSITES[quality.ja]]
    wish = english.with_article(other.comparative) if thing.number == "count" else other.comparative
    return (
        f"{this.ja}{thing.ja}は{quality.stem}すぎます。もっと{other.before_noun}のはありますか。",
        capital(f"{this.with_noun(thing)} {thing.be} too {quality.en}. Do you have {wish} {thing.one}?"),
    )


@construction(who=people.PEOPLE, this=THIS, thing=_WARES, price=times.PRICES)
def paid(who: Person, this: Demonstrative, thing: Noun, price: Number) -> Pair:
    if not _plausible(thing, price):
        return None
    return (
        f"{who.ja}は{this.ja}{thing.ja}を{price.ja}で買いました。",
        capital(f"{who.en} bought {this.with_noun(thing)} for {price.en}."),
    )


@construction(city=places.CITIES, arrival=places.CITIES, vehicle=named(places.VEHICLES, "電車 バス 飛行機"), price=times.PRICES)
def fare(city: Place, arrival: Place, vehicle: Word, price: Number) -> Pair:
    if (
        city is arrival
        or not (places.reached_by(city, vehicle) and places.reached_by(arrival, vehicle))
        or not 1_000 <= price.value <= 20_000
    ):
        return None
    return (
        f"{city.ja}から{arrival.ja}までの{vehicle.ja}の料金は{price.ja}です。",
        f"The {vehicle.en} fare from {city.en} to {arrival.en} is {price.en}.",
    )


CONSTRUCTIONS = collect(list(globals().values()))
