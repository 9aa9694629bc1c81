"""The command line: `seqgen <command> [key=value ...] [--flag value ...]`, flags in any position, each short for an override.

Imports nothing heavy: `seqgen --help` answers at once.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from seqgen_cli.config.listing import groups, top_level
from seqgen_cli.config.settings import TOP_LEVEL, flag_of, is_flag, takes_several, takes_text
from seqgen_cli.errors import RequestError, did_you_mean, well_formed

COMMANDS = {
    "train": "train a model: data x model x output layer x objective",
    "translate": "translate lines of text with a trained model",
    "generate": "write text with a trained language model, from a prompt or from nothing",
    "classify": "label lines of text with a trained classifier",
    "eval": "measure a trained model, or files of translations, against references",
    "score": "log-probability and perplexity of given translations, or texts",
    "prepare": "fetch, clean, tokenise and store a data set (train does it when needed)",
    "bench": "measure speed and memory of training and decoding",
}

SWEEPING = ("train", "eval", "bench")
"""The commands that -m runs over several values."""

SWITCHES = {
    "--debug": "debug",
    "--multirun": "multirun",
    "-m": "multirun",
    "--help": "help",
    "-h": "help",
    "--version": "version",
}
OPTIONS = {"--cfg": "cfg", "-c": "cfg", "--config-dir": "config_dir", "-cd": "config_dir"}


@dataclass
class Request:
    """What the user asked for.

    command: None where only help or the version is wanted. overrides: in Hydra's grammar, in the order given.
    cfg: "job" prints the composed config instead of running. config_dir: folder of further choices.
    replaced: bytes of texts that were not UTF-8, each of which reads as U+FFFD.
    """

    command: str | None = None
    overrides: list[str] = field(default_factory=list)
    multirun: bool = False
    debug: bool = False
    help: bool = False
    version: bool = False
    cfg: str | None = None
    config_dir: str | None = None
    replaced: int = 0


def parse(arguments: list[str]) -> Request:
    """Read the arguments after `seqgen`.

    Raises:
        RequestError: an unknown command or flag, or a flag without its value.
    """
    request = Request()
    values: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, equals, attached = word.partition("=") if word.startswith("-") else (word, "", "")
        if flag in SWITCHES and not equals:
            setattr(request, SWITCHES[flag], True)
        elif flag in OPTIONS:
            setattr(request, OPTIONS[flag], attached if equals else _value(flag, rest))
        elif word.startswith("--"):
            key = _key(flag, request.command or next((word for word in rest if word in COMMANDS), None))
            given = [attached] if equals else ["true"] if is_flag(key) else _values(flag, key, rest)
            values.setdefault(key, []).extend(given)
        elif word.startswith("-"):
            raise RequestError(f"{word} is not a flag of seqgen.{did_you_mean(word, [*SWITCHES, *OPTIONS])}")
        elif word == "help" and request.command is None:
            request.help = True
        elif request.help and word in groups():
            request.overrides.append(word)
        elif request.command is None and "=" not in word:
            request.command = _command(word, request.help)
        elif "=" in word or word.startswith("~"):
            request.overrides.append(_utf8(word.partition("=")[0], word, request))
        else:
            raise RequestError(f"{word} is neither a setting (key=value) nor a flag (--name value).")
    for key, given in values.items():
        request.overrides.append(override(key, [_utf8(key, text, request) for text in given]))
    return _checked(request)


def _checked(request: Request) -> Request:
    if (
        request.command is None
        and not (request.help or request.version)
        and (request.overrides or request.cfg or request.multirun)
    ):
        raise RequestError(f"say which command: seqgen train, for example. There are {', '.join(COMMANDS)}.")
    if request.multirun and request.command and request.command not in SWEEPING:
        raise RequestError(f"seqgen {request.command} runs once: -m is for {', '.join(SWEEPING)}.")
    if request.cfg not in (None, "job"):
        raise RequestError(f"--cfg {request.cfg} is not known; --cfg job prints the composed configuration.")
    if request.config_dir is not None and not Path(request.config_dir).is_dir():
        raise RequestError(f"--config-dir {request.config_dir}: there is no such folder.")
    if request.config_dir is not None:
        request.overrides.append(f"hydra.searchpath=[{quote('file://' + str(Path(request.config_dir).absolute()))}]")
    return request


def _command(word: str, about: bool) -> str:
    """A command's name; `about`: of the command, or else the group, that help is wanted about."""
    if word not in COMMANDS:
        near = did_you_mean(word, [*COMMANDS, *groups()] if about else list(COMMANDS))
        raise RequestError(f"{word} is not a command of seqgen.{near} There are {', '.join(COMMANDS)}.")
    return word


def _key(flag: str, command: str | None) -> str:
    """The config key that a flag is short for: --init-from -> init_from."""
    key = flag[2:].replace("-", "_")
    mine = top_level(command) if command else TOP_LEVEL
    if (named := next((name for name in mine if flag_of(name) == flag), None)) is not None:
        return named
    if key in TOP_LEVEL or key in groups() or "." in key:
        return key
    flags = [*SWITCHES, *OPTIONS, *map(flag_of, mine)]
    where = f"seqgen {command}" if command else "seqgen"
    raise RequestError(f"{flag} is not a flag of {where}.{did_you_mean(flag, flags)} Settings are written key=value.")


def _utf8(key: str, text: str, request: Request) -> str:
    """A word of the command line; of texts to work on, bytes that are not UTF-8 are counted and read as U+FFFD."""
    found, halves = well_formed(text)
    if halves and key not in ("text", "prompt"):
        raise RequestError(f"{found} is not UTF-8: rename the file, or write the command in UTF-8.")
    request.replaced += halves
    return found


def _value(flag: str, rest: list[str]) -> str:
    if not rest:
        raise RequestError(f"{flag} needs a value.")
    return rest.pop(0)


def _values(flag: str, key: str, rest: list[str]) -> list[str]:
    """The flag's value; where it takes several, also the words after it that are neither flags nor overrides."""
    given = [_value(flag, rest)]
    while takes_several(key) and rest and not rest[0].startswith("-") and "=" not in rest[0] and rest[0] not in COMMANDS:
        given.append(rest.pop(0))
    return given


def override(key: str, values: list[str]) -> str:
    """`key=value` in Hydra's grammar; several values make a list (the last one wins where the key takes one)."""
    if takes_several(key) and len(values) > 1:
        return f"{key}=[{','.join(quote(value) for value in values)}]"
    as_text = takes_text(key) or ("." in key and not _is_plain(values[-1]))
    return f"{key}={quote(values[-1]) if as_text else values[-1]}"


def _is_plain(value: str) -> bool:
    """Whether a value is a number, true, false, null, a list or a mapping, which stand without quotes."""
    if value in ("true", "false", "null") or value.startswith(("[", "{")):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def quote(text: str) -> str:
    """The text as a quoted value of Hydra's grammar that comes back unchanged: spaces, `=`, commas, quotes, `${`, Japanese."""
    # OmegaConf reads ${...}; backslashes before it are its escapes, those elsewhere are plain.
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    # Within quotes a quote is escaped, and so are the backslashes that stand before one or before the end.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + (r"\'" if found[2] else ""), text) + "'"
