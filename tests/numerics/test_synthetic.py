"""Synthetic sentences have the distribution they state."""

import numpy as np

from seqgen_cli.bench.synthetic import Synthetic


def test_lengths_have_the_stated_mean_spread_and_correlation():
    data = Synthetic(sentences=20_000, mean_length=25, length_spread=0.4).dataset(0)
    for lengths in (data.source_lengths_n - 1, data.target_lengths_n - 1):
        np.testing.assert_allclose(lengths.mean(), 25, rtol=0.02)
        np.testing.assert_allclose(lengths.std() / lengths.mean(), 0.4, rtol=0.03)
    logs = np.log([data.source_lengths_n - 1, data.target_lengths_n - 1])
    np.testing.assert_allclose(np.corrcoef(logs)[0, 1], 0.9, atol=0.01)


def test_word_frequencies_match_the_counts_given_to_output_layers():
    settings = Synthetic(source_vocab_size=30, target_vocab_size=50, sentences=20_000, mean_length=10)
    batch = settings.dataset(1).batch(np.arange(20_000))
    seen_V = np.bincount(batch.targets_N.numpy(), minlength=50)
    np.testing.assert_allclose(seen_V[3:], settings.counts_V()[3:], rtol=0.05)
    assert seen_V[:3].tolist() == [0, 0, 0]
    assert settings.counts_V().min() == 1
    assert batch.source_BS.max() == 29


def test_the_same_seed_gives_the_same_sentences_and_zero_spread_one_length():
    settings = Synthetic(sentences=10, mean_length=7, length_spread=0)
    one, two, other = settings.dataset(3), settings.dataset(3), settings.dataset(4)
    indices = np.array([4, 1])
    assert set(one.source_lengths_n) == {8}
    assert one.batch(indices).targets_BT.equal(two.batch(indices).targets_BT)
    assert not one.batch(indices).targets_BT.equal(other.batch(indices).targets_BT)
