"""The separate form: a design and an outcome per task, columns aligned by name."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.data import designs, tables
from polytask.data.designs import Checked, Design
from polytask.data.forms import Fields, Form
from polytask.data.labels import factorize, warn_near_misses
from polytask.data.outcomes import check_target, refuse_all_zero, weight_values
from polytask.exceptions import DataError
from polytask.messages import LazyMessage, Text, with_and

_OWNER = "TaskData"


class _Stacked(NamedTuple):
    X: Design
    feature_names: tuple[str, ...] | None = None
    present: NDArray[np.bool_] | None = None


def separate_fields(data: object, y: object, sample_weight: object) -> Fields:
    """Put the tasks below each other, in the order of their labels."""
    given = _mapping(data, LazyMessage("what.data"))
    tasks, codes = factorize(list(given), LazyMessage("what.tasks"), _OWNER)
    warn_near_misses(tasks)
    by_task = np.argsort(codes)  # the position in the mapping of every task
    as_listed = list(given)
    names = [as_listed[position] for position in by_task]
    pairs = [_pair(given[name], y, name) for name in names]
    for pair in pairs:
        if tables.warn_of_other_order(pair[0], y=pair[1]):
            break
    checked = [
        designs.inspect(pair[0], _owner(name)) for pair, name in zip(pairs, names, strict=True)
    ]
    sizes = np.array([part.X.shape[0] for part in checked], dtype=np.intp)
    stacked = _stack(checked, np.argsort(by_task))
    return Fields(
        X=stacked.X,
        y=_outcomes([pair[1] for pair in pairs], sizes, names),
        tasks=tasks,
        offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.intp),
        sample_weight=_weights(sample_weight, sizes, names),
        form=Form.SEPARATE,
        order=_input_rows(by_task, sizes),
        feature_names=stacked.feature_names,
        present=stacked.present,
    )


def _owner(name: Hashable) -> LazyMessage:
    return LazyMessage("what.task", {"task": repr(name)})


def _mapping(data: object, what: Text) -> Mapping[Hashable, Any]:
    if not isinstance(data, Mapping):
        got: Any = type(data).__name__
        raise DataError(sentence(what, _OWNER, LazyMessage("allowed.mapping_of_tasks"), got))
    if not data:
        got = LazyMessage("got.empty_mapping")
        raise DataError(sentence(what, _OWNER, LazyMessage("allowed.mapping_of_tasks"), got))
    return data


def _pair(value: object, y: object, name: Hashable) -> tuple[object, object]:
    """Return design and outcome of one task."""
    if y is not None:
        if not tables.is_table(value) or not isinstance(y, str):
            got = LazyMessage("got.value_with_y", {"kind": type(value).__name__, "y": repr(y)})
            allowed = LazyMessage("allowed.frame_or_pair")
            raise DataError(sentence(LazyMessage("what.data"), _owner(name), allowed, got))
        return tables.drop_columns(value, [y]), tables.get_column(value, y)
    if not isinstance(value, tuple):
        return value, None
    if len(value) != 2:
        got = LazyMessage("got.tuple_of", {"n": len(value)})
        raise DataError(
            sentence(LazyMessage("what.data"), _owner(name), LazyMessage("allowed.pair"), got)
        )
    return value[0], value[1]


def _outcomes(
    outcomes: Sequence[object], sizes: NDArray[np.intp], names: Sequence[Hashable]
) -> NDArray[Any] | None:
    given = [outcome is not None for outcome in outcomes]
    if not any(given):
        return None
    if not all(given):
        without = [name for name, has in zip(names, given, strict=True) if not has]
        raise DataError(
            sentence("y", _owner(without[0]), LazyMessage("allowed.given_as_others"), "None")
        )
    values = [
        check_target(outcome, int(n), owner=_owner(name))
        for outcome, n, name in zip(outcomes, sizes, names, strict=True)
    ]
    # Text beside numbers would turn the numbers into text.
    text = {part.dtype.kind in "OUS" for part in values}
    return np.concatenate([part.astype(object) for part in values] if len(text) > 1 else values)


def _weights(
    sample_weight: object, sizes: NDArray[np.intp], names: Sequence[Hashable]
) -> NDArray[np.float64] | None:
    if sample_weight is None:
        return None
    given = _mapping(sample_weight, "sample_weight")
    lacking = [name for name in names if name not in given]
    known = set(names)
    extra = [name for name in given if name not in known]
    if lacking or extra:
        got = (
            LazyMessage("got.none_for", {"lacking": lacking[:5]})
            if lacking
            else LazyMessage("got.some_for", {"extra": extra[:5]})
        )
        raise DataError(
            sentence("sample_weight", _OWNER, LazyMessage("allowed.exactly_tasks"), got)
        )
    weights = np.concatenate(
        [
            weight_values(given[name], int(n), _owner(name))
            for name, n in zip(names, sizes, strict=True)
        ]
    )
    refuse_all_zero(weights, _OWNER)
    return weights


def _input_rows(by_task: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for every row its number in the input, tasks as the mapping lists them."""
    as_given = np.empty_like(sizes)
    as_given[by_task] = sizes
    starts = (np.cumsum(as_given) - as_given)[by_task]
    shift = starts - (np.cumsum(sizes) - sizes)
    rows: NDArray[np.intp] = np.arange(sizes.sum(), dtype=np.intp) + np.repeat(shift, sizes)
    return rows


def _stack(checked: Sequence[Checked], as_given: NDArray[np.intp]) -> _Stacked:
    kinds = {
        "data frame" if tables.is_table(part.X)
        else "sparse matrix" if sp.issparse(part.X) else "array"
        for part in checked
    }  # fmt: skip
    if len(kinds) > 1:
        got: Any = with_and([LazyMessage(f"design.{kind}") for kind in sorted(kinds)])
        raise DataError(
            sentence(
                LazyMessage("what.designs"),
                LazyMessage("what.tasks"),
                LazyMessage("allowed.one_kind"),
                got,
            )
        )
    if kinds == {"data frame"}:
        return _stack_tables([part.X for part in checked], as_given)
    widths = sorted({part.X.shape[1] for part in checked})
    if len(widths) > 1:
        got = LazyMessage("got.widths", {"widths": widths})
        raise DataError(
            sentence(
                LazyMessage("what.arrays"),
                LazyMessage("what.tasks"),
                LazyMessage("allowed.same_width"),
                got,
            )
        )
    if kinds == {"sparse matrix"}:
        sparse = [designs.arrange(part) for part in checked]
        whole = sparse[0] if len(sparse) == 1 else sp.csr_array(sp.vstack(sparse, format="csr"))
        return _Stacked(whole)
    return _Stacked(_stack_arrays(checked, widths[0]))


def _stack_arrays(checked: Sequence[Checked], width: int) -> Design:
    if len(checked) == 1:
        return designs.arrange(checked[0])
    n = sum(len(part.X) for part in checked)
    stacked = np.empty((n, width), dtype=np.result_type(*[part.dtype for part in checked]))
    start = 0
    for part in checked:
        stop = start + len(part.X)
        stacked[start:stop] = part.X
        start = stop
    return stacked


def _stack_tables(parts: Sequence[Any], as_given: NDArray[np.intp]) -> _Stacked:
    if not tables.same_kind(parts):
        libraries = {type(part).__module__.split(".")[0] for part in parts}
        got: Any = with_and(sorted(libraries))
        raise DataError(
            sentence(
                LazyMessage("what.frames"),
                LazyMessage("what.tasks"),
                LazyMessage("allowed.one_library"),
                got,
            )
        )
    columns = [dict.fromkeys(tables.column_names(part)) for part in parts]
    union = tuple(dict.fromkeys(name for t in as_given for name in columns[t]))
    stacked = tables.stack(parts)
    if tables.column_names(stacked) != union:
        stacked = tables.select(stacked, union)
    present = np.array([[name in held for name in union] for held in columns])
    if len(parts) > 1 and int(present.sum(axis=0).max()) < 2:
        got = LazyMessage("got.no_shared_column", {"names": [repr(name) for name in union[:5]]})
        raise DataError(
            sentence(
                LazyMessage("what.frames"),
                LazyMessage("what.tasks"),
                LazyMessage("allowed.shared_column"),
                got,
            )
        )
    return _Stacked(stacked, tables.feature_names(stacked), None if present.all() else present)
