"""Whole runs over the modulus: time, conjugate-gradient steps, memory, and how they grow.

    python bench/moduli.py [p ...]

One process a modulus, so that its peak memory is its own. x+y, half of all pairs, default settings
(quadratic kernel, float32), up to 30 iterations; above p = 100 a run ends at 99 % test accuracy.
Writes bench/results/moduli.json, moduli.csv and moduli.png.
"""

import csv
import json
import resource
import subprocess
import sys
from pathlib import Path

import machine
import numpy as np

MODULI = (31, 61, 97, 113, 199, 313, 499)
RESULTS = Path(__file__).parent / "results"


def run(p):
    """One run; facts as a dict."""
    from grokrfm import ModularTask, RFMClassifier

    split = ModularTask("x+y", p).split(0.5, 0)
    model = RFMClassifier(p, solver="cg")
    stop = [lambda current: current.record["test_accuracy"] >= 0.99] if p > 100 else []
    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), stop)
    history = model.history_
    rounds = len(history["iteration"])
    # A round applies the operator once for the start, once a step and once to evaluate, then sums
    # for the AGOP; steps are counted as the most over the classes.
    flops = (10 * (history["cg_iterations"].sum() + 2 * rounds) + 12 * rounds) * p**4
    reached = np.flatnonzero(history["test_accuracy"] >= 0.99)
    return {
        "p": p,
        "train_pairs": len(split.X_train),
        "rounds": rounds,
        "seconds": history["seconds"].sum(),
        "seconds_per_round": history["seconds"].mean(),
        "cg_steps_per_round": history["cg_iterations"].mean(),
        "gflops": flops / history["seconds"].sum() / 1e9,
        "test_accuracy": history["test_accuracy"][-1],
        "iteration_of_99_percent": int(reached[0]) if reached.size else None,
        "largest_residual": history["residual"].max(),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "accuracy_curve": history["test_accuracy"].round(5).tolist(),
    }


def exponents(rows):
    """Slopes of log(seconds a round) and log(memory) over log(p) for p ≥ 199.

    Memory is counted above that of the smallest run, which is the interpreter with its libraries.
    """
    large = [row for row in rows if row["p"] >= 199]
    if len(large) < 2:
        return None
    p = np.log([row["p"] for row in large])
    idle = rows[0]["peak_megabytes"]
    values = {
        "seconds_per_round": [row["seconds_per_round"] for row in large],
        "megabytes": [row["peak_megabytes"] - idle for row in large],
    }
    return {key: float(np.polyfit(p, np.log(value), 1)[0]) for key, value in values.items()}


def plot(rows, path):
    """Time and memory over p, and the accuracy curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    p = np.array([row["p"] for row in rows])
    for ax, key, label, power in (
        (left, "seconds_per_round", "seconds a round", 4),
        (middle, "peak_megabytes", "peak memory (MB)", 3),
    ):
        values = np.array([row[key] for row in rows])
        ax.loglog(p, values, "o-")
        ax.loglog(
            p[2:], values[-1] * (p[2:] / p[-1]) ** power, "--", color="0.6", label=f"$p^{power}$"
        )
        ax.set(xlabel="modulus $p$", ylabel=label)
        ax.set_xticks(p, [str(value) for value in p], rotation=45)
        ax.minorticks_off()
        ax.legend(frameon=False)
    for row in rows:
        right.plot(100 * np.array(row["accuracy_curve"]), label=f"$p$ = {row['p']}")
    right.set(xlabel="iteration", ylabel="test accuracy (%)", xlim=(0, 30))
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main(moduli):
    rows = []
    for p in moduli:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(p)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
        row = json.loads(done.stdout)
        rows.append(row)
        print(
            f"p = {p:4d}  {row['train_pairs']:7d} pairs  {row['rounds']:2d} rounds  "
            f"{row['seconds']:8.2f} s  {row['seconds_per_round']:8.4f} s a round  "
            f"{row['cg_steps_per_round']:5.1f} steps  {row['gflops']:6.1f} GFLOP/s  "
            f"{row['peak_megabytes']:7.0f} MB  {100 * row['test_accuracy']:6.2f} %",
            flush=True,
        )
    facts = machine.facts()
    for row in rows:
        row["share_of_gemm_rate"] = row["gflops"] / facts["gemm_gflops"]["float32"]
    growth = exponents(rows)
    print("growth exponents from p = 199 on:", growth)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "moduli.json").write_text(
        json.dumps({"machine": facts, "growth_exponents": growth, "runs": rows}, indent=1) + "\n"
    )
    columns = [key for key in rows[0] if key != "accuracy_curve"]
    with (RESULTS / "moduli.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, RESULTS / "moduli.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run(int(sys.argv[2])), default=float))
    else:
        main([int(argument) for argument in sys.argv[1:]] or MODULI)
