"""`make demo`: what it promises of its material."""

from __future__ import annotations

from pathlib import Path

from seqgen_cli.cli.helptext import EXAMPLES
from seqgen_cli.config.door import config_of

ROOT = Path(__file__).parents[1]


def test_what_the_readme_and_help_translate_is_a_sentence_of_the_demo() -> None:
    """Which the demo's model translates as README says; `make demo` shows it."""
    unseen = (ROOT / "recipes" / "demo" / "unseen.ja").read_text(encoding="utf-8").split()
    shown = next(line.split()[1] for line, _ in EXAMPLES["translate"] if line.startswith("echo "))
    assert shown in unseen and f'translate(["{shown}"])' in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_five_sentences_of_the_demo_are_never_seen_in_training() -> None:
    corpus = config_of("train", ["experiment=demo"]).corpus
    unseen = (ROOT / "recipes" / "demo" / "unseen.ja").read_text(encoding="utf-8").splitlines()
    assert len(set(unseen)) == 5
    train = {source for source, _ in corpus.splits()["train"]}
    assert not train & set(unseen)
    words = set("".join(train))
    assert all(set(line) <= words for line in unseen), "but every character is"
