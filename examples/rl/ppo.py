"""Proximal policy optimisation (Schulman et al. 2017) of one policy for several environments.

The loss of a task is that of its rows alone; `backward` of polytask weighs tasks, and `Penalties`
acts on layers, as in any other training of a network of tasks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn
from torch.distributions import Categorical
from worlds import Make

from polytask.deep.balancing import AnyBalancer, StatefulBalancer, backward
from polytask.deep.regularise import Penalties
from polytask.penalties import Penalty


class PopArt(nn.Module):
    """Values of every task on a scale of their own, which moves with the returns.

    Van Hasselt et al. (2016), equations 6 to 9: when mean and standard deviation of the returns
    change, weights are changed so that the values stay what they were. With `each` False all
    tasks have the statistics of all returns: equal scaling.
    """

    def __init__(self, width: int, n_tasks: int, each: bool = True, rate: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(width, n_tasks)
        self.each, self.rate = each, rate
        self.register_buffer("mean", torch.zeros(n_tasks))
        self.register_buffer("square", torch.ones(n_tasks))

    @property
    def scale(self) -> Tensor:
        """The standard deviation of the returns of every task, (n_tasks,)."""
        return (self.square - self.mean**2).clamp_min(1e-6).sqrt()

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Return the scaled value of each row for its task, (n,)."""
        return self.linear(features).gather(1, task[:, None])[:, 0]

    def values(self, scaled: Tensor, task: Tensor) -> Tensor:
        """Return values in units of the returns, (n,)."""
        return scaled * self.scale[task] + self.mean[task]

    @torch.no_grad()
    def see(self, returns: Tensor, task: Tensor) -> None:
        """Move the statistics towards those of returns (n,), and keep the values."""
        mean, scale = self.mean.clone(), self.scale
        for t in range(len(mean)):
            own = returns[task == t] if self.each else returns
            self.mean[t] += self.rate * (own.mean() - self.mean[t])
            self.square[t] += self.rate * (own.square().mean() - self.square[t])
        self.linear.weight.mul_((scale / self.scale)[:, None])
        self.linear.bias.copy_((scale * self.linear.bias + mean - self.mean) / self.scale)


class Policy(nn.Module):
    """A shared trunk, with a head for each task or a learned vector that tells it the task."""

    def __init__(
        self, env: gym.Env, n_tasks: int, *, embedding: int = 0, each_scale: bool = True
    ) -> None:
        super().__init__()
        width = 64
        self.n_actions = int(env.action_space.n)
        inputs = int(np.prod(env.observation_space.shape)) + embedding
        self.trunk = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
        )
        self.tasks = nn.Embedding(n_tasks, embedding) if embedding else None
        self.heads = nn.Linear(width, self.n_actions * (1 if embedding else n_tasks))
        self.critic = PopArt(width, n_tasks, each_scale)
        # All actions are about as likely at first.
        nn.init.normal_(self.heads.weight, std=0.01)

    def forward(self, x: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Return log odds of the actions (n, n_actions) and scaled values (n,)."""
        given = x if self.tasks is None else torch.cat([x, self.tasks(task)], dim=1)
        features = self.trunk(given)
        odds = self.heads(features)
        if self.tasks is None:
            odds = odds.view(len(x), -1, self.n_actions)[torch.arange(len(x)), task]
        return odds, self.critic(features, task)

    def for_new_task(self, env: gym.Env) -> Policy:
        """Return a policy of one task that begins with the trunk and the mean over the tasks."""
        size = 0 if self.tasks is None else self.tasks.embedding_dim
        new = Policy(env, 1, embedding=size)
        new.trunk.load_state_dict(self.trunk.state_dict())
        with torch.no_grad():
            pairs = [(new.heads.weight, self.heads.weight), (new.heads.bias, self.heads.bias)]
            pairs += [(new.critic.linear.weight, self.critic.linear.weight)]
            pairs += [(new.critic.linear.bias, self.critic.linear.bias)]
            if self.tasks is not None and new.tasks is not None:
                pairs.append((new.tasks.weight, self.tasks.weight))
            for own, old in pairs:
                own.copy_(old.view(-1, *own.shape).mean(0))
            for name in ("mean", "square"):
                getattr(new.critic, name).fill_(float(getattr(self.critic, name).mean()))
        return new


def advantages(
    rewards: Tensor, values: Tensor, ends: Tensor, last: Tensor, gamma: float, lam: float
) -> Tensor:
    """Return generalised advantage estimates (Schulman et al. 2016, equation 16).

    Shapes: all (n_steps, n_envs) but `last`, the values after the last step, (n_envs,). `ends` is
    1 where the step ended an episode.
    """
    found, later = torch.zeros_like(rewards), torch.zeros_like(last)
    for step in reversed(range(len(rewards))):
        after = last if step + 1 == len(rewards) else values[step + 1]
        goes_on = 1.0 - ends[step]
        surprise = rewards[step] + gamma * goes_on * after - values[step]
        later = surprise + gamma * lam * goes_on * later
        found[step] = later
    return found


def clipped_loss(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return the loss of each row (Schulman et al. 2017, equation 7, with the sign turned)."""
    inside = ratio.clamp(1.0 - clip, 1.0 + clip)
    return -torch.minimum(ratio * advantage, inside * advantage)


@dataclass(frozen=True)
class Settings:
    """How a policy is trained; a task has `envs` environments of `horizon` steps a round."""

    samples: int = 20_000
    envs: int = 4
    horizon: int = 128
    epochs: int = 6
    minibatches: int = 4
    learning_rate: float = 1e-3
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    balancer: AnyBalancer | None = None
    penalties: Mapping[str, Penalty] = field(default_factory=dict)


@dataclass(frozen=True)
class Rollout:
    """What a round of play gave; all of one row for each step, x (n, n_inputs), others (n,)."""

    x: Tensor
    task: Tensor
    action: Tensor
    chance: Tensor
    advantage: Tensor
    returns: Tensor


class Trainer:
    """PPO on the environments of some tasks, which are numbered in their order."""

    def __init__(
        self, policy: Policy, makers: Sequence[Make], settings: Settings, seed: int
    ) -> None:
        self.policy, self.settings, self.n_tasks = policy, settings, len(makers)
        every = [make for make in makers for _ in range(settings.envs)]
        self.env = SyncVectorEnv(every, autoreset_mode=AutoresetMode.SAME_STEP)
        self.task = torch.arange(self.n_tasks).repeat_interleave(settings.envs)
        self.x = self._tensor(self.env.reset(seed=seed)[0])
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=settings.learning_rate)
        self.penalties = Penalties(policy, settings.penalties)
        kind = settings.balancer
        self.balance = None if kind is None else StatefulBalancer(kind, self.n_tasks)

    def train(self) -> Policy:
        """Play and learn until every task has its samples."""
        own = self.settings
        rounds = own.samples // (own.envs * own.horizon)
        for done in range(rounds):
            # A falling rate, as is usual: late steps of PPO are for settling.
            self.optimizer.param_groups[0]["lr"] = own.learning_rate * (1 - done / rounds)
            self.learn(self.play())
        return self.policy

    @torch.no_grad()
    def play(self) -> Rollout:
        """Play a round in all environments."""
        own, policy = self.settings, self.policy
        steps = []
        for _ in range(own.horizon):
            odds, scaled = policy(self.x, self.task)
            actions = Categorical(logits=odds)
            action = actions.sample()
            value = policy.critic.values(scaled, self.task)
            seen, reward, ended, cut, told = self.env.step(action.numpy())
            reward = self._tensor(reward)
            if cut.any():
                # An episode that was cut off would have gone on from what was seen last.
                rows = torch.from_numpy(np.flatnonzero(cut))
                final = self._tensor(np.stack([told["final_obs"][row] for row in rows]))
                after = policy.critic.values(policy(final, self.task[rows])[1], self.task[rows])
                reward[rows] += own.gamma * after
            ends = self._tensor(ended | cut)
            steps.append((self.x, action, actions.log_prob(action), reward, value, ends))
            self.x = self._tensor(seen)
        x, action, chance, reward, value, ends = map(torch.stack, zip(*steps, strict=True))
        last = policy.critic.values(policy(self.x, self.task)[1], self.task)
        gain = advantages(reward, value, ends, last, own.gamma, own.lam)
        task = self.task.expand(own.horizon, -1)
        whole = (part.flatten(0, 1) for part in (x, task, action, chance, gain, gain + value))
        return Rollout(*whole)

    def learn(self, seen: Rollout) -> None:
        """Take the steps of a round."""
        own, policy = self.settings, self.policy
        policy.critic.see(seen.returns, seen.task)
        size = -(-len(seen.task) // own.minibatches)
        for _ in range(own.epochs):
            for rows in torch.randperm(len(seen.task)).split(size):
                losses = self.losses(seen, rows)
                self.optimizer.zero_grad()
                shared = list(policy.trunk.parameters())
                backward(losses, shared=shared, balancer=self.balance)
                smooth = self.penalties.smooth()
                if isinstance(smooth, Tensor):
                    smooth.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 0.5 * self.n_tasks)
                self.optimizer.step()
                self.penalties.proximal_step(self.optimizer)

    def losses(self, seen: Rollout, rows: Tensor) -> Tensor:
        """Return the mean loss of every task over some rows, (n_tasks,)."""
        own, critic = self.settings, self.policy.critic
        task = seen.task[rows]
        odds, scaled = self.policy(seen.x[rows], task)
        actions = Categorical(logits=odds)
        ratio = (actions.log_prob(seen.action[rows]) - seen.chance[rows]).exp()
        wanted = (seen.returns[rows] - critic.mean[task]) / critic.scale[task]
        found = []
        for t in range(self.n_tasks):
            at = task == t
            # Advantages of every task on one scale: no task is louder than another.
            gain = seen.advantage[rows][at]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            act = clipped_loss(ratio[at], gain, own.clip).mean()
            value = (scaled[at] - wanted[at]).square().mean()
            found.append(act + 0.5 * value - own.entropy * actions.entropy()[at].mean())
        return torch.stack(found)

    @staticmethod
    def _tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32)


@torch.no_grad()
def mean_return(policy: Policy, make: Make, task: int, seed: int, episodes: int = 20) -> float:
    """Return the mean return of the likeliest actions in new episodes."""
    total = 0.0
    env = SyncVectorEnv([make] * episodes, autoreset_mode=AutoresetMode.SAME_STEP)
    x, _ = env.reset(seed=10_000 + seed)
    alive, tasks = np.ones(episodes, dtype=bool), torch.full((episodes,), task)
    while alive.any():
        odds, _ = policy(torch.as_tensor(x, dtype=torch.float32), tasks)
        x, reward, ended, cut, _ = env.step(odds.argmax(1).numpy())
        total += float(reward[alive].sum())
        alive &= ~(ended | cut)
    return total / episodes


def trained(
    makers: Sequence[Make],
    seed: int,
    settings: Settings,
    *,
    embedding: int = 0,
    each_scale: bool = True,
    start: Policy | None = None,
) -> Policy:
    """Return a policy of some tasks, trained from weights just drawn or from another policy."""
    torch.manual_seed(seed)
    env = makers[0]()
    policy = Policy(env, len(makers), embedding=embedding, each_scale=each_scale)
    policy = policy if start is None else copy.deepcopy(start)
    return Trainer(policy, makers, settings, seed).train()
