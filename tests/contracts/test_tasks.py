"""What every task answers for: the data it reads, the tokenizers it is given, what it says of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqgen_cli.config import build
from seqgen_cli.config.door import config_of
from seqgen_cli.data.batching import ByTokens
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks.base import Task, task_for, tasks
from seqgen_cli.tasks.generate.task import LanguageModelValidation
from seqgen_cli.tasks.validation import Trained
from seqgen_cli.training.setup import make_networks
from tests.corpus_files import sentences, write

CHOSEN = {
    "classify": ["model=bert_gru", "model.encoder=tiny", "data=mini_reviews", "tokenizer.vocab_size=200"],
    "generate": ["model=rnn_lm", "tokenizer.vocab_size=700"],
    "translate": ["model=rnn", "tokenizer.vocab_size=700"],
}
SIZES = ["data.train_size=300", "data.valid_size=20", "data.test_size=20"]


def prepared(cache: Path, words: list[str], tokenizers: Any = None, only: list[str] | None = None) -> Prepared:
    return build.prepared(config_of("train", [*words, *places(cache)]), tokenizers, only)


def places(cache: Path) -> list[str]:
    return ["runtime.device=cpu", f"runtime.cache_folder={cache}"]


def test_every_task_is_tried() -> None:
    assert {task.name for task in tasks()} == set(CHOSEN)


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_the_tokenizers_given_are_the_ones_that_serve(name: str, tmp_path: Path) -> None:
    """Those of a checkpoint, though the data to read now would make others: words, word pieces, and classes."""
    words = [*CHOSEN[name], *SIZES]
    own = prepared(tmp_path, words)
    given = (own.source_tokenizer, own.target_tokenizer)
    other_words = [*words, "data.corpus_seed=2" if name != "classify" else "data.train_size=120"]
    other, found = prepared(tmp_path, other_words), prepared(tmp_path, other_words, given)
    sides = {"classify": "source", "generate": "target", "translate": "target"}  # the side whose tokenizer is trained
    prints = [getattr(each, f"{sides[name]}_tokenizer").fingerprint for each in (own, other, found)]
    assert prints[0] == prints[2] != prints[1]
    test = prepared(tmp_path, other_words, given, ["test"])
    assert list(test.splits) == ["test"] and test.target_tokenizer.fingerprint == own.target_tokenizer.fingerprint


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_what_is_said_of_the_data_is_so(name: str, tmp_path: Path) -> None:
    config = config_of("train", [*CHOSEN[name], *SIZES])
    task, data = config.task, prepared(tmp_path, [*CHOSEN[name], *SIZES])
    train = data.splits["train"]
    sides = {"classify": ["word pieces"], "generate": ["tokens"], "translate": ["source tokens", "target tokens"]}[name]
    nouns = {"classify": "text", "generate": "line", "translate": "pair"}
    assert task.name == name and list(task.lengths(train)) == sides and task.noun(train) == nouns[name]
    batch = train.batch(range(len(train)))
    lengths = [each for each in (batch.source_lengths_B, batch.target_lengths_B) if each is not None]
    assert [n.tolist() for n in task.lengths(train).values()] == [each.tolist() for each in lengths]
    assert (batch.source_lengths_B is not None) == task.reads_source
    tally = task.tally(data, "train")
    assert tally == ({} if batch.labels_B is None else {n: int((batch.labels_B == c).sum()) for c, n in enumerate(tally)})
    sizes = [each.vocab_size for each in (data.source_tokenizer, data.target_tokenizer) if each is not None]
    assert all(f"{size:,}" in task.vocabularies(data) for size in sizes)


def test_a_language_model_asks_for_no_source(tmp_path: Path) -> None:
    """Not even for its file."""
    write(tmp_path / "train", sentences(60))
    (tmp_path / "train.ja").unlink()
    words = ["data=text", "data.source_language=ja", "data.target_language=en", "model=rnn_lm", "tokenizer.vocab_size=60"]
    words += [f"data.train={tmp_path}/train", f"data.valid={tmp_path}/train", "cleaning.drop_overlap=none"]
    assert len(prepared(tmp_path / "cache", words).splits["train"]) > 50
    with pytest.raises(RequestError, match=r"train\.ja does not exist"):
        prepared(tmp_path / "cache", [*words, "model=rnn"])


def test_blocks_are_prepared_without_a_model(tmp_path: Path) -> None:
    """Of the target side of pairs: they are for language models, whatever else could read the pairs."""
    words = ["data=text", "data.source_language=ja", "data.target_language=en", "tokenizer.vocab_size=60"]
    words += [f"data.train={write(tmp_path / 'train', sentences(60))}"]
    for block, task in (("null", "translate"), ("8", "generate")):
        config = config_of("prepare", [*words, *places(tmp_path / "cache"), f"data.block={block}"])
        data = build.prepared(config)
        assert config.task.name == task and (data.source_tokenizer is None) == (task == "generate")


@pytest.mark.parametrize("block", [None, 8])
def test_samples_of_running_text_start_where_a_line_has_ended(block: int | None, tmp_path: Path) -> None:
    words = ["data=text", "model=rnn_lm", "model.hidden_size=8", "tokenizer.vocab_size=60", "decoding=greedy"]
    for split in ("train", "valid"):
        words.append(f"data.{split}={write(tmp_path / split, sentences(60))}.en")
    words += [*places(tmp_path / "cache"), f"data.block={'null' if block is None else block}", "cleaning.drop_overlap=none"]
    config = config_of("train", words)
    data = build.prepared(config)
    trained = Trained(data, *make_networks(config, data), ByTokens(200), config.runtime)
    validation = config.task.validation(config, trained)
    assert isinstance(validation, LanguageModelValidation) and validation.running is (block is not None)


class Lost:
    task = "tests.corpus_files"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nowhere.at_all", "is no module with a TASK"),
        ("tests.corpus_files", "no attribute 'TASK'"),
        (f"{__name__}", "is no Task"),
    ],
)
def test_a_task_that_is_not_there_is_named(named: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lost, "task", named)
    with pytest.raises(RequestError, match=message):
        task_for(Lost)


def test_a_task_says_for_itself_what_nobody_else_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = "from seqgen_cli.tasks.base import Task\nclass Half(Task):\n    def prepare(self, *given): ...\nTASK = Half()\n"
    (tmp_path / "half_a_task.py").write_text(half)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Lost, "task", "half_a_task")
    with pytest.raises(RequestError, match=r"task=half_a_task is no module with a TASK \(.*abstract.*evaluate.*open"):
        task_for(Lost)


TASK = Task
