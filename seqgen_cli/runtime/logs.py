"""Messages to the terminal, and into the folder of a run."""

import logging
import sys
from pathlib import Path

from tqdm import tqdm

from seqgen_cli.errors import SeqgenError
from seqgen_cli.runtime.process import is_main


class _BarHandler(logging.Handler):
    """Writes to stderr without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def start_logging(debug: bool = False) -> None:
    """Log messages of seqgen go to stderr: from rank 0 all from INFO up, from the others warnings."""
    logger = logging.getLogger("seqgen_cli")
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.DEBUG if debug else logging.INFO if is_main() else logging.WARNING)
    handler = _BarHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)


def log_to(folder: Path) -> logging.Handler:
    """Also write the log to folder/train.log, with times. Call `stop_log` with what it returns when the run ends.

    Raises:
        SeqgenError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / "train.log", encoding="utf-8")
    except OSError as error:
        raise SeqgenError(
            f"{folder} cannot be written ({error.strerror}). Choose another place with runtime.runs_folder=PATH."
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("seqgen_cli").addHandler(handler)
    return handler


def stop_log(handler: logging.Handler) -> None:
    """Close a log opened by `log_to`."""
    logging.getLogger("seqgen_cli").removeHandler(handler)
    handler.close()
