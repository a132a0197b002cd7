"""Which rows make up the batches of an epoch."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from polytask import ParameterError
from polytask.deep.sampling import SAMPLINGS, InStep, Proportional, Temperature, Uniform

SIZES = np.array([600, 0, 60, 6])
TASK = np.repeat(np.arange(4), SIZES)


def epoch(sampling, batch_size=50, seed=0, sizes=SIZES):
    return sampling.epoch(sizes, batch_size, np.random.default_rng(seed))


def share(sampling):
    rows = np.concatenate([np.concatenate(epoch(sampling, seed=s)) for s in range(20)])
    return np.bincount(TASK[rows], minlength=4) / len(rows)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_an_epoch_has_known_rows_in_batches_and_is_seeded(sampling):
    batches = epoch(sampling)
    rows = np.concatenate(batches)
    assert rows.min() >= 0
    assert rows.max() < SIZES.sum()
    assert len(rows) == pytest.approx(SIZES.sum(), abs=50)
    assert all(2 <= len(batch) <= 51 for batch in batches)
    again, other = epoch(sampling), epoch(sampling, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(batches, other, strict=False))


def test_proportional_has_every_row_once():
    assert sorted(np.concatenate(epoch(Proportional())).tolist()) == list(range(666))


def test_shares_of_the_tasks():
    np.testing.assert_allclose(share(Uniform()), [1 / 3, 0, 1 / 3, 1 / 3], atol=0.02)
    np.testing.assert_allclose(share(InStep()), [1 / 3, 0, 1 / 3, 1 / 3], atol=0.001)
    roots = np.sqrt(SIZES) / np.sqrt(SIZES).sum()
    np.testing.assert_allclose(share(Temperature(2.0)), roots, atol=0.02)
    np.testing.assert_allclose(share(Temperature(1.0)), SIZES / 666, atol=0.02)


def test_no_row_of_a_task_comes_twice_before_all_have_come():
    rows = np.concatenate(epoch(Uniform()))
    for t in (0, 2, 3):
        times = np.bincount(rows[TASK[rows] == t] - SIZES[:t].sum(), minlength=SIZES[t])
        assert times.max() - times.min() <= 1


def test_in_step_has_all_tasks_in_every_batch():
    for batch in epoch(InStep(), batch_size=30):
        assert np.bincount(TASK[batch], minlength=4).tolist() == [10, 0, 10, 10]
    many = epoch(InStep(), batch_size=4, sizes=np.full(9, 3))
    assert all(len(batch) == 9 for batch in many)


def test_a_single_row_joins_the_batch_before():
    sizes = [len(batch) for batch in epoch(Proportional(), sizes=np.array([101]))]
    assert sizes == [50, 51]
    assert [len(b) for b in epoch(Proportional(), sizes=np.array([1]))] == [1]


def test_a_temperature_is_positive():
    with pytest.raises(ParameterError, match="temperature of Temperature"):
        Temperature(0.0)
