"""Clock times, dates and weekdays."""

from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Clock, Number
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import named, phrases
from seqgen_cli.data.corpora.phrasebook.words import Noun, Person, Place, Verb, Word

# What is done at the same hour day by day, and from when to when.
_HOURS = {
    verb("起きる", "get up"): (5, 9),
    verb("シャワーを浴びる", "take a shower"): (5, 9),
    verb("出かける", "go out"): (6, 10),
    verb("洗濯する", "do the laundry"): (7, 11),
    verb("寝る", "go to bed"): (8, 12),
    verb("帰る", "go home"): (4, 9),
    verb("料理する", "cook"): (4, 7),
    verb("宿題をする", "do homework"): (4, 9),
}
_DAILY = (times.HABITUALLY[0], *(Word(f"毎週{day.ja}", f"every {day.en}") for day in times.WEEKDAYS))
_OPENS = (verb("開く", "open"), verb("閉まる", "close"))
_STARTS = (verb("始まる", "start"), verb("終わる", "end"))
_TRANSPORT = named(places.VEHICLES, "電車 バス 船 飛行機")


@construction(who=people.PEOPLE, habit=tuple(_HOURS), time=times.CLOCKS, when=_DAILY)
def daily_routine(who: Person, habit: Verb, time: Clock, when: Word) -> Pair:
    if not _HOURS[habit][0] <= time.hour <= _HOURS[habit][1]:
        return None
    return f"{who.ja}は{when.ja}{time.ja}に{habit.stem}ます。", capital(f"{who.en} {who.present(habit)} at {time.en} {when.en}.")


@construction(place=places.OPENING, half=times.HALVES, time=times.CLOCKS, does=_OPENS)
def opens_at(place: Place, half: Word, time: Clock, does: Verb) -> Pair:
    opening = does is _OPENS[0] and half.ja == "午前" and 6 <= time.hour <= 11
    if not (opening or (does is _OPENS[1] and half.ja == "午後" and 4 <= time.hour <= 11)):
        return None
    return f"{place.ja}は{half.ja}{time.ja}に{does.stem}ます。", f"{capital(place.en)} {does.third} at {time.exact} {half.en}"


@construction(place=places.OPENING, day=times.WEEKDAYS, start=times.HALF_HOURS, end=times.HALF_HOURS)
def opening_hours(place: Place, day: Word, start: Clock, end: Clock) -> Pair:
    if not (6 <= start.hour <= 11 and 1 <= end.hour <= 10):
        return None
    return (
        f"{place.ja}は{day.ja}の午前{start.ja}から午後{end.ja}まで開いています。",
        f"{capital(place.en)} is open from {start.exact} a.m. to {end.exact} p.m. on {day.en}s.",
    )


@construction(city=(*places.CITIES, *places.ABROAD), vehicle=_TRANSPORT, time=times.CLOCKS)
def departure(city: Place, vehicle: Word, time: Clock) -> Pair:
    if not places.reached_by(city, vehicle):
        return None
    return f"次の{city.ja}行きの{vehicle.ja}は{time.ja}に出ます。", f"The next {vehicle.en} to {city.en} leaves at {time.en}."


@construction(event=nouns.EVENTS, does=_STARTS, time=times.CLOCKS)
def what_time(event: Noun, does: Verb, time: Clock) -> Pair:
    return (
        f"{event.ja}は何時に{does.stem}ますか。{time.ja}に{does.stem}ます。",
        f"What time does the {event.en} {does.en}? It {does.third} at {time.en}.",
    )


@construction(who=people.OWNERS, month=times.MONTHS, day=times.DAYS)
def birthday(who: Person, month: Number, day: Number) -> Pair:
    if day.value > times.DAYS_IN_MONTH[month.value - 1]:
        return None
    return f"{who.ja}の誕生日は{month.ja}{day.ja}です。", capital(f"{who.whose} birthday is {month.en} {day.en}.")


@construction(event=nouns.EVENTS, month=times.MONTHS, day=times.DAYS, weekday=times.WEEKDAYS)
def event_date(event: Noun, month: Number, day: Number, weekday: Word) -> Pair:
    if day.value > times.DAYS_IN_MONTH[month.value - 1]:
        return None
    return (
        f"{event.ja}は{month.ja}{day.ja}の{weekday.ja}にあります。",
        f"The {event.en} is on {weekday.en}, {month.en} {day.en}.",
    )


@construction(
    now=phrases("今日 today, 明日 tomorrow, あさって the_day_after_tomorrow"),
    month=times.MONTHS,
    day=times.DAYS,
    weekday=times.WEEKDAYS,
)
def today_is(now: Word, month: Number, day: Number, weekday: Word) -> Pair:
    if day.value > times.DAYS_IN_MONTH[month.value - 1]:
        return None
    return f"{now.ja}は{month.ja}{day.ja}、{weekday.ja}です。", capital(f"{now.en} is {weekday.en}, {month.en} {day.en}.")


@construction(event=nouns.EVENTS, day=times.WEEKDAYS, start=times.HALF_HOURS, end=times.HALF_HOURS)
def event_hours(event: Noun, day: Word, start: Clock, end: Clock) -> Pair:
    if not 60 <= (end.hour * 60 + end.minute) - (start.hour * 60 + start.minute) <= 240:
        return None
    return (
        f"{day.ja}の{event.ja}は{start.ja}から{end.ja}までです。",
        f"The {event.en} on {day.en} is from {start.en} to {end.en}.",
    )


@construction(this=THIS, building=nouns.BUILDINGS, year=times.YEARS)
def built_in(this: Demonstrative, building: Noun, year: Number) -> Pair:
    return f"{this.ja}{building.ja}は{year.ja}に建てられました。", capital(f"{this.with_noun(building)} was built in {year.en}.")


@construction(who=people.FRIENDS, city=places.CITIES, year=times.YEARS, month=times.MONTHS)
def born_in(who: Person, city: Place, year: Number, month: Number) -> Pair:
    if not 1950 <= year.value <= 2005:
        return None
    return (
        f"{who.ja}は{year.ja}の{month.ja}に{city.ja}で生まれました。",
        capital(f"{who.en} was born in {city.en} in {month.en} {year.en}."),
    )


CONSTRUCTIONS = collect(list(globals().values()))
