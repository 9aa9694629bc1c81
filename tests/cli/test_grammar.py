"""The command line's grammar: what stands for what, and that any text survives Hydra's quoting."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from seqgen_cli.cli.grammar import COMMANDS, SWEEPING, parse, quote
from seqgen_cli.errors import RequestError

# What can stand in an argument: anything but the zero byte and lone surrogates.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
awkward = st.text(st.sampled_from(list("ab'\"\\${}[](),=: \t\n#~+日本é%*?!|&;<>@^`/.-")), max_size=20)


def read_back(override: str) -> object:
    """The value that Hydra and OmegaConf make of an override."""
    value = OverridesParser.create().parse_override(override).value()
    return OmegaConf.to_container(OmegaConf.create({"key": value}), resolve=True)["key"]  # type: ignore[index, call-overload]


@settings(max_examples=300, deadline=None)
@given(texts | awkward)
@example("runs/a=b, c/日本語 '引用' \"x\".txt")
@example("")
@example("null")
@example("12")
@example("C:\\dir\\")
@example("a\\'")
@example("a\\\n")
@example("${seed}")
@example("\\${seed}")
@example("\\\\${seed}\\")
@example("$${x}")
@example("{a: 1}")
def test_any_text_comes_back_from_its_quotes(text: str) -> None:
    override = f"input={quote(text)}"
    parsed = OverridesParser.create().parse_override(override)
    assert not parsed.is_sweep_override()
    assert read_back(override) == text


@settings(max_examples=100, deadline=None)
@given(awkward.filter(lambda text: not text.startswith("-")))
def test_a_flag_gives_its_value_unchanged_in_either_form(text: str) -> None:
    for words in (["translate", "--input", text], ["--input", text, "translate"], ["translate", f"--input={text}"]):
        request = parse(words)
        assert request.command == "translate"
        assert [read_back(override) for override in request.overrides] == [text]


def test_flags_stand_anywhere() -> None:
    orders = [
        ["eval", "--ckpt", "runs/x", "-m", "decoding.beam_size=1,4", "--limit", "5"],
        ["-m", "--limit", "5", "--ckpt", "runs/x", "eval", "decoding.beam_size=1,4"],
        ["--ckpt=runs/x", "decoding.beam_size=1,4", "eval", "--limit=5", "--multirun"],
    ]
    for words in orders:
        request = parse(words)
        assert request.command == "eval" and request.multirun
        assert sorted(request.overrides) == ["ckpt='runs/x'", "decoding.beam_size=1,4", "limit=5"]


def test_overrides_pass_through_as_written() -> None:
    written = ["model=rnn", "+model.x={a: [1, 2]}", "~data", "++seed=3", "optimizer.lr=1e-3,3e-4", "data.path='a b'"]
    assert parse(["train", *written]).overrides == written


def test_flags_of_several_values() -> None:
    assert parse(["eval", "--ref", "a", "b c", "--hyp", "h"]).overrides == ["ref=['a','b c']", "hyp='h'"]
    assert parse(["eval", "--ref", "a", "--ref", "b=c", "limit=3"]).overrides == ["limit=3", "ref=['a','b=c']"]
    assert parse(["translate", "--ckpt", "a", "input=x"]).overrides == ["input=x", "ckpt='a'"]


def test_switches_take_no_value() -> None:
    request = parse(["train", "--dry-run", "model=rnn", "--debug"])
    assert request.debug and request.overrides == ["model=rnn", "dry_run=true"]
    assert parse(["train", "--fresh=false"]).overrides == ["fresh=false"]


def test_numbers_stay_numbers_and_dotted_flags_pass() -> None:
    assert read_back(parse(["train", "--seed", "7"]).overrides[0]) == 7
    assert read_back(parse(["train", "--init-from", "7"]).overrides[0]) == "7"
    assert parse(["translate", "--decoding.beam-size", "4"]).overrides == ["decoding.beam_size=4"]
    assert parse(["train", "--model", "rnn"]).overrides == ["model=rnn"]


def test_own_choices_join_the_search_path(tmp_path) -> None:
    folder = tmp_path / "my, configs"
    folder.mkdir()
    override = parse(["train", "--config-dir", str(folder)]).overrides[0]
    assert read_back(override) == [f"file://{folder}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "trian is not a command of seqgen. Did you mean train?"),
        (["translate", "--chkpt", "x"], "--chkpt is not a flag of seqgen translate. Did you mean --ckpt?"),
        (["translate", "--ckpt"], "--ckpt needs a value."),
        (["train", "-q"], "-q is not a flag of seqgen."),
        (["train", "rnn"], "rnn is neither a setting (key=value) nor a flag (--name value)."),
        (["model=rnn"], "say which command"),
        (["train", "--cfg", "all"], "--cfg job prints the composed configuration."),
        (["train", "--config-dir", "no/such"], "there is no such folder"),
        *[([name, "-m"], f"seqgen {name} runs once") for name in COMMANDS if name not in SWEEPING],
    ],
)
def test_what_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(words)
    assert message in str(caught.value)
