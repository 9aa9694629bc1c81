"""Whether a tokenizer can write the targets: decode(encode(line)) = line, white space aside.

What a line loses there no model can write, and its BLEU stays below that of the decoded lines against the lines themselves.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from types import MappingProxyType

import numpy as np

from seqgen_cli.data.dataset import spread
from seqgen_cli.data.prepare import store
from seqgen_cli.data.prepare.store import Text
from seqgen_cli.data.tokenizers.base import TextTokenizer
from seqgen_cli.errors import RequestError, counted
from seqgen_cli.metrics.translation import TranslationMetrics

FORMAT = 1  # of what the cache keeps: raise it when that changes
_LINES = 1 << 15  # the most of a split that are tried
_EXPLAINED = 500  # changed lines in which the changes are looked for
_SHOWN = 4  # the commonest changes


@dataclass(frozen=True)
class RoundTrip:
    """What became of some lines of a split.

    Args:
        tried, changed: lines; unknown: those of the changed that hold an unknown token.
        bleu: of the decoded lines, up to 100; None where BLEU cannot tell words, or the language has none that it knows.
        changes: the commonest, with the number of lines, among at most 500 changed lines, that have each.
    """

    tried: int
    changed: int
    unknown: int
    bleu: float | None
    changes: Sequence[tuple[str, int]]

    def told(self, split: str, mends: Mapping[str, str] = MappingProxyType({})) -> str | None:
        """The line of a report about a split; None where nothing changes.

        Args:
            mends: the settings against lines that change, for "unknown" tokens and for what else is "changed".
        """
        if not self.changed:
            return None
        ceiling = "" if self.bleu is None or self.bleu > 99.95 else f", so BLEU can reach {self.bleu:.1f} at most"
        common = ", ".join(f"{change} ({number:,})" for change, number in self.changes)
        causes = {"changed": self.changed - self.unknown, "unknown": self.unknown}
        ways = " and ".join(mends[cause] for cause, number in causes.items() if number and cause in mends)
        share = self.changed / self.tried
        lines = f"{self.changed:,} of {counted(self.tried, 'target line')} ({share:.1%})"
        mended = f" Against that: {ways}." if ways else ""
        return f"{split}: the tokenizer cannot write {lines} as given{ceiling}; most often it turns {common}.{mended}"


def round_trips(
    cache: Path,
    lines: Mapping[str, tuple[Text, np.ndarray]],
    tokenizer: TextTokenizer,
    language: str | None,
    made_by: Sequence[object],
    report: Callable[[str], None],
) -> dict[str, RoundTrip]:
    """Each split's, from the cache if it was measured before.

    Args:
        lines: of each split the text of the targets, and which of its lines count.
        made_by: what decides them.
    """

    def measure(folder: Path) -> None:
        found = {}
        for name, (text, rows) in lines.items():
            tried = [text[int(rows[place])] for place in spread(len(rows), _LINES)]
            found[name] = asdict(round_trip(tried, tokenizer, language))
        (folder / "round_trips.json").write_text(json.dumps(found))

    key = store.key(FORMAT, *made_by, tokenizer.fingerprint, language, list(lines))
    folder = store.once(cache / f"written-{key}", measure, report)
    return {name: RoundTrip(**values) for name, values in json.loads((folder / "round_trips.json").read_text()).items()}


def round_trip(lines: Sequence[str], tokenizer: TextTokenizer, language: str | None) -> RoundTrip:
    """What becomes of these lines.

    Args:
        language: decides how BLEU cuts them into words.
    """
    encoded = tokenizer.encode(lines)
    decoded = tokenizer.decode(encoded)
    pairs = [(_spaced(line), _spaced(back)) for line, back in zip(lines, decoded, strict=True)]
    changed = [number for number, (line, back) in enumerate(pairs) if line != back]
    unknown = sum(bool((encoded[number] == tokenizer.unk).any()) for number in changed)
    some = [pairs[changed[i]] for i in spread(len(changed), _EXPLAINED)]
    changes = Counter(change for pair in some for change in set(_changes(*pair)))
    bleu = _bleu([back for _, back in pairs], [line for line, _ in pairs], language) if changed else 100.0
    return RoundTrip(len(lines), len(changed), unknown, bleu, changes.most_common(_SHOWN))


def _spaced(line: str) -> str:
    return " ".join(line.split())


def _bleu(decoded: Sequence[str], lines: Sequence[str], language: str | None) -> float | None:
    metrics = TranslationMetrics(names=["bleu"], bootstrap=0)
    try:
        return None if metrics.misfit(language, lines) else metrics.compute(decoded, [lines], language)["bleu"].value
    except RequestError:  # no language that it knows
        return None


def _changes(line: str, back: str) -> Iterable[str]:
    for kind, i, j, k, m in SequenceMatcher(None, line, back, autojunk=False).get_opcodes():
        if kind == "replace" and j - i == m - k:
            yield from (f"{_named(old)} to {_named(new)}" for old, new in zip(line[i:j], back[k:m], strict=True))
        elif kind != "equal":
            yield f"{_named(line[i:j])} to {_named(back[k:m].strip() or back[k:m])}"


def _named(text: str) -> str:
    """A piece of text for people: what cannot be seen by its number."""
    if not text:
        return "nothing"
    seen = all(unicodedata.category(character)[0] not in "CZ" for character in text)
    return text if seen else " ".join(f"U+{ord(character):04X}" for character in text)
