"""How many there are, and how many one buys, has or orders."""

from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Number
from seqgen_cli.data.corpora.phrasebook.tables import named
from seqgen_cli.data.corpora.phrasebook.words import Noun, Person, Place, Word

_SMALL = tuple(noun for noun in (*nouns.STATIONERY, *nouns.GOODS, *nouns.READINGS, *nouns.FRUIT) if noun.counter)
_COUNTED_FOOD = tuple(noun for noun in (*nouns.FRUIT, *nouns.VEGETABLES) if noun.counter)
_OWNED = tuple(noun for noun in (*nouns.CLOTHES, *nouns.GOODS, *nouns.BOOKS, *nouns.INSTRUMENTS, *nouns.MACHINES) if noun.counter)
_TABLES = named(nouns.FURNITURE, "机 テーブル ベッド ソファー 椅子 棚")
_KITCHEN = (
    *places.read("", "in", "冷蔵庫 refrigerator, かご basket, 箱 box, 袋 bag"),
    *places.read("", "on", "テーブル table, 皿 plate"),
)


def counted(noun: Noun, count: Number) -> str | None:
    """The number with its counter: 3冊; ten things have no つ."""
    if noun.counter == "つ" and count.value > 9:
        return None
    return count.ja + noun.counter


@construction(table=_TABLES, side=places.ON_FURNITURE, thing=_SMALL, count=times.COUNTS)
def things_on_furniture(table: Noun, side: Word, thing: Noun, count: Number) -> Pair:
    many = counted(thing, count)
    if many is None or (table.ja == "棚" and side.ja != "上"):
        return None
    be = "is" if count.value == 1 else "are"
    return (
        f"{table.ja}の{side.ja}に{thing.ja}が{many}あります。",
        f"There {be} {thing.counted(count.value)} {side.en} the {table.en}.",
    )


@construction(place=places.FIELDS, animal=nouns.ANIMALS, count=times.COUNTS)
def animals_outdoors(place: Place, animal: Noun, count: Number) -> Pair:
    be = "is" if count.value == 1 else "are"
    return (
        f"{place.ja}に{animal.ja}が{count.ja}{animal.counter}います。",
        f"There {be} {animal.counted(count.value)} {place.there}.",
    )


@construction(room=places.ROOMS, people=(*nouns.PASSERS_BY, *nouns.JOBS), count=times.COUNTS)
def people_in_room(room: Place, people: Noun, count: Number) -> Pair:
    be = "was" if count.value == 1 else "were"
    return f"{room.ja}に{people.ja}が{count.ja}人いました。", f"There {be} {people.counted(count.value)} {room.there}."


@construction(when=times.RECENTLY, who=people.PEOPLE, food=_COUNTED_FOOD, count=times.COUNTS)
def bought_food(when: Word, who: Person, food: Noun, count: Number) -> Pair:
    return (
        f"{when.ja}、{who.ja}は{food.ja}を{count.ja}{food.counter}買いました。",
        capital(f"{who.en} bought {food.counted(count.value)} {when.en}."),
    )


@construction(who=people.PEOPLE, thing=_OWNED, count=times.COUNTS[:6])
def has_things(who: Person, thing: Noun, count: Number) -> Pair:
    many = counted(thing, count)
    if many is None:
        return None
    return f"{who.ja}は{thing.ja}を{many}持っています。", capital(f"{who.en} {who.have} {thing.counted(count.value)}.")


@construction(dish=nouns.DISHES, first=times.COUNTS[:6], drink=nouns.DRINKS, second=times.COUNTS[:6])
def order(dish: Noun, first: Number, drink: Noun, second: Number) -> Pair:
    return (
        f"{dish.ja}を{first.ja}つと{drink.ja}を{second.ja}つお願いします。",
        capital(f"{dish.counted(first.value)} and {drink.counted(second.value)}, please."),
    )


@construction(place=_KITCHEN, food=_COUNTED_FOOD, count=times.MANY)
def how_many(place: Place, food: Noun, count: Number) -> Pair:
    where = "の上" if place.at == "on" else "の中"
    return (
        f"{place.ja}{where}に{food.ja}が何{food.counter}ありますか。{count.ja}{food.counter}あります。",
        f"How many {food.many} are there {place.there}? There are {count.en}.",
    )


@construction(who=people.FRIENDS, kin=people.BROTHERS, count=times.COUNTS[:5], other=people.SISTERS, more=times.COUNTS[:5])
def siblings(who: Person, kin: Noun, count: Number, other: Noun, more: Number) -> Pair:
    return (
        f"{who.ja}には{kin.ja}が{count.ja}人と{other.ja}が{more.ja}人います。",
        f"{who.en} has {kin.counted(count.value)} and {other.counted(more.value)}.",
    )


CONSTRUCTIONS = collect(list(globals().values()))
