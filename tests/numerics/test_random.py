"""Counter-based random numbers: the values are those of an independent implementation, and behave as uniform and independent."""

import pytest
import torch
from scipy import stats

from seqgen_cli.layers.random import Key
from seqgen_cli.runtime import devices

MASK = (1 << 64) - 1


def reference_mix(value: int) -> int:
    """SplitMix64's finaliser in unbounded integers."""
    value &= MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_mixer_matches_published_splitmix64_outputs():
    # First outputs of SplitMix64 from seed 1234567 (Vigna's reference program).
    golden = 0x9E3779B97F4A7C15
    outputs = [reference_mix(1234567 + golden * (step + 1)) for step in range(3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_tensor_mixer_equals_integer_mixer():
    key = Key.of(3, 17, "noise")
    counters = [0, 1, 2, 12345678901, (1 << 62) + 5]
    expected = [reference_mix(key.state + 0x9E3779B97F4A7C15 + reference_mix(counter)) for counter in counters]
    bits = key.bits(torch.tensor(counters))
    assert [int(value) & MASK for value in bits] == expected


def test_keys_differ_by_every_part_and_by_order():
    keys = {Key.of(*parts).state for parts in [(1, 2), (2, 1), (1, 2, 0), (1,), (1, "a"), (1, "b"), (1, "ab"), (1, 2, "a")]}
    assert len(keys) == 8
    assert Key.of(1, 2, "x") == Key.of(1).fold(2).fold("x")
    assert Key.of("a longer name than eight bytes").state != Key.of("a longer name than eight bytez").state


def test_values_depend_only_on_their_own_counters():
    key = Key.of(5)
    example_N, position_N = torch.tensor([4, 9, 4, 7]), torch.tensor([0, 0, 1, 3])
    together = key.uniform(example_N, position_N)
    alone = torch.cat([key.uniform(example_N[i : i + 1], position_N[i : i + 1]) for i in (3, 1, 0, 2)])
    assert torch.equal(together[[3, 1, 0, 2]], alone)
    assert together.unique().numel() == 4


@pytest.mark.parametrize("without_float64", [False, True])
def test_the_first_and_the_last_number_are_inside_the_interval(without_float64: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all bits 0, and all bits 1: half a cell from either end."""
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", {"cpu"} if without_float64 else set())
    monkeypatch.setattr(Key, "bits", lambda key, *counters: torch.tensor([0, -1]))
    first, last = Key.of(1).uniform(torch.zeros(2, dtype=torch.int64)).tolist()
    assert first == 1 - last == 2.0 ** (-24 if without_float64 else -53)


def test_uniform_in_distribution_and_across_counters():
    key = Key.of(11, 4, "test")
    grid = key.uniform(torch.arange(500)[:, None], torch.arange(400)[None, :])
    assert grid.min() > 0
    assert grid.max() < 1
    assert stats.kstest(grid.flatten().numpy(), "uniform").pvalue > 1e-3
    for other in (grid.roll(1, 0), grid.roll(1, 1), Key.of(11, 5, "test").uniform(torch.arange(500)[:, None], torch.arange(400))):
        pairs = torch.histogramdd(torch.stack([grid.flatten(), other.flatten()], 1), bins=[8, 8]).hist.flatten()
        assert stats.chisquare(pairs.numpy()).pvalue > 1e-3
