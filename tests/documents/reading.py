"""The commands that people are told to run: of the README, docs, recipes, and --help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from seqgen_cli.cli.helptext import EXAMPLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "recipes").glob("*/README.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}\S.*\n)+")
_INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*(?:seqgen|python|torchrun|pip|make) [^`]+)`")
_RUNS = re.compile(r"""(?:[A-Z_]+=(?:\S+|"[^"]*") )*(?:seqgen |mkdir |python3? |torchrun |pip |recipes/|sh |eval |echo )""")
_ASSIGNS = re.compile(r"""(?:export )?(?:[A-Z_]+=(?:[^\s"]+|"[^"]*")\s*)+$""")


@dataclass(frozen=True)
class Block:
    """A block of code: its page, the heading above it, its language ("" where none is said) and its text."""

    page: str
    heading: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line of a block, or one within a sentence: what a shell is given."""

    page: str
    heading: str
    line: str
    before: str = ""
    """Assignments of variables that the page makes before it."""
    answer: str = ""
    """What the page shows it to say."""

    @property
    def of(self) -> str:
        """The task of the model that runs/X stands for."""
        if "generate" in self.line or self.heading == "Language models" or ("score" in self.line and "--source" not in self.line):
            return "generate"
        return "classify" if "classify" in self.line or self.heading == "Classifying texts" else "translate"


def blocks() -> list[Block]:
    """Every block of the pages, fenced or indented."""
    found = []
    for path in PAGES:
        text, page = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        for match in _FENCE.finditer(text):
            found.append(Block(page, _heading(text[: match.start()]), match[1], match[2]))
        outside = _FENCE.sub("", text)
        for match in _INDENTED.finditer(outside):
            found.append(Block(page, _heading(outside[: match.start()]), "", re.sub("^ {4}", "", match[0], flags=re.MULTILINE)))
    return found


def commands() -> list[Command]:
    """Every command of the pages and of --help, once for each thing that it means."""
    found = []
    assigned: dict[str, list[str]] = {}
    for block in blocks():
        if block.language not in ("bash", ""):
            continue
        lines = _lines(block.text)
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            before = assigned.setdefault(block.page, [])
            if _ASSIGNS.fullmatch(line):
                before.append(line)
            elif _RUNS.match(line.removeprefix("$ ")):
                answer = after if line.startswith("$ ") else ""
                found.append(Command(block.page, block.heading, line.removeprefix("$ "), "; ".join(before), answer))
    for path in PAGES:
        text, page = _FENCE.sub("", path.read_text(encoding="utf-8")), path.relative_to(ROOT).as_posix()
        inline = ((_heading(text[: match.start()]), " ".join(match[1].split())) for match in _INLINE.finditer(text))
        found += [
            Command(page, heading, line)
            for heading, line in inline
            if re.search("=|--|help |make |install ", line) and "..." not in line
        ]
    found += [Command("--help", command, line) for command, examples in EXAMPLES.items() for line, _ in examples]
    return list(
        {(command.line, command.of if "runs/X" in command.line else ""): command for command in reversed(found)}.values()
    )[::-1]


def _heading(before: str) -> str:
    headings = re.findall(r"^#+ (.*)$", before, re.MULTILINE)
    return headings[-1] if headings else ""


def _lines(text: str) -> list[str]:
    """The lines of a block: continued ones joined, comments left out."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [line for line in (re.sub(r"(?:^|\s+)#.*$", "", line).strip() for line in joined.splitlines()) if line]
