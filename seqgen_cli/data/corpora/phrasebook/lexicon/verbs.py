"""Verbs: `Japanese group English [past [participle]]`, a line each; `_` is a space. Groups as in japanese.py."""

from typing import cast

from seqgen_cli.data.corpora.phrasebook.japanese import VerbGroup
from seqgen_cli.data.corpora.phrasebook.words import Verb

_TABLE = """
食べる 1 eat ate eaten
飲む 5 drink drank drunk
読む 5 read read read
書く 5 write wrote written
買う 5 buy bought
売る 5 sell sold
見る 1 watch
聞く 5 listen_to
作る 5 make made
焼く 5 bake
洗う 5 wash
掃除する s clean
直す 5 repair
借りる 1 borrow
探す 5 look_for
なくす 5 lose lost
運ぶ 5 carry
する s play
弾く 5 play
吹く 5 play
勉強する s study
教える 1 teach taught
話す 5 speak spoke spoken
撮る 5 take took taken
描く 5 draw drew drawn
開ける 1 open
閉める 1 close
塗る 5 paint
使う 5 use
運転する s drive drove driven
乗る 5 ride rode ridden
泳ぐ 5 swim swam swum
走る 5 run ran run
歩く 5 walk
踊る 5 dance
歌う 5 sing sang sung
働く 5 work
遊ぶ 5 play
待つ 5 wait
座る 5 sit sat
寝る 1 go_to_bed went gone
起きる 1 get_up got gotten
出かける 1 go_out went gone
帰る 5 go_home went gone
料理する s cook
散歩する s take_a_walk took taken
買い物する s go_shopping went gone
釣りをする s go_fishing went gone
昼寝する s take_a_nap took taken
洗濯する s do_the_laundry did done
宿題をする s do_homework did done
シャワーを浴びる 1 take_a_shower took taken
笑う 5 laugh
見せる 1 show showed shown
渡す 5 hand
貸す 5 lend lent
あげる 1 give gave given
眠る 5 sleep slept
立つ 5 stand stood
好く 5 like
始まる 5 start
終わる 5 end
開く 5 open
閉まる 5 close
運動する s exercise
"""


def _read(line: str) -> Verb:
    ja, group, en, *irregular = (part.replace("_", " ") for part in line.split(" "))
    return Verb(ja, en, cast(VerbGroup, group), *irregular)


_VERBS = {f"{verb.ja}:{verb.en}": verb for verb in map(_read, _TABLE.strip().split("\n"))}
VERBS = tuple(_VERBS.values())


def verb(ja: str, en: str) -> Verb:
    """The verb of the table with these dictionary forms."""
    return _VERBS[f"{ja}:{en}"]
