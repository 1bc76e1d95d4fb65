"""Machine facts into the JSON results; flops and share of the GEMM rate into the summary."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]

import machine  # noqa: E402


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info.clear()
    machine_info.update(machine.facts())


def pytest_benchmark_update_json(config, benchmarks, output_json):
    for entry in output_json["benchmarks"]:
        entry["stats"].pop("data", None)


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    timed = [bench for bench in session.benchmarks if bench] if session else []
    if not timed:
        return
    terminalreporter.section("share of the measured GEMM rate")
    for bench in timed:
        # Where the timed call holds more than what is reported, the figure is handed over.
        median = bench.extra_info.get("seconds", bench.stats.median)
        line = f"{bench.name:55s} {1e3 * median:9.2f} ms"
        if flops := bench.extra_info.get("flops"):
            rate = flops / median
            share = rate / machine.gemm_rate(bench.extra_info["dtype"])
            bench.extra_info |= {"gflops": rate / 1e9, "share_of_gemm_rate": share}
            line += f" {flops / 1e9:8.2f} GFLOP {rate / 1e9:8.1f} GFLOP/s {100 * share:5.1f} %"
        if ratio := bench.extra_info.get("times_faster_than_baseline"):
            line += f"   {ratio:.1f} times faster than the baseline"
            line += f" ({1e3 * bench.extra_info['baseline_seconds']:.0f} ms)"
        if share := bench.extra_info.get("share_of_a_round"):
            line += f"   {100 * share:.1f} % of a round"
        terminalreporter.write_line(line)
