"""What encoding once saves: seconds of an epoch the straightforward way and ours, on this machine, in one run.

    python cost.py ARCHIVE [STEPS]

Straightforward: every epoch encodes again, random batches of 128 padded to 512, torch's own bidirectional GRU, float32.
Ours: each review encoded once in batches of like length; every epoch trains the GRU on batches of 128 of like length.
A step costs what its shape says, so STEPS steps of either way (default 4; ours spread evenly over the lengths) give the
seconds a token, and the data set's tokens give the epoch. The training part here is all 25,000 training reviews.
"""

import itertools
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn

from seqgen_cli.data.batching import BySentences
from seqgen_cli.data.corpora.imdb import Imdb
from seqgen_cli.data.tokenizers.wordpieces import WordPieces
from seqgen_cli.models.bert_gru import BertGru
from seqgen_cli.models.encoders import pretrained_encoder

BATCH, WIDTH = 128, 512


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bf16(on: bool) -> AbstractContextManager[object]:
    return torch.autocast("cpu", dtype=torch.bfloat16) if on else nullcontext()


def straightforward(lengths: np.ndarray, steps: int) -> float:
    """Seconds of one epoch: encoder without gradient, then the GRU's forward, backward and Adam."""
    encoder = pretrained_encoder("minilm").eval()
    gru = nn.GRU(384, 256, 2, bidirectional=True, dropout=0.25, batch_first=True)
    head = nn.Sequential(nn.Dropout(0.25), nn.Linear(512, 1))
    optimizer = torch.optim.Adam([*gru.parameters(), *head.parameters()], lr=1e-3)
    random = np.random.default_rng(1)

    def step() -> None:
        rows = random.choice(lengths, BATCH, replace=False)
        ids = torch.randint(1000, 20_000, (BATCH, WIDTH))
        mask = (torch.arange(WIDTH) < torch.tensor(rows)[:, None]).long()
        with torch.no_grad():
            features = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        _, last = gru(features)
        loss = nn.functional.binary_cross_entropy_with_logits(
            head(torch.cat([last[-2], last[-1]], dim=-1)).squeeze(-1), torch.randint(2, (BATCH,)).float()
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return sum(seconds(step) for _ in range(steps)) / steps * -(-len(lengths) // BATCH)


def ours(lengths: np.ndarray, steps: int, low: bool) -> tuple[float, float]:
    """Seconds to encode everything once, and seconds of an epoch on the features."""
    model = BertGru(None, encoder="minilm").train()
    head = nn.Linear(512, 1)
    optimizer = torch.optim.Adam([*model.gru.parameters(), *head.parameters()], lr=1e-3)
    plan = [lengths[rows] for rows in BySentences(BATCH).plan(lengths[:, None])]
    chosen = [plan[int(place)] for place in np.linspace(0, len(plan) - 1, 3 * steps).round()]

    def encode(rows: np.ndarray) -> torch.Tensor:
        """In batches of at most 16,384 tokens, as the feature cache does."""
        width = int(rows.max())
        pieces = torch.tensor(rows).split(max(1, 16_384 // width))
        with torch.no_grad(), bf16(low):
            return torch.cat([model.features(torch.randint(1000, 20_000, (len(each), width)), each) for each in pieces])

    def train(features: torch.Tensor, rows: np.ndarray) -> None:
        with bf16(low):
            _, last = model.gru(features.float().transpose(0, 1).contiguous(), torch.tensor(rows))
            logit = head(model.dropout(last)).squeeze(-1).float()
        nn.functional.binary_cross_entropy_with_logits(logit, torch.randint(2, (len(rows),)).float()).backward()
        optimizer.step()
        optimizer.zero_grad()

    train(encode(chosen[0]), chosen[0])
    costs = np.zeros(2)
    for rows in chosen:
        kept: list[torch.Tensor] = []
        costs[0] += seconds(lambda rows=rows, kept=kept: kept.append(encode(rows)))  # type: ignore[misc]
        costs[1] += seconds(lambda rows=rows, kept=kept: train(kept[0], rows))  # type: ignore[misc]
    scale = sum(int(rows.max()) * len(rows) for rows in plan) / sum(int(rows.max()) * len(rows) for rows in chosen)
    return float(costs[0] * scale), float(costs[1] * scale)


def main() -> None:
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    splits = Imdb(archive=sys.argv[1]).labelled_splits()
    tokenizer = WordPieces("minilm").pretrained()
    texts = [text for text, _ in itertools.chain(splits["train"], splits["valid"])]
    lengths = np.array([len(ids) for ids in tokenizer.encode(texts)])
    print(f"{len(lengths):,} reviews, {lengths.mean():.0f} word pieces on average; {torch.get_num_threads()} threads", flush=True)
    plain = straightforward(lengths, steps)
    print(f"straightforward fp32: {plain / 60:.1f} min an epoch", flush=True)
    for low in (False, True):
        once, epoch = ours(lengths, steps, low)
        five = 5 * plain / (once + 5 * epoch)
        name = "bf16" if low else "fp32"
        print(
            f"encode once, {name}: {once / 60:.1f} min once + {epoch / 60:.1f} min an epoch; "
            f"five epochs {five:.1f} times cheaper, a later epoch 1/{plain / epoch:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
