"""The model card: which data, which settings, which versions, what came out."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

from polytask._estimator.training_summary import TrainingSummary
from polytask._linalg import is_sparse
from polytask._registry import State, fields_of, saveable
from polytask.data import Form, TaskData
from polytask.io.atomic import write_whole
from polytask.io.model_file import versions
from polytask.messages import Translator

_CHUNK = 1 << 22
# The level of intervals whose coverage the card has.
_LEVEL = 0.9
_CHOSEN = (
    "alpha_",
    "best_penalty_",
    "task_weight_",
    "intercept_strength_",
    "structure_",
    "log_marginal_likelihood_",
)
# Settings and choices whose names say little.
_WORDED = {*_CHOSEN, "structure", "mean_prior", "varying"}


@saveable("estimator.data_card")
@dataclass(frozen=True)
class DataCard:
    """What a model was fitted on."""

    n_rows: int
    n_features: int
    form: str
    tasks: tuple[Hashable, ...]
    rows_per_task: tuple[int, ...]
    checksum: str
    versions: Mapping[str, str]
    # Of the encoded features, shape (n_features,): what contributions are counted from. Models of
    # earlier versions, and those of features that are no numbers, have none.
    means: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    # How the columns are distributed in every task, which `monitor` compares new rows with.
    training: TrainingSummary | None = field(default=None, compare=False, repr=False)

    def to_state(self) -> State:
        """Return the fields."""
        return fields_of(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild a card; those of the first models had a SHA-256."""
        if "sha256" in state:
            rest = {name: value for name, value in state.items() if name != "sha256"}
            return cls(**rest, checksum=f"sha256:{state['sha256']}")
        return cls(**state)


@dataclass(frozen=True)
class Card:
    """A model card."""

    model: str
    content: Mapping[str, Any]

    @property
    def json(self) -> str:
        """The card as JSON text."""
        document = {"model": self.model, **self.content}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @property
    def markdown(self) -> str:
        """The card as Markdown text."""
        tables = dict(self.content)
        tasks, limits = tables.pop("tasks"), tables.pop("limits")
        say = Translator()
        learned = "structure_" in tables["chosen"]
        own = tables["settings"].get("task_effect") == "intercept"
        name = {"kind": self.model, "name": "pooled + intercepts" if own else "learned prior"}
        parts = [f"# {say('model_card.title', name) if learned or own else self.model}\n"]
        for title, rows in tables.items():
            named = {
                f"{say(f'model_card.{key}')} ({key})" if key in _WORDED else key: value
                for key, value in rows.items()
            }
            lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in named.items()]
            head = f"## {title.capitalize()}\n\n|  |  |\n|---|---|\n"
            parts += [head + "\n".join(lines) + "\n"] if lines else []
            # What is known of the model comes before how it was made.
            if title == "held out":
                parts.append("## Limits\n\n" + "".join(f"- {_cell(one)}\n" for one in limits))
        columns = [name for name in ("rows", *_BY_TASK) if any(name in task for task in tasks)]
        head = f"## Tasks\n\n| task | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}\n"
        lines = [
            "| " + " | ".join(_cell(task.get(name, "")) for name in ("task", *columns)) + " |"
            for task in tasks
        ]
        parts.append(head + "\n".join(lines) + "\n")
        return "\n".join(parts)

    def write(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the card as Markdown and as JSON, next to each other."""
        stem = Path(path)
        stem = stem.with_suffix("") if stem.suffix in (".md", ".json") else stem
        files = stem.with_name(stem.name + ".md"), stem.with_name(stem.name + ".json")
        for file, text in zip(files, (self.markdown, self.json), strict=True):
            write_whole(file, text.encode("utf-8", "backslashreplace"))
        return files


def describe_data(data: TaskData) -> DataCard:
    """Describe encoded training data."""
    return DataCard(
        n_rows=data.n_rows,
        n_features=data.n_features,
        form=data.form.value,
        tasks=data.tasks,
        rows_per_task=tuple(int(n) for n in data.task_rows()),
        checksum=checksum(data),
        versions=versions(),
        means=_means(data),
    )


def _means(data: TaskData) -> NDArray[np.float64] | None:
    """Return the weighted means of the features over the rows of tasks that have them."""
    X: Any = data.X
    if not is_sparse(X) and (X.ndim != 2 or X.dtype.kind not in "biuf"):
        return None
    weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    weight = weight.astype(X.dtype if X.dtype.kind == "f" else float, copy=False)
    if data.form is Form.TARGETS or data.present is None:
        parts, exists = [slice(None)], np.ones((1, data.n_features))
    else:
        parts = [data.task_slice(t) for t in range(data.n_tasks)]
        exists = np.asarray(data.present, dtype=float)
    with np.errstate(all="ignore"):
        sums = np.stack([np.asarray(X[part].T @ weight[part], dtype=float) for part in parts])
        counts = exists.T @ np.array([float(weight[part].sum()) for part in parts])
        return np.asarray((exists * sums).sum(axis=0) / np.where(counts > 0, counts, 1.0))


def make_card(model: Any, tested: TestedRows | None = None) -> Card:  # noqa: ANN401 - an estimator
    """Collect the card of a fitted estimator, with how it does on rows that it was tested on."""
    data: DataCard = model.data_card_
    params = model.get_params(deep=False)
    held, covered = _held_out(model)
    dates = [*model._schema.dates]
    if dates and "date_features" in params:
        # The command line makes features of dates before `fit`.
        params["date_features"] = True
    scores = _scores(model, tested)
    content = {
        "intended use": _intended_use(model),
        "data": {
            "rows": data.n_rows,
            "columns to learn from": len(model._schema.columns) or data.n_features,
            "features after encoding": data.n_features,
            "tasks": len(data.tasks),
            "form": data.form,
            "checksum": data.checksum,
            **({"dates made into features": ", ".join(map(str, dates))} if dates else {}),
        },
        "scores": scores,
        "held out": held,
        "limits": _limits(model, data, bool(scores), bool(held)),
        "settings": {name: _plain(value) for name, value in params.items()},
        "seed": {"random_state": _plain(params["random_state"])}
        if "random_state" in params
        else {},
        "chosen": {name: _plain(getattr(model, name)) for name in _CHOSEN if hasattr(model, name)},
        "result": _result(getattr(model, "solution_", None)),
        "versions": dict(data.versions),
        "tasks": [
            {"task": _plain(task), "rows": rows}
            | ({} if tested is None else tested.of_task(task))
            | ({"coverage": covered[task]} if task in covered else {})
            for task, rows in zip(data.tasks, data.rows_per_task, strict=True)
        ],
    }
    return Card(type(model).__name__, content)


def _held_out(model: Any) -> tuple[dict[str, Any], dict[Hashable, float]]:  # noqa: ANN401
    """Return which share of held-out rows intervals or sets hold, of all tasks and of each."""
    held = model._interval_errors()
    if held is None or not len(held.errors):
        return {}, {}
    shares, rows = held.coverage(_LEVEL)
    known = rows > 0
    mean = float(np.average(shares[known], weights=rows[known]))
    total = {"rows": round(float(rows.sum())), f"coverage at {_LEVEL:.0%}": round(mean, 4)}
    pairs = zip(model._schema.index.labels, shares.tolist(), strict=True)
    return total, {task: round(share, 4) for task, share in pairs if not np.isnan(share)}


@dataclass(frozen=True)
class TestedRows:
    """How a model does on rows that it was not fitted on: its score, and its errors by task."""

    # NaN for an interval that is not known; by_task has the rows, error, low and high of a task.
    score: float
    low: float
    high: float
    rows: int
    by_task: Mapping[Hashable, tuple[int, float, float, float]]

    def of_task(self, task: Hashable) -> dict[str, Any]:
        """Return what the card says of a task."""
        if task not in self.by_task:
            return {}
        rows, error, low, high = self.by_task[task]
        ends = {"95% interval": f"{low:.4g} to {high:.4g}"} if np.isfinite(low) else {}
        return {"test rows": rows, "test error": f"{error:.4g}", **ends}


# What is said of single tasks beside their rows.
_BY_TASK = ("test rows", "test error", "95% interval", "coverage")
# Tasks of fewer rows are predicted mostly by what they share with others.
_FEW_ROWS = 20


def _intended_use(model: Any) -> dict[str, Any]:  # noqa: ANN401
    """Say what the model predicts, from what and for whom."""
    schema, say = model._schema, Translator()
    n = len(schema.index.labels)
    held = getattr(model, "classes_", None)
    kind = "numbers" if held is None else "classes"
    columns = [*(schema.columns or map(str, model.coef_feature_names_))]
    shown = ", ".join(columns[:_FEW_ROWS]) + (", ..." if len(columns) > _FEW_ROWS else "")
    if schema.form is Form.TARGETS:
        predicts = say(f"model_card.use.{kind}.targets", {"n": n})
        return {"predicts": predicts, "from the columns": shown}
    return {
        "predicts": say(f"model_card.use.{kind}.rows", {"n": n}),
        "from the columns": shown,
        "unknown tasks": say(f"model_card.use.unseen.{model.unseen_tasks}"),
    }


def _scores(model: Any, tested: TestedRows | None) -> dict[str, Any]:  # noqa: ANN401
    """Return scores of rows that the model was not fitted on, with 95% intervals where known."""
    found: dict[str, Any] = {}
    if tested is not None:
        away = f" ({tested.low:.4g} to {tested.high:.4g})" if np.isfinite(tested.low) else ""
        found["on test rows"] = f"{tested.score:.4g}{away}"
        found["test rows"] = tested.rows
    known = getattr(model, "held_out_score_", None)
    if known is not None and np.isfinite(known):
        half = 1.96 * float(getattr(model, "held_out_error_", np.nan))
        ends = f" ({known - half:.4g} to {known + half:.4g})" if np.isfinite(half) else ""
        found["on the rows that its folds held out"] = f"{known:.4g}{ends}"
    elif isinstance(getattr(model, "score_", None), float):
        found["on the rows that its folds held out"] = f"{model.score_:.4g}"
    measure = "accuracy" if is_classifier(model) else "d2"
    return found and {"measure": Translator()(f"model_card.measure.{measure}"), **found}


def _limits(
    model: Any,  # noqa: ANN401
    data: DataCard,
    scored: bool,
    covered: bool,
) -> list[str]:
    """Say what the model cannot be relied on for."""
    say, rows = Translator(), data.rows_per_task
    few = sum(n < _FEW_ROWS for n in rows)
    fields = {"n": len(rows), "few": few, "rows": _FEW_ROWS, "least": min(rows, default=0)}
    keys = ["few"] if few else []
    keys += [] if scored else ["no_score"]
    keys += [] if covered else ["no_coverage"]
    if model._schema.form is not Form.TARGETS:
        keys.append(f"unseen_{model.unseen_tasks}")
    keys += ["beyond", "cause"]
    keys += ["values"] if data.training is not None and data.training.cuts is not None else []
    return [say(f"model_card.limit.{key}", fields) for key in keys]


def checksum(data: TaskData) -> str:
    """Return the XXH3 of encoded data; the same values give the same digits anywhere."""
    # A checksum with the strength of a signature would take longer than many a fit.
    # Where a model is only loaded, nothing is summed.
    import xxhash

    digest = xxhash.xxh3_128(repr(data.tasks).encode("utf-8", "surrogatepass"))
    for array in _parts(data):
        digest.update(f"{array.dtype.kind}{array.shape}".encode())
        for piece in _pieces(array):
            # Positions have 4 or 8 bytes, as the platform likes.
            kind = np.int64 if piece.dtype.kind in "iu" else piece.dtype
            plain = np.ascontiguousarray(piece, dtype=kind)
            digest.update(plain.reshape(-1).view(np.uint8).data)
    return f"xxh3_128:{digest.hexdigest()}"


def added_checksum(old: str, new: str) -> str:
    """Return the checksum of data that were added to others."""
    import xxhash

    return f"xxh3_128:{xxhash.xxh3_128_hexdigest((old + new).encode())}"


def counted_card(card: DataCard, counts: Mapping[Hashable, int], n: int, own: str) -> DataCard:
    """Add the numbers of new rows, in all and of tasks, and their checksum."""
    rows = dict(zip(card.tasks, card.rows_per_task, strict=True))
    for label, count in counts.items():
        rows[label] = rows.get(label, 0) + count
    return replace(
        card,
        n_rows=card.n_rows + n,
        tasks=tuple(rows),
        rows_per_task=tuple(rows.values()),
        checksum=added_checksum(card.checksum, own),
    )


def _parts(data: TaskData) -> Iterator[NDArray[Any]]:
    if is_sparse(data.X):
        yield from (data.X.data, data.X.indices, data.X.indptr)
    else:
        yield data.X
    codes = None if data.groupings is None else data.groupings.codes
    for array in (data.offsets, data.sample_weight, data.y, codes):
        if array is None:
            continue
        if array.dtype.kind in "biuf":
            yield array
        else:
            text = "\x1f".join(repr(value) for value in array.ravel().tolist())
            yield np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield an array a few rows at a time."""
    step = max(1, _CHUNK // max(1, array.itemsize * int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _result(solution: Any) -> dict[str, Any]:  # noqa: ANN401 - a Solution or None
    if solution is None:
        return {}
    return {
        "status": solution.message,
        "objective": float(solution.objective),
        "duality gap": _plain(solution.gap),
        "residual": _plain(solution.residual),
        "iterations": int(solution.n_iter),
        "seconds": round(float(solution.seconds), 6),
    }


def _plain(value: object) -> Any:  # noqa: ANN401 - a JSON value
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    return value if value is None or isinstance(value, str | bool | int | float) else repr(value)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
