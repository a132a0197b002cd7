"""Families of environments that are alike: a task for each member, and one that nobody saw.

Members of a family have the same observations and actions, so that one policy can serve them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

Make = Callable[[], gym.Env]


@dataclass(frozen=True)
class Family:
    """Environments to learn, by name, and one to transfer to."""

    name: str
    members: dict[str, Make]
    unseen: Make


def cart_pole(length: float, mass: float) -> Make:
    """Return CartPole with a pole of another half length (metres) and mass (kilograms)."""

    def make() -> gym.Env:
        env = gym.make("CartPole-v1")
        inner = env.unwrapped
        inner.length, inner.masspole = length, mass
        inner.total_mass = inner.masspole + inner.masscart
        inner.polemass_length = inner.masspole * inner.length
        return env

    return make


def acrobot(first: float, second: float) -> Make:
    """Return Acrobot with links of other lengths (metres), whose centres are in the middle."""

    def make() -> gym.Env:
        env = gym.make("Acrobot-v1")
        inner = env.unwrapped
        inner.LINK_LENGTH_1, inner.LINK_LENGTH_2 = first, second
        inner.LINK_COM_POS_1, inner.LINK_COM_POS_2 = first / 2, second / 2
        return env

    return make


SIDE, STEPS = 5, 40
# Rows and columns: up, down, left, right.
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


class KeyWorld(gym.Env):
    """A grid: fetch the key, which is at one place for all members, then go to the own door.

    Seen are the place, one of 25, and whether the key is held; the door is not. A step costs
    0.02, the door with the key gives 1 and ends the episode, as do 40 steps without.
    """

    def __init__(self, door: tuple[int, int], key: tuple[int, int] = (0, 4)) -> None:
        self.door, self.key = door, key
        self.observation_space = gym.spaces.Box(0.0, 1.0, (SIDE * SIDE + 1,), np.float32)
        self.action_space = gym.spaces.Discrete(len(MOVES))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        """Begin at a random place without the key."""
        super().reset(seed=seed)
        row, column = self.np_random.integers(0, SIDE, 2)
        self.place, self.held, self.count = (int(row), int(column)), False, 0
        return self._seen(), {}

    def step(self, action: int) -> tuple:
        """Move; walls stop it."""
        self.count += 1
        pairs = zip(self.place, MOVES[int(action)], strict=True)
        row, column = (min(max(at + move, 0), SIDE - 1) for at, move in pairs)
        self.place = row, column
        self.held = self.held or self.place == self.key
        ends = self.held and self.place == self.door
        return self._seen(), float(ends) - 0.02, ends, not ends and self.count >= STEPS, {}

    def _seen(self) -> np.ndarray:
        found = np.zeros(SIDE * SIDE + 1, dtype=np.float32)
        found[self.place[0] * SIDE + self.place[1]] = 1.0
        found[-1] = self.held
        return found


POLES = {"as it is": (0.5, 0.1), "short": (0.3, 0.1), "long": (1.0, 0.1), "heavy": (0.8, 0.5)}
LINKS = {"as it is": (1.0, 1.0), "short below": (1.0, 0.8), "long below": (1.0, 1.2)}
DOORS = {"south west": (4, 0), "south east": (4, 4), "north west": (0, 0), "middle": (2, 2)}
FAMILIES = {
    family.name: family
    for family in (
        Family(
            "CartPole",
            {name: cart_pole(*pole) for name, pole in POLES.items()},
            cart_pole(0.7, 0.3),
        ),
        Family("Acrobot", {name: acrobot(*own) for name, own in LINKS.items()}, acrobot(0.9, 1.1)),
        Family(
            "KeyWorld",
            {name: lambda door=door: KeyWorld(door) for name, door in DOORS.items()},
            lambda: KeyWorld((4, 2)),
        ),
    )
}
