"""Search over any parameters of an estimator with Optuna: pruned, resumable, within a time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier

from polytask._checks import SEED, is_whole, positive, positive_integer, sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.card import checksum
from polytask._estimator.ranges import Between
from polytask._estimator.training import encode_training, training_data
from polytask._progress import add_fits
from polytask.data import TaskData, WithinTasks
from polytask.exceptions import DataError, IncompatibleError, ParameterError, PolytaskError
from polytask.io.fingerprint import fingerprint
from polytask.messages import LazyMessage, Text, message_of
from polytask.selection.folds import given_splits
from polytask.selection.held import digest_of, seen_tasks_only

if TYPE_CHECKING:
    import pandas as pd

Index = NDArray[np.intp]
Scorer = Callable[[Any, TaskData], float]

_STUDY = "polytask"
_SETTINGS = "polytask_settings"


@dataclass(frozen=True)
class Trial:
    """One set of parameters that was tried."""

    params: Mapping[str, Any]
    scores: tuple[float, ...]
    pruned: bool


@dataclass(frozen=True)
class Tuned:
    """What :func:`tune` found.

    Attributes
    ----------
    estimator : estimator
        With the best parameters, fitted to all rows.
    params : dict
        The best parameters.
    score : float
        Their mean score over the folds.
    trials : tuple of Trial
        All that was tried, also by the runs that this one continues.
    space : dict
        What was searched.
    """

    estimator: Any
    params: Mapping[str, Any]
    score: float
    trials: tuple[Trial, ...]
    space: Mapping[str, Any] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """Return the trials as a table: parameters, score (mean of the folds), folds, pruned."""
        import pandas as pd

        rows = [
            {
                **trial.params,
                "score": float(np.mean(trial.scores)),
                "folds": len(trial.scores),
                "pruned": trial.pruned,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)


def tune(
    estimator: Any,  # noqa: ANN401 - any multi-task estimator
    space: Mapping[str, Between | Sequence[Any]],
    X: Any,  # noqa: ANN401
    y: Any = None,  # noqa: ANN401
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
    *,
    cv: Any = 5,  # noqa: ANN401 - number, splitter or pairs
    n_trials: int = 50,
    seconds: float | None = None,
    storage: str | None = None,
    prune: bool = True,
    scoring: Scorer | None = None,
    random_state: int = 0,
) -> Tuned:
    """Search parameters of an estimator with Optuna, which learns where good ones are.

    For more parameters than a grid can hold, such as the strengths of the members of a sum. For
    one strength per penalty the searching estimators (``MultiTaskRegressorCV`` and so on) are
    faster and need nothing else. Every trial is cross-validated; with `prune` it is given up
    after a fold at which it is below the median of the trials before.

    Parameters
    ----------
    estimator : estimator
        Of this package, such as ``MultiTaskRegressor(toward_mean(1.0) + L2(1.0))``.
    space : mapping of str to Between or list
        By names of parameters as in ``set_params``, such as ``"penalty__p0__alpha"``: a range,
        or a list of values of any kind.
    X, y, task, sample_weight
        As in ``fit``.
    cv : int, splitter, or list of (train, test), default=5
        An integer splits the rows within every task, by class for classes.
    n_trials : int, default=50
        Trials in all, those of earlier runs with the same storage included.
    seconds : float or None, default=None
        No trial begins later than this after the start, but for the first.
    storage : str or None, default=None
        A file, or the URL of a data base, that keeps finished trials: the same call continues
        from there, with the same result as if nothing had happened. One run at a time writes
        to a file.
    prune : bool, default=True
        Whether hopeless trials are given up before their last fold.
    scoring : callable or None, default=None
        ``(fitted estimator, TaskData) -> float``, greater is better. None: ``estimator.score``.
    random_state : int, default=0
        Seed of the trials and of the splits of an integer `cv`.

    Returns
    -------
    Tuned

    Raises
    ------
    IncompatibleError
        If Optuna is not installed, or the storage holds another search.
    DataError
        If no trial has a score, or the file of `storage` cannot be written or is in use.

    References
    ----------
    T. Akiba, S. Sano, T. Yanase, T. Ohta and M. Koyama, "Optuna: a next-generation
    hyperparameter optimization framework", KDD 2019. J. Bergstra, R. Bardenet, Y. Bengio and
    B. Kégl, "Algorithms for hyper-parameter optimization", NIPS 2011 (the sampler).
    """
    optuna = load_optuna()
    positive_integer(n_trials, "n_trials", "tune")
    if seconds is not None:
        positive(seconds, "seconds", "tune")
    _check_kinds(estimator, random_state)
    raw = training_data(X, y, task, sample_weight, estimator.task_column, "tune")
    if is_whole(cv):
        cv = WithinTasks(
            int(cv), stratify=is_classifier(estimator) or None, random_state=random_state
        )
    # The rows know their tasks by now.
    plain = clone(estimator).set_params(task_column=None)
    _check_ends(plain, space)
    splits = given_splits(cv, raw, "tune")
    search = _TrialSearch(optuna, plain, dict(space), raw, splits, scoring, random_state)
    began = time.monotonic()
    with stored(optuna, storage) as place:
        study = search.study(place, storage, prune)
        while search.finished(study) < n_trials:
            search.run(study, prune)
            if seconds is not None and time.monotonic() - began >= seconds:
                break
        params, score = search.best(study)
        trials = search.trials(study)
    fitted = clone(estimator).set_params(**params)
    fitted.fit(X, y, task=task, sample_weight=sample_weight)
    return Tuned(fitted, params, score, trials, dict(space))


def _check_kinds(estimator: object, random_state: object) -> None:
    if not isinstance(estimator, MultiTaskEstimator):
        allowed = LazyMessage("allowed.own_estimator")
        raise ParameterError(sentence("estimator", "tune", allowed, repr(estimator)))
    if not is_whole(random_state) or int(random_state) < 0:
        # Trials that go on another day must draw as the first would have done.
        raise ParameterError(sentence("random_state", "tune", SEED, repr(random_state)))


def _check_ends(estimator: Any, space: Mapping[str, Between | Sequence[Any]]) -> None:  # noqa: ANN401
    """Refuse a range whose ends, or a list whose values, are impossible, before any trial."""
    known = estimator.get_params(deep=True)
    for name, given in space.items():
        for value in _ends(given) if name in known else ():
            try:
                clone(estimator).set_params(**{name: value})
            except PolytaskError as error:
                fields = {"value": repr(value), "name": name, "reason": message_of(error)}
                raise ParameterError(LazyMessage("selection.refusal.space", fields)) from error


def _ends(given: Between | Sequence[Any]) -> Sequence[Any]:
    """Return the ends of a range, or the values of a list."""
    if not isinstance(given, Between):
        return given if isinstance(given, list | tuple) else ()
    return (int(given.low), int(given.high)) if given.integer else (given.low, given.high)


def load_optuna() -> ModuleType:
    """Return Optuna."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise IncompatibleError(LazyMessage("selection.refusal.no_optuna")) from None
    found: ModuleType = optuna
    return found


def distribution_of(optuna: Any, given: Between | Sequence[Any]) -> Any:  # noqa: ANN401
    """Return what Optuna draws from: a range, or the positions in a list."""
    kinds = optuna.distributions
    if not isinstance(given, Between):
        if not isinstance(given, list | tuple) or not given:
            allowed = LazyMessage("allowed.searched")
            raise ParameterError(sentence("space", "tune", allowed, repr(given)))
        return kinds.CategoricalDistribution(tuple(range(len(given))))
    if given.integer:
        return kinds.IntDistribution(int(given.low), int(given.high), log=given.log)
    return kinds.FloatDistribution(given.low, given.high, log=given.log)


@dataclass(frozen=True, eq=False)
class _TrialSearch:
    optuna: Any
    estimator: Any
    space: dict[str, Any]
    raw: TaskData
    splits: list[tuple[Index, Index]]
    scoring: Scorer | None
    seed: int

    def study(self, place: Any, storage: str | None, prune: bool) -> Any:  # noqa: ANN401
        """Open the study; trials that a killed run left unfinished are not counted."""
        trial = self.optuna.trial.TrialState
        pruner = self.optuna.pruners.MedianPruner() if prune else self.optuna.pruners.NopPruner()
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        study = self.optuna.create_study(
            storage=place,
            study_name=_STUDY,
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        self._check_same(study, storage, prune)
        for left in study.get_trials(deepcopy=False, states=(trial.RUNNING, trial.WAITING)):
            study.tell(left.number, state=trial.FAIL)
        return study

    def _check_same(self, study: Any, storage: str | None, prune: bool) -> None:  # noqa: ANN401
        data, _ = encode_training(self.raw)
        parts = [
            fingerprint(self.estimator),
            fingerprint(self.space),
            checksum(data),
            str(self.seed),
        ]
        # What tells a scoring function apart in another process too.
        scoring = f"{getattr(self.scoring, '__module__', '')} {fingerprint(self.scoring)}"
        parts += [digest_of(self.splits), scoring, f"prune={prune}"]
        settings = "; ".join(parts)
        known = study.user_attrs.get(_SETTINGS)
        if known is None:
            study.set_user_attr(_SETTINGS, settings)
        elif known != settings:
            fields = {"storage": repr(storage)}
            raise IncompatibleError(LazyMessage("selection.refusal.other_search", fields))

    def finished(self, study: Any) -> int:  # noqa: ANN401
        """Return the number of trials that ended."""
        return len(self._ended(study))

    def _ended(self, study: Any) -> list[Any]:  # noqa: ANN401
        states = self.optuna.trial.TrialState
        return list(study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))

    def run(self, study: Any, prune: bool) -> None:  # noqa: ANN401
        """Try one set of parameters."""
        # A sampler of its own for every trial: what is drawn does not depend on interruptions.
        study.sampler = self.optuna.samplers.TPESampler(seed=self.seed + self.finished(study))
        kinds = {name: distribution_of(self.optuna, v) for name, v in self.space.items()}
        trial = study.ask(kinds)
        params = self._values(trial.params)
        scores: list[float] = []
        for k, (train, test) in enumerate(self.splits):
            seen = seen_tasks_only(self.raw.rows(train))
            model = clone(self.estimator).set_params(**params).fit(seen)
            scores.append(self._score(model, seen_tasks_only(self.raw.rows(test))))
            add_fits(1)
            trial.set_user_attr("scores", scores)
            trial.report(float(np.mean(scores)), k)
            if prune and k + 1 < len(self.splits) and trial.should_prune():
                study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
                return
        score = float(np.mean(scores))
        # A score that is not defined is no answer; the trial counts as the worst.
        study.tell(trial, score if np.isfinite(score) else -np.finfo(float).max)

    def _score(self, model: Any, held: TaskData) -> float:  # noqa: ANN401
        return float(model.score(held) if self.scoring is None else self.scoring(model, held))

    def _values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return what positions in lists stand for."""
        given = self.space
        return {
            name: value if isinstance(given[name], Between) else given[name][value]
            for name, value in drawn.items()
        }

    def best(self, study: Any) -> tuple[dict[str, Any], float]:  # noqa: ANN401
        """Return the best parameters and their score."""
        complete = self.optuna.trial.TrialState.COMPLETE
        done = study.get_trials(deepcopy=False, states=(complete,))
        if not done or max(t.value for t in done) <= -np.finfo(float).max:
            raise DataError(LazyMessage("selection.refusal.no_trial"))
        best = max(done, key=lambda t: (t.value, -t.number))
        return self._values(best.params), float(best.value)

    def trials(self, study: Any) -> tuple[Trial, ...]:  # noqa: ANN401
        """Return all trials that ended."""
        complete = self.optuna.trial.TrialState.COMPLETE
        return tuple(
            Trial(
                self._values(trial.params),
                tuple(trial.user_attrs["scores"]),
                trial.state != complete,
            )
            for trial in self._ended(study)
        )


# Long enough for a run that is just ending, short enough to be told at once.
_PATIENCE = 0.5


class _Held:
    """The lock that Optuna asks for: this run has the file for itself from first to last."""

    # Optuna's own is a file, which a killed run leaves behind and the next one waits for.

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


@contextmanager
def stored(optuna: Any, storage: str | None) -> Iterator[Any]:  # noqa: ANN401 - a module
    """Open the storage of a search: a file of Optuna's journal, or what a URL names."""
    if storage is None or "://" in storage:
        yield storage
        return
    from filelock import FileLock, Timeout

    folder = os.path.dirname(os.path.abspath(storage))
    if not os.path.isdir(folder):
        raise _cannot_write(storage, LazyMessage("journal.refusal.no_folder", {"folder": folder}))
    lock = FileLock(f"{storage}.lock", timeout=_PATIENCE)
    with ExitStack() as held:
        try:
            held.enter_context(lock)
            place = _opened(optuna, Path(storage))
        except Timeout as error:
            raise _cannot_write(storage, LazyMessage("selection.refusal.storage_busy")) from error
        except OSError as error:
            raise _cannot_write(storage, str(error.strerror or error)) from error
        except (ValueError, KeyError, TypeError) as error:
            fields = {"storage": str(storage)}
            raise DataError(LazyMessage("selection.refusal.no_trials_within", fields)) from error
        try:
            yield place
        finally:
            with suppress(OSError):  # Windows keeps the file while it is locked
                os.unlink(lock.lock_file)


def _opened(optuna: Any, path: Path) -> Any:  # noqa: ANN401 - a storage of Optuna
    if path.exists():
        content = path.read_bytes()
        first, end, _ = content.partition(b"\n")
        if end:  # a file of something else is refused before a byte of it is changed
            json.loads(first)["op_code"]
        # Optuna would go on in a last line that a killed run left without its end.
        os.truncate(path, content.rfind(b"\n") + 1)
    backend = optuna.storages.journal.JournalFileBackend(os.fspath(path), _Held())
    return optuna.storages.JournalStorage(backend)


def _cannot_write(storage: str, reason: Text) -> DataError:
    fields = {"owner": "tune", "path": storage, "reason": reason}
    return DataError(LazyMessage("journal.refusal.write", fields))
