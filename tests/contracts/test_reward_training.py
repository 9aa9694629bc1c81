"""Training by rewards from the command line: from an mle run, by a user's own reward, in other processes; its warnings."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqgen_cli.checkpoints import finding
from seqgen_cli.checkpoints.weights import read_state
from seqgen_cli.cli.main import main
from seqgen_cli.objectives.advice import RewardAdvisor
from seqgen_cli.training.session import Session
from tests.faults.test_resume import model_settings, records, run, settings
from tests.helpers import choices

MODEL = [*model_settings("transformer"), "model.dropout=0", "trainer.decode_limit=0", "trainer.samples=0", "trainer.log_every=1"]
STILL = ["trainer.steps=1", "optimizer.lr=1e-30"]
FEW = ["objective.samples=2", "batching.max_tokens=100", "data.train_size=60"]
OBJECTIVES = {
    "scheduled_sampling": [],
    "raml": [],
    "reinforce": [*FEW, "objective/baseline=learned", "objective.kl=0.01", "optimizer=adamw", "optimizer.weight_decay=0.1"],
    "minimum_risk": FEW,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def mle(cache: Path) -> Path:
    """An mle run."""
    return Path(run(*settings(cache, cache / "runs", *MODEL, "trainer.steps=3", "optimizer.lr=0.01"))["run"])


def asked(cache: Path, runs: Path, objective: str, *more: str) -> list[str]:
    return settings(cache, runs, *MODEL, f"objective={objective}", *OBJECTIVES[objective], *more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(finding.find(folder, print, last=True) / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_every_objective_is_tried() -> None:
    assert set(OBJECTIVES) == set(choices("objective")) - {"mle"}


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_starts_from_the_weights_of_an_mle_run(
    objective: str, mle: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    still = run(
        *asked(cache, tmp_path, objective, f"init_from={mle}", *STILL, "trainer.best_metric=bleu", "trainer.decode_limit=1")
    )
    assert equal(weights(Path(still["run"])), weights(mle))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_starting_model_of_the_divergence_is_the_mle_run_and_stays_so_over_a_resumption(
    mle: Path, cache: Path, tmp_path: Path
) -> None:
    words = asked(cache, tmp_path, "reinforce", f"init_from={mle}", "optimizer.lr=0.01")
    first = run(*words, "trainer.steps=2", "runtime.runs_folder=" + str(tmp_path / "a"))
    folder = Path(first["run"])
    for steps in (2, 4):
        if steps > 2:
            assert main(["train", f"continue={folder}", f"trainer.steps={steps}"]) == 0
        state = read_state(finding.find(folder, print, last=True))
        starting = {name.removeprefix("starting."): tensor for name, tensor in state["objective"].items() if "starting." in name}
        assert state["loop"]["update"] == steps
        assert equal(starting, weights(mle)) and not equal(weights(folder), weights(mle))
    divergences = [record["kl"] for record in records(folder) if "kl" in record]
    assert len(divergences) == 4 and divergences[0] == pytest.approx(0, abs=1e-4) != divergences[-1]


@pytest.mark.parametrize("objective", ["reinforce", "minimum_risk"])
def test_a_cold_start_and_a_best_checkpoint_by_likelihood_are_warned_about(
    objective: str, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(*asked(cache, tmp_path, objective, *STILL, *(["objective.kl=0"] if objective == "reinforce" else [])))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2 and "say init_from=RUN, or begin with mle by objective" in told[0] and "best_metric=nll" in told[1]


def test_what_the_advisor_says_of_the_log_reaches_the_user_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[dict[str, float]] = []

    def see(advisor: RewardAdvisor, figures: dict[str, float]) -> str | None:
        seen.append(figures)
        return "Rewards are odd." if len(seen) == 2 else None

    monkeypatch.setattr(RewardAdvisor, "see", see)
    result = run(*asked(cache, tmp_path, "minimum_risk", "trainer.steps=3", "optimizer.lr=1e-30"))
    assert [record.getMessage() for record in caplog.records].count("Rewards are odd.") == 1
    assert {"reward", "length", "distinct", "truncated", "entropy"} <= seen[0].keys() and seen[0]["samples"] == 2
    logged = [record for record in records(Path(result["run"])) if "reward" in record]
    assert [record["reward"] for record in logged] == [figures["reward"] for figures in seen]


def test_a_reward_knows_the_target_language(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def step(session: Session) -> None:
        found.append(session.objective.trials.rewarding.scorer.reward)
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "step", step)
    with pytest.raises(KeyboardInterrupt):
        run(*asked(cache, tmp_path, "minimum_risk", *STILL))
    assert found[0].target_language == "en"


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """A folder of choices with a reward of the user's own."""
    place = tmp_path / "mine" / "objective" / "reward"
    place.mkdir(parents=True)
    (place / "brevity.yaml").write_text("# Short outputs.\n_target_: tests.user_rewards.Brevity\nwords: 8   # 1 or more\n")
    for name in ("Short", "Raising"):
        (place / f"{name.lower()}.yaml").write_text(f"# Wrong.\n_target_: tests.user_rewards.{name}\n")
    (place / "none.yaml").write_text("# None.\n_target_: seqgen_cli.errors.SeqgenError\n")
    return ["--config-dir", str(tmp_path / "mine")]


def test_a_reward_of_ones_own_trains_in_this_process_and_in_others_alike(
    own: list[str], mle: Path, cache: Path, tmp_path: Path
) -> None:
    words = asked(cache, tmp_path, "reinforce", "objective/reward=brevity", "objective.reward.words=30", f"init_from={mle}")
    results = []
    for processes in (0, 1):
        place = tmp_path / f"result-{processes}.json"
        more = [f"objective.reward_processes={processes}", "trainer.steps=2", f"json={place}"]
        more.append(f"runtime.runs_folder={tmp_path / str(processes)}")
        assert main(["train", *own, *words, *more]) == 0
        results.append(Path(json.loads(place.read_text())["run"]))
    assert results[0].name == results[1].name, "where rewards are computed makes no other run"
    assert equal(*map(weights, results))
    rewards = [record["reward"] for record in records(results[0]) if "reward" in record]
    assert all(0 < reward < 1 for reward in rewards)


@pytest.mark.parametrize(
    ("reward", "code", "message"),
    [
        ("short", 1, "the reward tests.user_rewards.Short gave"),
        ("raising", 1, "the reward tests.user_rewards.Raising failed (ValueError: 'not there' is not in list)"),
        ("none", 2, "seqgen_cli.errors.SeqgenError is not a choice of objective/reward: it lacks __call__"),
        ("brevity objective.reward.words=0", 2, "objective.reward.words is 0; it must be int, 1 or more."),
        ("bleu objective.reward.smoothing=ex", 2, "Did you mean exp?"),
        (
            "bleu objective.reward.target_language=ja",
            2,
            "objective.reward.target_language is not a setting of objective/reward=bleu",
        ),
        ("chrf objective.reward_on=ids", 2, "objective.reward=chrf compares characters"),
        ("weighted objective.reward_on=ids", 2, "objective.reward.chrf compares characters"),
    ],
)
def test_a_wrong_reward_is_named_in_one_sentence(
    reward: str, code: int, message: str, own: list[str], cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = asked(cache, tmp_path, "minimum_risk", *f"objective/reward={reward}".split(), *STILL)
    assert main(["train", *own, *words]) == code
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("seqgen: ")]
    assert len(told) == 1 and message in told[0]
