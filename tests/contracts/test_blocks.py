"""Text read in blocks: one stream, every token predicted once, with the context that was asked for."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from seqgen_cli.data.batch import Batch
from seqgen_cli.data.batching import BySentences, ByTokens, TrainStream, evaluation_batches
from seqgen_cli.data.corpora.text import TextCorpus
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.prepare.cleaning import StandardCleaning
from seqgen_cli.data.prepare.text import prepare
from seqgen_cli.errors import RequestError
from tests.corpus_files import AS_IS, SMALL, sentences

LINES = ["", *(target for _, target in sentences(60)), "", ""]
SIZES = [(1, 0), (1, 4), (7, 0), (7, 3), (7, 30), (64, 16), (100_000, 5)]


def corpus(folder: Path, block: int | None, context: int, parts: int = 1, weights: list[float] | None = None) -> TextCorpus:
    files = [folder / f"train{number}.txt" for number in range(parts)]
    for file in files:
        file.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return TextCorpus(train=list(map(str, files)), valid=str(files[0]), weights=weights, block=block, context=context)


def stored(folder: Path, block: int | None, context: int, parts: int = 1, weights: list[float] | None = None) -> Prepared:
    return prepare(corpus(folder, block, context, parts, weights), SMALL, AS_IS, folder / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks")


def stream(data: Prepared, lines: list[str] = LINES) -> list[int]:
    """The split's tokens in one list, put together here."""
    return [number for ids in data.target_tokenizer.encode(lines) for number in [*ids.tolist(), 3]]


def predictions(batches: list[Batch], block: int) -> dict[int, tuple[int, list[int]]]:
    """For each place in the stream: the token to predict, and what its row reads up to there."""
    found = {}
    for batch in batches:
        assert batch.source_BS is None and batch.source_lengths_B is None
        width = batch.targets_BT.shape[1]
        seen: Counter[int] = Counter()
        for place in batch.valid_N.tolist():
            row, column = divmod(place, width)
            example = int(batch.index_B[row])
            position = example * block + seen[row]
            seen[row] += 1
            assert position not in found, "predicted twice"
            assert column < batch.target_lengths_B[row]
            found[position] = int(batch.targets_BT[row, column]), batch.inputs_BT[row, : column + 1].tolist()
    return found


@pytest.mark.parametrize(("block", "context"), SIZES)
def test_every_token_is_predicted_once_after_its_context(folder: Path, block: int, context: int) -> None:
    data = stored(folder, block, context)
    dataset, tokens = data.splits["valid"], stream(data)
    assert len(dataset) == math.ceil(len(tokens) / block)
    found = predictions(list(evaluation_batches(dataset, ByTokens(300))), block)
    assert sorted(found) == list(range(len(tokens)))
    before = [2, *tokens]  # what is read before each place
    for place, (token, read) in found.items():
        first = place // block * block
        assert token == tokens[place]
        assert read == before[max(0, first - context) : place + 1]


@pytest.mark.parametrize(("block", "context"), SIZES)
def test_a_model_of_short_sight_scores_as_on_one_stream(folder: Path, block: int, context: int) -> None:
    """A toy whose probabilities rest on the last context + 1 tokens: its total does not depend on the blocks."""
    data = stored(folder, block, context)

    def log_prob(token: int, read: list[int]) -> float:
        return -((hash((token, *read[-context - 1 :])) % 1009) / 100)

    tokens = stream(data)
    whole = math.fsum(log_prob(token, [2, *tokens[:place]]) for place, token in enumerate(tokens))
    found = predictions(list(evaluation_batches(data.splits["valid"], BySentences(5))), block)
    assert math.fsum(log_prob(*each) for each in found.values()) == pytest.approx(whole, abs=1e-9)


def test_blocks_and_lines_count_the_same_tokens(folder: Path) -> None:
    by_line = stored(folder, None, 0)
    for block, context in SIZES:
        data = stored(folder, block, context)
        assert data.target_counts_V.tolist() == by_line.target_counts_V.tolist()
        for name, dataset in data.splits.items():
            assert dataset.target_lengths_n.sum() == by_line.splits[name].target_lengths_n.sum() == len(stream(data))
            batches = list(evaluation_batches(dataset, ByTokens(200)))
            assert sum(len(batch.targets_N) for batch in batches) == len(stream(data))
            read = sorted(int(length) for batch in batches for length in batch.target_lengths_B)
            assert read == sorted(dataset.lengths_nk[:, 0].tolist())
    assert stored(folder, 7, 3).fingerprint not in {by_line.fingerprint, stored(folder, 7, 4).fingerprint}


def test_an_epoch_of_training_predicts_every_token_once(folder: Path) -> None:
    data = stored(folder, 7, 3)
    train = TrainStream(pickle.loads(pickle.dumps(data.splits["train"])), BySentences(4), seed=1)
    batches = list(islice(iter(train), train.batches_per_epoch))
    found = predictions(batches, 7)
    assert [found[place][0] for place in range(len(found))] == stream(data)
    order = [index for batch in batches for index in batch.index_B.tolist()]
    assert order != sorted(order)


def test_weights_say_how_often_a_corpus_is_read(folder: Path) -> None:
    """Two copies of the text, the first read twice, a quarter of the second: the block on the border is the first's."""
    dataset = stored(folder, 7, 3, parts=2, weights=[2, 0.25]).splits["train"]
    tokens = len(stream(stored(folder, None, 0)))
    first, second = math.ceil(tokens / 7), math.ceil(2 * tokens / 7) - math.ceil(tokens / 7)
    numbers = dataset.examples_of_epoch(0, seed=1)
    seen = Counter((numbers % len(dataset)).tolist())
    first_block, copy = dataset.batch([2]), dataset.batch([2 + len(dataset)])
    assert torch.equal(first_block.inputs_BT, copy.inputs_BT) and len(set(numbers.tolist())) == len(numbers)
    assert {seen[example] for example in range(first)} == {2}
    assert sum(seen[example] for example in range(first, first + second)) == round(second / 4)


def test_no_line_is_too_long_for_blocks(tmp_path: Path) -> None:
    cleaning = StandardCleaning(max_length=5)
    data = prepare(replaced(corpus(tmp_path, 7, 3)), SMALL, cleaning, tmp_path / "cache")
    kept = list(dict.fromkeys(line for line in LINES if line))
    assert data.splits["train"].target_lengths_n.sum() == len(stream(data, kept))
    by_line = prepare(replaced(corpus(tmp_path, None, 3)), SMALL, cleaning, tmp_path / "cache").splits["train"]
    assert 0 < len(by_line) < len(kept)


def replaced(text: TextCorpus) -> TextCorpus:
    """The same without what is validated on, which cleaning would take out of train."""
    del text._files["valid"]
    return text


def test_blocks_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ja").write_text("あ\n")
    (tmp_path / "a.en").write_text("a\n")
    pairs = TextCorpus("ja", "en", train=str(tmp_path / "a"), block=7)
    with pytest.raises(RequestError, match=r"data\.block=7 cuts a text of one side.*Use data\.block=null"):
        prepare(pairs, SMALL, AS_IS, tmp_path / "cache")
    with pytest.raises(RequestError, match=r"Use tokenizer\.sampling_alpha=null"):
        prepare(corpus(tmp_path, 7, 0), replace(SMALL, sampling_alpha=0.1), AS_IS, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
