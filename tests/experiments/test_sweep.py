"""Sweeps: each run once, whatever happens; the table; executors."""

import csv
import logging
import os
import re
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import pytest
from grokrfm import NetworkRun, RFMRun, SweepTable, sweep
from grokrfm.experiments import ResultStore, executors, store, table
from sweeping import OVER, RUN, assert_same_rows, files
from threadpoolctl import threadpool_info

pytestmark = pytest.mark.usefixtures("one_thread")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclass(frozen=True)
class Bad(RFMRun):
    """A run that raises, or kills its process, if its seed is 1."""

    how: str = "raise"

    def run(self):
        if self.seed == 1:
            if self.how == "raise":
                raise MemoryError("too large")
            os.kill(os.getpid(), signal.SIGKILL)
        threads = [os.environ.get("GROKRFM_NUM_THREADS", 0)]
        threads += [each["num_threads"] for each in threadpool_info()]
        return {**super().run(), "threads": np.array(threads, dtype=int)}


def test_the_table_of_a_product(plain, tmp_path):
    assert len(plain) == 4 and isinstance(plain, SweepTable) and "4 of 4 runs" in repr(plain)
    assert [(row["operation"], row["seed"]) for row in plain] == [
        ("x+y", 0), ("x+y", 1), ("x*y", 0), ("x*y", 1),
    ]  # fmt: skip
    for (run, result), row in zip(plain.histories(), plain, strict=True):
        assert (run.operation, run.seed) == (row["operation"], row["seed"])
        expected = run.run()
        np.testing.assert_array_equal(result["test_accuracy"], expected["test_accuracy"])
        assert row["status"] == "done" and row["rounds"] == 2 and row["modulus"] == 5
        assert row["final_test_accuracy"] == expected["test_accuracy"][-1]
        assert row["best_test_accuracy"] == expected["test_accuracy"].max()
        assert row["final_test_mse"] == expected["test_mse"][-1]
        assert row["largest_residual"] == expected["residual"].max()
        assert row["seconds"] > 0
    plain.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [float(row["final_test_mse"]) for row in read] == list(plain.column("final_test_mse"))
    frame = plain.to_pandas()
    assert list(frame.columns) == plain.columns and list(frame["seed"]) == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="column: expected one of experiment, operation"):
        plain.column("speed")


def test_the_table_in_a_notebook(plain, tmp_path):
    """What differs between the runs, and how they ended; the rest is in `columns`."""
    cells = re.findall("<t[hd]>(.*?)</t[hd]>", plain._repr_html_())
    assert cells[:4] == ["operation", "seed", "status", "rounds"]
    assert cells[7:11] == ["x+y", "0", "done", "2"] and len(cells) == 5 * 7
    rows = [{"seed": seed, "status": "failed", "error": "1 < 2 & 3"} for seed in range(99)]
    long = SweepTable(rows, [], tmp_path / "<b>")._repr_html_()
    assert long.count("<tr>") == 31 and "the first 30</caption>" in long
    assert "<td>1 &lt; 2 &amp; 3</td>" in long and "&lt;b&gt;" in long and "<b>" not in long
    assert SweepTable([], [], tmp_path)._repr_html_().count("<tr>") == 1


def test_where_levels_are_passed():
    x, values = [0, 2, 4, 6], [0.1, 0.3, 0.7, 0.6]
    assert table.first_passed(x, values, 0.5) == 3.0
    assert table.first_passed(x, values, 0.1) == 0.0
    assert np.isnan(table.first_passed(x, values, 0.71))
    assert table.first_passed([1, 2], [np.nan, 0.9], 0.5) == 2.0


def test_what_is_done_stays(plain, tmp_path, caplog, monkeypatch):
    rows = sweep(RUN, {"seed": [0]}, folder=tmp_path, progress=False)
    before = files(tmp_path)
    monkeypatch.setattr(store, "sources", lambda: "another state of the sources")
    more = sweep(RUN, OVER, folder=tmp_path, progress=False)
    assert before.items() <= files(tmp_path).items() and len(files(tmp_path)) == 4
    assert_same_rows(more[:1], rows)
    assert "rows come from 2 states of the sources" in caplog.text
    path = ResultStore(tmp_path).path(RUN)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="made anew"):
        again = sweep(RUN, OVER, folder=tmp_path, progress=False)
    assert again[0]["status"] == "done"


def test_networks_and_lists_of_runs(tmp_path):
    runs = [NetworkRun(modulus=5, hidden_width=4, epochs=2), RUN, RUN]
    rows = sweep(runs, folder=tmp_path, progress=False)
    assert [row["experiment"] for row in rows] == ["NetworkRun", "RFMRun"]
    assert rows[0]["rounds"] == 2 and "largest_residual" not in rows[0]
    assert len(sweep(over=runs, folder=tmp_path, progress=False)) == 2
    assert len(sweep(RUN, folder=tmp_path, progress=False)) == 1


def test_a_run_that_raises_is_recorded_and_tried_again(tmp_path, caplog):
    runs = [Bad(modulus=5, iterations=1, seed=seed) for seed in range(3)]
    rows = sweep(runs, folder=tmp_path, progress=False)
    assert list(rows.column("status")) == ["done", "failed", "done"]
    assert rows[1]["error"] == "MemoryError: too large" and rows[1]["seed"] == 1
    assert "1 of 3 runs failed" in caplog.text
    assert len(list(rows.histories())) == 2 and len(files(tmp_path)) == 2
    with pytest.raises(MemoryError, match="too large"):
        sweep(runs, folder=tmp_path, progress=False, errors="raise")
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(RuntimeError, match=r"seed=1.*MemoryError: too large"),
    ):
        sweep(runs, folder=tmp_path, progress=False, errors="raise", executor=pool)


def test_runs_that_a_backend_takes_together(plain, tmp_path, monkeypatch):
    runs = [run for run, _ in plain.histories()]
    monkeypatch.setattr(executors, "goes_together", lambda run: True)
    with monkeypatch.context() as patch:
        patch.setattr(RFMRun, "run", lambda self: pytest.fail("alone"))
        assert_same_rows(sweep(runs, folder=tmp_path / "all", progress=False), plain)
    monkeypatch.setattr(store, "run_together", lambda runs: 1 / 0)  # then one by one
    assert_same_rows(sweep(runs, folder=tmp_path / "each", progress=False), plain)


def test_worker_processes(plain, tmp_path):
    """With one run that kills its worker; the others are all done."""
    over = [replace(run) for run, _ in plain.histories()]
    killer = Bad(modulus=5, iterations=1, seed=1, how="kill")
    runs = [*over[:2], killer, replace(killer, seed=0), *over[2:]]
    rows = sweep(runs, folder=tmp_path, executor=max(2, CORES), progress=False)
    assert rows[2]["status"] == "failed" and "worker died" in rows[2]["error"]
    assert_same_rows([*rows[:2], *rows[4:]], plain)
    assert len(files(tmp_path)) == 5
    threads = dict(rows.histories())[replace(killer, seed=0)]["threads"]
    assert set(threads) == {1}


def test_a_foreign_executor_that_breaks(plain, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    runs = [
        Bad(modulus=5, iterations=9, seed=1, how="kill"),  # first, as it costs most
        *(run for run, _ in plain.histories()),
    ]
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        rows = sweep(runs, folder=tmp_path, executor=pool, progress=False)
    assert "missing" in list(rows.column("status")) and "runs missing" in caplog.text
    assert all("call again" in row["error"] for row in rows if row["status"] == "missing")
    with ThreadPoolExecutor(2) as pool:
        rows = sweep(runs[1:], folder=tmp_path, executor=pool, progress=False)
    assert_same_rows(rows, plain)


class Growing(ThreadPoolExecutor):
    """Stands for a Dask client: no workers yet, some when it is asked again.

    Nothing ends before as many runs are in flight as those workers take.
    """

    def __init__(self):
        super().__init__(9)
        self.asked, self.flying = 0, threading.Barrier(4, timeout=60)

    def nthreads(self):
        self.asked += 1
        return {} if self.asked == 1 else {"a": 1, "b": 1}

    def get_executor(self, pure):
        assert pure is False
        return self

    def submit(self, function, *arguments):
        return super().submit(lambda: (self.flying.wait(), function(*arguments))[1])


def test_a_cluster_that_grows(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "_LOOK_AGAIN", 0.01)
    runs = [run for run, _ in plain.histories()]
    with Growing() as client:
        rows = sweep(runs, folder=tmp_path, executor=client, progress=False)
    assert_same_rows(rows, plain)


def test_what_an_executor_cancels_is_missing(plain, tmp_path):
    class Cancels(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with Cancels(2) as pool:
        rows = sweep(RUN, OVER, folder=tmp_path, executor=pool, progress=False)
    assert set(rows.column("status")) == {"missing"}


def test_a_worker_that_dies_when_it_starts(tmp_path, monkeypatch):
    """Once: the sweep goes on, with all cores for the one worker. Always: it says why."""
    submit, broken = ProcessPoolExecutor.submit, [True]

    def dies(pool, function, *arguments):
        if function is os.getpid and broken and (broken[0] is None or broken.pop()):
            raise BrokenProcessPool
        return submit(pool, function, *arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", dies)
    run = Bad(modulus=5, iterations=1)
    [(_, result)] = sweep(run, folder=tmp_path / "once", executor=1, progress=False).histories()
    assert set(result["threads"]) == {CORES}
    broken.append(None)
    with pytest.raises(RuntimeError, match="worker processes do not start; a script has to guard"):
        sweep(RUN, folder=tmp_path / "always", executor=1, progress=False)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((RUN, {"speed": [1]}), {}, "over: expected fields among operation, modulus"),
        ((RUN, {"seed": 3}), {}, "over: expected values of seed in a list, got 3"),
        ((RUN, {"kernel": "ntk"}), {}, "over: expected values of kernel in a list, got 'ntk'"),
        ((RUN, {"seed": []}), {}, "over: expected at least one value of seed"),
        ((RUN, {"seed": [0, -1]}), {}, "seed: expected an integer >= 0, got -1"),
        (("x+y",), {}, "experiment: expected RFMRun or NetworkRun, got str"),
        ((RUN,), {"executor": "dask"}, "executor: expected None, a number of worker processes"),
        ((RUN,), {"executor": 0}, "executor: expected an integer >= 1, got 0"),
        ((RUN,), {"errors": "ignore"}, "errors: expected one of record, raise"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(arguments, options, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        sweep(*arguments, folder=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
