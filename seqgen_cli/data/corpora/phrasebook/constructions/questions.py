"""Questions with their answers."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, adjectives, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.demonstratives import THIS, Demonstrative
from seqgen_cli.data.corpora.phrasebook.tables import named, phrases, without
from seqgen_cli.data.corpora.phrasebook.words import Adjective, Noun, Person, Place, Word

_BELONGINGS = (*nouns.GOODS, *nouns.CLOTHES, *nouns.STATIONERY, *nouns.BOOKS, *nouns.MACHINES)
_BELONGINGS = tuple(
    noun for noun in _BELONGINGS if noun.topic in ("goods", "clothes") or noun.ja in ("カメラ", "自転車", "車", "本")
)
_COLOURED = without(_BELONGINGS, "鍵 指輪 切手 地図 本 鉛筆 辞書 教科書 葉書 ナイフ フォーク スプーン")
_SELLERS = places.read("", "at", "デパート department_store, 市場 market, 空港 airport, 駅 station", "the ")
_PRESENT = (*actions.READING, *actions.EATING, *actions.DRINKING, *actions.STUDYING, *actions.PLAYING_SPORTS, *actions.PICTURES)
_TASTE = (*nouns.FRUIT, *nouns.DISHES, *nouns.DRINKS, *nouns.SPORTS, *nouns.SUBJECTS, *nouns.ANIMALS, *nouns.SEASONS)
_WHO_DID = (*actions.BAKING, *actions.MAKING, *actions.REPAIRING, *actions.PAINTING, *actions.CLEANING, *actions.WASHING)
_VENUES = named(places.TOWN, "図書館 学校 大学 レストラン 喫茶店 ホテル 体育館 公園 美術館 映画館 市役所 幼稚園")
_REASONS = phrases(
    "頭が痛かった I_had_a_headache, 歯が痛かった I_had_a_toothache, 熱があった I_had_a_fever, "
    "時間がなかった I_did_not_have_time, とても忙しかった I_was_very_busy, お金がなかった I_had_no_money, "
    "とても疲れていた I_was_very_tired, 雨が降っていた it_was_raining, 電車が遅れた the_train_was_late, 道に迷った I_got_lost"
)


@construction(this=THIS, thing=_BELONGINGS, owner=people.THIRD)
def is_this_yours(this: Demonstrative, thing: Noun, owner: Person) -> Pair:
    answer = "they" if thing.number == "plural" else "it"
    question = f"{capital(thing.be)} {this.alone(thing)} your {thing.en}?"
    return (
        f"{this.pronoun}はあなたの{thing.ja}ですか。いいえ、{owner.ja}のです。",
        f"{question} No, {answer} {thing.be} {owner.theirs}.",
    )


@construction(this=THIS, colour=adjectives.COLOURS, thing=_COLOURED, owner=people.OWNERS)
def whose(this: Demonstrative, colour: Adjective, thing: Noun, owner: Person) -> Pair:
    if not colour.fits(thing):
        return None
    answer = "They are" if thing.number == "plural" else "It is"
    return (
        f"{this.ja}{colour.before_noun}{thing.ja}は誰のですか。{owner.ja}のです。",
        f"Whose {thing.be} {this.with_noun(thing, colour.en)}? {answer} {owner.theirs}.",
    )


@construction(who=(*people.OTHERS, *people.FRIENDS), place=(*places.INDOORS, *places.OUTDOORS), action=_PRESENT)
def what_doing(who: Person, place: Place, action: Action) -> Pair:
    if not action.fits(place):
        return None
    return (
        f"{who.ja}は今何をしていますか。{place.ja}で{action.te}います。",
        f"What {who.be} {who.en} doing now? {capital(who.pronoun)} {who.be} {action.ing} {place.there}.",
    )


@construction(first=_TASTE, second=_TASTE)
def which_better(first: Noun, second: Noun) -> Pair:
    if first is second or first.topic != second.topic:
        return None
    return (
        f"{first.ja}と{second.ja}とどちらが好きですか。{second.ja}のほうが好きです。",
        f"Which do you like better, {first.many} or {second.many}? I like {second.many} better.",
    )


@construction(action=_WHO_DID, who=people.OWNERS)
def who_did(action: Action, who: Person) -> Pair:
    noun = action.noun
    assert noun is not None
    return (
        f"誰が{noun.ja}を{action.verb.stem}ましたか。{who.ja}が{action.verb.stem}ました。",
        capital(f"who {action.verb.past} the {noun.en}? {capital(who.en)} did."),
    )


@construction(
    this=THIS, thing=(*nouns.GOODS, *nouns.CLOTHES, *nouns.MACHINES), city=(*places.CITIES, *places.ABROAD), place=_SELLERS
)
def where_bought(this: Demonstrative, thing: Noun, city: Place, place: Place) -> Pair:
    answer = "them" if thing.number == "plural" else "it"
    article = "an" if place.bare[0] in "aeiou" else "a"
    return (
        f"{this.ja}{thing.ja}はどこで買いましたか。{city.ja}の{place.ja}で買いました。",
        f"Where did you buy {this.with_noun(thing)}? I bought {answer} at {article} {place.bare} in {city.en}.",
    )


@construction(when=times.RECENTLY, place=places.TOWN, reason=_REASONS)
def why_not(when: Word, place: Place, reason: Word) -> Pair:
    return (
        f"どうして{when.ja}{place.ja}に来ませんでしたか。{reason.ja}からです。",
        f"Why did you not come to {place.en} {when.en}? Because {reason.en}.",
    )


@construction(who=people.PEOPLE, first=actions.ABILITIES, second=actions.ABILITIES)
def can_but_cannot(who: Person, first: Action, second: Action) -> Pair:
    if first is second or first.noun is None or second.noun is None or first.verb is not second.verb:
        return None
    if "を" not in first.lead:
        return None
    return (
        f"{who.ja}は{first.noun.ja}は{first.verb.potential_stem}ますが、{second.noun.ja}は{second.verb.potential_stem}ません。",
        capital(f"{who.en} can {first.verb.en}{first.many} but not{second.many}."),
    )


@construction(when=times.RECENTLY, action=actions.DONE, friend=people.FRIENDS)
def did_you(when: Word, action: Action, friend: Person) -> Pair:
    return (
        f"{when.ja}、{friend.ja}は{action.stem}ましたか。はい、{action.verb.stem}ました。",
        f"Did {friend.en} {action.base} {when.en}? Yes, {friend.pronoun} did.",
    )


@construction(event=nouns.EVENTS, day=times.WEEKDAYS, place=_VENUES)
def where_is_event(event: Noun, day: Word, place: Place) -> Pair:
    if event.ja in ("結婚式", "祭り") and place.ja not in ("ホテル", "公園", "レストラン"):
        return None
    return (
        f"{day.ja}の{event.ja}はどこでありますか。{place.ja}であります。",
        f"Where is the {event.en} on {day.en}? It is at {place.en}.",
    )


CONSTRUCTIONS = collect(list(globals().values()))
