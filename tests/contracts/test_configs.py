"""Every YAML on disk: composed, checked, built; commented; nothing written twice."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from seqgen_cli.cli.grammar import COMMANDS
from seqgen_cli.config import build
from seqgen_cli.config.compose import compose
from seqgen_cli.config.door import checked, config_of
from seqgen_cli.config.groups import PACKAGES, PASSED, resolve
from seqgen_cli.config.listing import choosers, default_groups, groups
from seqgen_cli.config.signatures import settings
from seqgen_cli.errors import RequestError
from seqgen_cli.layers.random import Key
from seqgen_cli.objectives.base import Progress
from tests.helpers import CONFIGS, fits, random_batch, random_texts
from tests.pairs import pairs

FILES = sorted(CONFIGS.rglob("*.yaml"))
CHOICES = [path for path in FILES if path.parent != CONFIGS and path.parent.name != "experiment"]
MODELS, OUTPUTS, OBJECTIVES = (
    [path.stem for path in CHOICES if path.parent.name == each] for each in ("model", "output", "objective")
)
EXPERIMENTS = [path for path in FILES if path.parent.name == "experiment"]
COMPOSED = [path for path in FILES if path.parent == CONFIGS]

CLASSIFIER = ["model=bert_gru", "data=mini_reviews", "model.encoder=tiny"]
REQUIRED = {
    "imdb": [CLASSIFIER[0], CLASSIFIER[2]],
    "bert_gru": ["model.encoder=tiny"],
    "imdb_text": ["model=rnn_lm"],
    "language_model": ["model=rnn_lm"],
    "mini_reviews": CLASSIFIER,
    "reviews": [*CLASSIFIER, "data.train=a.csv"],
    "wordpiece": CLASSIFIER,
    "classification": CLASSIFIER,
    "sigmoid": CLASSIFIER,
    "text": ["data.train=a", "data.valid=b", "data.source_language=ja", "data.target_language=en"],
}
"""What a choice needs to be told before it can be built."""


def label(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


def group_of(path: Path) -> str:
    """ "objective/decay" of configs/objective/decay/linear.yaml."""
    return path.parent.relative_to(CONFIGS).as_posix()


def command_of(group: str) -> str:
    """A command that has the group."""
    return next(command for command in COMMANDS if group in default_groups(command))


def chosen(group: str, name: str) -> list[str]:
    """Overrides for a config with this choice: one of an inner group, in the last choice that chooses from it."""
    outer, _, _ = group.rpartition("/")
    return [*REQUIRED.get(name, []), *(chosen(outer, list(choosers(group))[-1]) if outer else []), f"{group}={name}"]


def sizes(config: Any) -> tuple[int, int, torch.Tensor]:
    """Words of the source, words or classes of the target, and their counts."""
    targets = 2 if config.choices["model"] == "bert_gru" else 13
    return 11, targets, torch.arange(targets, device="cpu")


def built(group: str, config: Any) -> Any:
    """The object of a group's choice, as a run makes it."""
    if group in ("model", "output", "objective"):
        model, output = build.network(config, *sizes(config))
        return {"model": model, "output": output, "objective": build.objective(config, model, output)}[group]
    return config.part(group)(total_updates=100)


@pytest.mark.parametrize("path", CHOICES, ids=label)
def test_every_choice_is_composed_checked_and_built(path: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.ja", "a.en", "b.ja", "b.en", "a.csv"):
        Path(name).write_text("a line\n")
    group, name = group_of(path), path.stem
    outer, *inner = group.split("/")
    config = config_of(command_of(outer), chosen(group, name))
    assert config.choices[group] == name
    chosen_part = config.part(outer)
    for part in inner:
        chosen_part = chosen_part.settings[part]
    with torch.device("meta"):  # base-sized models cost nothing there
        thing = built(outer, config)
        thing = chosen_part() if inner else thing
    assert type(thing) is chosen_part.cls
    assert type(thing).__module__.startswith(PACKAGES[group])


@pytest.mark.parametrize("path", COMPOSED + EXPERIMENTS, ids=label)
def test_every_command_and_experiment_is_composed_and_checked(path: Path) -> None:
    config = config_of(path.stem) if path in COMPOSED else config_of("train", [f"experiment={path.stem}"])
    if path in COMPOSED:
        assert config.choices == {group: name for group, name in default_groups(path.stem).items() if "hydra/" not in group}
    else:
        assert config.choices["experiment"] == path.stem
    with pytest.raises(RequestError, match="sead is not a setting"):  # so it was looked at
        checked({**config.values, "sead": 1})


def test_every_file_on_disk_is_one_of_those_tested() -> None:
    tested = len(CHOICES) + len(COMPOSED) + len(EXPERIMENTS)
    on_disk = [name for _, _, names in os.walk(CONFIGS) for name in names if name.endswith((".yaml", ".yml"))]
    assert tested == len(on_disk) > 20
    assert {group_of(path) for path in CHOICES} == set(PACKAGES) == set(groups()) - {"experiment"}


def composed(model: str, output: str, objective: str) -> Any:
    """With parameters of the estimator alone where there may be some: what samples are scored by does not reach them."""
    more = ["output.normaliser=linear"] if output == "nce" else []
    more += ["model.encoder=tiny"] if model == "bert_gru" else []
    return config_of("train", [f"model={model}", f"output={output}", f"objective={objective}", *more])


@pytest.mark.parametrize(("model", "output", "objective"), pairs(MODELS, OUTPUTS, OBJECTIVES, fits=fits))
def test_what_fits_steps_on_the_meta_device(model: str, output: str, objective: str) -> None:
    """One update of each: whatever an optimizer holds is reached by the loss."""
    config = composed(model, output, objective)
    with torch.device("meta"):
        networks = build.network(config, *sizes(config))
        trained = build.objective(config, *networks)
    for update in trained.updates(lambda named: torch.optim.SGD([p for _, p in named], lr=0.1)):
        batch = random_texts() if model == "bert_gru" else random_batch()
        loss = update.module(batch.to("meta"), Progress(0, Key.of(1, 0)))
        torch.stack(list(loss.terms.values())).sum().backward()
        for optimizer in update.optimizers:
            held = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad]
            assert held and all(parameter.grad is not None and parameter.grad.is_meta for parameter in held)
            optimizer.step()


@pytest.mark.parametrize(
    ("model", "output", "objective"), [each for each in pairs(MODELS, OUTPUTS, OBJECTIVES) if not fits(*each)]
)
def test_what_does_not_fit_is_refused_with_what_would(model: str, output: str, objective: str) -> None:
    with pytest.raises(RequestError) as refused:
        composed(model, output, objective)
    said = str(refused.value)
    assert f"objective={objective}" in said or f"output={output}" in said
    assert f"model={model}" in said and "Use " in said


@pytest.mark.parametrize("path", FILES, ids=label)
def test_every_key_has_a_comment_and_the_file_a_first_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    described = [line for line in lines if line.startswith("#") and "@package" not in line]
    assert described, "the file starts by saying what it is"
    body = [line for line in lines if re.match(r"^ *[a-z]\w*:", line) and not line.strip().startswith(("defaults:", "_target_:"))]
    for line in body:
        opens_a_section = line.rstrip().endswith(":")
        assert opens_a_section or "#" in line or path.parent.name == "experiment", f"no comment: {line}"


@pytest.mark.parametrize("path", CHOICES, ids=label)
def test_a_choice_writes_every_setting_and_nothing_that_the_program_passes(path: Path) -> None:
    node = yaml.safe_load(path.read_text(encoding="utf-8"))
    group = group_of(path)
    made = {name for name in default_groups(f"{group}/{path.stem}") if f"{group}/{name}" in PACKAGES}
    written = set(node) - {"_target_", "defaults"} | made
    passed = PASSED.get(group, frozenset())
    assert not written & passed
    assert written == set(settings(resolve(node, group))) - passed


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("rnn", {"model.layers": 3, "model.cell": "lstm", "model.embedding_size": 512, "model.hidden_size": 512}),
        ("rnn", {"model.dropout": 0.2, "model.residual": True, "model.hand_over": "hidden", "tokenizer.vocab_size": 8000}),
        ("bert_gru", {"model.encoder": "bert-base-uncased", "model.max_length": 512, "model.gru_layers": 2}),
        ("bert_gru", {"model.gru_hidden": 256, "model.dropout": 0.25, "model.unfreeze": 0, "model.pooling": "last"}),
        ("bert_gru", {"optimizer.lr": 1e-3, "batching.sentences": 128, "trainer.epochs": 2, "data.valid_share": 7500 / 25_000}),
    ],
)
def test_reference_configurations_are_those_published(model: str, published: dict[str, Any]) -> None:
    """SPEC.md, section 1."""
    config = compose("train", [f"model={model}"])
    assert {key: OmegaConf.select(config, key) for key in published} == published
