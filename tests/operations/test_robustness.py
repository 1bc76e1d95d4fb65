"""What goes wrong outside: signals, systems short of threads, a BLAS of other integers, NaN."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from cases import CASES, make_problem
from grokrfm import _cpu
from grokrfm.operations.cpp import CppOperations
from grokrfm.operations.reference import ArrayOperations


def python(*parts, **options):
    """Run code in a process of its own and expect it to succeed."""
    code = "\n".join(map(textwrap.dedent, parts))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"


# Every operation that has threads, on inputs whose results are compared.
OPERATIONS = """
    import numpy as np
    from types import SimpleNamespace
    from grokrfm import _cpu

    rng = np.random.default_rng(0)
    p, n, c, depth = 8, 5000, 300, 2
    kernel = SimpleNamespace(name="gaussian", scale=0.1, depth=1)
    M = np.eye(2 * p)
    points = (rng.integers(0, p, (n, 2)) + [0, p]).astype(np.int32)
    alpha = rng.normal(size=(n, c))
    labels = rng.integers(0, c, (n, 1)).astype(np.int32)
    few = points[:600]
    grid = dict(
        feature_matrix=M, form=(3.0, 0.0, 0.0), ridge=0.1,
        train_labels=rng.integers(0, c, (p, p)).astype(np.int32),
        test_labels=np.full((p, p), -1, np.int32), coarse=0 * M, moment=M, tolerance=1e-6,
        max_iterations=20, prediction=[],
    )

    def kernel_matrix(threads):
        return _cpu.kernel_matrix(kernel, M, few, None, None, threads)

    def decision_function(threads):
        return _cpu.decision_function(kernel, M, points, few, alpha[:600], threads)

    def agop(threads):
        return _cpu.agop(kernel, M, few, alpha[:600], True, threads)

    def cholesky_solve(threads):
        K, Y = kernel_matrix(1) + np.eye(600), alpha[:600].T.copy()
        assert _cpu.cholesky_solve(K, Y, threads) == 0
        return Y

    def grid_round(threads):
        return _cpu.grid_round(
            **grid, solutions=np.zeros((c, depth, p * p)), own=np.zeros((p, p)), threads=threads
        )["zqz"]

    def network_outputs(threads):
        first, second = np.ones((2 * p, 40)), np.ones((3, 40))
        return _cpu.network_outputs("quadratic", first, second, points, None, threads)

    def network_epoch(threads):
        first, second = rng.normal(size=(2 * p, 4096)) / 9, rng.normal(size=(c, 4096)) / 9
        _cpu.network_epoch(
            "quadratic", first, second, (), points[:200], labels[:200], None, 1e-3, 0.0, 0.0,
            0.9, 0.99, 1e-8, 32, 0, threads,
        )
        return first
"""
SHARED = ["kernel_matrix", "decision_function", "agop", "cholesky_solve", "grid_round"]
SHARED += ["network_outputs"]


# Room for a few threads more, with stacks of 64 MB each.
SHORT_OF_THREADS = """
    import resource

    with open("/proc/self/status") as lines:
        used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
"""


def large_stacks():
    import resource

    resource.setrlimit(resource.RLIMIT_STACK, (64 * 2**20,) * 2)


needs_limits = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs /proc and a limit of the address space"
)


@needs_limits
def test_work_is_complete_with_the_threads_that_can_be_had():
    python(
        OPERATIONS,
        f"operations = [{', '.join(SHARED)}]",
        "expected = [operation(64) for operation in operations]",
        SHORT_OF_THREADS,
        """
        for operation, result in zip(operations, expected, strict=True):
            np.testing.assert_array_equal(operation(64), result, operation.__name__)
        """,
        preexec_fn=large_stacks,
    )


@needs_limits
def test_threads_that_meet_begin_together_or_not_at_all():
    python(
        OPERATIONS,
        SHORT_OF_THREADS,
        """
        try:
            network_epoch(64)
        except RuntimeError as error:
            assert "threads: 64 wanted, but only" in str(error), error
        else:
            raise AssertionError("64 threads were started")
        network_epoch(1)
        """,
        preexec_fn=large_stacks,
    )


# Each of these takes far longer than an interrupt may.
LONG = {
    "kernel_matrix": "_cpu.kernel_matrix(deep, M, many, None, None, THREADS)",
    "decision_function": "_cpu.decision_function(deep, M, many, many, alpha_many, THREADS)",
    "agop": "_cpu.agop(deep, M, many, alpha_many, True, THREADS)",
    "cholesky_solve": "_cpu.cholesky_solve(np.eye(6000), np.ones((9, 6000)), THREADS)",
    "grid_round": "long_round(THREADS)",
    "network_epoch": "long_epoch(THREADS)",
    "network_outputs": """_cpu.network_outputs(
        "relu", wide, wide[:13], np.tile(points, (400, 1)), None, THREADS)""",
}


@pytest.mark.parametrize("operation", LONG)
def test_ctrl_c_stops_an_operation(operation):
    python(
        OPERATIONS,
        f"""
        import os, signal, threading, time

        signal.signal(signal.SIGINT, signal.default_int_handler)
        deep = SimpleNamespace(name="ntk", scale=1.0, depth=4)
        M = M.astype(np.float32)
        many = np.tile(points, (2, 1))
        alpha_many = np.ones((10000, 8), np.float32)
        wide = np.ones((2 * p, 4096))

        def long_epoch(threads):
            inputs = np.tile(points, (400, 1))
            _cpu.network_epoch(
                "relu", wide.copy(), wide[:13].copy(), (), inputs, 0 * inputs[:, :1].copy(), None,
                1e-3, 0.0, 0.0, 0.9, 0.99, 1e-8, 32, 0, threads,
            )

        def long_round(threads):
            p, c = 61, 3000
            labels = rng.integers(0, c, (p, p)).astype(np.int32)
            M = np.eye(2 * p)
            _cpu.grid_round(
                M, (3.0, 0.0, 0.0), 1e-3, labels, labels, 0 * M, M, 0.0, 100, [],
                np.zeros((c, 1, p * p)), np.zeros((p, p)), threads=threads,
            )

        def interrupt():
            time.sleep(0.3)
            global sent
            sent = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)

        for threads in (1, 3):
            threading.Thread(target=interrupt).start()
            try:
                {LONG[operation].replace("THREADS", "threads")}
            except KeyboardInterrupt:
                late = time.perf_counter() - sent
                assert late < 15, late
            else:
                raise AssertionError("not interrupted")
            kernel_matrix(2)  # goes on as before
        """,
    )


def test_signals_that_raise_nothing_and_other_threads_are_left_alone():
    python(
        OPERATIONS,
        """
        import os, signal, threading

        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append(kernel_matrix(2)[0, 0]))
        deep = SimpleNamespace(name="ntk", scale=1.0, depth=5)
        expected = _cpu.kernel_matrix(deep, M, points[:2000], None, None, 2)
        results = [None]

        def work():
            results[0] = _cpu.kernel_matrix(deep, M, points[:2000], None, None, 1)

        other = threading.Thread(target=work)
        other.start()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        results.append(_cpu.kernel_matrix(deep, M, points[:2000], None, None, 2))
        other.join()
        assert seen, "the handler was not called"
        for result in results:
            np.testing.assert_array_equal(result, expected)
        """,
    )


def test_a_blas_with_other_integers_is_refused():
    python(
        """
        import ctypes, types, sys
        from scipy.linalg import cython_blas

        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype = ctypes.py_object
        capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        get_name = ctypes.pythonapi.PyCapsule_GetName
        get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
        true = get_name(cython_blas.__pyx_capi__["sgemm"])
        for integer in (b"blas_int *", b"int64_t *", b"long *", b"unsigned int *", b""):
            name = true.replace(b"int *", integer, 1)
            fake = types.ModuleType("scipy.linalg.cython_blas")
            fake.__pyx_capi__ = {**cython_blas.__pyx_capi__, "sgemm": capsule(1, name, None)}
            sys.modules["scipy.linalg.cython_blas"] = fake
            try:
                import grokrfm._cpu
            except ImportError as error:
                assert "32-bit integers; sgemm has signature void (" in str(error), error
            else:
                raise AssertionError("accepted " + name.decode())
        """
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nan_in_the_feature_matrix_shows(case, dtype):
    problem = make_problem(4, dtype)
    kernel, u = case.kernel(len(problem.M)), problem.train[0, 0]
    problem.M[u, u] = np.nan
    uses = (problem.train == u).any(axis=1)
    for operations in (CppOperations(), ArrayOperations()):
        K = operations.kernel_matrix(kernel, problem.M, problem.train)
        assert np.isnan(K[np.ix_(uses, uses)]).all()
        f = operations.decision_function(
            kernel, problem.M, problem.train, problem.train, problem.dual_coefficients
        )
        assert np.isnan(f[uses]).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nan_in_the_feature_matrix_shows_in_the_slopes(case):
    # The AGOP multiplies by M on both sides: the slopes show where M itself hides nothing.
    problem = make_problem(4)
    kernel, u = case.kernel(len(problem.M)), problem.train[0, 0]
    problem.M[u, u] = np.nan
    G = _cpu.agop(kernel, problem.M, problem.train, problem.dual_coefficients, False)
    assert np.isnan(G).all()


def test_the_number_of_threads_can_be_set(monkeypatch):
    device = CppOperations().device
    monkeypatch.setenv("GROKRFM_NUM_THREADS", "5")
    assert device.threads == 5
    for bad in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("GROKRFM_NUM_THREADS", bad)
        with pytest.raises(ValueError, match="GROKRFM_NUM_THREADS: expected a positive integer"):
            _ = device.threads
    monkeypatch.delenv("GROKRFM_NUM_THREADS")
    assert device.threads == max(pool.num_threads for pool in device._blas)
    monkeypatch.setattr(device, "_blas", [])
    assert device.threads == len(os.sched_getaffinity(0))
