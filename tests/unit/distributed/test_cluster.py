"""Two processes give what one gives, also where one of them is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose

from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    MultiTaskRegressorCV,
    distributed,
    load,
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
            dashboard_address=None,
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
