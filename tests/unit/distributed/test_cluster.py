"""Two processes give what one gives, also where one of them is killed."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose

from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    MultiTaskRegressorCV,
    distributed,
    load,
    save,
)
from polytask.cli import main
from polytask.statistics import collect, collect_parts

pytestmark = pytest.mark.slow
N, PARTS = 1200, 12


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[Client]:
    folder = str(tmp_path_factory.mktemp("workers"))
    with (
        # A task is given up when two workers died of it.
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            # Any free port: several workers of pytest may run a cluster each.
            dashboard_address=":0",
            local_directory=folder,
        ) as cluster,
        # Not the current one: what works elsewhere was told to.
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = pd.DataFrame(rng.normal(size=(N, 3)), columns=list("pqr"))
    found["site"] = rng.choice(["a", "b", "c"], size=N)
    found["colour"] = np.sort(rng.choice(["blue", "green", "red"], size=N))
    found["fold"] = rng.integers(3, size=N)
    found["y"] = found.p + found.q * (found.site == "a") + rng.normal(size=N)
    return found


def written(folder: Path) -> dd.DataFrame:
    rows, step = table(), N // PARTS
    for k in range(PARTS):
        rows[k * step : (k + 1) * step].to_parquet(folder / f"{k:02}.parquet")
    return dd.read_parquet(folder)


def in_memory(encoder) -> BayesianMultiTaskRegressor:
    rows = table()
    y = rows.pop("y")
    found = collect(rows, y, task_column="site", encoder=encoder)
    return BayesianMultiTaskRegressor().fit(found)


def assert_right(model: BayesianMultiTaskRegressor) -> None:
    assert model.data_card_.n_rows == N
    X, expected = table(), in_memory(model.encoder_)
    assert_allclose(model.predict(X), expected.predict(X), rtol=1e-9, atol=1e-9)


def learned_prior() -> BayesianMultiTaskRegressor:
    return BayesianMultiTaskRegressor(task_column="site")


def test_two_processes_fit_predict_and_score(client, tmp_path) -> None:
    ddf, rows = written(tmp_path), table()
    model = distributed.fit(learned_prior(), ddf, "y", client=client)
    assert_right(model)
    predicted = client.compute(distributed.predict(model, ddf)).result()
    assert_allclose(predicted, model.predict(rows), rtol=1e-12)
    score = client.compute(distributed.score(model, ddf, "y")).result()
    assert score == pytest.approx(model.score(rows, rows["y"]), rel=1e-12)
    search = distributed.fit(
        MultiTaskRegressorCV(task_column="site"), ddf, "y", fold="fold", client=client
    )
    with client.as_current():
        again = collect_parts(ddf, "y", task_column="site", fold="fold")
    assert_allclose(search.coef_, MultiTaskRegressorCV().fit(again).coef_, rtol=1e-9)
    X = da.from_array(rows[["p", "q"]].to_numpy(), chunks=(130, 1))
    y = da.from_array(rows["y"].to_numpy(), chunks=500)
    found = distributed.collect(X, y, client=client)
    assert found.n_rows == N


def test_what_a_worker_refuses_is_said_here(client, tmp_path) -> None:
    ddf = written(tmp_path)
    with pytest.raises(DataError, match="y of collect must be numbers"):
        distributed.fit(learned_prior(), ddf, "colour", client=client)


def test_a_worker_that_is_killed_costs_time_alone(client, tmp_path) -> None:
    (tmp_path / "rows").mkdir()
    ddf, mark = written(tmp_path / "rows"), tmp_path / "killed"

    def kill_once(part: pd.DataFrame) -> pd.DataFrame:
        time.sleep(0.05)
        if 5 * N // PARTS in part.index and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    ddf = ddf.map_partitions(kill_once, meta=ddf._meta)
    model = distributed.fit(learned_prior(), ddf, "y", client=client)
    assert mark.exists()
    assert_right(model)


def test_a_partition_that_kills_every_worker_is_one_sentence(client, tmp_path) -> None:
    ddf = written(tmp_path)

    def kill(part: pd.DataFrame) -> pd.DataFrame:
        if 5 * N // PARTS in part.index:
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    ddf = ddf.map_partitions(kill, meta=ddf._meta)
    with pytest.raises(DataError, match="every worker that read it was killed"):
        distributed.fit(learned_prior(), ddf, "y", client=client)


def test_the_command_line_fits_on_a_cluster(client, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rows = table().drop(columns="fold")
    rows.loc[::50, "y"] = np.nan
    Path("rows").mkdir()
    for k in range(4):
        rows[k * 300 : (k + 1) * 300].to_parquet(f"rows/{k}.parquet", row_group_size=100)
    address = client.scheduler_info()["address"]
    words = ["fit", "rows", "--task", "site", "--target", "y", "--drop-missing-target"]
    assert main([*words, "--dask", address, "--out", "far.polytask"]) == 0
    told = capsys.readouterr().err
    assert "Workers of Dask read rows, in 12 pieces" in told
    far = load("far.polytask")
    assert far.data_card_.n_rows == rows["y"].notna().sum()
    known = rows.dropna(subset=["y"])
    found = collect(known.drop(columns="y"), known["y"], task_column="site", encoder=far.encoder_)
    near = BayesianMultiTaskRegressor().fit(found)
    assert_allclose(far.predict(rows), near.predict(rows), rtol=1e-9, atol=1e-9)
    for more, said in {
        ("--folds", "3"): "--folds needs rows, and with --dask",
        ("--penalty", "L21"): "cannot be chosen by cross-validation with --dask",
        ("--model", "separate"): "Model 'separate' needs rows",
    }.items():
        assert main([*words, *more, "--dask", address, "--out", "no.polytask"]) == 2
        assert said in capsys.readouterr().err
    rows.to_csv("rows.csv", index=False)
    words[1] = "rows.csv"
    assert main([*words, "--dask", address, "--out", "no.polytask"]) == 2
    assert "write Parquet files first" in capsys.readouterr().err
    assert main([*words, "--dask", "tcp://127.0.0.1:1", "--out", "no.polytask"]) == 2
    assert "No scheduler of Dask answers at tcp://127.0.0.1:1" in capsys.readouterr().err
    assert not Path("no.polytask").exists()


def predicted(address: str | None, source: str, *words: str, out: str = "p.csv") -> int:
    more = ["--id", "number", "--keep", "colour", "--unseen-tasks", "shared", "--force"]
    where = [] if address is None else ["--dask", address]
    return main(["predict", "m.polytask", source, *more, *words, *where, "--out", out])


def with_a_model() -> pd.DataFrame:
    """Return rows with a number, beside a model of them in the folder."""
    rows = table().drop(columns="fold")
    model = BayesianMultiTaskRegressor(task_column="site")
    save(model.fit(rows.drop(columns="y"), rows["y"]), "m.polytask")
    return rows.assign(number=np.arange(N))


def in_files(rows: pd.DataFrame) -> None:
    """Write rows as a folder of files with several groups of rows each."""
    Path("rows").mkdir()
    for k in range(4):
        rows[k * 300 : (k + 1) * 300].to_parquet(f"rows/{k}.parquet", row_group_size=70)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_command_line_predicts_on_a_cluster(
    client, tmp_path, monkeypatch, capsys, lang, suffix
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = with_a_model()
    rows.loc[700:, "site"] = "elsewhere"
    rows.loc[::90, "p"] = np.nan
    rows.loc[1000, "q"] = 1e6
    rows.loc[900:1100, "colour"] = None
    in_files(rows)
    rows[:0].to_parquet("rows/9.parquet")
    address = client.scheduler_info()["address"]
    words = ("--interval", "0.9", "--lang", lang)
    assert predicted(None, "rows", *words, out=f"near.{suffix}") == 0
    near = [line for line in capsys.readouterr().err.splitlines() if "elsewhere" in line]
    assert predicted(address, "rows", *words, out=f"far.{suffix}") == 0
    far = capsys.readouterr()
    assert near == [line for line in far.err.splitlines() if "elsewhere" in line]
    assert len(near) == 1
    assert f"{N:,}" in far.out
    if suffix == "csv":
        assert Path("far.csv").read_bytes() == Path("near.csv").read_bytes()
    else:
        # Groups of rows differ, the table does not.
        assert pq.read_table("far.parquet").equals(pq.read_table("near.parquet"))


def test_a_failed_prediction_on_a_cluster_leaves_no_file(
    client, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = with_a_model()
    in_files(rows)
    address = client.scheduler_info()["address"]
    before = sorted(Path().iterdir())
    bad = rows[900:1200].copy()
    bad.iloc[[205, 207], bad.columns.get_loc("site")] = None
    bad.to_parquet("rows/3.parquet", row_group_size=70)
    assert predicted(address, "rows") == 2
    said = capsys.readouterr().err
    assert "rows/3.parquet: " in said
    assert "no label in 2 rows (206, 208; counting" in said
    bad.loc[:, "site"], bad.iloc[205, 0] = "a", np.inf
    bad.to_parquet("rows/3.parquet", row_group_size=70)
    assert predicted(address, "rows") == 2
    said = capsys.readouterr().err
    assert "rows/3.parquet: " in said
    assert re.search(r"row \(?206", said)
    # A fit on the cluster names the same row.
    words = ["fit", "rows", "--task", "site", "--target", "y", "--id", "number"]
    assert main([*words, "--dask", address, "--out", "no.polytask"]) == 2
    said = capsys.readouterr().err
    assert "rows/3.parquet: " in said
    assert re.search(r"row \(?206", said)
    Path("rows/3.parquet").write_bytes(Path("rows/3.parquet").read_bytes()[:-9])
    assert predicted(address, "rows") == 2
    rows.to_csv("rows.csv", index=False)
    assert predicted(address, "rows.csv") == 2
    assert "write Parquet files first" in capsys.readouterr().err
    assert predicted("tcp://127.0.0.1:1", "rows") == 2
    assert "No scheduler of Dask answers" in capsys.readouterr().err
    assert sorted(set(Path().iterdir()) - {Path("rows.csv")}) == before
