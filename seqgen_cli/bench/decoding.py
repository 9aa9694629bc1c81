"""The cost of decoding: greedy search and beam search."""

from functools import partial
from typing import Any

import numpy as np

from seqgen_cli.bench.material import Material, Networks
from seqgen_cli.bench.training import Bench
from seqgen_cli.config import build
from seqgen_cli.config.listing import read_settings
from seqgen_cli.decoding.base import Specials
from seqgen_cli.decoding.steps import generate
from seqgen_cli.runtime.meters import timed
from seqgen_cli.runtime.process import Runtime


def cost_of_decoding(settings: Bench, networks: Networks, material: Material, runtime: Runtime) -> dict[str, Any]:
    """Sentences a second of greedy search and beam search, on this process alone; every output has the same length."""
    if not settings.sentences:
        return {}
    network = (networks.model.eval(), networks.output.eval())
    batch = material.dataset.batch(np.arange(min(settings.sentences, len(material.dataset)))).to(runtime.device)
    length = settings.decode_length or max(1, round(float(material.dataset.target_lengths_n.mean())))
    fixed = {"min_length": length, "max_length_factor": 0.0, "max_length_offset": length}
    figures: dict[str, Any] = {"decode_length": length}
    for name, choice, more in (("greedy", "greedy", {}), ("beam", "beam", {"beam_size": settings.beam_size})):
        decoder = build.make({**read_settings(f"decoding/{choice}"), **fixed, **more}, "decoding")
        decode = partial(generate, [network], decoder, batch, Specials.of(material.target_tokenizer))
        with runtime.autocast():
            decode()  # warm-up
            figures[f"{name}_sentences_per_second"] = len(batch) / timed(decode, runtime.device)
    return {**figures, "beam_size": settings.beam_size}
