"""What people do, did, will do, are doing, want to and plan to do."""

from seqgen_cli.data.corpora.phrasebook.action import Action
from seqgen_cli.data.corpora.phrasebook.construction import Pair, collect, construction
from seqgen_cli.data.corpora.phrasebook.english import capital, ing
from seqgen_cli.data.corpora.phrasebook.lexicon import actions, nouns, people, places, times
from seqgen_cli.data.corpora.phrasebook.lexicon.verbs import verb
from seqgen_cli.data.corpora.phrasebook.tables import named, phrases, without
from seqgen_cli.data.corpora.phrasebook.words import Noun, Person, Place, Word

_PLACES = (*places.INDOORS, *places.OUTDOORS)
_PLANNED = (*actions.BUYING_GOODS, *actions.SELLING, *actions.STUDYING, *actions.PAINTING, *actions.REPAIRING, *actions.BAKING)
_SPOTS = (*places.CITIES, *places.ABROAD)
_IN_CITY = (*actions.EATING, *actions.BUYING_GOODS, *actions.PICTURES, *named(actions.WATCHING, "映画を見る"), *actions.STUDYING)
_FIRST = (*actions.CHORES, *actions.STUDYING, *actions.WRITING, *actions.HOUSEWORK)
_THEN = (*actions.WATCHING, *actions.EATING, *actions.DRINKING, *actions.READING, *actions.PLAYING_SPORTS, *actions.LISTENING)
_HANDS = (
    *named(actions.HOUSEWORK, "料理する 洗濯する"),
    *actions.STUDYING,
    *actions.CLEANING,
    *actions.WRITING,
    *actions.DRIVING,
)
_EARS = (*actions.LISTENING, *actions.DRINKING)
_CHILDHOOD = (
    *actions.PLAYING_SPORTS,
    *actions.PLAYING_MUSIC,
    *actions.READING,
    *actions.PICTURES,
    *actions.EATING,
    *named(actions.OUTINGS, "泳ぐ"),
)
_GIFTS = (
    *nouns.CLOTHES,
    *without(nouns.GOODS, "鍵 箱 カーテン"),
    *nouns.STATIONERY,
    *nouns.INSTRUMENTS,
    *named(nouns.MACHINES, "カメラ パソコン ラジオ 自転車"),
)
_OCCASIONS = phrases("誕生日 birthday, 結婚祝い wedding, 卒業祝い graduation")
_CARRIED = (
    *named(nouns.GOODS, "かばん 財布 腕時計 傘 鍵 スーツケース おもちゃ ボール 箱"),
    *named(nouns.MACHINES, "カメラ パソコン 携帯電話"),
)
_CARRIED = (
    *_CARRIED,
    *nouns.BOOKS,
    *named(nouns.STATIONERY, "ノート 辞書 教科書 鉛筆 ペン 地図"),
    *named(nouns.CLOTHES, "帽子 コート セーター"),
)
_GIVE, _LOSE = verb("あげる", "give"), verb("なくす", "lose")


@construction(when=times.RECENTLY, who=people.PEOPLE, place=_PLACES, action=actions.ANYWHERE)
def did_at(when: Word, who: Person, place: Place, action: Action) -> Pair:
    if not action.fits(place):
        return None
    return (
        f"{when.ja}、{who.ja}は{place.ja}で{action.stem}ました。",
        capital(f"{who.en} {action.past} {place.there} {when.en}."),
    )


@construction(often=times.OFTEN, who=people.PEOPLE, place=_PLACES, action=actions.ANYWHERE)
def often_does(often: Word, who: Person, place: Place, action: Action) -> Pair:
    if not action.fits(place):
        return None
    return (
        f"{who.ja}は{often.ja}{place.ja}で{action.stem}ます。",
        capital(f"{who.en} {often.en} {who.present(action.verb)}{action.many} {place.there}."),
    )


@construction(who=people.PEOPLE, action=actions.EVERYDAY, when=times.HABITUALLY)
def does_every(who: Person, action: Action, when: Word) -> Pair:
    return (
        f"{who.ja}は{when.ja}{action.stem}ます。",
        capital(f"{who.en} {who.present(action.verb)}{action.many} {when.en}."),
    )


@construction(when=times.SEASONAL, who=people.PEOPLE, action=_PLANNED)
def plans_to(when: Word, who: Person, action: Action) -> Pair:
    return (
        f"{when.ja}、{who.ja}は{action.plain}つもりです。",
        capital(f"{who.en} {who.be} going to {action.base} {when.en}."),
    )


@construction(when=times.SEASONAL, city=_SPOTS, action=_IN_CITY)
def want_to(when: Word, city: Place, action: Action) -> Pair:
    return f"{when.ja}、{city.ja}で{action.stem}たいです。", f"I want to {action.base} in {city.en} {when.en}."


@construction(who=people.PEOPLE, first=_FIRST, second=_THEN)
def after_doing(who: Person, first: Action, second: Action) -> Pair:
    return (
        f"{who.ja}は{first.te}から、{second.stem}ました。",
        capital(f"{who.en} {second.past} after {first.ing}."),
    )


@construction(who=people.PEOPLE, first=_THEN, second=_FIRST)
def before_doing(who: Person, first: Action, second: Action) -> Pair:
    return (
        f"{who.ja}は{first.plain}前に、{second.stem}ました。",
        capital(f"{who.en} {second.past} before {first.ing}."),
    )


@construction(who=people.PEOPLE, background=_EARS, action=_HANDS)
def while_doing(who: Person, background: Action, action: Action) -> Pair:
    if background in actions.DRINKING and action in actions.DRIVING:
        return None
    return (
        f"{who.ja}は{background.stem}ながら{action.stem}ます。",
        capital(f"{who.en} {who.present(action.verb)}{action.many} while {background.verb.ing}{background.many}."),
    )


@construction(who=people.PEOPLE, place=(*_PLACES, *_SPOTS), action=_CHILDHOOD)
def as_a_child(who: Person, place: Place, action: Action) -> Pair:
    if not (action.fits(place) or place in _SPOTS) or who.pronoun in ("we", "they"):
        return None
    return (
        f"{who.ja}は子供のとき、{place.ja}でよく{action.stem}ました。",
        capital(f"{who.en} often {action.verb.past}{action.many} {place.there} as a child."),
    )


@construction(
    giver=people.OWNERS,
    taker=people.YOUNG,
    gift=without(_GIFTS, " ".join(noun.ja for noun in nouns.STATIONERY)),
    occasion=_OCCASIONS,
)
def gave(giver: Person, taker: Person, gift: Noun, occasion: Word) -> Pair:
    if giver is taker:
        return None
    return (
        f"{giver.ja}は{taker.ja}の{occasion.ja}に{gift.ja}をあげました。",
        capital(f"{giver.en} {_GIVE.past} {taker.object} {gift.a} for {taker.their} {occasion.en}."),
    )


@construction(giver=people.THIRD, gift=_GIFTS, when=times.RECENTLY)
def gave_me(giver: Person, gift: Noun, when: Word) -> Pair:
    return f"{when.ja}、{giver.ja}は私に{gift.ja}をくれました。", capital(f"{giver.en} gave me {gift.a} {when.en}.")


@construction(
    when=times.RECENTLY,
    friend=people.FRIENDS,
    place=without(places.TOWN, "警察署 消防署 大使館 交番"),
    action=(*actions.MEALS, *named(actions.WATCHING, "映画を見る"), *named(actions.OUTINGS, "散歩する 泳ぐ")),
)
def met_and(when: Word, friend: Person, place: Place, action: Action) -> Pair:
    return (
        f"{when.ja}、{place.ja}で{friend.ja}に会って、一緒に{action.stem}ました。",
        f"I met {friend.en} at {place.en} {when.en}, and we {action.past} together.",
    )


@construction(who=people.PEOPLE, action=(*actions.DONE, *actions.PICTURES))
def is_doing(who: Person, action: Action) -> Pair:
    return f"{who.ja}は今{action.te}います。", capital(
        f"{who.en} {who.be} {ing(action.verb.en)}{action.base[len(action.verb.en) :]} now."
    )


@construction(
    who=people.PEOPLE,
    thing=_CARRIED,
    vehicle=(
        *named(places.VEHICLES, "電車 バス 車 タクシー"),
        *places.read("", "at", "駅 station, 図書館 library, レストラン restaurant, ホテル hotel, 学校 school, 公園 park"),
    ),
    when=times.RECENTLY,
)
def left_behind(who: Person, thing: Noun, vehicle: Word, when: Word) -> Pair:
    at = vehicle.there if isinstance(vehicle, Place) else f"{'in' if vehicle.en in ('car', 'taxi') else 'on'} the {vehicle.en}"
    return (
        f"{when.ja}、{who.ja}は{vehicle.ja}に{thing.ja}を忘れました。",
        capital(f"{who.en} left {who.their} {thing.en} {at} {when.en}."),
    )


@construction(when=times.RECENTLY, who=people.PEOPLE, place=places.TOWN, thing=_CARRIED)
def lost(when: Word, who: Person, place: Place, thing: Noun) -> Pair:
    return (
        f"{when.ja}、{who.ja}は{place.ja}で{thing.ja}をなくしました。",
        capital(f"{who.en} {_LOSE.past} {who.their} {thing.en} {place.there} {when.en}."),
    )


CONSTRUCTIONS = collect(list(globals().values()))
