"""Where a training run lives and where it starts: anew, from another's weights, or where it stopped."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.folder import claim, folder_of, run_name
from seqgen_cli.checkpoints.weights import load_weights, read_weights
from seqgen_cli.config.checked import Config
from seqgen_cli.data.tokenizers.pair import load_pair
from seqgen_cli.errors import RequestError, SeqgenError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """Where to start.

    Args:
        run: the run's folder.
        resume: the checkpoint to go on from.
        init: the checkpoint whose weights and tokenizers to start from.
        tokenizers: of either, source and target; a language model's source is None.
    """

    run: Path
    resume: Path | None = None
    init: Path | None = None
    tokenizers: tuple[Any, Any] | None = None

    @staticmethod
    def of(config: Config) -> Start:
        """Find it from the config; the same on all ranks.

        Raises:
            RequestError: the folder cannot be written, or `init_from` names no checkpoint.
        """
        runtime = config.runtime
        return runtime.broadcast(_find(config) if runtime.is_main else None) or Start(Path())

    def check_data(self, before: str, now: str) -> None:
        """Refuse to go on with other data than before (fingerprints)."""
        if before != now:
            raise RequestError(
                f"The data of {self.run} are no longer what it was trained on. Restore them, or start anew with fresh=true."
            )

    def load(self, networks: dict[str, Any]) -> None:
        """Copy the weights to start from into the networks, if there are any.

        Raises:
            RequestError: they do not fit; names the parameters.
        """
        folder = self.resume or self.init
        if folder is None:
            return
        try:
            load_weights(networks, read_weights(folder / "model.safetensors"), folder)
        except SeqgenError as error:
            if self.init is None:
                raise
            raise RequestError(f"init_from={self.init} does not fit this run's model and output. {error}") from error


def _find(config: Config) -> Start:
    run = Path(config.continue_) if config.continue_ else folder_of(config, _log.info)
    if config.dry_run or config.fresh or not finding.has_any(run):
        init = _init(config)  # refused, if it is, before anything is removed or written
        if not config.dry_run:
            if run.exists() and config.fresh:
                shutil.rmtree(run)
                run = config.runtime.runs_folder / run_name(config)  # what stood under an older name begins under its own
            claim(run, config)
        return Start(run, None, *init)
    claim(run, config)
    resume = finding.find(run, _log.warning, last=True)
    return Start(run, resume, None, load_pair(resume / "tokenizers"))


def _init(config: Config) -> tuple[Path | None, tuple[Any, Any] | None]:
    if not config.init_from:
        return None, None
    folder = finding.find(config.init_from, _log.warning)
    return folder, load_pair(folder / "tokenizers")
