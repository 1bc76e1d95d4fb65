"""What is done over and over, each in an environment of its own: `nox -s NAME [-- ARGUMENTS]`."""

import subprocess

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
EXTRAS = PROJECT["optional-dependencies"]


@nox.session
def lint(session):
    """Style, types and format."""
    session.install(*PROJECT["dependencies"], *EXTRAS["lint"])
    patterns = ["csrc/*.h", "csrc/*.cpp", "csrc/*.cu"]
    sources = subprocess.check_output(["git", "ls-files", *patterns], text=True).split()
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")
    session.run("clang-format", "--dry-run", "-Werror", *sources)


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
