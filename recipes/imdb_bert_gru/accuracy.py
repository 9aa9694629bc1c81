"""What the cache and a lower precision do to accuracy, beside the time that cost.py says they save: same reviews, same seed.

    python accuracy.py ARCHIVE [LIMIT [EPOCHS [SETTING ...]]]

Straightforward: every epoch encodes again, random batches, float32. Ours: each review encoded once, in bf16 where that is
faster, and kept as fp16, batches of like length. LIMIT: reviews of each split, the same for both (default 2000);
EPOCHS: default 4; further settings are those of `seqgen train`. Each way is a run under runs/, so that a second call goes on
or finds it done.
"""

import json
import sys
import tempfile
from pathlib import Path

from seqgen_cli.cli.main import main

WAYS = {
    "straightforward, fp32": ["batching=random", "data.features=none", "runtime.precision=fp32"],
    "encode once": ["data.features=disk", "data.features_dtype=fp16", "runtime.precision=auto"],
}


def train(words: list[str]) -> dict[str, float]:
    """The figures of a run."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "figures.json"
        code = main(["train", *words, "--json", str(place)])
        if code:
            sys.exit(code)
        figures: dict[str, float] = json.loads(place.read_text(encoding="utf-8"))
    return figures


def compare(archive: str, limit: str = "2000", epochs: str = "4", *more: str) -> None:
    """Train both ways and print the validation figures after the last epoch."""
    common = ["--config-dir", str(Path(__file__).parent / "configs"), "experiment=imdb_bert_gru", "trainer.evaluate_every=null"]
    common += [f"data.archive={archive}", f"data.limit={limit}", f"trainer.epochs={epochs}", *more]
    found = {name: train([*common, *words]) for name, words in WAYS.items()}
    for name, figures in found.items():
        print(
            f"{name}: validation accuracy {figures['last_accuracy']:.4f}, log loss {figures['last_nll']:.4f} "
            f"after {figures['update']} updates, {figures['seconds'] / 60:.1f} min besides encoding once"
        )
    plain, ours = (figures["last_accuracy"] for figures in found.values())
    print(f"difference in accuracy: {100 * (ours - plain):+.2f} points")


if __name__ == "__main__":
    compare(*sys.argv[1:])
