"""A classifier's run stopped and gone on with, bit for bit: features kept or made anew, encoder frozen or trained."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from seqgen_cli.training.signals import StoppedError
from tests.faults.test_resume import assert_same_run, run, stop_after

pytest.importorskip("transformers")

TINY = [
    *("model=bert_gru", "model.encoder=tiny", "model.gru_hidden=6", "model.max_length=40", "tokenizer.vocab_size=200"),
    "batching.sentences=8",
    *("trainer.epochs=null", "trainer.steps=9", "trainer.evaluate_every=4", "trainer.log_every=3", "trainer.samples=2"),
    *("trainer.accumulate=2", "trainer.ema_decay=0.9", "trainer.tensorboard=false", "trainer.plots=false"),
    *("schedule=linear", "schedule.warmup=2", "runtime.device=cpu", "runtime.threads=1"),
]


MADE = ["data=mini_reviews", "data.train_size=80", "data.valid_size=20", "data.test_size=2"]
OWN = ["data=reviews", "data.train=own.tsv", "data.valid_share=0.2"]


@pytest.mark.parametrize(
    "more",
    [
        [*MADE, "data.features=disk", "objective.class_weights=[1.0,2.5]"],
        [*OWN, "data.features=memory", "data.features_dtype=int8", "output=softmax", "model.pooling=attention"],
        [*MADE, "model.unfreeze=1", "model.encoder_lr=1e-3"],
    ],
    ids=["disk", "memory", "unfrozen"],
)
def test_stopping_and_going_on_changes_nothing(more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout (of the encoder too, where it trains), accumulation, the moving average and half a log window all go on.

    Tokenizer and class names, found in the data at first, come from the checkpoint then.
    """
    monkeypatch.chdir(tmp_path)
    rows = [f"{'no ' * (number % 3)}{'fine ' * (number % 7)}day {number % 5}\t{number % 3}" for number in range(80)]
    Path("own.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    whole, parted = (
        [*TINY, *more, f"runtime.runs_folder={tmp_path}/{name}", f"runtime.cache_folder={tmp_path}/cache"]
        for name in ("whole", "parted")
    )
    first = Path(run(*whole)["run"])
    with monkeypatch.context() as patch:
        stop_after(patch, 5, signal.SIGINT)
        with pytest.raises(StoppedError, match="stopped at update 5"):
            run(*parted)
    assert_same_run(first, Path(run(*parted)["run"]))
