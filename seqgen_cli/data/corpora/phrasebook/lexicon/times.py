"""Times, dates, numbers and prices."""

from collections.abc import Iterable
from dataclasses import dataclass

from seqgen_cli.data.corpora.phrasebook import english
from seqgen_cli.data.corpora.phrasebook.tables import phrases
from seqgen_cli.data.corpora.phrasebook.words import Word


@dataclass(frozen=True)
class Number(Word):
    """A whole number: digits in Japanese, words in English."""

    value: int


@dataclass(frozen=True)
class Clock(Word):
    """A time of day on the twelve-hour clock: 7時半, half past seven."""

    hour: int
    minute: int

    @property
    def exact(self) -> str:
        """For timetables: 7:30."""
        return f"{self.hour}:{self.minute:02d}"


def numbers(values: Iterable[int]) -> tuple[Number, ...]:
    return tuple(Number(str(value), english.number(value), value) for value in values)


def _clock(hour: int, minute: int) -> Clock:
    if minute == 0:
        return Clock(f"{hour}時", f"{english.number(hour)} o'clock", hour, minute)
    if minute == 30:
        return Clock(f"{hour}時半", f"half past {english.number(hour)}", hour, minute)
    return Clock(f"{hour}時{minute}分", f"{hour}:{minute:02d}", hour, minute)


WEEKDAYS = phrases(
    "月曜日 Monday, 火曜日 Tuesday, 水曜日 Wednesday, 木曜日 Thursday, 金曜日 Friday, 土曜日 Saturday, 日曜日 Sunday"
)
_MONTH_NAMES = "January February March April May June July August September October November December"
MONTHS = tuple(Number(f"{index}月", name, index) for index, name in enumerate(_MONTH_NAMES.split(), start=1))
DAYS = tuple(Number(f"{day}日", english.ordinal(day), day) for day in range(1, 32))
DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
YEARS = tuple(Number(f"{year}年", str(year), year) for year in range(1868, 2024, 5))
CLOCKS = tuple(_clock(hour, minute) for hour in range(1, 13) for minute in (0, 10, 15, 20, 30, 40, 45, 50))
HALF_HOURS = tuple(clock for clock in CLOCKS if clock.minute in (0, 30))
COUNTS = numbers(range(1, 11))
MANY = numbers(range(2, 13))
AGES = numbers(range(4, 31))
MINUTES = tuple(Number(f"{value}分", english.number(value), value) for value in (5, 10, 15, 20, 25, 30, 35, 40, 45, 50))
DEGREES = numbers(range(1, 37))
PRICES = tuple(
    Number(f"{value:,}円", f"{value:,} yen", value)
    for value in (
        *(80, 100, 120, 150, 180, 200, 250, 300, 350, 400, 450, 500, 550, 600, 680, 700, 750, 800, 850, 900, 950, 980),
        *(1_000, 1_200, 1_500, 1_800, 2_000, 2_400, 2_500, 2_800, 3_000, 3_500, 3_800, 4_000, 4_500, 5_000, 5_800, 6_000, 7_500),
        *(8_000, 9_500, 10_000, 12_000, 15_000, 18_000, 20_000, 25_000, 30_000, 36_000, 40_000),
    )
)

# Days when something small may have happened, and longer ago for what is rare.
RECENTLY = (
    *phrases("昨日 yesterday, おととい the_day_before_yesterday, 先週 last_week"),
    *(Word(f"先週の{day.ja}に", f"last {day.en}") for day in WEEKDAYS),
    *(Word(f"{count}日前に", f"{english.number(count)} days ago") for count in range(3, 7)),
)
LONG_AGO = (
    *phrases("先月 last_month, 去年 last_year, おととし the_year_before_last"),
    *(Word(f"{count}か月前に", f"{english.number(count)} months ago") for count in range(2, 7)),
    *(Word(f"{count}年前に", f"{english.number(count)} years ago") for count in range(2, 11)),
)
SOON = (
    *phrases("明日 tomorrow, あさって the_day_after_tomorrow, 来週 next_week, 今度の週末に this_weekend"),
    *(Word(f"来週の{day.ja}に", f"next {day.en}") for day in WEEKDAYS),
)
LATER = (*SOON, *(Word(f"{count}日後に", f"in {english.number(count)} days") for count in range(3, 7)))
SEASONAL = (
    *phrases(
        "来月 next_month, 来年 next_year, 今年の春に this_spring, 今年の夏に this_summer, "
        "今年の秋に this_fall, 今年の冬に this_winter"
    ),
    *(Word(f"{month.ja}に", f"in {month.en}") for month in MONTHS),
)
HABITUALLY = (
    *phrases("毎日 every_day, 毎朝 every_morning, 毎晩 every_night, 毎週 every_week, 週末に on_weekends, 毎月 every_month"),
    *(Word(f"毎週{day.ja}に", f"every {day.en}") for day in WEEKDAYS),
)
OFTEN = phrases("いつも always, よく often, たいてい usually, ときどき sometimes, たまに occasionally")
HALVES = phrases("午前 a.m., 午後 p.m.")
