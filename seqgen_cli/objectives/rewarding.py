"""From the token ids of outputs to what they earn, computed beside the device."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

from seqgen_cli.metrics.base import Reward
from seqgen_cli.metrics.rewards import for_ids
from seqgen_cli.metrics.scoring import Scorer
from seqgen_cli.runtime.meters import section


class Detokenizer(Protocol):
    """What is asked of the run's target tokenizer."""

    @property
    def pad(self) -> int: ...
    @property
    def bos(self) -> int: ...
    @property
    def eos(self) -> int: ...
    def decode(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each id sequence; `<s>`, `</s>` and padding leave nothing."""
        ...


class Rewarding:
    """Rewards of outputs against their references, as text or as ids.

    Rows are cut at their first `</s>`; what then leaves no text earns 0.

    Args:
        reward: compares texts.
        tokenizer: of the target side; decodes hypotheses and references alike.
        on: text: what a reader would see; ids: the ids as words, "17 4 230", which no tokenizer of the reward cuts again.
        processes: that compute rewards while this one goes on; 0: this one does, when it waits.

    Raises:
        RequestError: the reward does not work on ids, or cannot be sent to other processes.
    """

    def __init__(self, reward: Reward, tokenizer: Detokenizer, on: Literal["text", "ids"] = "text", processes: int = 0) -> None:
        self.tokenizer, self.on = tokenizer, on
        self.scorer = Scorer(for_ids(reward) if on == "ids" else reward, processes)

    def start(self, hypotheses: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> Callable[[], list[float]]:
        """Start on as many hypotheses as references, ids each; a function that waits for their rewards.

        Raises (when waiting):
            SeqgenError: the reward fails, or gives anything but a finite number of 0 or more for each.

        Returns:
            a function without arguments: as many rewards.
        """
        with section("rewards"):
            finish = self.scorer.start(self.texts(hypotheses), self.texts(references))

        def waited() -> list[float]:
            with section("rewards"):
                return finish()

        return waited

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """What each row of ids says, as the reward reads it."""
        written = [tuple(self._written(row)) for row in rows]
        distinct = list(dict.fromkeys(written))
        said = self.tokenizer.decode(distinct) if self.on == "text" else [" ".join(map(str, row)) for row in distinct]
        text_of = dict(zip(distinct, said, strict=True))
        return [text_of[row] for row in written]

    def _written(self, row: Sequence[int]) -> Iterable[int]:
        for number in row:
            if number == self.tokenizer.eos:
                return
            if number not in (self.tokenizer.pad, self.tokenizer.bos):
                yield number

    def close(self) -> None:
        """End the processes."""
        self.scorer.close()
