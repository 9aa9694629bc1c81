"""seqgen eval: how good a checkpoint's model is on a split of data, or the quality of a file of translations."""

from typing import Any

from seqgen_cli.config.checked import Config
from seqgen_cli.errors import RequestError
from seqgen_cli.tasks import loading
from seqgen_cli.tasks.translate.evaluation import score_files


def run(config: Config) -> dict[str, Any]:
    """Measure, print the table, return the figures."""
    if config.hyp is not None or config.ref is not None:
        return score_files(config)
    if config.ckpt is None:
        raise RequestError("seqgen eval needs --ckpt RUN, or --hyp FILE and --ref FILE to score files without a model.")
    return loading.task_of(config.ckpt, config.trust).evaluate(config)
