"""The search for the training fraction from which on runs generalise."""

from dataclasses import dataclass

import numpy as np
import pytest
from grokrfm import NetworkRun, RFMRun, critical_fraction
from grokrfm.experiments import store

RUN = RFMRun(modulus=5)


@dataclass(frozen=True)
class Made(RFMRun):
    """Generalises above a fraction that depends on the seed; `shape` is that of its curve."""

    shape: str = "settled"

    def run(self):
        critical = 0.3 + 0.1 * self.seed
        t = np.arange(self.iterations + 1)
        if self.shape == "slow":  # every run comes to an end, those of small fractions late
            accuracy = np.clip(t * (self.train_fraction - critical + 0.2) / 10, 0, 1)
        else:
            top = {"settled": 1.0, "plateau": 0.8}[self.shape]
            accuracy = np.where(t > 3, top if self.train_fraction >= critical else 0.0, 0.0)
        none = np.zeros(len(t))
        solver = {"residual": none, "cg_iterations": none, "solver_fallback": none}
        return {"iteration": t, "test_accuracy": accuracy, **solver}


def search(run, folder, **options):
    return critical_fraction(run, folder=folder, progress=False, **options)


def test_an_interval_for_every_combination_and_seed(tmp_path):
    over = {"modulus": [5, 7]}
    table = search(Made(), tmp_path, over=over, seeds=range(2), resolution=0.02)
    assert [(row["modulus"], row["seed"]) for row in table] == [(5, 0), (5, 1), (7, 0), (7, 1)]
    for row in table:
        assert row["lower"] < 0.3 + 0.1 * row["seed"] <= row["upper"]
        assert 0.01 < row["upper"] - row["lower"] <= 0.02 and row["flag"] == ""
        assert row["critical"] == pytest.approx((row["lower"] + row["upper"]) / 2)
        assert row["status"] == "done" and row["runs"] == 6
    assert len(list(tmp_path.glob("*.npz"))) == 4 * 6


def test_a_finer_search_goes_on_from_a_coarser_one(tmp_path, monkeypatch):
    [coarse] = search(Made(), tmp_path, resolution=0.1)
    done = set(tmp_path.glob("*.npz"))
    [fine] = search(Made(), tmp_path, resolution=0.05)
    assert coarse["lower"] <= fine["lower"] < fine["upper"] <= coarse["upper"]
    assert done < set(tmp_path.glob("*.npz")) and len(list(tmp_path.glob("*.npz"))) == fine["runs"]


def test_flags(tmp_path):
    [plateau] = search(Made(shape="plateau"), tmp_path)
    [slow] = search(Made(shape="slow"), tmp_path)
    [longer] = search(Made(shape="slow"), tmp_path, more_iterations=30)
    assert plateau["flag"] == "plateau"
    assert slow["flag"] == "unsettled" and longer["flag"] == "unsettled"
    assert slow["critical"] == pytest.approx(0.3 - 0.2 + 5 / 30, abs=0.01)
    assert longer["critical"] == pytest.approx(0.3 - 0.2 + 5 / 60, abs=0.01)
    [low] = search(Made(), tmp_path, bounds=(0.5, 0.9))
    assert low["flag"] == "bounds" and low["lower"] == 0.5


def test_a_run_that_fails_ends_its_search(tmp_path, monkeypatch):
    monkeypatch.setattr(store.RFMRun, "run", lambda self: 1 / 0)
    [row] = search(RUN, tmp_path)
    assert row["status"] == "failed" and "ZeroDivisionError" in row["error"]


@pytest.mark.parametrize(
    "run, options, message",
    [
        (RUN, {"over": {"train_fraction": [0.5]}}, "over: expected fields other than"),
        (RFMRun(modulus=5, train_count=9), {}, "train_count: expected None"),
        (RUN, {"bounds": (0.5, 0.505)}, "bounds: expected them further apart than 0.01"),
        (RUN, {"accuracy": 1.0}, r"accuracy: expected a number in \(0, 1\)"),
        (NetworkRun(modulus=5), {"more_iterations": -1}, "more_iterations: expected an integer"),
    ],
)
def test_bad_arguments_are_refused(run, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        search(run, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
