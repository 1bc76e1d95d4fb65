"""Sampled runs over the modulus: time beside the GEMM floor, memory, accuracy, and how they grow.

    python bench/sampled.py [p ...] [--kernel gaussian] [--exact] [--tol TOL] [--iterations T]
                            [--name NAME]

One process a modulus, so that its peak memory is its own. x+y, half of all pairs, a dozen classes
drawn a round, float32, tol 1e-3 unless given; a run ends at 99 % accuracy on the drawn pairs, or
after T updates. --exact runs each modulus with all classes and default settings too. Writes
bench/results/NAME.json, NAME.csv and NAME.png.

The floor is that of the operations counted while they run, at the GEMM rate of the same process:
the mean over 1000 × 1000 products after every round, as other work on the host comes and goes. Of a
column it has 10 p³ flops for each step of conjugate gradients, once more for a drawn pair and for a
class of an exact run, and 12 p³ for the AGOP of a class; off the quadratic family 2 n² a column for
each product and 4 n² a class. What 2p × 2p matrices take, 20 (2p)³ a round, is not in it.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import machine
import numpy as np

MODULI = {"quadratic": (199, 499, 997, 1999), "gaussian": (97, 199, 313)}
DRAWN = {"quadratic": (12, 64), "gaussian": (16, 48)}
RESULTS = Path(__file__).parent / "results"


class Counted:
    """Floating-point operations of a run's columns, counted at the operations."""

    def __init__(self, operations, p):
        self.flops, self._operations, self._p = 0, operations, p
        self._round, self._product, self._agop = (
            getattr(operations, name) for name in ("grid_round", "kernel_product", "agop")
        )
        operations.grid_round = self.grid_round
        operations.kernel_product = self.kernel_product
        operations.agop = self.agop

    def grid_round(self, problem, solutions, own, targets=None, **how):
        sums = self._round(problem, solutions, own, targets=targets, **how)
        pairs = 0 if targets is None else len(targets)
        classes = len(solutions) - pairs
        evaluations = pairs if pairs else classes  # at the start, or at the end
        products = int(sums.iterations.sum()) + evaluations
        self.flops += (10 * products + 12 * classes) * self._p**3
        return sums

    def kernel_product(self, kernel, M, inputs, vectors, other=None):
        self.flops += 2 * len(inputs) * vectors.size
        return self._product(kernel, M, inputs, vectors, other)

    def agop(self, kernel, M, train, alpha, centred):
        self.flops += 4 * len(train) ** 2 * alpha.shape[1]
        return self._agop(kernel, M, train, alpha, centred)


def run(p, kernel, sampled, pairs, scored, iterations, tol):
    """One run; facts as a dict."""
    from grokrfm import ModularTask, RFMClassifier
    from grokrfm.operations import make_operations

    split = ModularTask("x+y", p).split(0.5, 0)
    classes, drawn = DRAWN[kernel]
    given = {"agop_classes": classes, "eval_pairs": pairs or drawn, "tol": tol} if sampled else {}
    if iterations is not None:
        given["iterations"] = iterations
    model = RFMClassifier(p, kernel=kernel, backend="cpp", **given)
    counted, products = Counted(make_operations("cpp"), p), []

    def stop(current):
        products.extend(machine.gemm_seconds(1000, "float32", 20))
        record = current.record
        print(
            f"p = {p} t = {current.iteration} accuracy {record['test_accuracy']:.4f} "
            f"{record['seconds']:.2f} s",
            file=sys.stderr,
            flush=True,
        )
        return iterations is None and record["test_accuracy"] >= 0.99

    model.fit(split.X_train, split.y_train, (split.X_test, split.y_test), [stop])
    history, flops = model.history_, counted.flops
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    facts = {
        "p": p,
        "kernel": kernel,
        "agop_classes": given.get("agop_classes"),
        "eval_pairs": given.get("eval_pairs"),
        "tol": model.tol,
        "train_pairs": len(split.X_train),
        "rounds": len(history["iteration"]),
        "seconds": history["seconds"].sum(),
        "seconds_per_round": history["seconds"].mean(),
        "cg_steps_per_round": history["cg_iterations"].mean(),
        "test_accuracy": history["test_accuracy"][-1],
        "test_accuracy_error": history.get("test_accuracy_error", np.zeros(1))[-1],
        "largest_residual": history["residual"].max(),
        "peak_megabytes": peak,
        "accuracy_curve": history["test_accuracy"].round(5).tolist(),
        "steps_curve": history["cg_iterations"].tolist(),
        "seconds_curve": history["seconds"].round(4).tolist(),
    }
    if scored:
        chosen = np.random.default_rng(1).choice(len(split.X_test), scored, replace=False)
        began = time.perf_counter()
        facts["scored_pairs"] = scored
        facts["score"] = model.score(split.X_test[chosen], split.y_test[chosen])
        facts["score_seconds"] = time.perf_counter() - began
        facts["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    rate = 2 * 1000**3 / np.mean(products)
    facts["gemm_gflops"] = rate / 1e9
    facts["floor_seconds"] = flops / rate
    facts["times_the_floor"] = facts["seconds"] / facts["floor_seconds"]
    return facts


def exponents(rows):
    """Slopes of log(seconds a round) and log(memory) over log(p) of the sampled runs."""
    rows = [row for row in rows if row["agop_classes"]]
    if len(rows) < 2:
        return None
    p = np.log([row["p"] for row in rows])
    return {
        key: float(np.polyfit(p, np.log([row[key] for row in rows]), 1)[0])
        for key in ("seconds_per_round", "peak_megabytes")
    }


def plot(rows, path):
    """Time and memory over p, and the accuracy curves with their standard error."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for sampled, label in ((True, "sampled"), (False, "all classes")):
        of_modulus = {row["p"]: row for row in rows if bool(row["agop_classes"]) is sampled}
        chosen = list(of_modulus.values())  # of several tolerances one
        if not chosen:
            continue
        p = [row["p"] for row in chosen]
        left.loglog(p, [row["seconds_per_round"] for row in chosen], "o-", label=label)
        middle.loglog(p, [row["peak_megabytes"] for row in chosen], "o-", label=label)
        if sampled:
            floor = [row["floor_seconds"] / row["rounds"] for row in chosen]
            left.loglog(p, floor, "--", color="0.6", label="GEMM floor")
    p = sorted({row["p"] for row in rows})
    for ax, label in ((left, "seconds a round"), (middle, "peak memory (MB)")):
        ax.set(xlabel="modulus $p$", ylabel=label)
        ax.set_xticks(p, [str(value) for value in p])
        ax.minorticks_off()
        ax.legend(frameon=False)
    for row in rows:
        if row["agop_classes"]:
            a = np.array(row["accuracy_curve"])
            error = np.sqrt(a * (1 - a) / row["eval_pairs"])
            right.errorbar(
                np.arange(len(a)),
                100 * a,
                100 * error,
                capsize=2,
                label=f"$p$ = {row['p']}, tol {row['tol']:g}",
            )
    right.set(xlabel="iteration", ylabel="accuracy on the drawn pairs (%)")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def one(*arguments):
    """A run in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(arguments)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent
    )
    row = json.loads(done.stdout)
    print(
        f"{row['kernel']} p = {row['p']:4d}  {row['train_pairs']:7d} pairs  "
        f"{row['rounds']:2d} rounds  {row['seconds']:8.2f} s  "
        f"{row['times_the_floor']:5.2f} x floor ({row['gemm_gflops']:.0f} GFLOP/s)  "
        f"{row['peak_megabytes']:7.0f} MB  {100 * row['test_accuracy']:6.2f} % "
        f"± {100 * row['test_accuracy_error']:.2f}  {row.get('score', '')}",
        flush=True,
    )
    return row


def _case(row):
    return row["p"], row["agop_classes"] is None, row.get("tol", 1e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("moduli", nargs="*", type=int)
    parser.add_argument("--kernel", default="quadratic", choices=MODULI)
    parser.add_argument("--exact", action="store_true", help="all classes too")
    parser.add_argument("--pairs", type=int, help="evaluation pairs drawn")
    parser.add_argument("--scored", type=int, default=0, help="pairs scored at the end")
    parser.add_argument("--tol", type=float, default=1e-3, help="of the classes (default: 1e-3)")
    parser.add_argument("--iterations", type=int, help="updates (default: until 99 %% accuracy)")
    parser.add_argument("--name", help="of the files to write (default: sampled_KERNEL)")
    given = parser.parse_args()
    rows = []
    for p in given.moduli or MODULI[given.kernel]:
        columns = given.pairs, given.scored, given.iterations
        rows.append(one(p, given.kernel, True, *columns, given.tol))
        if given.exact:
            rows.append(one(p, given.kernel, False, None, 0, given.iterations, None))
    RESULTS.mkdir(exist_ok=True)
    name = given.name or f"sampled_{given.kernel}"
    stored = RESULTS / f"{name}.json"
    if given.moduli and stored.exists():  # the others stay as they are
        kept = json.loads(stored.read_text())["runs"]
        rows += [row for row in kept if _case(row) not in map(_case, rows)]
        rows.sort(key=_case)
    growth = exponents(rows)
    print("growth exponents:", growth)
    found = {"machine": machine.facts(), "growth_exponents": growth, "runs": rows}
    stored.write_text(json.dumps(found, indent=1) + "\n")
    columns = [key for key in rows[0] if not key.endswith("_curve")]
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, RESULTS / f"{name}.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run(*json.loads(sys.argv[2])), default=float))
    else:
        main()
