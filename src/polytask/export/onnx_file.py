"""to_onnx: a fitted model as one graph, from cells to predictions."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.conformal import checked_level
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.export.inputs import GraphInputs, free_name
from polytask.io.model_file import versions
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from onnx import ModelProto

    from polytask.export.graphs.graph import Graph, Tensor
    from polytask.export.graphs.rows import Answer, Rows

Array = NDArray[Any]


def to_onnx(model: MultiTaskEstimator, *, interval: float | None = None) -> ModelProto:
    """Return a fitted model as one ONNX graph for all tasks, with the encoding of tables inside.

    The graph computes in double precision what ``predict`` and ``predict_proba`` return, within
    1e-5. Its inputs are the columns of the table that the model was fitted on, or ``X``, and the
    label of the task of each row; :func:`onnx_inputs` makes them of rows. Its outputs are
    ``prediction``; ``probabilities`` of classes, in the order of ``classes_``; and with
    `interval` ``lower`` and ``upper``. Those of a target matrix have a column per task; where
    tasks differ in their classes, an output per task, such as ``probabilities_click``.

    Parameters
    ----------
    model : fitted estimator
        Penalised linear models and their searches; models with a learned prior, of several
        groupings those of numbers;
        ``Pooled`` and ``SingleTask`` of linear models, forests, histogram boosting and LightGBM
        of scikit-learn's kind; mixed boosting; networks of ``MLP`` layers with hard or soft
        sharing, ``MMoE``, ``CGC`` or ``PLE``; and automatic combinations of these.
    interval : float, default=None
        Also return the bounds between which a new target lies with this probability, in (0, 1),
        as ``predict_interval`` does: of models from :func:`polytask.calibrate`, searches and
        automatic estimators, and, without ``loss`` of counts or amounts, of models with a learned
        prior. Of ``calibrate`` the graph holds the models of all folds, and its memory is rows
        times held-out errors (50,000 at most): give it batches of 100 rows.

    Returns
    -------
    onnx.ModelProto
        ``onnx.save(graph, "model.onnx")`` writes it. Its metadata name model, tasks and classes.

    Raises
    ------
    IncompatibleError
        If the model cannot be exported; the message says what can.
    ImportError
        If onnx is not installed.

    Notes
    -----
    A new level of a column of text is read as ``predict`` reads it, and so is a missing cell: NaN
    among numbers, ``""`` among text. The task of each row is a whole number or text; where
    ``predict`` refuses a task that was not seen, the graph does not run, and the error says why.
    What ``predict`` warns about or refuses in cells (infinite numbers, text among numbers) a
    graph does not look at. Needs onnxruntime 1.20 or newer, or another runtime of opset 20 and
    ai.onnx.ml 5.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskRegressor
    >>> from polytask.export import onnx_inputs, to_onnx
    >>> X, school = np.arange(6.0).reshape(6, 1), ["a", "a", "a", "b", "b", "b"]
    >>> model = MultiTaskRegressor().fit(X, X[:, 0], task=school)
    >>> graph = to_onnx(model)  # doctest: +SKIP
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(graph.SerializeToString())  # doctest: +SKIP
    >>> session.run(["prediction"], onnx_inputs(model, X, school))  # doctest: +SKIP
    """
    try:
        from polytask.export.graphs.graph import Graph
    except ImportError as error:
        raise ImportError(LazyMessage("export.refusal.no_onnx")) from error
    from polytask.export.graphs.encoding import encoded_rows
    from polytask.export.graphs.intervals import held_out_ends
    from polytask.export.graphs.models import answer, classes_of

    if not isinstance(model, MultiTaskEstimator):
        allowed = LazyMessage("allowed.some_estimator")
        raise ParameterError(sentence("model", "to_onnx", allowed, type(model).__name__))
    check_is_fitted(model)
    level = None if interval is None else checked_level(interval, "to_onnx")
    held = level is not None and model._interval_errors() is not None
    inputs, graph = GraphInputs.of(model), Graph()
    rows = encoded_rows(graph, model, inputs, classes_of(model))
    found = answer(model, rows, level is not None and not held)
    taken = inputs.names
    _write_predictions(graph, rows, found, model, taken)
    if level is not None:
        if held:
            # What `calibrate` and searches held out decides, as in predict_interval.
            low, high = held_out_ends(model, rows, found, level)
        else:
            assert found.deviation is not None
            half = found.deviation * float(ndtri(0.5 + level / 2.0))
            low, high = found.given_numbers - half, found.given_numbers + half
        for name, bound in (("lower", low), ("upper", high)):
            _write(graph, rows, free_name(name, taken), bound, np.float64)
    if found.probabilities is not None and hasattr(model, "predict_proba"):
        _write_probabilities(graph, rows, found.given_probabilities, model, taken)
    return graph.model(_facts(model, inputs))


def _facts(model: MultiTaskEstimator, inputs: GraphInputs) -> dict[str, str]:
    """Return what the file says of the model."""
    schema = inputs.schema
    facts = {
        "polytask_version": versions()["polytask"],
        "model": type(model).__name__,
        "form": schema.form.value,
        "tasks": json.dumps([str(label) for label in schema.index.labels], ensure_ascii=False),
    }
    classes: Any = getattr(model, "classes_", None)
    if classes is not None:
        parts = classes if isinstance(classes, list) else [classes]
        told = [None if own is None else [str(c) for c in own.tolist()] for own in parts]
        facts["classes"] = json.dumps(told if isinstance(classes, list) else told[0])
    return facts


def _write(graph: Graph, rows: Rows, name: str, value: Tensor, kind: type) -> None:
    """Give back one entry per row, or per row and task of a target matrix."""
    if not rows.wide:
        graph.output(name, value, kind, ["n"])
        return
    count = len(rows.tasks)
    graph.output(name, value.reshaped(-1, count), kind, ["n", count])


def _write_predictions(
    graph: Graph, rows: Rows, found: Answer, model: MultiTaskEstimator, taken: Sequence[str]
) -> None:
    """Give back numbers and labels: one output, or one per target where they are unlike."""
    name = free_name("prediction", taken)
    if found.scores is None:
        _write(graph, rows, name, found.given_numbers, np.float64)
        return
    best = found.scores.op("ArgMax", attributes={"axis": -1, "keepdims": 0})
    width = rows.width
    kinds = {_kind(own) for own in rows.classes}
    if len(kinds) == 1 or (not rows.wide and str not in kinds):
        kind = kinds.pop() if len(kinds) == 1 else np.float64
        table = np.concatenate([_padded(own, width, kind) for own in rows.classes])
        chosen = graph.constant(table).at(rows.code * np.array(width) + best)
        if None in rows.classes:
            classes = np.array([own is not None for own in rows.classes])
            chosen = rows.pick(classes).choose(chosen, found.given_numbers)
        _write(graph, rows, name, chosen, kind)
        return
    if not rows.wide:
        raise IncompatibleError(LazyMessage("export.refusal.kinds"))
    count = len(rows.tasks)
    for t, (label, own) in enumerate(zip(model._schema.index.labels, rows.classes, strict=True)):
        place, kind = np.array(t), _kind(own)
        if own is None:
            value = found.given_numbers.reshaped(-1, count).at(place, axis=1)
        else:
            at = best.reshaped(-1, count).at(place, axis=1)
            value = graph.constant(_padded(own, width, kind)).at(at)
        graph.output(free_name(f"{name}_{label}", taken), value, kind, ["n"])


def _kind(classes: tuple[Hashable, ...] | None) -> type:
    """Return the type in which the labels of a task are given back."""
    if classes is None:
        return np.float64
    for plain, kind in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if all(type(label) is plain for label in classes):
            return kind
    return str


def _padded(classes: tuple[Hashable, ...] | None, width: int, kind: type) -> Array:
    """Return the labels of a task and, for columns that are never chosen, the first again."""
    labels: list[Any] = [0.0] if classes is None else list(classes)
    labels += labels[:1] * (width - len(labels))
    texts = [str(label) for label in labels]
    return np.array(texts, dtype=object) if kind is str else np.array(labels, dtype=kind)


def _write_probabilities(
    graph: Graph, rows: Rows, values: Tensor, model: MultiTaskEstimator, taken: Sequence[str]
) -> None:
    """Give back the probabilities of all rows, or those of every target that has classes."""
    name, width, count = free_name("probabilities", taken), rows.width, len(rows.tasks)
    if not rows.wide:
        if None in rows.classes:
            classes = np.array([[own is not None] for own in rows.classes])
            values = rows.pick(classes).choose(values, np.nan)
        graph.output(name, values, np.float64, ["n", width])
        return
    for t, (label, own) in enumerate(zip(model._schema.index.labels, rows.classes, strict=True)):
        if own is not None:
            part = values.reshaped(-1, count, width).at(np.array(t), axis=1)
            part = part.at(np.arange(len(own)), axis=1)
            graph.output(free_name(f"{name}_{label}", taken), part, np.float64, ["n", len(own)])
