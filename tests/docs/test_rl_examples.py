"""The programs in examples/rl: their formulas by hand, and a policy that learns."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gymnasium")


@pytest.fixture
def rl(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "examples" / "rl"))
    return importlib.import_module


def test_the_clipped_objective_and_the_advantages_are_those_worked_out_by_hand(rl):
    ppo = rl("ppo")
    ratio = torch.tensor([1.5, 0.5, 1.1, 1.5, 0.5])
    gain = torch.tensor([2.0, 2.0, 2.0, -2.0, -2.0])
    known = torch.tensor([-2.4, -1.0, -2.2, 3.0, 1.6])
    torch.testing.assert_close(ppo.clipped_loss(ratio, gain, 0.2), known)
    # Two steps of an episode that ends, then one step of the next, of value 4 afterwards.
    rewards, values = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0.5], [1.0], [2.0]])
    ends, last = torch.tensor([[0.0], [1.0], [0.0]]), torch.tensor([4.0])
    found = ppo.advantages(rewards, values, ends, last, 0.9, 0.5)
    second = 2.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.5 * second
    known = torch.tensor([[first], [second], [3.0 + 0.9 * 4.0 - 2.0]])
    torch.testing.assert_close(found, known)


@pytest.mark.parametrize("each", [True, False])
def test_popart_keeps_the_values_when_its_statistics_change(rl, each):
    torch.manual_seed(0)
    critic = rl("ppo").PopArt(6, 3, each, rate=1.0)
    features, task = torch.randn(30, 6), torch.arange(30) % 3
    before = critic.values(critic(features, task), task).detach()
    returns = torch.randn(30) * 10.0**task + 5.0
    critic.see(returns, task)
    after = critic.values(critic(features, task), task).detach()
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    own = [returns[task == t] if each else returns for t in range(3)]
    torch.testing.assert_close(critic.mean, torch.stack([part.mean() for part in own]))
    spread = torch.stack([part.std(unbiased=False) for part in own])
    torch.testing.assert_close(critic.scale, spread, rtol=1e-3, atol=1e-3)


def test_members_of_a_family_differ_in_what_their_names_say(rl):
    worlds = rl("worlds")
    poles = [make().unwrapped for make in worlds.FAMILIES["CartPole"].members.values()]
    assert len({(env.length, env.polemass_length) for env in poles}) == 4
    env = worlds.KeyWorld(door=(4, 4))
    env.reset(seed=0)
    env.place = (0, 3)
    right, down = 3, 1
    rewards = [env.step(action)[1:4] for action in (right, *[down] * 4)]
    np.testing.assert_allclose([reward for reward, *_ in rewards], [-0.02] * 4 + [0.98])
    assert [ended for _, ended, _ in rewards] == [False] * 4 + [True]


def test_training_improves_the_return_and_a_new_task_begins_with_the_mean(rl):
    ppo, worlds = rl("ppo"), rl("worlds")
    balancing, penalties = rl("polytask.deep.balancing"), rl("polytask.penalties")
    makers = list(worlds.FAMILIES["CartPole"].members.values())[:2]
    kinds = {"balancer": balancing.PCGrad(), "penalties": {"input": penalties.L21(1e-3)}}
    settings = ppo.Settings(samples=6144, **kinds)
    start = ppo.trained(makers, 0, ppo.Settings(samples=0))
    policy = ppo.trained(makers, 0, settings)
    for t, make in enumerate(makers):
        assert ppo.mean_return(policy, make, t, 0) > 100 > ppo.mean_return(start, make, t, 0)
    new, x = policy.for_new_task(makers[0]()), torch.randn(5, 4)
    zeros = torch.zeros(5, dtype=torch.long)
    torch.testing.assert_close(
        new(x, zeros)[0], (policy(x, zeros)[0] + policy(x, zeros + 1)[0]) / 2
    )
