"""What a run may take, what it needs, and who is refused."""

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from grokrfm import FCNClassifier, ModularTask, RFMClassifier
from grokrfm.operations import memory
from grokrfm.operations.cpp import CppOperations
from grokrfm.rfm.cholesky import CholeskyMachine
from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine
from grokrfm.rfm.requirements import require_memory
from grokrfm.tasks import PairData

CPP = CppOperations()
KILOBYTE = 1024


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes files of a system of its own: /proc and /sys lie below a folder."""
    monkeypatch.setattr(memory, "Path", lambda name: tmp_path / name.lstrip("/"))

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def meminfo(available):
    """Kilobytes, as the system has them."""
    return f"MemTotal:       90000 kB\nMemFree:         100 kB\nMemAvailable:   {available} kB\n"


def test_the_smaller_of_machine_and_control_group_is_available(system):
    system("proc/meminfo", meminfo(5000))
    assert memory.available_bytes() == 5000 * KILOBYTE
    system("sys/fs/cgroup/memory.max", "max\n")
    system("sys/fs/cgroup/memory.current", "1000\n")
    assert memory.available_bytes() == 5000 * KILOBYTE
    system("sys/fs/cgroup/memory.max", f"{4000 * KILOBYTE}\n")
    assert memory.available_bytes() == 4000 * KILOBYTE - 1000
    system("sys/fs/cgroup/memory.max", f"{9000 * KILOBYTE}\n")
    assert memory.available_bytes() == 5000 * KILOBYTE


@pytest.mark.parametrize(
    "line, mount, names",
    [
        ("0::/batch/job/step", "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:hugetlb,memory:/batch/job/step",
            "sys/fs/cgroup/memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_the_groups_around_a_process_limit_it_too(system, line, mount, names):
    """A batch system sets its limit on the job, above the group of the process."""
    limit, usage, droppable = names
    system("proc/meminfo", meminfo(5000))
    system("proc/self/cgroup", f"9:name=systemd:/\n{line}\n3:cpuset:/\n")
    unlimited = "max" if limit == "memory.max" else str(2**63 - 4096)
    for group, most, used in (
        ("batch/job/step", unlimited, 100),
        ("batch/job", 3_000_000, 2_000_000),
        ("batch", 4_000_000, 2_500_000),
    ):
        system(f"{mount}/{group}/{limit}", f"{most}\n")
        system(f"{mount}/{group}/{usage}", f"{used}\n")
    assert memory.available_bytes() == 1_000_000
    # Pages of files that the kernel drops when asked are no use of memory.
    system(f"{mount}/batch/job/memory.stat", f"anon 7\n{droppable} 300000\nslab 1\n")
    assert memory.available_bytes() == 1_300_000
    system(f"{mount}/batch/{usage}", "4100000")
    assert memory.available_bytes() == 0


def test_a_system_that_tells_less(system, monkeypatch):
    sizes = {"SC_PHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(memory, "os", SimpleNamespace(sysconf=sizes.__getitem__))
    for text in ("no line of the kind\n", "MemTotal: 5 kB\n", "MemAvailable: some kB\n"):
        system("proc/meminfo", text)
        assert memory.available_bytes() == 7 * 4096
    monkeypatch.setattr(memory, "os", SimpleNamespace())
    assert memory.available_bytes() is None
    system("sys/fs/cgroup/memory.max", "2000")
    assert memory.available_bytes() is None
    system("sys/fs/cgroup/memory.current", "500")
    assert memory.available_bytes() == 1500


def test_what_fits_passes_and_what_does_not_is_refused():
    for available in (None, 800, 1000):
        memory.require(800, available, "a run", "wait")
    for need in (1001, 1500):
        with pytest.raises(
            MemoryError, match=r"^a run needs 0.00 GB, 0.00 GB are available; wait$"
        ):
            memory.require(need, 1000, "a run", "wait")
    with pytest.raises(MemoryError, match=r"3.46 GB, 1.23 GB are"):
        memory.require(3_456_000_000, 1_234_000_000, "", "")


def data_of(p=31):
    split = ModularTask("x+y", p).split(0.5)
    return PairData(split.X_train, split.y_train, split.X_test, split.y_test, p, p)


def settings_of(itemsize, matrices=1, p=31, **parameters):
    """Of a run that keeps so many feature matrices."""
    dtype = {4: "float32", 8: "float64"}[itemsize]
    model = RFMClassifier(p, **{"iterations": matrices - 1, "dtype": dtype, **parameters})
    return model.check_parameters()


def passes(available, monkeypatch, *arguments):
    monkeypatch.setattr(memory, "available_bytes", lambda: available)
    try:
        require_memory(*arguments)
    except MemoryError:
        return False
    return True


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_the_round_and_the_kept_matrices_are_counted(solver, itemsize, monkeypatch):
    """A run keeps a feature matrix of every round, 4 p² numbers each."""
    data = data_of()
    for runs in ([data], [data, data]):
        round_ = (
            ConjugateGradientMachine.required_bytes(runs, itemsize, CPP)
            if solver == "cg"
            else len(runs) * CholeskyMachine.required_bytes(data, itemsize)
        )
        for matrices in (1, 1000):
            kept = len(runs) * matrices * 62**2 * itemsize
            solutions = 6 * 31 * sum(len(run.train) for run in runs) * itemsize
            need = round_ + 2 * kept  # one by one, and at the end as one array
            more = kept + (solutions if solver == "cg" else 0)
            for checkpoints, least in ((False, need), (True, need + more)):
                arguments = (settings_of(itemsize, matrices), solver, runs, CPP, checkpoints)
                assert passes(least, monkeypatch, *arguments)
                assert not passes(least - 1, monkeypatch, *arguments)
                assert not passes(least / 1.5, monkeypatch, *arguments)


def test_what_outlasts_a_run_is_kept_on_the_host(monkeypatch):
    """Feature matrices twice, for a while, and the dual coefficients."""
    data = data_of()

    operations = CppOperations()
    need = ConjugateGradientMachine.required_bytes([data], 4, operations)
    operations.device = SimpleNamespace(xp=None, available_bytes=lambda: need)
    kept = (2 * 1000 * 62**2 + 31 * len(data.train)) * 4
    run = (settings_of(4, 1000), "cg", [data], operations)
    assert passes(kept, monkeypatch, *run)
    assert not passes(kept - 1, monkeypatch, *run)


def test_a_round_takes_what_its_largest_arrays_take():
    data = data_of()
    n, p = len(data.train), 31
    for itemsize in (4, 8):
        kernel_matrix, coefficients = n * n * itemsize, n * p * itemsize
        need = CholeskyMachine.required_bytes(data, itemsize) - (16 << 20)
        assert kernel_matrix + 4 * coefficients < need < 4 * kernel_matrix
        one, six = (
            ConjugateGradientMachine.required_bytes([data], itemsize, CPP, depth=depth)
            for depth in (1, 6)
        )
        assert six - one == 5 * n * p * itemsize


def test_advice_fits_the_solver(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    for solver, said in (("cg", False), ("cholesky", True)):
        with pytest.raises(MemoryError, match="on 480 training pairs") as caught:
            require_memory(settings_of(4), solver, [data_of()], CPP)
        assert ("or solver='cg'" in str(caught.value)) == said


def test_iterations_count_in_a_run(monkeypatch):
    split = ModularTask("x+y", 7).split()
    monkeypatch.setattr(memory, "available_bytes", lambda: 20 << 20)
    RFMClassifier(7, iterations=1).fit(split.X_train, split.y_train)
    with pytest.raises(MemoryError):
        RFMClassifier(7, iterations=10**5).fit(split.X_train, split.y_train)


@pytest.mark.parametrize("large", [{"batch_size": 10**6}, {"agop_penalty": 1e-3}])
def test_batch_and_penalty_count_in_a_network(large, monkeypatch):
    """Four arrays of the batch by the width, and four of the width by the width for a penalty."""
    h, c, d = 2000, 11, 22
    split = ModularTask("x+y", 11).split(0.5)
    n, m = len(split.X_train), len(split.X_test)
    batch = n if "batch_size" in large else 1
    more = 4 * h * h if "agop_penalty" in large else 0
    need = 8 * ((8 * (d + c) + 4 * batch) * h + more + 2 * (n + m) * c) + (16 << 20)

    def fit(available, **parameters):
        monkeypatch.setattr(memory, "available_bytes", lambda: available)
        model = FCNClassifier(
            11,
            **{"hidden_width": h, "batch_size": 1, "epochs": 0, "dtype": "float64", **parameters},
        )
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))

    fit(need, **large)
    fit(need - 1)
    with pytest.raises(MemoryError, match="a network of width 2000"):
        fit(need - 1, **large)


def test_nothing_is_refused_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    require_memory(settings_of(8, 10**4), "cholesky", [data_of()], CPP)
    split = ModularTask("x+y", 7).split()
    model = RFMClassifier(7, iterations=1, solver="cg").fit(split.X_train, split.y_train)
    np.testing.assert_array_equal(model.history_["train_accuracy"], 1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize(
    "p, options, checkpoints",
    [
        (61, {"kernel": "gaussian", "dtype": "float64", "iterations": 3}, False),
        (61, {"solver": "cholesky", "dtype": "float64", "iterations": 3}, False),
        (79, {"iterations": 8, "tol": 1e-2}, False),
        (79, {"iterations": 8, "tol": 1e-2}, True),
        (79, {"kernel": "laplace", "solver": "cg", "iterations": 1, "tol": 1e-2}, True),
        (149, {"iterations": 2, "tol": 1e-2, "agop_classes": 11, "eval_pairs": 64}, True),
        (79, {"iterations": 2, "kernel": "laplace", "agop_classes": 8, "eval_pairs": 40}, False),
    ],
    ids=[
        "dense",
        "cholesky",
        "cg",
        "cg with checkpoints",
        "streamed",
        "sampled",
        "sampled Laplace",
    ],
)
def test_the_estimate_holds_and_is_near_the_peak(p, options, checkpoints):
    """In a process of its own; 16 MB of the estimate are for all that is small."""
    code = f"""
        import gc
        from grokrfm import ModularTask, RFMClassifier

        def fit(p, **options):
            split = ModularTask("x+y", p).split()
            last = []
            def store(current):
                last.clear()
                last.append(current.checkpoint())
            model = RFMClassifier(p, **{{**{options}, **options}})
            return model.fit(split.X_train, split.y_train, (split.X_test, split.y_test),
                             [store] if {checkpoints} else [])

        def in_use(key):
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

        fit(11, iterations=1)
        gc.collect()
        open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
        before = in_use("VmRSS")
        model = fit({p})
        print(in_use("VmHWM") - before, model.solver_)
    """
    code = textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, solver = done.stdout.split()
    needs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "require", lambda need, *_: needs.append(need) or need)
        given = RFMClassifier(p, **options).check_parameters()
        require_memory(given, solver, [data_of(p)], CPP, checkpoints)
    [need] = needs
    assert need / 3 < int(peak) < need
