"""Sampled runs whose columns go to an executor in parts."""

import logging
import multiprocessing
import operator
import os
import signal
import warnings
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor

import numpy as np
import pytest
from grokrfm import ModularTask, RFMClassifier
from grokrfm.rfm.parts import Workers, divide
from grokrfm.rfm.sampling import Draw

FRESH = multiprocessing.get_context("spawn")
ONE_THREAD = {"initializer": os.putenv, "initargs": ("OPENBLAS_NUM_THREADS", "1")}


class Inline(Executor):
    """Works in this process, at once; `lost`: numbers of submissions that do not come back."""

    def __init__(self, workers, lost=()):
        self._max_workers, self.lost, self.submitted = workers, lost, 0

    def submit(self, function, /, *given):
        future, number = Future(), self.submitted
        self.submitted += 1
        if number in self.lost:
            future.set_exception(BrokenExecutor(f"lost {number}"))
        else:
            future.set_result(function(*given))
        return future


class Deadly(Executor):
    """A pool, one worker of which ends in the place of doing one submission."""

    _max_workers = 2

    def __init__(self, pool, number):
        self.pool, self.left = pool, number

    def submit(self, function, /, *given):
        self.left -= 1
        if self.left == 0:
            function, given = os._exit, (1,)
        return self.pool.submit(function, *given)


def fitted(p=13, operation="x+y", executor=None, callbacks=(), checkpoint=None, **parameters):
    given = {"agop_classes": 5, "eval_pairs": 20, "iterations": 4, "dtype": "float64", "tol": 1e-9}
    model = RFMClassifier(p, **{**given, **parameters})
    split = ModularTask(operation, p).split(0.5, 0)
    return model.fit(split, callbacks=callbacks, checkpoint=checkpoint, executor=executor)


def same_trajectories(model, other, tolerance, accuracy=0.0):
    """The residuals, which are what rounding leaves, and steps apart."""
    assert model.history_.keys() == other.history_.keys()
    for name in model.history_.keys() - {"seconds", "residual", "cg_iterations"}:
        atol = accuracy if name.startswith("test_accuracy") else tolerance
        np.testing.assert_allclose(
            model.history_[name], other.history_[name], rtol=tolerance, atol=atol, err_msg=name
        )
    for M, N in zip(model.feature_matrices_, other.feature_matrices_, strict=True):
        np.testing.assert_allclose(M, N, rtol=0, atol=tolerance * np.abs(N).max())


def columns_of(parts):
    return [
        np.concatenate([getattr(part.draw, name) for part in parts])
        for name in ("classes", "weights")
    ] + [np.concatenate([getattr(part, name) for part in parts]) for name in ("pairs", "start")]


@pytest.mark.parametrize(
    "m, k, count", [(12, 64, 2), (12, 64, 24), (3, 0, 2), (1, 2, 9), (5, 4, 1)]
)
def test_parts_have_all_columns_in_order(m, k, count):
    draw, rng = Draw(np.arange(m) + 7, np.linspace(1, 2, m)), np.random.default_rng(0)
    pairs, start = rng.integers(0, 9, (k, 2)), rng.normal(size=(k, 5))
    parts = divide(draw, pairs, start, count)
    assert len(parts) == min(count, max(m, k))
    assert all(len(part.draw.classes) + len(part.pairs) > 0 for part in parts)
    for found, given in zip(
        columns_of(parts), (draw.classes, draw.weights, pairs, start), strict=True
    ):
        np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("kernel", ["quadratic", "quadratic_ntk", "gaussian"])
@pytest.mark.parametrize("workers", [3, 8])
def test_parts_add_up(kernel, workers, backend):
    """Of x*y, whose zero class has a weight of its own; eight parts are more than classes."""
    given = {"kernel": kernel, "operation": "x*y", "backend": backend, "ridge": 1e-3}
    given["iterations"] = 1
    executor = Inline(workers)
    model = fitted(executor=executor, **given)
    assert executor.submitted == workers * 2
    same_trajectories(model, fitted(**given), 1e-6, accuracy=0.051)


def test_without_pairs():
    parameters = {"eval_pairs": 0, "iterations": 2}
    model = fitted(executor=Inline(2), **parameters)
    same_trajectories(model, fitted(**parameters), 1e-7)


def test_a_complaint_counts_the_columns_of_all_parts(monkeypatch):
    from grokrfm.rfm import grid_columns

    monkeypatch.setattr(grid_columns, "MAX_CG_ITERATIONS", 1)
    messages = []
    for executor in (None, Inline(3)):
        with pytest.warns(RuntimeWarning, match="above the tolerance") as caught:
            fitted(executor=executor, iterations=1)
        messages += [str(each.message).split(" above")[0] for each in caught]
    assert messages[0] == messages[1]


def test_resumes_with_an_executor_and_without():
    stored = []
    whole = fitted(executor=Inline(2), callbacks=[lambda now: stored.append(now.checkpoint())])
    resumed = fitted(executor=Inline(2), checkpoint=stored[1])
    for name in whole.history_.keys() - {"seconds"}:
        np.testing.assert_array_equal(whole.history_[name], resumed.history_[name])
    same_trajectories(fitted(checkpoint=stored[1]), whole, 1e-6, accuracy=0.051)


def test_a_lost_part_is_sent_again(caplog):
    executor = Inline(3, lost=(4, 5))
    with caplog.at_level(logging.INFO, "grokrfm"):
        model = fitted(executor=executor)
    assert executor.submitted == 3 * 5 + 2
    assert "2 parts lost (BrokenExecutor('lost 5')), sent again" in caplog.text
    undisturbed = fitted(executor=Inline(3))
    np.testing.assert_array_equal(model.feature_matrices_, undisturbed.feature_matrices_)


def test_what_is_lost_twice_is_done_here():
    executor = Inline(3, lost=(4, 6))
    with pytest.warns(RuntimeWarning, match=r"BrokenExecutor\('lost 6'\)") as caught:
        model = fitted(executor=executor)
    assert len(caught) == 1 and executor.submitted == 7  # nothing is sent any more
    same_trajectories(model, fitted(), 1e-6, accuracy=0.051)


def test_exceptions_of_the_computation_pass_through():
    workers = Workers(Inline(2), "cpp")
    assert workers.results(operator.truediv, 6, [1, 2, 3]) == [6, 3, 2]
    with pytest.raises(ZeroDivisionError):
        workers.results(operator.truediv, 6, [1, 0, 3])


def test_an_interrupt_cancels_what_waits_and_keeps_completed_rounds(interruptible):
    class Interrupted(Inline):
        def submit(self, function, /, *given):
            future = super().submit(function, *given)
            if self.submitted == 7:
                future = Future()
                future.result = lambda: signal.raise_signal(signal.SIGINT)
            elif self.submitted > 7:
                future = self.waiting = Future()
            return future

    executor, model = Interrupted(3), RFMClassifier(13, agop_classes=5, eval_pairs=20)
    with pytest.raises(KeyboardInterrupt):
        model.fit(ModularTask("x+y", 13).split(0.5, 0), executor=executor)
    assert executor.waiting.cancelled()
    assert len(model.history_["test_accuracy"]) == 2


def test_an_executor_of_unknown_size(caplog):
    executor = Inline(None)
    fitted(executor=executor, iterations=1)
    assert executor.submitted == 2 * 2 and "does not tell how many workers" in caplog.text


@pytest.mark.parametrize("sampled", [{}, {"agop_classes": 5}])
def test_exact_runs_have_no_parts(sampled):
    with pytest.raises(ValueError, match="executor: expected None without"):
        RFMClassifier(13, **sampled).fit(ModularTask("x+y", 13).split(0.5, 0), executor=Inline(2))


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match=r"executor: expected a concurrent.* got int"):
        fitted(executor=2)


@pytest.fixture(scope="module")
def alone():
    return fitted(**LARGER)


LARGER = {"p": 31, "agop_classes": 8, "eval_pairs": 30, "iterations": 12}


def test_worker_processes(alone):
    with ProcessPoolExecutor(2, FRESH, **ONE_THREAD) as pool:
        model = fitted(executor=pool, **LARGER)
        assert pool.submit(os.getpid).result() != os.getpid()
    same_trajectories(model, alone, 1e-5, accuracy=0.034)
    split = ModularTask("x+y", 31).split(0.5, 0)
    np.testing.assert_array_equal(model.predict(split.X_test[:9]), alone.predict(split.X_test[:9]))


def test_a_worker_that_dies_takes_its_pool_along(alone):
    with ProcessPoolExecutor(2, FRESH, **ONE_THREAD) as pool:
        with pytest.warns(RuntimeWarning, match=r"lost twice, BrokenProcessPool") as caught:
            model = fitted(executor=Deadly(pool, 9), **LARGER)
        assert len(caught) == 1
    same_trajectories(model, alone, 1e-5, accuracy=0.034)


def test_dask_workers_one_of_which_dies(alone):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")

    def kill(now):
        if now.iteration == 5:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    with warnings.catch_warnings(record=True) as caught:  # of its own
        warnings.simplefilter("always")
        with (
            distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            model = fitted(executor=client, **LARGER)
            disturbed = fitted(executor=client, callbacks=[kill], **LARGER)
    assert not [each for each in caught if "executor" in str(each.message)]
    for each in (model, disturbed):
        same_trajectories(each, alone, 1e-5, accuracy=0.034)
