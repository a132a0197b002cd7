"""Networks fitted to a table that is read in parts: the same model, and bounded memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

import polytask  # noqa: E402
import polytask.deep.streaming as streaming  # noqa: E402
from polytask import DataError, DataWarning, IncompatibleError, ParameterError  # noqa: E402
from polytask.data import TableEncoder, WithinTasks  # noqa: E402
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskClassifier,
    DeepMultiTaskModel,
    DeepMultiTaskRegressor,
    balancing,
)
from polytask.deep.network import Network  # noqa: E402
from polytask.deep.streaming import HeldOutRows, RowBuffer  # noqa: E402
from polytask.penalties import L21  # noqa: E402

N = 240
QUICK = {"trunk": MLP((8,)), "max_epochs": 3, "random_state": 0, "batch_size": 16}
TARGETS = ["y", "kind", "count", "weight"]


@pytest.fixture(scope="module")
def table():
    """Rows in no order, of tasks of unlike size, with missing cells and a category."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(rng.normal(size=(N, 3)) + np.array([0, 5, 0]), columns=["a", "b", "c"])
    made.loc[::7, "a"] = np.nan
    made["colour"] = rng.choice(["red", "blue", "green"], N)
    made["school"] = rng.choice(["s", "t", "u"], N, p=[0.5, 0.4, 0.1])
    made["y"] = np.abs(made["b"]) + made["c"] + (made["school"] == "t")
    made["kind"] = rng.choice(["no", "yes", "perhaps"], N)
    made["count"] = rng.poisson(20, N)
    made["weight"] = rng.integers(0, 4, N).astype(float)
    return made


def parts(table, size=50):
    return [table[start : start + size] for start in range(0, len(table), size)]


def others(*used):
    return [name for name in TARGETS if name not in used]


def features(table):
    return table.drop(columns=TARGETS)


def held_rows(model, labels):
    """Return the rows that a fit to parts holds out; `labels` name a task, and a class of it."""
    seed = int(np.random.RandomState(model.random_state).randint(2**31 - 1))
    kept = pd.DataFrame(labels).drop_duplicates().index.to_numpy()
    given = polytask.TaskData.from_long(np.zeros((N, 1)), np.zeros(N))
    return np.flatnonzero(HeldOutRows(0.1, seed, kept).mask(given))


def assert_same_fit(one, other, rtol=0.0):
    for name, value in one._tasks.weights.items():
        assert_allclose(value, other._tasks.weights[name], rtol=rtol, atol=rtol, err_msg=name)
    assert_allclose(one.history_.training, other.history_.training, rtol=rtol)
    assert_allclose(one._tasks.counts, other._tasks.counts)
    assert_array_equal(one.tasks_, other.tasks_)
    assert_array_equal(one.feature_names_in_, other.feature_names_in_)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", ["y", "kind", "count"])
def test_with_all_rows_in_the_buffer_it_is_the_model_of_fit(
    table, tmp_path, target, early_stopping
):
    made = DeepMultiTaskClassifier if target == "kind" else DeepMultiTaskRegressor
    settings = {**QUICK, "early_stopping": early_stopping, "device": "cpu"}
    settings |= {"loss": "poisson", "precision": "float64"} if target == "count" else {}
    table.to_parquet(tmp_path / "rows.parquet")
    read = made(**settings).fit_parts(
        tmp_path / "rows.parquet", target, task_column="school", drop=others(target)
    )
    if early_stopping:
        held = held_rows(read, table[["school", "kind"] if target == "kind" else ["school"]])
        assert 0.05 * N < len(held) < 0.15 * N
        settings["validation"] = [(np.setdiff1d(np.arange(N), held), held)]
    whole = made(task_column="school", **settings).fit(features(table), table[target])
    # Means of counts are summed in another order.
    assert_same_fit(read, whole, rtol=1e-12 if target == "count" else 0.0)
    assert read.data_card_ == whole.data_card_
    assert read.solution_.objective == pytest.approx(whole.solution_.objective, rel=1e-12)
    assert_array_equal(read.predict(features(table)), whole.predict(features(table)))
    score = whole.score(features(table), table[target])
    assert read.score(features(table), table[target]) == pytest.approx(score, rel=1e-12)
    if early_stopping:
        assert_array_equal(read.history_.held_out, whole.history_.held_out)


@pytest.mark.parametrize("class_weight", ["balanced", {"yes": 3.0}])
def test_classes_are_weighed_as_in_memory(table, class_weight):
    settings = {**QUICK, "class_weight": class_weight, "early_stopping": False}
    settings |= {"precision": "float64"}
    complete = table.fillna({"a": 0.0})
    read = DeepMultiTaskClassifier(**settings).fit_parts(
        parts(complete), "kind", task_column="school", sample_weight="weight",
        drop=["y", "count"],
    )  # fmt: skip
    whole = DeepMultiTaskClassifier(task_column="school", **settings).fit(
        features(complete), table["kind"], sample_weight=table["weight"]
    )
    assert_same_fit(read, whole, rtol=1e-9)


def test_several_targets_of_which_labels_lack_in_whole_parts(table):
    complete = table.fillna({"a": 0.0})
    complete["count"] = complete["count"].astype(float)
    complete.loc[:49, "y"] = np.nan
    complete.loc[60:70, ["y", "count"]] = np.nan
    settings = {**QUICK, "early_stopping": False, "precision": "float64"}
    read = DeepMultiTaskRegressor(**settings).fit_parts(
        parts(complete), ["y", "count"], drop=["kind", "weight", "school"]
    )
    X = features(complete).drop(columns="school")
    whole = DeepMultiTaskRegressor(**settings).fit(X, complete[["y", "count"]])
    assert_same_fit(read, whole, rtol=1e-9)
    assert read.data_card_.rows_per_task == whole.data_card_.rows_per_task


def test_classes_of_several_targets_and_tasks_with_losses_of_their_own(table):
    complete = table.fillna({"a": 0.0})
    complete.loc[:49, "kind"] = None
    X = features(complete).drop(columns="school")
    complete["odd"] = complete["count"] % 2
    settings = {**QUICK, "early_stopping": False, "precision": "float64"}
    for made, names in (
        (DeepMultiTaskClassifier, ["kind", "odd"]),
        (DeepMultiTaskModel, ["kind", "y"]),
    ):
        read = made(**settings).fit_parts(parts(complete[[*X.columns, *names]]), names)
        whole = made(**settings).fit(X, complete[names])
        assert_same_fit(read, whole, rtol=1e-9)
        for one, other in zip(read.classes_, whole.classes_, strict=True):
            assert_array_equal(one, other)
        score = whole.score(X, complete[names])
        assert read.score(X, complete[names]) == pytest.approx(score, rel=1e-9)


def test_no_more_rows_than_the_buffer_has_places_are_held(table, monkeypatch):
    held, seen = [], []
    put = RowBuffer.put

    def watched(buffer, chunk, start):
        stop = put(buffer, chunk, start)
        held.append(len(buffer.taken))
        assert len(buffer.taken) + len(buffer.free) == 60 == len(buffer.rows.y)
        assert not set(buffer.taken) & set(buffer.free)
        return stop

    monkeypatch.setattr(RowBuffer, "put", watched)
    model = DeepMultiTaskRegressor(**{**QUICK, "early_stopping": False, "scale_targets": None})
    sums = Network.sums

    def noted(network, batch):
        seen.append(batch.y.tolist())
        return sums(network, batch)

    monkeypatch.setattr(Network, "sums", noted)
    model.fit_parts(parts(table), "y", task_column="school", drop=others("y"), buffer_rows=60)
    assert max(held) == 60
    # Three epochs, the check of the last step, and the objective of the end.
    sizes = np.array([len(batch) for batch in seen])
    epoch = int(np.flatnonzero(np.cumsum(sizes) == N)[0]) + 1
    first, second = (np.concatenate(seen[k * epoch : (k + 1) * epoch]) for k in range(2))
    expected = np.sort(table["y"].to_numpy(np.float32))
    assert_array_equal(np.sort(first.astype(np.float32)), expected)
    assert_array_equal(np.sort(second.astype(np.float32)), expected)
    assert not np.array_equal(first, second)


def test_rows_held_out_are_the_same_in_every_epoch_and_leave_no_task_behind():
    data = polytask.TaskData.from_long(np.zeros((20_000, 1)), np.zeros(20_000))
    held = HeldOutRows(0.1, 7, np.arange(30))
    chosen = held.mask(data)
    assert_array_equal(chosen, held.mask(data))
    assert not chosen[:30].any()
    # 2,000 of 20,000 on average, with a standard deviation of 42.
    assert abs(chosen.sum() - 2000) < 200
    # Neighbours, and other seeds, are independent: 200 are expected.
    assert abs((chosen[1:] & chosen[:-1]).sum() - 200) < 60
    again = HeldOutRows(0.1, 8, np.arange(30)).mask(data)
    assert abs((chosen & again).sum() - 200) < 60


def test_a_training_goes_on_from_its_checkpoint(table, tmp_path):
    given = (parts(table), "y")
    roles = {"task_column": "school", "drop": others("y"), "buffer_rows": 60}
    whole = DeepMultiTaskRegressor(**QUICK).fit_parts(*given, **roles)
    kept = {**QUICK, "checkpoint": tmp_path / "state"}
    DeepMultiTaskRegressor(**{**kept, "max_epochs": 1}).fit_parts(*given, **roles)
    assert_same_fit(DeepMultiTaskRegressor(**kept).fit_parts(*given, **roles), whole)
    with pytest.raises(DataError, match="data"):
        DeepMultiTaskRegressor(**kept).fit_parts(*given, **{**roles, "buffer_rows": 70})


def test_balancers_and_penalties_and_mixup_take_batches_as_they_come(table, tmp_path):
    model = DeepMultiTaskRegressor(
        **QUICK, balancer=balancing.DWA(), penalties={"input": L21(0.01)}, mixup=0.2
    )
    model.fit_parts(parts(table), "y", task_column="school", drop=others("y"), buffer_rows=60)
    assert np.isfinite(model.solution_.residual)
    polytask.save(model, tmp_path / "model.polytask")
    again = polytask.load(tmp_path / "model.polytask")
    assert_array_equal(again.predict(features(table)), model.predict(features(table)))


def test_quantiles_are_scaled_and_scored_by_the_means_of_those_of_the_parts(table):
    settings = {**QUICK, "loss": "quantile", "early_stopping": False}
    roles = {"task_column": "school", "drop": others("y")}
    one = DeepMultiTaskRegressor(**settings).fit_parts([table], "y", **roles)
    whole = DeepMultiTaskRegressor(task_column="school", **settings)
    whole.fit(features(table), table["y"])
    assert_same_fit(one, whole)
    assert one.score(features(table), table["y"]) == whole.score(features(table), table["y"])
    several = DeepMultiTaskRegressor(**settings).fit_parts(parts(table, 120), "y", **roles)
    assert_allclose(several._tasks.target_mean, whole._tasks.target_mean, rtol=0.1)


REFUSED = {
    "sampling": ({"task_sampling": "uniform"}, "task_sampling .* must be 'proportional'"),
    "validation": ({"validation": WithinTasks(3)}, "validation .* a number between 0 and 1"),
    "final phase": (
        {"final_phase": 5, "penalties": {"input": L21(0.1)}}, "final_phase .* must be 0 where",
    ),
    "dates": ({"date_features": True}, "date_features .* must be False"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=REFUSED)
def test_what_needs_all_rows_is_refused(table, settings, told):
    model = DeepMultiTaskRegressor(**{**QUICK, **settings})
    with pytest.raises(IncompatibleError, match=told):
        model.fit_parts(parts(table), "y", task_column="school", drop=others("y"))


def test_sources_that_cannot_be_trained_on_are_refused(table):
    model, roles = DeepMultiTaskRegressor(**QUICK), {"task_column": "school", "drop": others("y")}
    with pytest.raises(DataError, match="can be read only once, and training reads"):
        model.fit_parts(iter(parts(table)), "y", **roles)
    left = [parts(table), parts(table), parts(table)[:-1]]
    with pytest.raises(DataError, match="240 rows when it was first read and 200"):
        model.fit_parts(lambda: left.pop(0), "y", **roles)
    with pytest.raises(DataError, match="has no column 'Y'"):
        model.fit_parts(parts(table), "Y", **roles)
    with pytest.raises(ParameterError, match="takes one task for each row"):
        model.fit_parts(parts(table), "y", task_column=["school", "kind"])
    with pytest.raises(IncompatibleError, match=r"buffer_rows .* must be 32, two batches"):
        model.fit_parts(parts(table), "y", buffer_rows=31, **roles)
    with pytest.raises(DataError, match="no label"):
        model.fit_parts(parts(table.assign(y=np.nan)), ["y", "count"], drop=["kind", "weight"])
    many = table.assign(kind=np.arange(N).astype(str))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "_MOST_LABELS", 20)
        with pytest.raises(DataError, match="more than 20 different labels"):
            DeepMultiTaskClassifier(**QUICK).fit_parts(
                parts(many), "kind", task_column="school", drop=others("kind")
            )


@pytest.mark.parametrize("what", ["cell", "order"])
def test_rows_that_change_between_epochs_are_refused(table, what):
    read = []

    def source():
        read.append(1)
        rows = table
        if len(read) == 5:
            rows = table.copy()
            if what == "cell":
                rows.loc[8, "a"] += 1e-9
            else:
                rows.iloc[[3, 4]] = rows.iloc[[4, 3]].to_numpy()
        return iter(parts(rows))

    with pytest.raises(DataError, match="as many rows as when it was first read, but other ones"):
        DeepMultiTaskRegressor(**QUICK).fit_parts(
            source, "y", task_column="school", drop=others("y")
        )


def test_text_is_read_by_its_options(table, tmp_path):
    rows = table[["a", "school", "y"]].round(3)
    rows.to_csv(tmp_path / "rows.csv", sep="|", decimal=",", index=False, encoding="utf-16-le")
    model = DeepMultiTaskRegressor(**QUICK).fit_parts(
        tmp_path / "rows.csv", "y", task_column="school", sep="|", decimal=",",
        encoding="utf-16-le", missing_values=["none"],
    )  # fmt: skip
    same = DeepMultiTaskRegressor(**QUICK).fit_parts([rows], "y", task_column="school")
    assert_array_equal(model.predict(rows), same.predict(rows))


def test_partitions_of_dask_are_brought_one_after_another(table):
    dataframe = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
    whole = DeepMultiTaskRegressor(**QUICK).fit_parts(
        parts(table), "y", task_column="school", drop=others("y")
    )
    brought = []
    # An empty partition, as a filter leaves it, is no part.
    pieces = [*parts(table), table[:0]]

    def piece(k):
        brought.append(k)
        return pieces[k]

    ddf = dataframe.from_map(piece, range(len(pieces)), meta=table[:0])
    model = DeepMultiTaskRegressor(**QUICK)
    found = model.fit_parts(ddf, "y", task_column="school", drop=others("y"))
    assert_same_fit(found, whole)
    assert brought == [*range(len(pieces))] * (len(brought) // len(pieces))


def test_an_encoder_that_is_given_is_taken(table):
    with pytest.warns(DataWarning, match="3 different values"):
        encoder = TableEncoder(max_levels=2).fit(features(table).drop(columns="school"))
    model = DeepMultiTaskRegressor(**QUICK).fit_parts(
        parts(table), "y", task_column="school", drop=others("y"), encoder=encoder
    )
    assert list(model.coef_feature_names_) == list(encoder.get_feature_names_out())


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("bad", ["a", "school", "weight", "y"])
def test_a_bad_cell_is_named_by_its_row_in_the_source(table, tmp_path, bad, encoded) -> None:
    rows = table.copy()
    encoder = TableEncoder().fit(features(rows).drop(columns="school")) if encoded else None
    rows.loc[130, bad] = {"a": np.inf, "weight": -1.0, "y": np.nan}.get(bad)
    (tmp_path / "rows").mkdir()
    for name, start in {"a": 0, "b": 100, "c": 200}.items():
        rows[start : start + 100].to_parquet(tmp_path / "rows" / f"{name}.parquet")
    sources = {r"row \(?130\b": parts(rows), r"b\.parquet: .*row \(?30\b": tmp_path / "rows"}
    for expected, source in sources.items():
        with pytest.raises(DataError, match=expected):
            DeepMultiTaskRegressor(**QUICK).fit_parts(
                source, "y", task_column="school", drop=["kind", "count"], buffer_rows=40,
                sample_weight="weight", encoder=encoder,
            )  # fmt: skip
