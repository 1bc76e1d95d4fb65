"""The leaf loops in every instruction set: equal results, and nothing for the linker to mix up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grokrfm import _cpu

ROOT = next(path for path in Path(__file__).parents if (path / "CMakeLists.txt").exists())
SETS = _cpu.build_info()["instruction_sets"]

FLAGS = {
    "default": [],
    "amx-bf16": ["-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],
}

# The tests that compare every compiled operation with the reference.
PARITY = {
    "operations/test_parity.py": ("test_operations",),
    "rfm/test_grid.py": (
        "test_evaluation_of_given_coefficients",
        "test_compiled_and_array_rounds_take_the_same_steps",
    ),
    "network/test_network_loops.py": ("test_compiled_loop_follows_the_arrays_step_by_step",),
}


def run(code, instruction_set):
    return subprocess.run(
        [sys.executable, *code],
        env={**os.environ, "GROKRFM_INSTRUCTION_SET": instruction_set},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize("name", SETS)
def test_every_set_agrees_with_the_reference(name):
    if name == _cpu.build_info()["instruction_set_in_use"]:
        return  # so do all other tests
    code = ["-c", "from grokrfm import _cpu; print(_cpu.build_info()['instruction_set_in_use'])"]
    started = run(code, name)
    if "expected one of" in started.stderr:
        pytest.skip(f"this processor does not support {name}")
    assert started.stdout.strip() == name, started.stderr
    chosen = [f"tests/{file}::{test}" for file, tests in PARITY.items() for test in tests]
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen], name)
    assert done.returncode == 0, done.stdout[-4000:]


def test_the_best_set_is_taken_and_an_unknown_one_refused():
    code = ["-c", "from grokrfm import _cpu; print(_cpu.build_info()['instruction_set_in_use'])"]
    refused = run(code, "x86-64-v9")
    assert refused.returncode != 0
    message = refused.stderr.strip().splitlines()[-1]
    assert "GROKRFM_INSTRUCTION_SET: expected one of default" in message
    supported = message.split("one of ")[1].split(", got ")[0].split(", ")
    assert run(code, "").stdout.strip() == supported[-1]


@pytest.mark.parametrize("name", SETS)
def test_an_object_exports_its_table_alone(name, tmp_path):
    """An inline function compiled for a higher set could be linked in for all processors."""
    compiler, nm = shutil.which("c++"), shutil.which("nm")
    if compiler is None or nm is None:
        pytest.skip("needs a C++ compiler and nm")
    flags = ["-std=c++17", "-fPIC", "-O0", "-DGROKRFM_LOOPS=loops_here"]
    flags += FLAGS.get(name, [f"-march={name}"])
    target = tmp_path / "loops.o"
    source = ROOT / "csrc" / "cpu" / "loops.cpp"
    subprocess.run([compiler, *flags, "-c", str(source), "-o", str(target)], check=True)
    listed = subprocess.run([nm, "-C", str(target)], check=True, capture_output=True, text=True)
    symbols = [line.split(maxsplit=2) for line in listed.stdout.splitlines() if line[0] != " "]
    assert [symbol for _, kind, symbol in symbols if kind not in "tdrb"] == ["grokrfm::loops_here"]
    needed = {line.split()[-1] for line in listed.stdout.splitlines() if line[0] == " "}
    assert needed <= {
        *("acos", "acosf", "sqrt", "sqrtf", "memset", "memcpy"),
        *("_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"),
    }
