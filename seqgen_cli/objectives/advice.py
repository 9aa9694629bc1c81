"""What to tell the user of a training that learns from rewards, which can go wrong while its loss looks fine."""

from collections.abc import Mapping, Sequence

from seqgen_cli.errors import join_or

_FALLEN = 0.5  # of the best reward
_FALL = 0.02  # least fall that matters: rewards of a hopeless model move by less
_SHORT, _SHORTEST = 0.25, 1.5  # of the first length; tokens, </s> included
_CUT = 0.9  # share of outputs that reach the longest length
_ALIKE = 0.02  # share of samples, after a source's first, that differ from those before
_SURE, _SUREST = 0.05, 0.05  # of the first entropy; nats a token


class RewardAdvisor:
    """Warns of a cold start, and once of a collapse: rewards that fall, outputs that end at once or never, samples all alike.

    A sign counts where two log lines in a row show it. The figures are those that `trials.monitored` logs; what was usual is
    learned from the first line, so a resumed run learns it anew. MIXER's rewards fall as the reference's share of its outputs
    does: each length of its suffix is compared with itself, until the outputs are whole.

    Args:
        samples: of each source.
        cold: where training begins with samples: the settings by which it would begin with mle; None: it does.
        remedies: settings of the objective that hold a collapse up, besides optimizer.lr.
    """

    def __init__(self, samples: int, cold: str | None, remedies: Sequence[str]) -> None:
        self.samples, self.cold, self.remedies = samples, cold, tuple(remedies)
        self._first: Mapping[str, float] = {}
        self._best = 0.0
        self._seen: set[str] = set()
        self._said = False

    def at_start(self, fresh_weights: bool, best_metric: str) -> list[str]:
        """What to say before the first update."""
        lines = []
        if fresh_weights and self.cold is not None:
            lines.append(
                "This objective learns from the model's own outputs, and those of untrained weights earn next to nothing. "
                f"Train with objective=mle first and say init_from=RUN, or begin with mle by {self.cold}."
            )
        if best_metric in ("nll", "perplexity"):
            lines.append(
                f"The best checkpoint is the one of the best trainer.best_metric={best_metric}, which learning from rewards "
                "makes worse: with trainer.best_metric=bleu or chrf it is the one that translates best."
            )
        return lines

    def see(self, figures: Mapping[str, float]) -> str | None:
        """What to say after this log line's figures, if anything; at most once."""
        if "reward" not in figures or self._said:
            return None
        if _suffix(figures) != _suffix(self._first):
            self._first, self._best = {}, 0.0
        self._first = self._first or dict(figures)
        signs = self._signs(figures)
        held = [text for sign, text in signs.items() if sign in self._seen]
        self._seen = set(signs)
        self._best = max(self._best, figures["reward"])
        if not held:
            return None
        self._said = True
        return f"Training may be collapsing: {'; '.join(held)}. Lower optimizer.lr{self._or(self.remedies)}."

    def _signs(self, figures: Mapping[str, float]) -> dict[str, str]:
        """What is wrong in these figures, by name."""
        reward, length, entropy = (figures.get(name, float("inf")) for name in ("reward", "length", "entropy"))
        usual_length, usual_entropy = (self._first.get(name, 0.0) for name in ("length", "entropy"))
        signs = {}
        if reward < _FALLEN * self._best and self._best - reward > _FALL:
            signs["reward"] = f"the mean reward of samples fell from {self._best:.3f} to {reward:.3f}"
        if length < max(_SHORTEST, _SHORT * usual_length):
            signs["short"] = f"outputs have {length:.1f} tokens, at first {usual_length:.1f}"
        if figures.get("truncated", 0.0) > _CUT > self._first.get("truncated", 0.0):  # untrained weights never end
            signs["long"] = f"{figures['truncated']:.0%} of outputs do not end before the longest length"
        if entropy < min(_SUREST, _SURE * usual_entropy):
            signs["entropy"] = f"the entropy of a token fell from {usual_entropy:.3f} to {entropy:.3f} nats"
        if self._differing(figures) < _ALIKE:
            signs["alike"] = f"the {self.samples} samples of a source are all alike, so that there is nothing to learn from them"
        return signs

    def _differing(self, figures: Mapping[str, float]) -> float:
        """The share of samples, after a source's first, that differ from those before; MIXER's few words may well agree."""
        if self.samples == 1 or "distinct" not in figures or _suffix(figures) is not None:
            return 1.0
        return (figures["distinct"] * self.samples - 1) / (self.samples - 1)

    @staticmethod
    def _or(remedies: Sequence[str]) -> str:
        return f", or {join_or(remedies)}" if remedies else ""


def _suffix(figures: Mapping[str, float]) -> float | None:
    """How many last words are MIXER's samples' own; None: all of them."""
    return None if figures.get("own_tokens") == figures.get("length") else figures.get("last_words")
