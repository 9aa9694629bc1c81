"""Who people are, what they do and like."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital, with_article
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.times import Number
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.words import Noun, Person, Place, Word

_SPEAK, _LIKE = verb("話す", "speak"), verb("好く", "like")
_LIKED = (*nouns.SPORTS, *nouns.SUBJECTS, *nouns.MUSIC, *nouns.PASTIMES, *nouns.DISHES, *nouns.FRUIT, *nouns.ANIMALS)


@construction(name=people.SURNAMES, land=places.COUNTRIES, job=nouns.JOBS)
def introduce_myself(name: Word, land: Place, job: Noun) -> Pair:
    return (
        f"はじめまして。{name.ja}と申します。{land.ja}から来ました。{job.ja}です。",
        f"Nice to meet you. My name is {name.en}. I am from {land.en}. I am {job.a}.",
    )


@construction(tie=people.ACQUAINTANCES, friend=people.FRIENDS, place=places.WORKPLACES)
def introduce_friend(tie: Word, friend: Person, place: Place) -> Pair:
    return (
        f"こちらは{tie.ja}の{friend.ja}です。{place.ja}で働いています。",
        f"This is my {tie.en} {friend.en}. {capital(friend.pronoun)} works at {place.en}.",
    )


@construction(friend=people.FRIENDS, kin=people.RELATIVES, job=nouns.JOBS)
def job_of_relative(friend: Person, kin: Person, job: Noun) -> Pair:
    return f"{friend.ja}の{kin.ja}は{job.ja}です。", f"{friend.whose} {kin.en} is {job.a}."


@construction(guess=nouns.JOBS, job=nouns.JOBS)
def are_you(guess: Noun, job: Noun) -> Pair:
    if guess is job:
        return None
    return (
        f"あなたは{guess.ja}ですか。いいえ、{guess.ja}ではありません。{job.ja}です。",
        f"Are you {guess.a}? No, I am not {guess.a}. I am {job.a}.",
    )


@construction(who=people.OWNERS, hobby=actions.HOBBIES)
def hobby_is(who: Person, hobby: Action) -> Pair:
    return f"{who.ja}の趣味は{hobby.plain}ことです。", capital(f"{who.whose} hobby is {hobby.verb.ing}{hobby.many}.")


@construction(who=people.PEOPLE, first=nouns.LANGUAGES, second=nouns.LANGUAGES)
def speaks(who: Person, first: Noun, second: Noun) -> Pair:
    if first is second:
        return None
    return f"{who.ja}は{first.ja}と{second.ja}を話します。", capital(
        f"{who.en} {who.present(_SPEAK)} {first.en} and {second.en}."
    )


@construction(who=people.YOUNG, age=times.AGES, liked=_LIKED)
def age_and_likes(who: Person, age: Number, liked: Noun) -> Pair:
    if who.ja in ("夫", "妻") and age.value < 20:
        return None
    return (
        f"{who.ja}は{age.ja}歳で、{liked.ja}が好きです。",
        capital(f"{who.en} is {age.en} years old and likes {liked.many}."),
    )


@construction(who=people.PEOPLE, place=places.WORKPLACES, since=times.MANY)
def has_worked(who: Person, place: Place, since: Number) -> Pair:
    return (
        f"{who.ja}は{place.ja}で{since.ja}年間働きました。",
        capital(f"{who.en} worked at {place.en} for {since.en} years."),
    )


@construction(who=people.YOUNG, job=nouns.JOBS, city=(*places.CITIES, *places.ABROAD))
def wants_to_become(who: Person, job: Noun, city: Place) -> Pair:
    return (
        f"{who.ja}は{city.ja}で{job.ja}になりたいと言っています。",
        capital(f"{who.en} says that {who.pronoun} wants to become {job.a} in {city.en}."),
    )


@construction(who=people.PEOPLE, first=_LIKED, second=_LIKED)
def likes_not(who: Person, first: Noun, second: Noun) -> Pair:
    if first.topic != second.topic or first is second:
        return None
    dislike = "does" if who.third else "do"
    return (
        f"{who.ja}は{first.ja}は好きですが、{second.ja}は好きではありません。",
        capital(f"{who.en} {who.present(_LIKE)} {first.many}, but {dislike} not like {second.many}."),
    )


@construction(
    who=people.FRIENDS,
    land=places.COUNTRIES,
    subject=(*nouns.SUBJECTS, *nouns.LANGUAGES),
    place=places.read("", "at", "大学 university, 学校 school, 高校 high_school", "a "),
)
def teaches_at(who: Person, land: Place, subject: Noun, place: Place) -> Pair:
    return (
        f"{who.ja}は{land.ja}の{place.ja}で{subject.ja}を教えています。",
        f"{who.en} teaches {subject.en} at {with_article(place.en.removeprefix('a '))} in {land.en}.",
    )


CONSTRUCTIONS = collect(list(globals().values()))
