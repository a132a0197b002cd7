"""Trees: stages of a trunk that tasks share until they part, given or found in training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from polytask._checks import got_shape, positive, positive_integer, sentence
from polytask._registry import saveable
from polytask.deep.sharing.base import Inputs, OwnRepresentations, checked, copied
from polytask.deep.sharing.copies import Copies, make_copies, stages_of
from polytask.deep.sharing.experts import draw_experts
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage


def representation_similarity(representations: Iterable[ArrayLike]) -> NDArray[np.float64]:
    """Return how alike tasks see the same rows, for :meth:`Tree.of_affinity`.

    For each task the distances between rows are one minus their Pearson correlations; the
    similarity of two tasks is the Spearman correlation of their distances [1]_.

    Parameters
    ----------
    representations : iterable of array of shape (n_rows, width)
        For each task what a network of its own makes of the same rows; widths may differ.

    Returns
    -------
    ndarray of shape (n_tasks, n_tasks)

    References
    ----------
    .. [1] Vandenhende, S., Georgoulis, S., De Brabandere, B. and Van Gool, L. (2020). Branched
       multi-task networks: deciding what layers to share. BMVC, Section 3.1.
    """
    distances = [pdist(np.asarray(own, dtype=float), "correlation") for own in representations]
    found = np.eye(len(distances))
    for a, b in itertools.combinations(range(len(distances)), 2):
        found[a, b] = found[b, a] = spearmanr(distances[a], distances[b]).statistic
    return found


@final
@saveable("deep.sharing.tree")
@dataclass(frozen=True)
class Tree:
    """A tree: in each stage of the trunk tasks of one branch share its layers [1]_.

    The stages of an nn.Sequential begin at its layers with weights; any other trunk is one
    stage. Every branch starts from the weights of the trunk, so that at the start it is hard
    sharing.

    The parameters of each stage, times its branches. A row goes through the branches of its
    task only. For few tasks of which it is known, or found by :class:`Branching` or from
    affinities, which go together. Rows of an unseen task get the mean of the representations
    for all tasks.

    Parameters
    ----------
    branches : sequence of sequence of int
        For each stage the branch of each task, such as ``[[0, 0, 0], [0, 0, 1]]``; tasks that
        have parted do not meet again.

    References
    ----------
    .. [1] Lu, Y., Kumar, A., Zhai, S., Cheng, Y., Javidi, T. and Feris, R. (2017). Fully-adaptive
       feature sharing in multi-task networks with applications in person attribute
       classification. CVPR, 5334-5343.
    """

    branches: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        stages = [list(stage) for stage in self.branches]
        if not stages or len(set(map(len, stages))) > 1 or not stages[0]:
            got = str(list(map(len, stages)))
            raise ParameterError(
                sentence("branches", "Tree", LazyMessage("allowed.stages_of_tasks"), got)
            )
        # Branches are numbered as they come.
        numbered = [tuple(map(list(dict.fromkeys(stage)).index, stage)) for stage in stages]
        for above, below in itertools.pairwise(numbered):
            if len(set(zip(above, below, strict=True))) > len(set(below)):
                allowed = LazyMessage("allowed.parted")
                raise ParameterError(sentence("branches", "Tree", allowed, repr(below)))
        object.__setattr__(self, "branches", tuple(numbered))

    @classmethod
    def of_affinity(cls, affinity: ArrayLike, n_branches: Sequence[int]) -> Self:
        """Return the tree in which tasks that are alike stay together longest.

        Parameters
        ----------
        affinity : array of shape (n_tasks, n_tasks)
            How alike tasks are, greater is more: ``history_.relations[...].similarity`` of
            :mod:`polytask.deep.recording`, or :func:`representation_similarity`. The two
            directions are averaged; an entry that is not finite counts as the lowest.
        n_branches : sequence of int
            The number of branches in each stage, not decreasing; fewer where affinities are
            equal. Groups are those of average linkage.

        Raises
        ------
        DataError
            If `affinity` is not a square matrix.
        """
        values = np.array(affinity, dtype=float)
        if values.ndim != 2 or values.shape[0] != values.shape[1]:
            allowed, got = LazyMessage("allowed.square"), got_shape(values.shape)
            raise DataError(sentence("affinity", "Tree.of_affinity", allowed, got))
        values[~np.isfinite(values)] = np.nanmin(values[np.isfinite(values)], initial=0.0)
        if len(values) == 1:
            return cls([[0] for _ in n_branches])
        distances = values.max() - 0.5 * (values + values.T)
        np.fill_diagonal(distances, 0.0)
        joined = linkage(squareform(distances, checks=False), "average")
        return cls([fcluster(joined, count, "maxclust").tolist() for count in n_branches])

    def build(self, trunk: nn.Module, n_tasks: int) -> TreeSharing:
        """Return the module with a copy of each stage for each of its branches."""
        count = checked(trunk, n_tasks, "Tree")
        stages = stages_of(trunk)
        if (len(self.branches), len(self.branches[0])) != (len(stages), count):
            fields = {"stages": len(stages), "tasks": count}
            allowed = LazyMessage("allowed.branches", fields)
            raise IncompatibleError(sentence("branches", "Tree", allowed, repr(self.branches)))
        pairs = zip(stages, self.branches, strict=True)
        return TreeSharing(
            [
                make_copies([copied(part) for _ in set(own)], ends=part is stages[-1])
                for part, own in pairs
            ],
            self.branches,
        )


@final
class TreeSharing(OwnRepresentations):
    """A tree, built."""

    branches: Tensor

    def __init__(self, stages: list[Copies], branches: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(stages)
        self.n_tasks = len(branches[0])
        self.register_buffer("branches", torch.tensor(branches), persistent=False)
        # The branch of the stage before that each branch goes on from.
        self._before = [
            [above[below.index(branch)] for branch in range(len(set(below)))]
            for above, below in itertools.pairwise(list(map(list, branches)))
        ]

    def _every(self, x: Inputs) -> Tensor:
        first, *later = [stage for stage in self.trunk if isinstance(stage, Copies)]
        whole: Tensor = first(x)
        for stage, before in zip(later, self._before, strict=True):
            whole = stage.each(whole[before])
        return whole[self.branches[-1]].transpose(0, 1)

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        found: Any = x
        stages: list[Any] = list(self.trunk)
        for stage, branch in zip(stages, self.branches, strict=True):
            found = stage.of_rows(found, branch[task])
        own: Tensor = found
        return own


# Choices have this many times the step of a weight: they have far to go and are few.
_SPEED = 10.0
_COOLEST = 0.1


@final
@saveable("deep.sharing.branching")
@dataclass(frozen=True)
class Branching:
    """A tree whose branches are chosen while the network is trained, by Gumbel-softmax.

    Each stage of the trunk has several branches. Every branch chooses from which one of the
    stage before it goes on, and every task which one of the last it reads: in training by
    samples of a Gumbel-softmax, whose temperature falls, afterwards by the likeliest [1]_. So
    the network that is kept is a tree; ``tree()`` of the built module is its description, a
    :class:`Tree` that can be fitted anew, which drops the branches that nobody reads.

    n_branches times the parameters of the trunk, plus the choices; every row goes through all
    branches. Not for few rows: weights are learned under choices that are not made yet, and a
    search is as good as the steps that it had. The first branch of each stage starts from the
    weights of the trunk. Rows of an unseen task get the mean of the representations for all
    tasks.

    Parameters
    ----------
    n_branches : int, default=2
        The number of branches of every stage, >= 1.
    temperature : float, default=5.0
        The temperature at the start, > 0; it falls to .1, if it is higher, by equal factors.
    n_steps : int, default=1500
        Steps of training until then.

    References
    ----------
    .. [1] Guo, P., Lee, C.-Y. and Ulbricht, D. (2020). Learning to branch for multi-task
       learning. ICML, 3854-3863, Equations 3 to 6.
    """

    n_branches: int = 2
    temperature: float = 5.0
    n_steps: int = 1500

    def __post_init__(self) -> None:
        positive_integer(self.n_branches, "n_branches", "Branching")
        positive(self.temperature, "temperature", "Branching")
        positive_integer(self.n_steps, "n_steps", "Branching")

    def build(self, trunk: nn.Module, n_tasks: int) -> BranchingTrunk:
        """Return the module with the branches of every stage and the choices among them."""
        count = checked(trunk, n_tasks, "Branching")
        parts = stages_of(trunk)
        stages = [draw_experts(p, self.n_branches, ends=p is parts[-1]) for p in parts]
        return BranchingTrunk(stages, count, self)


class _Choices(nn.ParameterList):
    """Logits, which are no weights of features."""

    @property
    def not_weights(self) -> list[str]:
        """Names of all of them."""
        return [name for name, _ in self.named_parameters()]


@final
class BranchingTrunk(OwnRepresentations):
    """A tree that is being chosen, built."""

    steps: Tensor

    def __init__(self, stages: list[Copies], n_tasks: int, how: Branching) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(stages)
        self.n_tasks = n_tasks
        self._how = how
        # A row for each that chooses, a column for each that can be chosen.
        rows = [*(how.n_branches for _ in stages[1:]), n_tasks]
        self.choices = _Choices(nn.Parameter(1e-3 * torch.randn(n, how.n_branches)) for n in rows)
        self.register_buffer("steps", torch.zeros(()))

    def tree(self) -> Tree:
        """Return the tree of the likeliest choices."""
        *between, last = [choice.argmax(1).tolist() for choice in self.choices]
        found = [last]
        for before in reversed(between):
            found.insert(0, [before[branch] for branch in found[0]])
        return Tree(found)

    def _weights(self) -> list[Tensor]:
        """Return who reads what: samples in training, else the likeliest."""
        choices: list[Any] = list(self.choices)
        if not self.training:
            n = self._how.n_branches
            return [functional.one_hot(c.argmax(1), n).to(c) for c in choices]
        start = self._how.temperature
        share = (self.steps / self._how.n_steps).clamp(max=1.0)
        heat = start * (min(_COOLEST, start) / start) ** share
        self.steps += 1
        noise = [-torch.empty_like(c).exponential_().log() for c in choices]
        pairs = zip(choices, noise, strict=True)
        return [((_SPEED * c + own) / heat).softmax(1) for c, own in pairs]

    def _branches(self, x: Inputs, weights: list[Tensor]) -> Tensor:
        """Return what the branches of the last stage give, (n_branches, n, h)."""
        first, *later = [stage for stage in self.trunk if isinstance(stage, Copies)]
        whole: Tensor = first(x)
        for stage, read in zip(later, weights, strict=True):
            whole = stage.each(torch.tensordot(read, whole, dims=1))
        return whole

    def _every(self, x: Inputs) -> Tensor:
        *between, last = self._weights()
        found: Tensor = torch.tensordot(last, self._branches(x, between), dims=1)
        return found.transpose(0, 1)

    def _own(self, x: Inputs, task: Tensor) -> Tensor:
        *between, last = self._weights()
        found: Tensor = torch.einsum("nb,bnh->nh", last[task], self._branches(x, between))
        return found
