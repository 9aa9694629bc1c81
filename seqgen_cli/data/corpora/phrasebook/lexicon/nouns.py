"""Nouns by topic. A table's entries are `Japanese English`, or `Japanese English/irregular plural`; `_` is a space."""

from typing import Literal

from seqgen_cli.data.corpora.phrasebook.tables import entries
from seqgen_cli.data.corpora.phrasebook.words import Noun


def read(
    topic: str, counter: str, table: str, number: Literal["count", "mass", "plural"] = "count", measure: str = ""
) -> tuple[Noun, ...]:
    """The nouns of a table; see Noun for what the columns mean."""
    words = ((ja, *en.partition("/")) for ja, en in entries(table))
    return tuple(Noun(ja, en, topic, counter, irregular, number, measure) for ja, en, _, irregular in words)


FRUIT = (
    *read("food", "個", "りんご apple, オレンジ orange, 桃 peach, 梨 pear, レモン lemon, メロン melon, いちご strawberry"),
    *read("food", "本", "バナナ banana"),
)
VEGETABLES = (
    *read("food", "個", "玉ねぎ onion, トマト tomato/tomatoes, じゃがいも potato/potatoes, かぼちゃ pumpkin, 卵 egg"),
    *read("food", "本", "にんじん carrot, きゅうり cucumber"),
)
GROCERIES = (
    *read("food", "", "肉 meat, 魚 fish, 鶏肉 chicken, 牛肉 beef, 豚肉 pork, パン bread, チーズ cheese, バター butter", "mass"),
    *read("food", "", "豆腐 tofu, 果物 fruit, 海老 shrimp, チョコレート chocolate, 蜂蜜 honey, ジャム jam", "mass"),
    *read("food", "", "野菜 vegetables, ナッツ nuts", "plural"),
)
SEASONINGS = read("seasoning", "", "砂糖 sugar, 塩 salt, 胡椒 pepper, 醤油 soy_sauce, 酢 vinegar, 油 oil", "mass")
DISHES = (
    *read("dish", "つ", "ハンバーガー hamburger, サンドイッチ sandwich, オムレツ omelet, ステーキ steak"),
    *read("dish", "つ", "ホットドッグ hot_dog, おにぎり rice_ball"),
    *read("dish", "つ", "ケーキ cake, アップルパイ apple_pie, ピザ pizza", "mass", "piece"),
    *read(
        "dish",
        "つ",
        "ラーメン ramen, うどん udon, スープ soup, アイスクリーム ice_cream, シチュー stew, サラダ salad",
        "mass",
        "bowl",
    ),
    *read("dish", "つ", "カレー curry, 寿司 sushi, 天ぷら tempura, スパゲッティ spaghetti", "mass", "plate"),
    *read("dish", "つ", "餃子 gyoza, 焼きそば fried_noodles", "mass", "plate"),
)
DRINKS = (
    *read("drink", "つ", "コーヒー coffee, 紅茶 black_tea, 緑茶 green_tea, ココア cocoa", "mass", "cup"),
    *read("drink", "つ", "水 water, 牛乳 milk, オレンジジュース orange_juice, トマトジュース tomato_juice", "mass", "glass"),
    *read("drink", "つ", "ビール beer, ワイン wine, コーラ cola, レモネード lemonade", "mass", "glass"),
)
CLOTHES = (
    *read("clothes", "枚", "シャツ shirt, セーター sweater, スカート skirt"),
    *read("clothes", "着", "コート coat, ジャケット jacket, ドレス dress, 着物 kimono, スーツ suit"),
    *read("clothes", "つ", "帽子 hat"),
    *read("clothes", "本", "ネクタイ tie, ベルト belt"),
    *read("clothes", "足", "靴 shoes, 靴下 socks, ブーツ boots", "plural", "pair"),
    *read("clothes", "本", "ズボン pants", "plural", "pair"),
)
READINGS = (
    *read("reading", "冊", "本 book, 雑誌 magazine, 小説 novel, 漫画 comic_book, 詩集 poetry_book, 絵本 picture_book"),
    *read("reading", "部", "新聞 newspaper, 報告書 report"),
    *read("reading", "通", "手紙 letter"),
)
BOOKS = READINGS[:6]
STATIONERY = (
    *read("goods", "冊", "ノート notebook, 辞書 dictionary, 教科書 textbook, アルバム album"),
    *read("goods", "本", "鉛筆 pencil, ペン pen"),
    *read("goods", "個", "消しゴム eraser"),
    *read("goods", "枚", "切手 stamp, 葉書 postcard, 地図 map, 封筒 envelope, カード card"),
)
GOODS = (
    *read("goods", "つ", "かばん bag, 財布 wallet, 腕時計 watch, 指輪 ring, ランプ lamp, 枕 pillow, 花瓶 vase"),
    *read("goods", "本", "傘 umbrella, 鍵 key, ろうそく candle, ナイフ knife/knives, フォーク fork, スプーン spoon"),
    *read("goods", "枚", "タオル towel, 皿 plate, 毛布 blanket, カーテン curtain"),
    *read("goods", "個", "カップ cup, 箱 box, おもちゃ toy, ボール ball, かご basket, スーツケース suitcase"),
)
MACHINES = read(
    "machine",
    "台",
    "カメラ camera, パソコン computer, ラジオ radio, テレビ television, 自転車 bicycle, 車 car, 携帯電話 cell_phone",
)
MACHINES = (
    *MACHINES,
    *read("machine", "台", "冷蔵庫 refrigerator, 洗濯機 washing_machine, 扇風機 fan, 時計 clock, バイク motorcycle"),
)
INSTRUMENTS = (
    *read("instrument", "台", "ピアノ piano"),
    *read("instrument", "本", "ギター guitar, フルート flute, トランペット trumpet"),
    *read("instrument", "", "バイオリン violin, チェロ cello"),
)
FURNITURE = (
    *read("furniture", "台", "机 desk, テーブル table, ベッド bed, ソファー sofa"),
    *read("furniture", "つ", "椅子 chair, 棚 shelf/shelves, 引き出し drawer, 鏡 mirror"),
)
PARTS_OF_HOUSE = read("house", "つ", "窓 window, ドア door, 門 gate, 屋根 roof, 壁 wall, 床 floor")
SHOWS = read("show", "つ", "映画 movie, ドラマ drama, ニュース番組 news_program, 芝居 play, アニメ cartoon")
EVENTS = (
    *read(
        "event", "つ", "会議 meeting, 試験 exam, コンサート concert, パーティー party, 授業 class, 結婚式 wedding, 祭り festival"
    ),
    *read("event", "つ", "卒業式 graduation, 面接 interview, 講演 lecture, 展覧会 exhibition, 試合 game"),
)
ANIMALS = (
    *read("animal", "匹", "犬 dog, 猫 cat, ねずみ mouse/mice, 猿 monkey, 狐 fox, 亀 turtle, 狼 wolf/wolves, 豚 pig, 蛙 frog"),
    *read("animal", "羽", "鳥 bird, うさぎ rabbit, あひる duck, 鶏 hen, ペンギン penguin"),
    *read("animal", "頭", "馬 horse, 牛 cow, 象 elephant, 鹿 deer/deer, 熊 bear, 羊 sheep/sheep, 虎 tiger"),
)
JOBS = (
    *read(
        "person",
        "人",
        "学生 student, 先生 teacher, 医者 doctor, 看護師 nurse, 弁護士 lawyer, 歯医者 dentist, エンジニア engineer",
    ),
    *read(
        "person",
        "人",
        "画家 painter, 俳優 actor, 歌手 singer, 作家 writer, 記者 reporter, 警官 police_officer, 消防士 firefighter",
    ),
    *read("person", "人", "美容師 hairdresser, 公務員 civil_servant, パイロット pilot, 写真家 photographer, 大工 carpenter"),
    *read("person", "人", "科学者 scientist, 漁師 fisherman/fishermen, 音楽家 musician, 会社員 office_worker, 銀行員 bank_clerk"),
    *read("person", "人", "運転手 driver, 料理人 chef, 農家 farmer, 通訳 interpreter, 秘書 secretary"),
)
PASSERS_BY = read(
    "person", "人", "子供 child/children, 女の人 woman/women, 男の人 man/men, 観光客 tourist, 外国人 foreigner, 赤ちゃん baby"
)
BUILDINGS = read(
    "building",
    "",
    "寺 temple, 神社 shrine, 教会 church, 城 castle, 橋 bridge, 塔 tower, 劇場 theater, 博物館 museum, 図書館 library",
)
SIGHTS = (
    *BUILDINGS,
    *read("building", "", "滝 waterfall, 湖 lake, 温泉 hot_spring, 港 harbor, 通り street, 公園 park, 店 store"),
)
SPORTS = read(
    "sport",
    "",
    "サッカー soccer, テニス tennis, 野球 baseball, バスケットボール basketball, 卓球 table_tennis, ゴルフ golf",
    "mass",
)
SPORTS = (*SPORTS, *read("sport", "", "バレーボール volleyball, ホッケー hockey, 将棋 shogi", "mass"))
LANGUAGES = read("language", "", "英語 English, 日本語 Japanese, フランス語 French, ドイツ語 German, スペイン語 Spanish", "mass")
LANGUAGES = (*LANGUAGES, *read("language", "", "中国語 Chinese, 韓国語 Korean, イタリア語 Italian, ロシア語 Russian", "mass"))
SUBJECTS = read(
    "subject",
    "",
    "数学 math, 歴史 history, 化学 chemistry, 物理 physics, 文学 literature, 経済 economics, 地理 geography",
    "mass",
)
MUSIC = read("music", "", "音楽 music, ジャズ jazz, クラシック classical_music, ロック rock_music", "mass")
SEASONS = read("season", "", "春 spring, 夏 summer, 秋 fall, 冬 winter", "mass")
PASTIMES = read(
    "pastime", "", "旅行 traveling, 料理 cooking, 読書 reading, 水泳 swimming, 釣り fishing, 登山 mountain_climbing", "mass"
)
PASTIMES = (
    *PASTIMES,
    *read("pastime", "", "買い物 shopping, 園芸 gardening, 写真 photography, 書道 calligraphy, 絵画 painting", "mass"),
)
