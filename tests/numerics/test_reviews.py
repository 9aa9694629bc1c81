"""Labelled files of users: which rows fit, what is said of one that does not, which classes there are, how train is cut."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seqgen_cli.data.corpora.reviews import Reviews
from seqgen_cli.data.prepare.labelled import prepare_labelled
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.errors import RequestError

ROWS = [("fine, really", "a"), ('say "no"\nagain', "b"), ("お茶", "c"), ("x", "a")]


def written(path: Path, content: str | bytes) -> str:
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def read(path: str, **settings: Any) -> list[tuple[str, str]]:
    return list(Reviews(test=path, **settings).labelled_splits()["test"])


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.csv.gz"])
def test_every_kind_of_file(name: str, tmp_path: Path) -> None:
    if ".jsonl" in name:
        content = "".join(json.dumps({"text": text, "label": label, "other": 1}) + "\n" for text, label in ROWS)
    else:
        quoted = [(text.replace('"', '""'), label) for text, label in ROWS]
        separator = "\t" if ".tsv" in name else ","
        content = f"label{separator}text\r\n" + "".join(f'{label}{separator}"{text}"\r\n' for text, label in quoted)
    path = written(tmp_path / name, content)
    splits = Reviews(train=path, test=path, valid_share=0.25, quoting=True).labelled_splits()
    assert list(splits["test"]) == ROWS
    assert sorted([*splits["train"], *splits["valid"]]) == sorted(ROWS) and len(splits["valid"]) == 1


HEAD = "label,text\npos,one\n"
FITTING: dict[str, tuple[str, str, Mapping[str, Any], list[tuple[str, str]]]] = {
    "white space around names and cells": ("r.csv", 'label , text\n pos , "a, b"\npos,c \n', {}, [("a, b", "pos"), ("c", "pos")]),
    "trailing empty columns": ("r.csv", "label,text,,\npos,one,,\nneg,two\n", {}, [("one", "pos"), ("two", "neg")]),
    "trailing empty cells": ("r.csv", HEAD + "neg,two,,\n", {}, [("one", "pos"), ("two", "neg")]),
    "empty rows": ("r.csv", HEAD + "\n,\nneg,two\n,,,\n", {}, [("one", "pos"), ("two", "neg")]),
    "lines ended by CR alone": ("r.csv", (HEAD + 'neg,"two, 2"\n').replace("\n", "\r"), {}, [("one", "pos"), ("two, 2", "neg")]),
    "CR alone inside quotes": ("r.csv", HEAD + 'neg,"two\r2"\n', {}, [("one", "pos"), ("two\r2", "neg")]),
    "semicolons, as spreadsheets write them": ("r.csv", "label;text\npos;a, b\n", {}, [("a, b", "pos")]),
    "a comma in a header of semicolons": ("r.csv", "label;text;a,b\npos;one;1\n", {}, [("one", "pos")]),
    "quotes in a TSV are text": (
        "r.tsv",
        'label\ttext\npos\t"Good" film\nneg\t3" high\n',
        {},
        [('"Good" film', "pos"), ('3" high', "neg")],
    ),
    "quotes that do not enclose": ("r.csv", HEAD + 'neg,the "two"\n', {}, [("one", "pos"), ('the "two"', "neg")]),
    "quotes of a CSV without quoting": ("r.csv", HEAD + 'neg,"two"\n', {"quoting": False}, [("one", "pos"), ('"two"', "neg")]),
    "a text of digits": (
        "r.jsonl",
        '{"label": true, "text": 5}\n{"label": false, "text": 1.50}\n',
        {},
        [("5", "True"), ("1.5", "False")],
    ),
    "the class nan, if named": (
        "r.csv",
        "label,text\nnan,chia̍h\nyue,sik\n",
        {"classes": ["nan", "yue"]},
        [("chia̍h", "nan"), ("sik", "yue")],
    ),
    "a text nan": ("r.csv", HEAD + "neg,nan\n", {}, [("one", "pos"), ("nan", "neg")]),
    "half a character": ("r.jsonl", r'{"label": "a", "text": "x \ud83d"}' + "\n", {}, [("x \ufffd", "a")]),
}


@pytest.mark.parametrize("case", FITTING)
def test_rows_that_fit(case: str, tmp_path: Path) -> None:
    name, content, settings, rows = FITTING[case]
    assert read(written(tmp_path / name, content), **settings) == rows


CSV_ROWS = {
    "pos,good, really": r"3 fields, 'pos \| good \| really', where the header has 2 \(label, text\). .* needs quotes around it",
    "pos": "1 field, 'pos', where the header has 2",
    "pos,": "its text is empty. Fill it in",
    "   ,two": "its label is empty",
    "nan,two": r"its label is nan. Fill it in, or name it in data\.classes",
}
JSON_ROWS = {
    '{"text": "b"}': r"no column 'label' \(it has text\). Set data\.label",
    '{"text": "b", "label": null}': "its label is null",
    '{"text": null, "label": "x"}': "its text is null",
    '{"text": " ", "label": "x"}': "its text is empty",
    '{"text": "b", "label": NaN}': "its label is NaN",
    '{"text": "b", "label": 1e999}': "its label is Infinity",
    '{"text": "b", "label": ["x", "y"]}': r"its label holds several values, '\[.x., .y.\]'\. Give each row one label",
    '{"text": {"de": "b"}, "label": "x"}': "its text holds several values",
    '{"text": "b", "label": "x\\ud800"}': r"its label 'x\\ud800' is cut within a character",
    '["b", "x"]': "not a JSON object",
    '{"text":': "not JSON",
    '{"text":' + "[" * 99_999: "not JSON",
}
BAD = [("r.csv", HEAD + "neg,two\n", row, 4, told) for row, told in CSV_ROWS.items()]
BAD += [("r.csv", HEAD + 'neg,"two\nlines"\n', "pos,a,b", 5, "3 fields")]
BAD += [("r.csv", HEAD.replace("\n", "\r"), "pos,a,b\r", 3, "3 fields")]
BAD += [("r.tsv", "label\ttext\npos\tone\n", "pos\ta\tb", 3, r"can hold no tab .* set data\.quoting=true")]
BAD += [("r.jsonl", '{"text": "a", "label": "pos"}\n', row, 2, told) for row, told in JSON_ROWS.items()]


@pytest.mark.parametrize(("name", "start", "row", "line", "told"), BAD)
def test_rows_that_do_not_fit_are_refused_by_line_or_left_out(
    name: str, start: str, row: str, line: int, told: str, tmp_path: Path
) -> None:
    end = {"r.csv": "neg,last\n", "r.tsv": "neg\tlast\n", "r.jsonl": '{"text": "last", "label": "neg"}\n'}[name]
    path = written(tmp_path / name, start + row + "\n" + end)
    with pytest.raises(RequestError, match=rf"{name}, line {line}: .*{told}.*data\.bad_rows=skip"):
        read(path)
    corpus = Reviews(test=path, bad_rows="skip")
    kept = corpus.labelled_splits()["test"]
    assert len(kept) == len(read(written(tmp_path / f"good-{name}", start + end))) and kept[-1] == ("last", "neg")
    assert len(corpus.notes) == 1 and "left out 1 row " in corpus.notes[0] and f"in line {line})" in corpus.notes[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEAD + 'neg,"two\npos,three\n', r"the row at line 3: its quotes do not close .* set data\.quoting=false"),
        (HEAD + 'neg,"two" more\n', "the row at line 3: its quotes do not close"),
        ("stars,text\n1,a\n", r"line 1: no column 'label' \(it has stars, text\). Set data\.label"),
        ("label,text,text\n1,a,b\n", "line 1: the header names 'text' 2 times"),
        ("", r"r\.csv is empty: its first line names the columns"),
        ("label,text\n", "has no text"),
        (HEAD + "neg,two\rlines\n", r"the row at line 3: a carriage return stands in it, outside quotes.*tr -d '\\r'"),
    ],
)
def test_files_that_are_no_tables_are_refused_whatever_the_setting(content: str, told: str, tmp_path: Path) -> None:
    for bad_rows in ("error", "skip"):
        with pytest.raises(RequestError, match=told):
            read(written(tmp_path / "r.csv", content), bad_rows=bad_rows)


def test_settings_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no files"):
        Reviews()
    with pytest.raises(RequestError, match=r"must end in \.csv"):
        Reviews(train=written(tmp_path / "r.txt", HEAD))


def test_quoted_fields_of_a_tsv_read_as_text_are_counted(tmp_path: Path) -> None:
    """Those that pandas quotes; data.quoting=true, which the note advises, reads them."""
    path = written(tmp_path / "r.tsv", 'label\ttext\npos\t"a ""good"" one"\npos\tplain\n')
    corpus = Reviews(test=path)
    assert corpus.labelled_splits()["test"][0][0] == '"a ""good"" one"'
    assert "1 text in quotes" in corpus.notes[0] and "data.quoting=true" in corpus.notes[0]
    assert read(path, quoting=True) == [('a "good" one', "pos"), ("plain", "pos")]


@pytest.mark.parametrize(("classes", "names"), [(None, ["bad", "good"]), (["good", "bad"], ["good", "bad"])])
def test_classes_stand_in_the_order_given_or_sorted(classes: list[str] | None, names: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = written(tmp_path / "r.csv", "label,text\ngood,fine\nbad,awful\ngood,lovely\nbad,dull\n")
    data = prepare_labelled(Reviews(train=path, valid=path, classes=classes), WordPieces("tiny"), tmp_path / "cache")
    train = data.splits["train"]
    assert data.target_tokenizer.names == names
    found = dict(zip(train.source_lines(), (names[label] for label in train.labels_n), strict=True))
    assert found == {"fine": "good", "awful": "bad", "lovely": "good", "dull": "bad"}


def test_numbers_are_one_class_however_they_are_written(tmp_path: Path) -> None:
    labels = [1, 1.0, "1", " 1 ", "1.0", 0.5, "0.5", 10, -2.0, "-2"]
    path = written(tmp_path / "r.jsonl", "".join(json.dumps({"text": "t", "label": label}) + "\n" for label in labels))
    corpus = Reviews(train=path, valid=path)
    assert corpus.found_names == ["-2", "0.5", "1", "10"]  # by size, not by spelling
    assert Counter(label for _, label in corpus.labelled_splits()["train"]) == {"1": 5, "0.5": 2, "10": 1, "-2": 2}
    assert Reviews(train=path, classes=["1.0", "0.5", "-2", "10"]).class_names() == ["1", "0.5", "-2", "10"]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_class_that_there_is_not_is_named_with_its_line(split: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", HEAD + "neg,two\n")
    other = written(tmp_path / "b.csv", HEAD + "neutral,so so\npos,three\n")
    files = {"train": path, "valid": other} if split == "valid" else {"train": other, "classes": ["neg", "pos"]}
    with pytest.raises(RequestError, match=r"b\.csv, line 3: its class 'neutral' is not one of .*pos"):
        Reviews(**files).labelled_splits()
    corpus = Reviews(**files, bad_rows="skip")
    assert (
        len(corpus.labelled_splits()["valid"]) == (1 if split == "train" else 2)
        and "1 row of an unknown class" in corpus.notes[0]
    )


@pytest.mark.parametrize("seed", range(1, 9))
def test_rare_classes_are_known_and_each_keeps_its_share(seed: int, tmp_path: Path) -> None:
    sizes = {"common": 60, "half": 30, "rare": 5, "two": 2, "sole": 1}
    rows = [f"{label},{label} {number}\n" for label, size in sizes.items() for number in range(size)]
    path = written(tmp_path / "r.csv", "label,text\n" + "".join(rows))
    corpus = Reviews(train=path, valid_share=0.3, split_seed=seed)
    splits = corpus.labelled_splits()
    assert corpus.found_names == sorted(sizes)
    assert sorted(text for split in splits.values() for text, _ in split) == sorted(row.split(",")[1][:-1] for row in rows)
    valid = Counter(label for _, label in splits["valid"])
    assert sum(valid.values()) == 29
    for label, size in sizes.items():
        assert abs(valid[label] - 0.3 * size) < 1.1 and valid[label] < size, label
    assert splits["valid"] != Reviews(train=path, valid_share=0.3, split_seed=seed + 1).labelled_splits()["valid"]
    assert Reviews(train=path, limit=3, split_seed=seed).found_names == sorted(sizes)


def test_a_class_that_the_limit_leaves_out_of_train_is_a_class(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = written(tmp_path / "r.csv", "label,text\n" + "c,one\n" + "a,two\nb,three\n" * 20)
    data = prepare_labelled(Reviews(train=path, limit=4), WordPieces("tiny"), tmp_path / "cache")
    assert data.target_tokenizer.names == ["a", "b", "c"] and len(data.splits["train"]) == 4


def test_a_cut_leaves_one_text_of_each_class_in_training(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", HEAD + "pos,two\nneg,three\n")
    splits = Reviews(train=path, valid_share=0.99).labelled_splits()
    assert {label for _, label in splits["train"]} == {"pos", "neg"} and len(splits["valid"]) == 1
    with pytest.raises(RequestError, match=r"one text of each class, and none to spare for validation: give data\.valid"):
        Reviews(train=written(tmp_path / "s.csv", HEAD + "neg,two\n")).labelled_splits()


def test_texts_that_the_encoder_cannot_read_are_said(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    english, other = written(tmp_path / "a.csv", HEAD + "neg,two\n"), written(tmp_path / "b.csv", HEAD + "neg,Где вокзал\n")
    data = prepare_labelled(Reviews(train=english, valid=english, test=other), WordPieces("tiny"), tmp_path / "cache")
    of_valid, of_test = (
        line for split in ("valid", "test") for line in data.report if line.startswith(split) and "pieces" in line
    )
    assert "unknown" not in of_valid and "of them unknown to the encoder" in of_test


def test_what_was_left_out_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = written(tmp_path / "r.csv", HEAD + "neg,two\npos,a,b\n,c\npos,three\nneg,four\nneg,e,f\n")
    data = prepare_labelled(Reviews(train=path, valid=path, bad_rows="skip"), WordPieces("tiny"), tmp_path / "cache")
    width = "2 rows of another width than the header's 2 (the first in line 4)"
    assert f"{path}: left out {width}, 1 row with an empty label (the first in line 5)." in data.report
