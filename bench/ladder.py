"""What each step of the conjugate-gradient solver buys.

    python bench/ladder.py

x+y, half of all pairs, float32, tolerance 1e-5: the solver with parts switched off, over the same
rounds. Prints a table and writes bench/results/ladder.json.
"""

import json
from pathlib import Path
from unittest import mock

import machine
import numpy as np
from grokrfm import ModularTask, RFMClassifier
from grokrfm.rfm.conjugate_gradients import ConjugateGradientMachine

RUNS = ((61, 30), (199, 15))  # modulus, iterations


def no_coarse(M, *_):
    return np.zeros_like(M)


STEPS = (
    # name, stands in for coarse_matrix, stands in for ConjugateGradientMachine._prediction
    ("diagonal preconditioner, start from zero", no_coarse, lambda self: []),
    ("+ rows and columns", None, lambda self: []),
    ("+ start from the last solution, scaled", None, lambda self: [1.0] * min(self._rounds, 1)),
    ("+ start predicted from the last six", None, None),
)


def run(p, iterations, coarse, prediction):
    split = ModularTask("x+y", p).split(0.5, 0)
    model = RFMClassifier(p, iterations=iterations, solver="cg")
    with (
        mock.patch.multiple(
            "grokrfm.rfm.grid", **({"coarse_matrix": coarse} if coarse else {"__doc__": ""})
        ),
        mock.patch.object(
            ConjugateGradientMachine,
            "_prediction",
            prediction or ConjugateGradientMachine._prediction,
        ),
    ):
        model.fit(split.X_train, split.y_train, (split.X_test, split.y_test))
    return model.history_


def main():
    rows = []
    for p, iterations in RUNS:
        for name, coarse, prediction in STEPS:
            history = run(p, iterations, coarse, prediction)
            rows.append(
                {
                    "p": p,
                    "step": name,
                    "mean_steps": history["cg_iterations"].mean(),
                    "most_steps": history["cg_iterations"].max(),
                    "milliseconds_per_round": 1e3 * history["seconds"].mean(),
                    "largest_residual": history["residual"].max(),
                    "test_accuracy": history["test_accuracy"][-1],
                }
            )
            row = rows[-1]
            print(
                f"p = {p:3d}  {name:42s} {row['mean_steps']:5.1f} steps (most "
                f"{row['most_steps']:3.0f})  {row['milliseconds_per_round']:8.1f} ms a round",
                flush=True,
            )
    path = Path(__file__).parent / "results" / "ladder.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine.facts(), "steps": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
