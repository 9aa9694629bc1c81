"""From config to objects: what is checked, what is passed, what is tied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import torch
from annotated_types import Ge, Interval, Le
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from seqgen_cli.config import build
from seqgen_cli.config.door import checked, config_of
from seqgen_cli.config.listing import read_settings
from seqgen_cli.config.parts import part
from seqgen_cli.config.signatures import check_value, describe, missing_members
from seqgen_cli.errors import RequestError
from seqgen_cli.models.base import Aligner, Generator, Model
from seqgen_cli.tasks import evaluation


@dataclass(frozen=True)
class Inner:
    path: str
    weight: Annotated[float, Ge(0)] = 1.0


class Sample:
    def __init__(
        self,
        size: Annotated[int, Ge(1)],
        kind: Literal["a", "bb"] = "a",
        rate: Annotated[float, Interval(ge=0, lt=1)] = 0.5,
        limit: Annotated[int, Ge(1), Le(9)] | None = None,
        files: list[Inner] | None = None,
        names: tuple[str, ...] = (),
        main: Inner | None = None,
        total: int = 0,
    ) -> None:
        self.values = {"size": size, "kind": kind, "rate": rate, "limit": limit, "files": files, "names": names}
        self.values |= {"main": main, "total": total}


def make(**settings: Any) -> dict[str, Any]:
    node = {"_target_": f"{__name__}.Sample", **settings}
    return part(node, "sample", {})(total=7, unknown=3).values


def test_values_reach_the_constructor_converted() -> None:
    values = make(size=3, kind="bb", rate=0, files=[{"path": "x", "weight": 2}, {"path": "y"}], names=["p"], main={"path": "m"})
    assert values["size"] == 3 and values["rate"] == 0.0 and values["names"] == ("p",)
    assert values["files"] == [Inner("x", 2.0), Inner("y", 1.0)] and values["main"] == Inner("m")
    assert make(size=1e2)["size"] == 100 and isinstance(make(size=1e2)["size"], int)
    assert check_value(list[int] | None, [1e1, 2], "x") == [10, 2]


def test_what_is_not_written_has_the_constructors_default() -> None:
    """Also for those that ask a part, before anything is made; and what the program passes goes before it."""
    made = part({"_target_": f"{__name__}.Sample", "size": 3.0}, "sample", {})
    assert (made.settings["size"], made.settings["rate"], made.settings["main"], made.settings["total"]) == (3, 0.5, None, 0)
    assert made(total=7).values["total"] == 7 and made().values["total"] == 0


def test_only_declared_parameters_are_passed_and_the_config_may_not_set_them() -> None:
    assert make(size=1)["total"] == 7
    with pytest.raises(RequestError, match=r"output.vocab_size is not a setting of output=softmax."):
        config_of("train", ["+output.vocab_size=3"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "sample.size is missing: sample needs it (int, 1 or more)."),
        ({"size": "???"}, "sample.size must be given: sample.size=... (int, 1 or more)."),
        ({"size": "3"}, 'sample.size is "3"; it must be int, 1 or more.'),
        ({"size": 3.5}, "sample.size is 3.5; it must be int, 1 or more."),
        ({"size": True}, "sample.size is true; it must be int, 1 or more."),
        ({"size": 1, "kind": "b"}, 'sample.kind is "b"; it must be a or bb. Did you mean'),
        ({"size": 1, "rate": 1}, "sample.rate is 1; it must be float, 0 or more, less than 1."),
        ({"size": 1, "limit": 10}, "sample.limit is 10; it must be int, 1 or more, at most 9, or null."),
        ({"size": 1, "names": ["a", 3]}, 'sample.names is ["a", 3], wrong at [1]; it must be a list of text.'),
        (
            {"size": 1, "files": [{"path": "x", "wait": 1}]},
            'sample.files is [{"path": "x", "wait": 1}], wrong at [0]; it must be a list of Inner or null.',
        ),
        (
            {"size": 1, "main": {"weight": -1, "path": "x"}},
            'sample.main is {"weight": -1, "path": "x"}; it must be Inner or null.',
        ),
        ({"size": 1, "main": {}}, "sample.main is {}; it must be Inner or null."),
        ({"sise": 1}, "sample.sise is not a setting of sample. Did you mean sample.size (int, 1 or more)?"),
    ],
)
def test_mistakes_name_key_value_and_what_is_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        make(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(RequestError):
        check_value(Annotated[float, Ge(0), Le(1)], value, "x")


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Annotated[int, Ge(1)], "int, 1 or more"),
        (Literal["x", "y", "z"], "x, y or z"),
        (bool, "true or false"),
        (float | None, "float or null"),
        (Annotated[int, Ge(1)] | None, "int, 1 or more, or null"),
        (str | list[str] | None, "text, a list of text or null"),
    ],
)
def test_hints_in_words(hint: Any, words: str) -> None:
    assert describe(hint) == words


class OnlyHidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden_size = 3

    def hidden_states(self, batch: Any) -> Any:
        return batch


class Generating(OnlyHidden):
    def encode(self, batch: Any) -> Any:
        return batch

    def embed(self, ids: Any) -> Any:
        return ids

    def decode(self, embedded: Any, memory: Any, state: Any = None) -> Any:
        return embedded, state


def test_what_a_class_lacks_is_seen_without_making_one() -> None:
    assert missing_members(OnlyHidden, Model) == []
    assert missing_members(OnlyHidden, Generator) == ["decode", "embed", "encode"]
    assert missing_members(Generating, Generator) == []
    assert missing_members(Generating, Aligner) == ["alignments"]
    assert missing_members(int, Model) == ["hidden_size", "hidden_states"]


def config(*overrides: str) -> Any:
    return config_of("train", ["model=transformer", "output=softmax", "model.hidden_size=8", *overrides])


def test_composing_leaves_no_global_state_and_depends_on_no_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config().model.settings["hidden_size"] == 8
    assert not GlobalHydra.instance().is_initialized()
    with pytest.raises(RequestError):
        config("model=nothing")
    assert not GlobalHydra.instance().is_initialized()
    assert list(tmp_path.iterdir()) == []


def test_what_an_inline_dataclass_refuses_is_refused_at_once() -> None:
    """With whatever command, whether or not networks are tried."""
    with pytest.raises(RequestError, match=r"cannot be divided among model\.heads=3"):
        part({**read_settings("model/transformer"), "heads": 3}, "model", {})


def test_tied_output_is_the_embedding() -> None:
    model, output = build.network(config("output.tied=true"), 11, 13)
    shared = {id(parameter) for parameter in model.parameters()} & {id(parameter) for parameter in output.parameters()}
    assert shared == {id(model.embedding.weight)}
    model, output = build.network(config("output.tied=false"), 11, 13)
    assert not {id(parameter) for parameter in model.parameters()} & {id(parameter) for parameter in output.parameters()}


def test_tying_what_cannot_be_tied_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"output.tied=true needs embeddings as wide as the hidden vectors, but model=rnn has embeddings of 6"
    ):
        config_of("train", ["model=rnn", "model.hidden_size=8", "model.embedding_size=6", "output.tied=true"])


def test_the_data_to_evaluate_on() -> None:
    trained = config_of("train", ["data.train_size=50"])
    same = config_of("eval", [])
    assert evaluation.evaluation_config(trained, same).data.settings["train_size"] == 50
    changed = config_of("eval", ["data.test_size=7"])
    data = evaluation.evaluation_config(trained, changed).data
    assert (data.settings["train_size"], data.settings["test_size"], data.cls) == (50, 7, trained.data.cls)
    chosen = config_of("eval", ["data=phrasebook", "data.test_size=7"])
    assert evaluation.evaluation_config(trained, chosen).data.settings["train_size"] == 20000
    with pytest.raises(RequestError, match=r"data.tset_size is not a setting of data=phrasebook. Did you mean data.test_size"):
        evaluation.evaluation_config(trained, config_of("eval", ["data.tset_size=7"]))


def test_one_table_for_two_vocabularies_is_refused_where_a_run_begins() -> None:
    shared = ["model.share_embeddings=true"]
    with pytest.raises(RequestError, match=r"tokenizer\.joint=false makes two"):
        config_of("train", shared)
    config_of("train", [*shared, "tokenizer.joint=true"])
    before = config_of("train", [*shared, "continue=runs/X"])  # of equal sizes by chance, it was begun before
    evaluation.evaluation_config(before, config_of("eval", []))


def test_fresh_weights_come_from_torchs_generator() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model, output = build.network(config(), 11, 13)
        return nn.utils.parameters_to_vector([*model.parameters(), *output.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_an_unknown_top_level_key_is_refused() -> None:
    with pytest.raises(RequestError, match=r"sead is not a setting. Did you mean seed\?"):
        checked({"sead": 3})
