"""Encode once: where the run's encoder is frozen, its features are computed before training and kept for every epoch and run."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from seqgen_cli.config.checked import Config
from seqgen_cli.data.dataset import Prepared
from seqgen_cli.data.labelled import LabelledDataset
from seqgen_cli.data.prepare import store
from seqgen_cli.data.prepare.features import FeatureStore
from seqgen_cli.models.base import Encoder
from seqgen_cli.runtime.process import Runtime

_log = logging.getLogger(__name__)


def encode_once(
    config: Config,
    model: Any,
    runtime: Runtime,
    prepared: Prepared,
    splits: Iterable[str],
    indices: Sequence[int] | None = None,
) -> int:
    """Attach features to some splits, encoding what is not kept yet; nothing happens where features are not to be kept.

    Args:
        config: its `data` says where and how they are kept. model: on the runtime's device.
        indices: encode these examples of a split only; None: all.

    Returns:
        How many word pieces were encoded.
    """
    data = config.data.settings
    if not isinstance(model, Encoder) or data.get("features", "none") == "none":
        return 0
    if not model.features_are_fixed:
        _log.info("The encoder is trained, so its features change and none are kept (data.features=none).")
        return 0
    was_training = model.training  # type: ignore[attr-defined]
    model.eval()  # type: ignore[attr-defined]

    encoded = 0

    def encode(source_BS: Tensor, lengths_B: Tensor) -> Tensor:
        nonlocal encoded
        encoded += int(lengths_B.sum())
        with torch.no_grad(), runtime.autocast():
            return model.features(source_BS.to(runtime.device), lengths_B.to(runtime.device)).cpu()

    dtype = data["features_dtype"]
    folder = None
    if data["features"] == "disk":
        made_by = [model.features_fingerprint(), prepared.source_tokenizer.fingerprint, runtime.precision, dtype]
        folder = runtime.cache_folder / f"features-{store.key(*made_by)}"
    kept = FeatureStore(folder, model.feature_size, dtype)
    for name in splits:
        dataset = prepared.splits.get(name)
        if isinstance(dataset, LabelledDataset):
            dataset.attach(kept, encode, data["features_limit"], _log.info, indices)
    model.train(was_training)  # type: ignore[attr-defined]
    return encoded
