"""Batches: what the model reads and predicts, spelt out for a small example."""

import numpy as np
import torch

from seqgen_cli.data.batch import make_batch


def example_batch():
    return make_batch(
        [7, 3],
        [np.array([11, 12, 13]), np.array([14])],
        [np.array([21]), np.array([22, 23])],
        source_pad=0,
        target_pad=9,
        bos=2,
        eos=3,
        source_eos=4,
    )


def test_collate_shifts_pads_and_counts():
    batch = example_batch()
    assert batch.source_BS.tolist() == [[11, 12, 13, 4], [14, 4, 0, 0]]
    assert batch.source_lengths_B.tolist() == [4, 2]
    assert batch.inputs_BT.tolist() == [[2, 21, 3], [2, 22, 23]]
    assert batch.targets_BT.tolist() == [[21, 3, 9], [22, 23, 3]]
    assert batch.target_lengths_B.tolist() == [2, 3]
    assert batch.valid_N.tolist() == [0, 1, 3, 4, 5]


def test_predictions_know_their_target_example_and_position():
    batch = example_batch()
    assert batch.targets_N.tolist() == [21, 3, 22, 23, 3]
    assert batch.examples_N.tolist() == [7, 7, 3, 3, 3]
    assert batch.positions_N.tolist() == [0, 1, 0, 1, 2]


def test_one_side_may_be_absent_and_rows_empty():
    batch = make_batch([0], None, [np.array([], dtype=np.int32)], source_pad=0, target_pad=0, bos=2, eos=3, source_eos=3)
    assert batch.source_BS is None
    assert batch.targets_N.tolist() == [3]
    assert len(batch.to("cpu")) == 1
    assert torch.equal(batch.to("cpu").valid_N, torch.tensor([0]))
