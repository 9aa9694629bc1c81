"""From ids to rewards: on which text, how often a reward is asked, in which process, and what it may answer."""

import os
import pickle
import signal
import time

import pytest

from seqgen_cli.errors import RequestError, SeqgenError
from seqgen_cli.metrics.rewards import Chrf, ExactMatch, SentenceBleu
from seqgen_cli.metrics.scoring import Scorer, ask
from seqgen_cli.objectives.rewarding import Rewarding
from tests.user_rewards import ByProcess, Distance, NotANumber, Raising, Recording, Scalar, Short

PAIRS = [(f"{'so ' * n}it is {n}", f"it is {n} or {m}") for n in range(8) for m in range(3)]


class Letters:
    """A tokenizer whose ids 4 .. are letters; `</s>` is 3."""

    pad, unk, bos, eos = range(4)

    def decode(self, rows):
        return ["".join(chr(ord("a") + number - 4) for number in row if number > 3) for row in rows]


def test_text_is_cut_at_its_end_and_without_special_tokens():
    reward = Recording()
    wait = Rewarding(reward, Letters()).start([[2, 4, 5, 3, 6], [6, 6, 3, 0, 0], [3, 4], []], [[4, 5, 3], [6, 3], [4, 3], [4]])
    values = wait()
    assert reward.asked == [("ab", "ab"), ("cc", "c")]
    assert values == [0.2, 0.2, 0.0, 0.0]


def test_ids_are_words_that_are_not_cut_again():
    reward = Recording()
    assert Rewarding(reward, Letters(), on="ids").start([[2, 14, 5, 3]], [[14, 15, 3]])() == [0.4]
    assert reward.asked == [("14 5", "14 15")]
    rewarding = Rewarding(SentenceBleu(tokenizer="char"), Letters(), on="ids")
    assert rewarding.start([[4, 1123, 3]], [[4, 11234, 3]])() == SentenceBleu(tokenizer="none")(["4 1"], ["4 2"])
    with pytest.raises(RequestError, match="compares characters"):
        Rewarding(Chrf(), Letters(), on="ids")


def test_equal_pairs_are_asked_about_once_and_come_back_in_place():
    reward = Recording()
    values = Scorer(reward).start(["b", "ab", "b", "", "ab", " "], ["x", "x", "x", "x", "y", "x"])()
    assert values == [0.1, 0.2, 0.1, 0.0, 0.2, 0.0]
    assert reward.asked == [("b", "x"), ("ab", "x"), ("ab", "y")]


def test_nothing_is_done_before_the_answer_is_wanted_and_only_once():
    reward = Recording()
    wait = Scorer(reward).start(["b"], ["x"])
    assert reward.asked == []
    assert wait() == wait() == [0.1] and len(reward.asked) == 1
    assert Scorer(reward).start([], [])() == []


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (Short(), r"tests\.user_rewards\.Short gave 23 rewards for 24 hypotheses"),
        (Scalar(), r"Scalar failed \(TypeError: 'float' object is not iterable\)"),
        (NotANumber(), "NotANumber gave nan for 'it is 3"),
        (Distance(), r"Distance gave -1\.0 for 'it is 0.* numbers of 0 or more, since an empty output earns 0"),
        (Raising(), r"Raising failed \(ValueError: 'not there' is not in list\)"),
    ],
)
def test_an_answer_that_is_none_is_named(reward, message):
    with pytest.raises(SeqgenError, match=message.replace("'it is 3", "'so so so it is 3")):
        ask(reward, PAIRS)


@pytest.fixture
def pool():
    """Scorers whose workers end with the test."""
    made = []

    def make(reward, processes):
        made.append(Scorer(reward, processes))
        return made[-1]

    yield make
    for scorer in made:
        scorer.close()


def test_processes_give_the_same_and_end_with_the_scorer(pool, caplog):
    hypotheses, references = zip(*PAIRS, strict=True)
    scorer = pool(SentenceBleu(), 2)
    assert scorer.start(hypotheses, references)() == SentenceBleu()(hypotheses, references)
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy._pool is None and copy.processes == 2
    workers = list(scorer._pool._processes.values())
    assert len(workers) == 2
    for worker in workers:  # Ctrl-C in a terminal goes to every process
        os.kill(worker.pid, signal.SIGINT)
    assert scorer.start(hypotheses, references)() == SentenceBleu()(hypotheses, references)
    assert scorer.processes == 2 and not caplog.records
    scorer.close()
    for worker in workers:
        worker.join(20)
        deadline = time.monotonic() + 20  # the pool's own thread may be the one that reaps it, and notes the code after join
        while worker.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert worker.exitcode == 0


def test_a_failing_reward_fails_from_a_process_too_and_a_killed_process_is_replaced_by_this_one(pool, caplog):
    scorer = pool(NotANumber(), 1)
    with pytest.raises(SeqgenError, match="NotANumber gave nan"):
        scorer.start(*zip(*PAIRS, strict=True))()
    scorer = pool(ByProcess(), 1)
    (elsewhere,) = scorer.start(["a"], ["b"])()
    assert elsewhere not in (0, os.getpid())
    os.kill(int(elsewhere), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (value := scorer.start(["a"], ["b"])()) == [elsewhere] and time.monotonic() < deadline:
        pass
    assert value == [os.getpid()] == scorer.start(["a"], ["b"])()
    assert [record.message for record in caplog.records] == [
        "A process that computed rewards was killed (out of memory?); this process computes them from now on."
    ]


def test_a_reward_that_cannot_travel_is_refused_for_processes_alone():
    reward = ExactMatch()
    object.__setattr__(reward, "note", lambda: None)
    assert Scorer(reward).start(["a"], ["a"])() == [1.0]
    with pytest.raises(RequestError, match="ExactMatch cannot be sent to other processes"):
        Scorer(reward, processes=1)
