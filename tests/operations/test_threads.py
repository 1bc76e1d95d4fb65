"""Runs in several Python threads, and the threads of BLAS around and inside a run."""

import os
import sys
import threading
from multiprocessing import get_context

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, RFMClassifier
from grokrfm.operations import make_operations
from threadpoolctl import ThreadpoolController, threadpool_limits

SPLITS = [ModularTask("x+y", 7).split(0.5, seed) for seed in range(3)]
MODELS = {
    "cg": lambda: RFMClassifier(7, solver="cg", iterations=4),
    "cholesky": lambda: RFMClassifier(7, solver="cholesky", kernel="gaussian", iterations=4),
    "network": lambda: FCNClassifier(7, hidden_width=8, epochs=2),
}


def blas_threads():
    blas = ThreadpoolController().select(user_api="blas")
    return [pool.num_threads for pool in blas.lib_controllers]


@pytest.fixture(params=[1, 3], autouse=True)
def threads(request):
    """BLAS as a user left it."""
    with threadpool_limits(request.param, user_api="blas"):
        yield request.param


def result(model, split, callbacks=()):
    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), callbacks)
    arrays = [model.feature_matrix_, model.decision_function(split.X_test)]
    arrays += [column for key, column in model.history_.items() if key != "seconds"]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def in_threads(works):
    """Let every function work in a thread of its own; the exceptions."""
    failures = []

    def run(work):
        try:
            work()
        except BaseException as error:
            failures.append(error)

    pool = [threading.Thread(target=run, args=[work]) for work in works]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    return failures


def test_runs_in_threads_are_the_runs_alone(threads):
    alone = {(name, i): result(MODELS[name](), SPLITS[i]) for name in MODELS for i in range(3)}
    different = []

    def work(k):
        for j in range(18):
            name, i = list(alone)[(5 * k + j) % len(alone)]
            callbacks = [lambda current: None] if j % 2 else []
            if result(MODELS[name](), SPLITS[i], callbacks) != alone[name, i]:
                different.append((name, i))

    assert in_threads([lambda k=k: work(k) for k in range(4)]) == []
    assert different == []
    assert blas_threads() == [threads] * len(blas_threads())


def test_blas_has_one_thread_whichever_python_thread_enters(threads):
    device, seen = make_operations("cpp").device, []

    def work():
        with device.own_threads():
            seen.append(blas_threads())

    work()
    assert in_threads([work]) == []
    with threadpool_limits(2, user_api="blas"):
        assert in_threads([work]) == []
    assert seen == [[1] * len(blas_threads())] * 3
    assert blas_threads() == [threads] * len(blas_threads())


@pytest.mark.parametrize("name", MODELS)
def test_blas_is_as_it_was_in_callbacks_and_afterwards(name, threads):
    seen = []

    def watch(current):
        seen.append(blas_threads())
        current.checkpoint()
        seen.append(blas_threads())
        if len(seen) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result(MODELS[name](), SPLITS[0], [watch])
    assert [*seen, blas_threads()] == [[threads] * len(blas_threads())] * 7


def test_a_checkpoint_in_a_callback_changes_nothing():
    plain = result(MODELS["cg"](), SPLITS[0])
    assert result(MODELS["cg"](), SPLITS[0], [lambda current: current.checkpoint()]) == plain


def test_a_run_within_a_callback_and_in_a_thread_of_its_own(threads):
    """Neither waits for the run around it."""
    expected, inner = result(MODELS["cg"](), SPLITS[1]), []

    def callback(current):
        inner.append(result(MODELS["cg"](), SPLITS[1]))
        assert in_threads([lambda: inner.append(result(MODELS["cg"](), SPLITS[1]))]) == []

    result(MODELS["cholesky"](), SPLITS[0], [callback])
    assert inner == [expected] * 10
    assert blas_threads() == [threads] * len(blas_threads())


def _in_child(queue):
    queue.put((blas_threads(), result(MODELS["cg"](), SPLITS[0]), blas_threads()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_within_the_region_begins_outside_of_it(threads):
    expected = result(MODELS["cg"](), SPLITS[0])
    context = get_context("fork")
    queue = context.Queue()
    device = make_operations("cpp").device
    with device.own_threads(), device._lock:
        child = context.Process(target=_in_child, args=[queue])
        child.start()
        before, there, after = queue.get(timeout=60)
        child.join()
    outside = [threads] * len(blas_threads())
    assert (before, there, after) == (outside, expected, outside)
    assert blas_threads() == outside


def test_operations_are_made_once(monkeypatch):
    from grokrfm.operations import backends

    made, start = [], threading.Barrier(8)
    monkeypatch.setattr(backends, "_made", {})

    def make():
        start.wait()
        made.append(make_operations("cpp"))

    assert in_threads([make] * 8) == []
    assert len(set(map(id, made))) == 1


def test_caches_of_the_cuda_operations_keep_runs_apart():
    from emulated import emulated_operations

    operations, different = emulated_operations(), []

    def work(k):
        mine = np.full(3, k)
        for _ in range(3000):
            if operations._once("what", mine, lambda array: array[0]) != k:
                different.append(k)

    assert in_threads([lambda k=k: work(k) for k in range(4)]) == []
    assert different == []
