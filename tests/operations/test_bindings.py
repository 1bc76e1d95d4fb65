"""The compiled functions called directly: bad arguments are refused before any work, by name."""

import numpy as np
import pytest
from cases import CASES, make_problem
from grokrfm import _cpu

HUGE = 2**62


def dense(**change):
    """Arguments of `agop`, from which those of the other dense operations are taken."""
    problem = make_problem(9)
    good = {
        "kernel": CASES[0].kernel(10),
        "feature_matrix": problem.M,
        "train": problem.train,
        "dual_coefficients": problem.dual_coefficients,
        "centred": True,
        "threads": 2,
    }
    return {**good, **change}


def grid(p=4, c=4, **change):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, c, (p, p)).astype(np.int32)
    M = np.eye(2 * p)
    good = {
        "feature_matrix": M,
        "form": (3.0, 0.0, 0.0),
        "ridge": 0.1,
        "train_labels": labels,
        "test_labels": np.full_like(labels, -1),
        "coarse": 0 * M,
        "moment": M,
        "tolerance": 1e-6,
        "max_iterations": 5,
        "prediction": [],
        "solutions": np.zeros((c, 2, p * p)),
        "own": np.zeros((p, p)),
        "threads": 2,
    }
    return {**good, **change}


def epoch(**change):
    good = {
        "activation": "quadratic",
        "first": np.ones((6, 8)),
        "second": np.ones((3, 8)),
        "moments": (),
        "inputs": np.array([[0, 3], [1, 5]], np.int32),
        "labels": np.array([[0], [2]], np.int32),
        "transform": None,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "agop_penalty": 0.0,
        "beta_mean": 0.9,
        "beta_square": 0.99,
        "epsilon": 1e-8,
        "batch_size": 2,
        "steps": 0,
        "threads": 2,
    }
    return {**good, **change}


def misaligned(shape, dtype=np.float64):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array = np.zeros(size + 1, np.uint8)[1:].view(dtype).reshape(shape)
    assert not array.flags.aligned and array.flags.c_contiguous
    return array


def read_only(array):
    array.flags.writeable = False
    return array


def refused():
    square = np.eye(8)
    for name, change, message in [
        (
            "no classes",
            {"dual_coefficients": np.ones((17, 0))},
            "dual_coefficients: .*at least one",
        ),
        ("rank", {"feature_matrix": np.ones(10)}, "feature_matrix: expected 2 dimensions"),
        ("no matrix", {"feature_matrix": np.ones((0, 0))}, "feature_matrix: .*at least one"),
        ("misaligned", {"feature_matrix": misaligned((10, 10))}, "feature_matrix: .*aligned"),
        ("strided", {"feature_matrix": np.ones((10, 20))[:, ::2]}, "feature_matrix: .*contiguous"),
        ("rank of coefficients", {"dual_coefficients": np.ones(17)}, "dual_coefficients: .*dimens"),
        ("threads", {"threads": 0}, "threads: expected at least 1, got 0"),
        ("negative threads", {"threads": -3}, "threads: expected at least 1, got -3"),
    ]:
        yield pytest.param("agop", dense(**change), message, id=f"agop, {name}")
    for name, arguments, message in [
        ("no classes", grid(solutions=np.zeros((0, 2, 16))), "solutions: expected at least one"),
        ("no memory", grid(solutions=np.zeros((4, 0, 16))), "solutions: expected at least one"),
        (
            "p = 0",
            grid(p=0, c=1, train_labels=np.zeros((0, 0), np.int32)),
            "feature_matrix: expected at least one entry",
        ),
        (
            "odd size",
            grid(feature_matrix=np.eye(9), coarse=np.eye(9), moment=np.eye(9)),
            r"feature_matrix: expected an even number of rows, got \(9, 9\)",
        ),
        ("rank of coarse", grid(coarse=np.ones(8)), r"coarse: expected 2 dimensions.*\(8,\)"),
        ("rank of moment", grid(moment=np.ones((8, 8, 1))), "moment: expected 2 dimensions"),
        ("rank of labels", grid(train_labels=np.zeros(4, np.int32)), "train_labels: expected 2"),
        (
            "shape of labels",
            grid(test_labels=np.zeros((4, 5), np.int32)),
            r"test_labels: .*\(4, 4\)",
        ),
        ("labels", grid(train_labels=np.full((4, 4), -2, np.int32)), "train_labels: .*got -2"),
        ("rank of own", grid(own=np.zeros(16)), "own: expected 2 dimensions"),
        ("read-only own", grid(own=read_only(np.zeros((4, 4)))), "own: expected a writable array"),
        (
            "rank of solutions",
            grid(solutions=np.zeros((4, 16))),
            "solutions: expected 3 dimensions",
        ),
        ("solutions", grid(solutions=np.zeros((4, 2, 15))), r"solutions: .*shape \(4, 2, 16\)"),
        ("misaligned", grid(solutions=misaligned((4, 2, 16))), "solutions: .*aligned"),
        ("prediction", grid(prediction=[1.0] * 3), "prediction: expected at most 2 weights, got 3"),
        ("form", grid(form=(1.0, 2.0)), "form: expected three numbers, got 2"),
        ("max_iterations", grid(max_iterations=-1), "max_iterations: expected at least 0, got -1"),
        ("first_class", grid(first_class=-1), "first_class: expected at least 0, got -1"),
        ("last class", grid(first_class=2**31 - 2), "first_class: expected at most"),
        ("huge first_class", grid(first_class=HUGE), "first_class: expected at most"),
        ("threads", grid(threads=0), "threads: expected at least 1"),
    ]:
        yield pytest.param("grid_round", arguments, message, id=f"grid_round, {name}")
    for name, change, message in [
        ("rank", {"first": np.ones(6)}, "first: expected 2 dimensions"),
        ("second", {"second": np.ones((3, 7))}, r"second: expected shape \(3, 8\)"),
        ("no classes", {"second": np.ones((0, 8))}, "second: expected at least one entry"),
        ("no inputs", {"inputs": np.zeros((0, 2), np.int32)}, "inputs: expected at least one"),
        ("rank of labels", {"labels": np.zeros(2, np.int32)}, "labels: expected 2 dimensions"),
        ("labels", {"labels": np.full((2, 1), 3, np.int32)}, r"labels: .*\[0, 3\), got 3"),
        ("misaligned moment", {"moments": [misaligned((6, 8))] * 4}, "moments: .*aligned"),
        ("batch_size", {"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ("negative batch_size", {"batch_size": -HUGE}, "batch_size: expected at least 1"),
        ("steps", {"steps": -1}, "steps: expected at least 0, got -1"),
        ("huge steps", {"steps": HUGE}, "steps: expected at most"),
        ("threads", {"threads": 0}, "threads: expected at least 1"),
    ]:
        yield pytest.param("network_epoch", epoch(**change), message, id=f"network_epoch, {name}")
    for name, arguments, message in [
        ("shape", (square[:, :7].copy(), np.ones((2, 8))), r"kernel_matrix: .*\(8, 8\)"),
        ("targets", (square, np.ones((2, 7))), r"targets_transposed: .*shape \(2, 8\)"),
        ("no targets", (square, np.ones((0, 8))), "targets_transposed: expected at least one"),
        ("threads", (square, np.ones((2, 8)), 0), "threads: expected at least 1"),
    ]:
        yield pytest.param("cholesky_solve", arguments, message, id=f"cholesky_solve, {name}")
    for name, arguments, message in [
        ("shape", (square[:, :7].copy(), square), r"matrix: .*\(8, 8\)"),
        ("inverse", (square, np.ones((8, 7))), r"inverse: expected shape \(8, 8\)"),
        ("threads", (square, square.copy(), 0), "threads: expected at least 1"),
    ]:
        yield pytest.param("cholesky_inverse", arguments, message, id=f"cholesky_inverse, {name}")
    yield pytest.param("matrix_power", (np.ones((2, 3)), 0.5), "matrix: .*shape", id="matrix_power")


@pytest.mark.parametrize("operation, arguments, message", list(refused()))
def test_refused(operation, arguments, message):
    call = getattr(_cpu, operation)
    with pytest.raises(ValueError, match=message):
        call(**arguments) if isinstance(arguments, dict) else call(*arguments)


@pytest.mark.parametrize(
    "out, error, message",
    [
        (np.empty((17, 16)), ValueError, r"out: expected shape \(17, 17\), got \(17, 16\)"),
        (np.empty(17), ValueError, "out: expected 2 dimensions"),
        (np.empty((17, 17), np.float32), TypeError, "out: expected dtype float64, got float32"),
        (np.empty((17, 17)).T, ValueError, "out: expected a C-contiguous array"),
        (misaligned((17, 17)), ValueError, "out: expected an aligned array"),
        (read_only(np.empty((17, 17))), ValueError, "out: expected a writable array"),
        ([[0.0]], TypeError, "out: expected an array or None"),
    ],
)
def test_out_is_checked(out, error, message):
    problem = make_problem(9)
    with pytest.raises(error, match=message):
        _cpu.kernel_matrix(CASES[0].kernel(10), problem.M, problem.train, None, out)


def test_no_array_is_made_of_a_list():
    """It would be gone before its memory is read."""
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _cpu.network_epoch(**epoch(transform=np.eye(6).tolist()))


def test_what_is_at_the_limit_is_taken():
    assert _cpu.agop(**dense(threads=2**31 - 1)).shape == (10, 10)
    assert _cpu.grid_round(**grid(first_class=2**31 - 5))["iterations"].shape == (4,)
    _cpu.network_epoch(**epoch(batch_size=HUGE, steps=2**53))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_absurd_numbers_end_in_absurd_numbers(bad):
    M = np.full((8, 8), bad)
    _cpu.grid_round(**grid(feature_matrix=M, coarse=M, moment=M))
    _cpu.grid_round(**grid(form=(bad, bad, bad), ridge=bad, tolerance=bad, prediction=[bad]))
    _cpu.network_epoch(**epoch(first=np.full((6, 8), bad), learning_rate=bad, agop_penalty=bad))
    _cpu.cholesky_solve(M, np.ones((2, 8)), 2)
    _cpu.cholesky_inverse(M.copy(), M.copy(), 2)
    for case in CASES:
        _cpu.agop(**dense(kernel=case.kernel(10), feature_matrix=np.full((10, 10), bad)))
