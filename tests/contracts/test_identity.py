"""What names a run, and what does not: every setting of every choice is looked at, as its own declaration marks it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest

from seqgen_cli.checkpoints.folder import run_name
from seqgen_cli.cli.continuing import continued
from seqgen_cli.cli.main import main
from seqgen_cli.config import signatures
from seqgen_cli.config.checked import Config
from seqgen_cli.config.compose import compose, plain
from seqgen_cli.config.groups import PASSED, PROTOCOLS, resolve
from seqgen_cli.config.identity import identity, of_part
from seqgen_cli.config.listing import group_choices, groups, read_settings
from seqgen_cli.config.parts import Part
from seqgen_cli.errors import RequestError
from seqgen_cli.hints import NEUTRAL, Neutral, marked
from tests.contracts.test_old_runs import COMMANDS, OLD

NEUTRAL_ONES = {
    "objective": {"reward_processes"},
    "trainer": {"save_every", "keep_last", "log_every", "samples", "tensorboard", "plots", "progress"},
    "metrics": {"names", "tokenizer", "bins", "bootstrap", "confidence", "seed"},
    "runtime": {"device", "threads", "workers", "compile", "deterministic", "cache_folder", "runs_folder"},
}
CHOICES = [(group, name) for group in groups() if group != "experiment" for name in group_choices(group)]


def another(hint: Any, value: Any) -> Any:
    """A value of the hint's type that is not this one; ranges do not matter to what is marked."""
    options = signatures.members(hint)
    literals = [each for option in options if get_origin(option) is Literal for each in get_args(option)]
    if literals:
        return next(each for each in literals if each != value)
    kinds = [get_origin(option) or option for option in options]
    if bool in kinds:
        return not value
    if float in kinds or int in kinds:
        return 3 if value is None or isinstance(value, str) else value + 1  # one that refers to another is text
    return ["x"] if list in kinds and str not in kinds else "x"


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=lambda each: str(each))
def test_every_setting_names_another_run_unless_its_own_hint_says_neutral(group: str, name: str) -> None:
    node = read_settings(f"{group}/{name}")
    cls = resolve(node, group)
    declared = {key: each for key, each in signatures.settings(cls).items() if key not in PASSED.get(group, ())}
    own = {key: each for key, each in declared.items() if f"{group}/{key}" not in PROTOCOLS}
    neutral = {key for key, each in own.items() if marked(each.annotation, Neutral)}
    assert neutral == NEUTRAL_ONES.get(group, set()) & set(own), "as the design says; whatever is added must be thought of"
    for key, each in own.items():
        value = node.get(key, each.default)
        names = [identity_of(cls, key, shown) for shown in (value, another(each.annotation, value))]
        assert (names[0] == names[1]) == (key in neutral), key


def identity_of(cls: type, key: str, value: Any) -> Any:
    return of_part(Part("group", "owner", cls, {key: value}))


def name_with(changes: dict[str, Any]) -> str:
    """The run's name with some values changed, by their full keys."""
    changed = plain(compose("train"))
    for path, value in changes.items():
        *sections, key = path.split(".")
        node = changed
        for section in sections:
            node = node[section]
        node[key] = value
    return run_name(Config(changed))


def test_top_level_settings_and_what_the_name_begins_with() -> None:
    usual = name_with({})
    assert usual.startswith("phrasebook-transformer-softmax-mle-") and len(usual.rsplit("-", 1)[1]) == 8
    for once in ({"json": "f"}, {"fresh": True}, {"dry_run": True}, {"trust": ["a"]}):
        assert name_with(once) == usual
    assert len({usual, name_with({"seed": 2}), name_with({"init_from": "a"}), name_with({"runtime.precision": "bf16"})}) == 4
    assert name_with({"choices.model": "rnn"}).startswith("phrasebook-rnn-softmax-mle-")


def test_one_number_is_one_run_however_it_is_written() -> None:
    assert name_with({"optimizer.lr": 1}) == name_with({"optimizer.lr": 1.0}) != name_with({"optimizer.lr": 2})
    assert name_with({"model.hidden_size": 64.0}) == name_with({"model.hidden_size": 64})
    assert name_with({"data.train_size": 1e3}) == name_with({"data.train_size": 1000})


@dataclass(frozen=True)
class Before:
    """A schedule as a user wrote it first."""

    warmup: int

    def factor(self, update: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Since:
    """The same, later."""

    warmup: int
    shape: Literal["straight", "bent"] = "straight"
    shown: Annotated[bool, NEUTRAL] = False

    def factor(self, update: int) -> float:
        return 1.0


def test_a_setting_added_later_renames_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The YAML gains the key too; only where it is given another value is it another run."""
    target = f"{__name__}.Growing"
    names = []
    for cls, settings in (
        (Before, {"warmup": 4}),
        (Since, {"warmup": 4, "shape": "straight", "shown": True}),
        (Since, {"warmup": 4, "shape": "bent", "shown": False}),
    ):
        cls.__qualname__ = cls.__name__ = "Growing"
        monkeypatch.setitem(globals(), "Growing", cls)
        names.append(name_with({"schedule": {"_target_": target, **settings}}))
    assert names[0] == names[1] != names[2]


def test_a_run_keeps_what_its_name_is_the_hash_of(tmp_path: Path) -> None:
    values = plain(compose("train", ["model.dropout=0.25", "optimizer.lr=1", "trainer.log_every=3"]))
    found = identity(Config(values))
    assert found["format"] == 2 and found["model"]["dropout"] == 0.25 and found["optimizer"]["lr"] == 1.0
    assert found["trainer"] == {"_target_": "seqgen_cli.training.trainer.Trainer", "epochs": 10.0}
    assert "seed" not in found and "fresh" not in found and "choices" not in found


def test_a_run_under_way_may_change_what_changes_no_number() -> None:
    run = OLD / "phrasebook-rnn-huffman_tree-reinforce-669c3a43"

    def going_on(*words: str) -> Any:
        overrides = [f"continue={run}", *words]
        return continued(compose("train", overrides), overrides)

    assert going_on("objective.reward_processes=2").objective.reward_processes == 2
    assert going_on("trainer.steps=30", "metrics.names=[ter]").trainer.steps == 30
    for word in ("objective.samples=3", "model.layers=2", "data.train_size=9", "seed=2", "objective.nothing=1"):
        with pytest.raises(RequestError, match="cannot change in a run under way"):
            going_on(word)


def test_a_fresh_start_gives_an_older_run_its_own_name(tmp_path: Path) -> None:
    name = "phrasebook-rnn_lm-softmax-mle-1a59a889"
    shutil.copytree(OLD / name, tmp_path / name)
    words = ["train", *COMMANDS[name], f"runtime.runs_folder={tmp_path}"]
    assert main([*words, "fresh=true"]) == 0
    (run,) = tmp_path.iterdir()
    assert run.name != name and (run / "identity.json").exists()
    assert main(words) == 0 and [path.name for path in tmp_path.iterdir()] == [run.name]
