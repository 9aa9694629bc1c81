"""Sentence patterns by what they talk about."""

from seqgen_cli.data.corpora.phrasebook.constructions import (
    clock_and_calendar,
    comparison,
    counting,
    directions,
    food,
    introductions,
    negation,
    prices,
    questions,
    relative_clauses,
    requests,
    tenses,
    weather,
)

CONSTRUCTIONS = (
    *counting.CONSTRUCTIONS,
    *prices.CONSTRUCTIONS,
    *clock_and_calendar.CONSTRUCTIONS,
    *directions.CONSTRUCTIONS,
    *weather.CONSTRUCTIONS,
    *food.CONSTRUCTIONS,
    *introductions.CONSTRUCTIONS,
    *questions.CONSTRUCTIONS,
    *negation.CONSTRUCTIONS,
    *tenses.CONSTRUCTIONS,
    *requests.CONSTRUCTIONS,
    *comparison.CONSTRUCTIONS,
    *relative_clauses.CONSTRUCTIONS,
)
