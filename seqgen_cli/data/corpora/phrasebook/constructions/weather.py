"""Weather, and what one does because of it."""

from dataclasses import dataclass

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Number
from seqgen_cli.data.corpora.phrasebook.tables import named, phrases
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Word


@dataclass(frozen=True)
class Weather(Word):
    """What the sky does: dictionary form and infinitive, and the forms other clauses need."""

    ta: str
    teiru: str
    third: str
    being: str


_EVENTS = (
    Weather("雨が降る", "rain", "雨が降った", "雨が降っている", "rains", "raining"),
    Weather("雪が降る", "snow", "雪が降った", "雪が降っている", "snows", "snowing"),
    Weather("風が吹く", "be windy", "風が吹いた", "風が吹いている", "is windy", "windy"),
    Weather("晴れる", "be sunny", "晴れた", "晴れている", "is sunny", "sunny"),
    Weather("曇る", "be cloudy", "曇った", "曇っている", "is cloudy", "cloudy"),
    Weather("暑くなる", "get hot", "暑くなった", "暑くなっている", "gets hot", "getting hot"),
    Weather("寒くなる", "get cold", "寒くなった", "寒くなっている", "gets cold", "getting cold"),
)
_CITIES = (*places.CITIES, *places.ABROAD)
_DEGREE = phrases("とても very, 少し a_little, かなり quite")
_WET, _FINE = ("rain", "snow", "be windy", "get cold", "be cloudy"), ("be sunny", "get hot")
_OUTDOORS = (*actions.OUTINGS, *named(actions.PLAYING_SPORTS, "サッカーをする テニスをする 野球をする"), *actions.PICTURES)
_TOGETHER = (*actions.WATCHING, *actions.LISTENING, *actions.STUDYING, *actions.BAKING, *actions.MAKING, *actions.DRINKING)


def _suits(weather: Weather, action: Action) -> bool:
    """Outings want fine weather, the rest is done at home when it is not."""
    return weather.en in (_FINE if action in _OUTDOORS else _WET)


@construction(when=times.LATER, city=_CITIES, weather=_EVENTS)
def forecast(when: Word, city: Place, weather: Weather) -> Pair:
    return f"{when.ja}、{city.ja}では{weather.ja}でしょう。", f"It will probably {weather.en} in {city.en} {when.en}."


@construction(
    when=(*times.RECENTLY, *named(times.LONG_AGO, "先月 去年")), city=_CITIES, degree=_DEGREE, how=adjectives.TEMPERATURES
)
def weather_was(when: Word, city: Place, degree: Word, how: Adjective) -> Pair:
    return f"{when.ja}、{city.ja}は{degree.ja}{how.past}。", f"It was {degree.en} {how.en} in {city.en} {when.en}."


@construction(weather=_EVENTS[:5], friend=people.FRIENDS, action=(*_OUTDOORS, *_TOGETHER))
def weather_so_let_us(weather: Weather, friend: Person, action: Action) -> Pair:
    if not _suits(weather, action):
        return None
    home = "" if action in _OUTDOORS else "家で"
    tail = "" if action in _OUTDOORS else " at home"
    return (
        f"{weather.teiru}から、{friend.ja}と{home}{action.stem}ましょう。",
        f"It is {weather.being}, so let's {action.base}{tail} with {friend.en}.",
    )


@construction(weather=_EVENTS, when=times.SOON, who=people.PEOPLE, action=(*_OUTDOORS, *actions.AT_HOME))
def if_weather(weather: Weather, when: Word, who: Person, action: Action) -> Pair:
    if not _suits(weather, action):
        return None
    home = "" if action in _OUTDOORS else "家で"
    tail = "" if action in _OUTDOORS else " at home"
    return (
        f"{when.ja}{weather.ta}ら、{who.ja}は{home}{action.stem}ます。",
        capital(f"if it {weather.third} {when.en}, {who.en} will {action.base}{tail}."),
    )


@construction(city=_CITIES, now=phrases("今日 today, 今 now, 今朝 this_morning"), degrees=times.DEGREES)
def temperature(city: Place, now: Word, degrees: Number) -> Pair:
    verb, past = ("was", "でした") if now.ja == "今朝" else ("is", "です")
    plural = "degree" if degrees.value == 1 else "degrees"
    return (
        f"{now.ja}の{city.ja}の気温は{degrees.ja}度{past}。",
        f"The temperature in {city.en} {verb} {degrees.en} {plural} {now.en}.",
    )


@construction(city=_CITIES, season=nouns.SEASONS, degree=_DEGREE, how=adjectives.TEMPERATURES)
def season_is(city: Place, season: Noun, degree: Word, how: Adjective) -> Pair:
    winter = "warm" if city.en in ("Nagasaki", "Fukuoka", "Rome") else "cold"
    summer = ("cool",) if city.en in ("Sapporo", "London") else ("hot", "humid")
    if how.en not in {"summer": summer, "winter": (winter,)}.get(season.en, ("warm", "cool")):
        return None
    return f"{city.ja}の{season.ja}は{degree.ja}{how.ja}です。", f"{capital(season.en)} in {city.en} is {degree.en} {how.en}."


CONSTRUCTIONS = collect(list(globals().values()))
