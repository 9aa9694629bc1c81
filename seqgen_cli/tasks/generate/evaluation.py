"""seqgen eval on a language model's checkpoint: how well it predicts a split.

Shapes: L examples (lines, or blocks), N predicted tokens of a batch.
"""

import math
import time
from typing import Any

import numpy as np
import torch

from seqgen_cli.config import build
from seqgen_cli.config.checked import Config
from seqgen_cli.data.batch import Batch
from seqgen_cli.data.batching import Batching, evaluation_batches
from seqgen_cli.errors import RequestError, counted
from seqgen_cli.metrics.language_model import LanguageModelMetrics
from seqgen_cli.report.tables import count
from seqgen_cli.runtime.devices import wide
from seqgen_cli.tasks.ensemble import Ensemble
from seqgen_cli.tasks.evaluation import flat, metrics_of, prepared_split, show_figures
from seqgen_cli.tasks.generate.generator import open_generator

_SUMS = ("nll", "correct", "tokens", "unknown")


def evaluate(config: Config) -> dict[str, Any]:
    """Measure, print the table, return the figures."""
    assert config.ckpt is not None
    runtime = build.start_runtime(config)
    generator = open_generator(config.ckpt, runtime, config.trust)
    trained = generator.config
    metrics = metrics_of(config, trained, LanguageModelMetrics)
    _, prepared = prepared_split(config, trained, (None, generator.target_tokenizer), [config.split])
    dataset = prepared.splits[config.split]
    _check_lengths(config.split, dataset, generator.longest)
    start = time.perf_counter()
    sums = measure(generator, dataset, trained.batching, config.limit)
    seconds = time.perf_counter() - start
    if not runtime.is_main:
        return {}
    scores = metrics.compute(sums["nll"], sums["correct"], sums["tokens"])
    tokens = int(sums["tokens"].sum())
    further: dict[str, Any] = {"unknown_rate": sums["unknown"].sum() / tokens, "target_tokens": tokens}
    if characters := dataset.target_characters(config.limit):
        bits = sums["nll"].sum() / characters / math.log(2)
        further |= {"target_characters": characters, "bits_per_character": bits}
    further["tokens_per_second"] = tokens / seconds
    title = f"{generator.folder}: {config.split}, {counted(len(sums['nll']), dataset.noun)}"
    show_figures(title, scores, metrics, ".5g", _rows(further), _notes(further["unknown_rate"]))
    return {f"{dataset.noun}s": len(sums["nll"]), **flat(scores), **further}


def _check_lengths(split: str, dataset: Any, longest: int | None) -> None:
    if longest is not None and (too_long := np.flatnonzero(dataset.lengths_nk[:, 0] > longest)).size:
        raise RequestError(
            f"{split}: {counted(too_long.size, dataset.noun)} of more than the {longest} tokens that the model reads, the first "
            f"is number {too_long[0] + 1:,}. Shorten them, or read the text as one stream: data.block={longest} data.context=0."
        )


def measure(networks: Ensemble, dataset: Any, batching: Batching, limit: int | None = None) -> dict[str, np.ndarray]:
    """Of each example of a split, shared out over the ranks and put together again: -log p (nats), correct predictions,
    predicted tokens, and how many of those are unknown words; an (L,) float64 array each.

    Args:
        limit: the first so many examples.
    """
    runtime, unknown = networks.runtime, networks.target_tokenizer.unk
    parts = []
    with networks.evaluating(), torch.no_grad():
        for batch in evaluation_batches(dataset, batching, runtime.rank, runtime.world_size, limit):
            parts.append((batch.index_B.numpy(), _sums(networks, batch.to(runtime.device), unknown)))
    sums_L4 = np.zeros((len(dataset) if limit is None else min(limit, len(dataset)), len(_SUMS)))
    for of_rank in runtime.gather(parts):
        for index_B, sums_B4 in of_rank:
            sums_L4[index_B] = sums_B4
    return dict(zip(_SUMS, sums_L4.T, strict=True))


def _sums(networks: Ensemble, batch: Batch, unknown: int) -> np.ndarray:
    """(B, 4): each row's sums over its predicted positions."""
    assert batch.valid_N is not None and batch.targets_BT is not None
    target_N = batch.targets_N
    predictions = networks.predictions(batch)
    with networks.runtime.autocast():
        nll_N, best_N1 = -wide(predictions.score(target_N)), predictions.topk(1)[1]
    each_N4 = torch.stack([nll_N, best_N1.squeeze(1) == target_N, torch.ones_like(nll_N), target_N == unknown], dim=1)
    row_N = batch.valid_N // batch.targets_BT.shape[1]
    return each_N4.new_zeros(len(batch), len(_SUMS)).index_add(0, row_N, each_N4).cpu().numpy()


def _rows(figures: dict[str, Any]) -> list[list[str]]:
    shown = {"bits_per_character": "bits per character", "unknown_rate": "unknown words", "target_tokens": "tokens"}
    formats = {"bits_per_character": "{:.4f}", "unknown_rate": "{:.3%}", "target_tokens": "{:,}"}
    rows = [[name, formats[key].format(figures[key]), ""] for key, name in shown.items() if key in figures]
    return [*rows, ["tokens a second", count(figures["tokens_per_second"]), ""]]


def _notes(unknown_rate: float) -> list[str]:
    if not unknown_rate:
        return []
    return ["Unknown words count as one word of the vocabulary: figures of other vocabularies do not compare with these."]
