"""`make demo`: what it promises of its material."""

from __future__ import annotations

from pathlib import Path

from seqgen_cli.config.door import config_of

ROOT = Path(__file__).parents[1]


def test_the_five_sentences_of_the_demo_are_never_seen_in_training() -> None:
    corpus = config_of("train", ["experiment=demo"]).corpus
    unseen = (ROOT / "recipes" / "demo" / "unseen.ja").read_text(encoding="utf-8").splitlines()
    assert len(set(unseen)) == 5
    train = {source for source, _ in corpus.splits()["train"]}
    assert not train & set(unseen)
    words = set("".join(train))
    assert all(set(line) <= words for line in unseen), "but every character is"
