"""Places, with the preposition for being there and what is done there; cities with the warmth of their seasons."""

from seqgen_cli.data.corpora.phrasebook.tables import entries, named, phrases
from seqgen_cli.data.corpora.phrasebook.words import Place, Word


def read(uses: str, at: str, table: str, article: str = "the ") -> tuple[Place, ...]:
    """The places of a table of `Japanese English` entries; `_` is a space. `uses`: kinds of action done there."""
    return tuple(Place(ja, article + en, at, frozenset(uses.split())) for ja, en in entries(table))


INDOORS = (
    *read("read study borrow", "at", "図書館 library"),
    *read("read study teach talk", "at", "学校 school, 大学 university"),
    *read("buy food", "at", "スーパー supermarket"),
    *read("buy", "at", "デパート department_store"),
    *read("eat drink", "at", "レストラン restaurant"),
    *read("drink read talk", "at", "喫茶店 coffee_shop"),
    *read("drink read talk eat rest", "at", "ホテル hotel"),
    *read("exercise", "at", "体育館 gym"),
    *read("make eat drink", "in", "台所 kitchen"),
    *read("talk study", "in", "教室 classroom"),
    *read("talk work drink", "in", "事務所 office"),
    *read("read rest study", "in", "部屋 room"),
)
OUTDOORS = (
    *read("walk play eat read photo rest", "in", "公園 park"),
    *read("walk photo rest read", "in", "庭 garden"),
    *read("walk swim photo rest", "at", "海岸 beach"),
    *read("photo food", "at", "市場 market"),
    *read("walk photo", "in", "森 forest, 村 village"),
    *read("photo eat", "at", "動物園 zoo, 遊園地 amusement_park"),
)
SERVICES = read(
    "",
    "at",
    "駅 station, 空港 airport, 病院 hospital, 銀行 bank, 郵便局 post_office, 美術館 art_museum, 映画館 movie_theater, "
    "市役所 city_hall, 警察署 police_station, 薬局 pharmacy, パン屋 bakery, 花屋 flower_shop, 本屋 bookstore, バス停 bus_stop, "
    "駐車場 parking_lot, 交番 police_box, 大使館 embassy, 幼稚園 kindergarten, 消防署 fire_station, 靴屋 shoe_store",
)
# Where one goes, and asks the way to.
TOWN = (
    *SERVICES,
    *(place for place in (*INDOORS, *OUTDOORS) if place.ja not in ("台所", "教室", "部屋", "庭", "森", "村", "事務所", "海岸")),
)
OPENING = tuple(
    place
    for place in TOWN
    if place.ja not in ("駅", "空港", "公園", "バス停", "駐車場", "交番", "警察署", "消防署", "ホテル", "学校")
)
WORKPLACES = tuple(place for place in TOWN if place.ja not in ("公園", "バス停", "駐車場", "駅"))
ROOMS = (
    *read("", "in", "会議室 meeting_room, 教室 classroom, 待合室 waiting_room, 事務所 office, 食堂 cafeteria, 廊下 hallway"),
)
FIELDS = (
    *named(OUTDOORS, "公園 庭 海岸 森 村"),
    *read("", "on", "島 island, 丘 hill, 農場 farm"),
    *read("", "in", "山 mountains, 谷 valley"),
)
CITIES = read(
    "city",
    "in",
    "東京 Tokyo, 大阪 Osaka, 京都 Kyoto, 奈良 Nara, 札幌 Sapporo, 福岡 Fukuoka, 広島 Hiroshima, 名古屋 Nagoya, 横浜 Yokohama, "
    "神戸 Kobe, 仙台 Sendai, 長崎 Nagasaki, 金沢 Kanazawa, 鎌倉 Kamakura",
    article="",
)
ABROAD = read(
    "city", "in", "ロンドン London, パリ Paris, ローマ Rome, ニューヨーク New_York, ソウル Seoul, 北京 Beijing", article=""
)
COUNTRIES = (
    *read(
        "",
        "in",
        "カナダ Canada, ブラジル Brazil, フランス France, ドイツ Germany, イタリア Italy, スペイン Spain, 中国 China",
        "",
    ),
    *read(
        "", "in", "韓国 South_Korea, インド India, タイ Thailand, オーストラリア Australia, メキシコ Mexico, エジプト Egypt", ""
    ),
    *read("", "in", "アメリカ the_United_States, イギリス the_United_Kingdom, フィリピン the_Philippines", ""),
)
RELATIONS = phrases("隣 next_to, 前 in_front_of, 後ろ behind, 向かい across_from, 近く near")
ON_FURNITURE = phrases("上 on, 下 under, 後ろ behind")
VEHICLES = phrases("電車 train, バス bus, 車 car, タクシー taxi, 船 ship, 飛行機 plane, 自転車 bicycle")


def reached_by(city: Place, vehicle: Word) -> bool:
    """Whether one may travel to the city so: ships need a harbour, planes an airport, trains and buses no sea."""
    if vehicle.en == "ship":
        return city.en in ("Osaka", "Yokohama", "Kobe", "Hiroshima", "Fukuoka", "Nagasaki", "Sendai")
    if vehicle.en == "plane":
        return city.en not in ("Kyoto", "Nara", "Kamakura", "Yokohama")
    return city not in ABROAD
