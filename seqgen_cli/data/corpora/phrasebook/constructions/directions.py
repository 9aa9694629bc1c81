"""Places and the ways to them."""

from seqgen_cli.data.corpora.phrasebook import english
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Number
from seqgen_cli.data.corpora.phrasebook.tables import phrases
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Word

_SIDES = phrases("右 right, 左 left")
_CORNERS = times.COUNTS[:5]
_MARKS = phrases("角 corner, 交差点 intersection, 信号 traffic_light")
_STEPS = (
    *phrases("この道をまっすぐ行く go_straight_down_this_street, 橋を渡る cross_the_bridge, 公園を通る go_through_the_park"),
    *phrases("次の角を曲がる turn_at_the_next_corner, 階段を上がる go_up_the_stairs, 線路を越える go_over_the_railroad_tracks"),
)
_LANDS = phrases("町 town, 村 village, 国 country, 島 island, 県 prefecture, 地域 area")
_LAND_AT = {"island": "on"}
_SIGHTS = adjectives.read("i", "", "古い old, 新しい new, 美しい beautiful, 小さい small, 大きい big, 珍しい unusual")
_SIGHTS = (*_SIGHTS, *adjectives.read("na", "", "有名 famous, 静か quiet, りっぱ magnificent"))
_BY = tuple(vehicle for vehicle in places.VEHICLES if vehicle.ja != "船")


@construction(place=places.TOWN, side=places.RELATIONS, mark=places.TOWN)
def where_is(place: Place, side: Word, mark: Place) -> Pair:
    if place is mark:
        return None
    return (
        f"すみません、{place.ja}はどこですか。{mark.ja}の{side.ja}です。",
        f"Excuse me, where is {place.en}? It is {side.en} {mark.en}.",
    )


@construction(count=_CORNERS, mark=_MARKS, turn=_SIDES, place=places.TOWN, side=_SIDES)
def turn_at(count: Number, mark: Word, turn: Word, place: Place, side: Word) -> Pair:
    return (
        f"{count.ja}つ目の{mark.ja}を{turn.ja}に曲がってください。{place.ja}は{side.ja}側にあります。",
        f"Please turn {turn.en} at the {english.ordinal_word(count.value)} {mark.en}. {capital(place.en)} is on the {side.en}.",
    )


@construction(step=_STEPS, side=_SIDES, place=places.TOWN)
def if_you_go(step: Word, side: Word, place: Place) -> Pair:
    if step.en.endswith("the park") and place.bare == "park":
        return None
    return (
        f"{step.ja}と、{side.ja}側に{place.ja}があります。",
        f"If you {step.en}, there is {english.with_article(place.bare)} on the {side.en}.",
    )


@construction(start=places.TOWN, end=places.TOWN, vehicle=_BY, minutes=times.MINUTES)
def takes_minutes(start: Place, end: Place, vehicle: Word, minutes: Number) -> Pair:
    if start is end or vehicle.ja == "飛行機":
        return None
    return (
        f"{start.ja}から{end.ja}まで{vehicle.ja}で{minutes.ja}かかります。",
        f"It takes {minutes.en} minutes by {vehicle.en} from {start.en} to {end.en}.",
    )


@construction(vehicle=_BY, place=places.TOWN, minutes=times.MINUTES)
def how_far(vehicle: Word, place: Place, minutes: Number) -> Pair:
    if vehicle.ja == "飛行機":
        return None
    return (
        f"{place.ja}まで{vehicle.ja}で何分かかりますか。{minutes.ja}ぐらいかかります。",
        f"How many minutes does it take to get to {place.en} by {vehicle.en}? It takes about {minutes.en} minutes.",
    )


@construction(when=times.LONG_AGO, who=people.PEOPLE, friend=people.THIRD, vehicle=_BY, city=places.CITIES)
def went_with(when: Word, who: Person, friend: Person, vehicle: Word, city: Place) -> Pair:
    if (
        who is friend
        or vehicle.ja in ("タクシー", "自転車")
        or not places.reached_by(city, vehicle)
        or (who in people.OTHERS and friend in people.FAMILY)
    ):
        return None
    return (
        f"{when.ja}、{who.ja}は{friend.ja}と{vehicle.ja}で{city.ja}に行きました。",
        capital(f"{who.en} went to {city.en} by {vehicle.en} with {friend.object} {when.en}."),
    )


@construction(who=people.PEOPLE, years=times.MANY, city=(*places.CITIES, *places.ABROAD))
def has_lived(who: Person, years: Number, city: Place) -> Pair:
    return (
        f"{who.ja}は{years.ja}年前から{city.ja}に住んでいます。",
        capital(f"{who.en} {who.have} lived in {city.en} for {years.en} years."),
    )


@construction(land=_LANDS, sight=_SIGHTS, building=nouns.SIGHTS)
def land_has(land: Word, sight: Adjective, building: Noun) -> Pair:
    at = _LAND_AT.get(land.en, "in")
    return (
        f"この{land.ja}には{sight.before_noun}{building.ja}がたくさんあります。",
        f"There are many {sight.en} {building.many} {at} this {land.en}.",
    )


@construction(who=people.OWNERS, place=places.TOWN, minutes=times.MINUTES)
def house_near(who: Person, place: Place, minutes: Number) -> Pair:
    return (
        f"{who.ja}の家は{place.ja}から歩いて{minutes.ja}です。",
        capital(f"{who.whose} house is {english.with_article(minutes.en)}-minute walk from {place.en}."),
    )


CONSTRUCTIONS = collect(list(globals().values()))
