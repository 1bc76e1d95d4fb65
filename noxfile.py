"""What is done over and over, each in an environment of its own: `nox -s NAME [-- ARGUMENTS]`."""

import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
EXTRAS = PROJECT["optional-dependencies"]

# sanitizer: flags, libraries loaded before Python, what they are told, tests.
SANITIZERS = {
    "address": (
        "-fsanitize=address,undefined",
        ["libasan.so", "libubsan.so"],
        # Python never frees some of its memory, and its allocator hides accesses out of bounds.
        {
            "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "PYTHONMALLOC": "malloc",
        },
        # Without tests that measure memory, or leave a process too little for a sanitizer, and
        # without lanes, which change stacks behind its back.
        ["tests/operations", "-k", "not (near_the_peak or threads_that_can_be_had or lanes)"],
    ),
    "thread": (
        "-fsanitize=thread",
        ["libtsan.so"],
        # OpenBLAS is not compiled for it: what its own threads do looks like races.
        {
            "TSAN_OPTIONS": "history_size=7",
            "GROKRFM_NUM_THREADS": "3",
            "OPENBLAS_NUM_THREADS": "1",
        },
        [
            *("tests/operations/test_kernel_product.py", "tests/operations/test_robustness.py"),
            *("tests/operations/test_threads.py", "tests/network/test_network_loops.py"),
        ],
    ),
}


@nox.session
def lint(session):
    """Style, types and format."""
    session.install(*PROJECT["dependencies"], *EXTRAS["lint"])
    sources = (path for path in Path("csrc").rglob("*") if path.suffix in (".h", ".cpp", ".cu"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("clang-format", "--dry-run", "-Werror", *map(str, sources))


@nox.session
def tests(session):
    """All tests, or those named."""
    session.install(".[test]")
    arguments = session.posargs or ["-n", "auto", "--dist", "loadfile"]
    session.run("python", "-m", "pytest", *arguments)


@nox.session
def docs(session):
    """The pages, in build/docs."""
    session.install(".[docs]")
    session.run("sphinx-build", "-W", "-b", "html", "docs", "build/docs")


@nox.session
def bench(session):
    """The timings of operations, or those named: bench/README.md."""
    session.install(".[bench]")
    arguments = session.posargs or ["bench/test_dense.py", "bench/test_grid.py"]
    session.run("python", "-m", "pytest", *arguments)


@nox.session
@nox.parametrize("sanitizer", list(SANITIZERS), ids=list(SANITIZERS))
def sanitize(session, sanitizer):
    """Tests with everything compiled for a sanitizer of GCC."""
    flags, libraries, told, tests = SANITIZERS[sanitizer]
    flags += " -fno-omit-frame-pointer -g1 -O1"
    settings = {
        "build-dir": f"build/sanitize-{sanitizer}",
        "cmake.build-type": "None",  # no flags but these
        "cmake.define.CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",
        "cmake.define.GROKRFM_CUDA": "OFF",
        "install.strip": "false",
    }
    options = [f"--config-settings={key}={value}" for key, value in settings.items()]
    variables = {"CXX": "g++", "CXXFLAGS": flags, "LDFLAGS": flags}
    session.install(*options, ".[test]", env=variables)
    preloaded = [
        subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()
        for name in [*libraries, "libstdc++.so.6"]
    ]
    variables |= told | {"LD_PRELOAD": " ".join(preloaded)}
    arguments = session.posargs or tests
    # -s: what a sanitizer reports while a test passes is shown, too.
    session.run("python", "-m", "pytest", "-s", *arguments, env=variables)
