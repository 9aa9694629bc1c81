"""The IWSLT archive: one made here in its layout, as tgz and as zip, and the campaign's own test files where there are any."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from itertools import chain
from pathlib import Path

import pytest

from seqgen_cli.data.corpora.iwslt import TEST_SETS, IwsltJaEn, _segments
from seqgen_cli.errors import RequestError

TRAIN = [(f"日本語 {number}", f"English {number}") for number in range(5)] + [("<3 だよ", "I <3 you"), ("a > b & c", "x <y> z")]
REAL = Path(os.environ.get("SEQGEN_TEST_DATA", "data")) / "iwslt17_ja_en"


def tagged(side: int) -> str:
    """A train.tags file: sentences between tag lines."""
    head = (
        f"<url>http://www.ted.com/{side}</url>\n<keywords>talks, a</keywords>\n<speaker>Some One</speaker>\n<talkid>1</talkid>\n"
        f"<title>A title</title>\n<description>TED Talk: about</description>\n"
        f'<reviewer href="http://x/1">Re Viewer</reviewer>\n<translator href="http://x/2">Trans Lator</translator>\n'
    )
    body = [f" {pair[side]}\n" for pair in TRAIN]
    return head + "".join(body[:3]) + head + "".join(body[3:])


def evaluation(name: str, side: int) -> str:
    """A set's file that no XML parser reads: a bare ampersand, an angle, a missing end tag; entities in other places."""
    first = ("私 &amp; あなた", "R&D <b> &quot;x&quot; &#65;&#x42;")[side]
    second = ("  二つ\n目 ", "second  line ")[side]
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<srcset setid="{name}" srclang="japanese">\n'
        f'<doc docid="1" genre="lectures">\n<url>http://a?b=1&c=2</url>\n<title>none</title>\n'
        f'<seg id="1"> {first} </seg>\n<seg id="2">{second}</seg>\n<seg id="3"> {name} open\n</doc>\n</srcset>\n</mteval>\n'
    )


def expected(name: str) -> list[tuple[str, str]]:
    return [("私 & あなた", 'R&D <b> "x" AB'), ("二つ 目", "second line"), (f"{name} open", f"{name} open")]


def members(folder: str = "ja-en/") -> dict[str, str]:
    files = {f"{folder}train.tags.ja-en.{language}": tagged(side) for side, language in enumerate(("ja", "en"))}
    for name in ("dev2010", *TEST_SETS):
        for side, language in enumerate(("ja", "en")):
            files[f"{folder}IWSLT17.TED.{name}.ja-en.{language}.xml"] = evaluation(name, side)
    return files


def pack(path: Path, files: dict[str, str]) -> str:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
    return str(path)


@pytest.fixture(params=["tgz", "zip"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return pack(tmp_path / f"ja-en.{request.param}", members())


def test_every_split_is_read(archive: str) -> None:
    corpus = IwsltJaEn(archive=archive, expected_pairs=len(TRAIN))
    splits = corpus.splits()
    assert list(splits["train"]) == TRAIN
    assert list(splits["valid"]) == expected("dev2010")
    assert list(splits["test"]) == [pair for name in TEST_SETS for pair in expected(name)]
    assert list(splits["train"]) == TRAIN  # again
    assert (corpus.source_language, corpus.target_language) == ("ja", "en")


def test_direction_and_sets_are_settings(archive: str) -> None:
    corpus = IwsltJaEn("en-ja", test=["tst2015", "tst2011"], archive=archive, expected_pairs=None)
    assert list(corpus.splits()["train"]) == [(target, source) for source, target in TRAIN]
    assert [source for source, _ in corpus.splits()["test"]][2::3] == ["tst2015 open", "tst2011 open"]
    assert (corpus.source_language, corpus.target_language) == ("en", "ja")
    alone = IwsltJaEn(test="tst2012", archive=archive)
    assert list(alone.splits()["test"]) == expected("tst2012")
    assert len({corpus.fingerprint(), alone.fingerprint(), IwsltJaEn(archive=archive).fingerprint()}) == 3


def test_another_number_of_training_pairs_is_refused(archive: str) -> None:
    with pytest.raises(RequestError, match=r"7 training pairs, not the 223,108"):
        list(IwsltJaEn(archive=archive).splits()["train"])


def test_a_missing_member_and_a_ragged_one_are_named(tmp_path: Path) -> None:
    files = members()
    del files["ja-en/IWSLT17.TED.tst2013.ja-en.en.xml"]
    files["ja-en/train.tags.ja-en.en"] += "one more\n"
    corpus = IwsltJaEn(archive=pack(tmp_path / "a.tgz", files), expected_pairs=None)
    with pytest.raises(RequestError, match=r"no file like IWSLT17\.TED\.tst2013\.ja-en\.en\.xml"):
        list(corpus.splits()["test"])
    with pytest.raises(RequestError, match=r"7 lines .* 8"):
        list(corpus.splits()["train"])


def test_damaged_archives_are_refused(archive: str, tmp_path: Path) -> None:
    whole = Path(archive).read_bytes()
    for damaged in (b"no archive at all", whole[: len(whole) // 2], whole[:100] + b"\xff" * 200 + whole[300:]):
        path = tmp_path / f"damaged{Path(archive).suffix}"
        path.write_bytes(damaged)
        splits = IwsltJaEn(archive=str(path), expected_pairs=None).splits().values()
        with pytest.raises(RequestError, match=r"damaged|is not a whole tgz or zip archive"):
            list(chain.from_iterable(splits))


def test_hostile_names_and_links_do_nothing(tmp_path: Path) -> None:
    """Names that climb out, and a link in place of a member: nothing is written, links are not followed."""
    path = tmp_path / "inner" / "hostile.tgz"
    path.parent.mkdir()
    pack(path, members("../../") | {"../escaped": "x", "/tmp/seqgen-escaped": "x"})
    before = sorted(tmp_path.rglob("*"))
    assert list(IwsltJaEn(archive=str(path), expected_pairs=None).splits()["train"]) == TRAIN
    assert sorted(tmp_path.rglob("*")) == before and not Path("/tmp/seqgen-escaped").exists()
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("ja-en/train.tags.ja-en.ja")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(RequestError, match="no file like"):
        list(IwsltJaEn(archive=str(path), expected_pairs=None).splits()["train"])


@pytest.mark.skipif(not REAL.is_dir(), reason="the campaign's test files are not here: set SEQGEN_TEST_DATA to their folder")
@pytest.mark.parametrize("name", ["tst2014", "tst2015"])
@pytest.mark.parametrize("language", ["ja", "en"])
def test_real_files_give_their_plain_text(name: str, language: str) -> None:
    with (REAL / f"IWSLT17.TED.{name}.ja-en.{language}.xml").open("rb") as file:
        lines = list(_segments(file, name))
    plain = (REAL / f"{name}.{language}").read_text(encoding="utf-8").split("\n")[:-1]
    assert lines == [line.strip() for line in plain]
    assert len(lines) == {"tst2014": 1285, "tst2015": 1194}[name]
