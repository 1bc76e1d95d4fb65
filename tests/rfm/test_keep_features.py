"""Runs that keep only some of their feature matrices are otherwise the same runs."""

import copy
import json
import pickle

import grokrfm
import numpy as np
import pytest
from grokrfm import ModularTask, RFMClassifier, fit_many
from grokrfm.operations import memory
from grokrfm.rfm import requirements, rounds

SPLIT = ModularTask("x+y", 7).split(0.6, 0)
SOLVERS = {"cg": {"solver": "cg"}, "cholesky": {"kernel": "gaussian", "ridge": 0.1}}
KEPT = {"all": list(range(8)), "last": [7], 1: list(range(8)), 3: [0, 3, 6, 7], 100: [0, 7]}


def fit(keep, solver="cg", callbacks=(), checkpoint=None, **changes):
    parameters = {"iterations": 7, "keep_features": keep, **SOLVERS[solver], **changes}
    return RFMClassifier(7, **parameters).fit(SPLIT, callbacks=callbacks, checkpoint=checkpoint)


def assert_same_run(model, whole, kept):
    """But for the matrices that are not kept."""
    assert model.kept_iterations_.tolist() == kept and model.kept_iterations_.dtype == np.int64
    np.testing.assert_array_equal(model.feature_matrices_, whole.feature_matrices_[kept])
    np.testing.assert_array_equal(model.feature_matrix_, whole.feature_matrix_)
    np.testing.assert_array_equal(model.dual_coef_, whole.dual_coef_)
    assert model.n_iter_ == whole.n_iter_
    assert list(model.history_) == list(whole.history_)
    for key in set(whole.history_) - {"seconds", "feature_alignment"}:
        np.testing.assert_array_equal(model.history_[key], whole.history_[key], err_msg=key)
    expected = np.full(whole.n_iter_ + 1, np.nan)
    expected[kept] = whole.history_["feature_alignment"][kept]
    np.testing.assert_array_equal(model.history_["feature_alignment"], expected)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("keep", KEPT)
def test_the_run_is_the_same_whatever_is_kept(solver, keep):
    whole = fit("all", solver)
    assert not np.isnan(whole.history_["feature_alignment"]).any()
    seen = []
    model = fit(keep, solver, [lambda current: seen.append(current.feature_matrix.copy())])
    np.testing.assert_array_equal(seen, whole.feature_matrices_)
    assert_same_run(model, whole, KEPT[keep])
    t = KEPT[keep][0]
    there, expected = model.at_iteration(t), whole.at_iteration(t)
    np.testing.assert_array_equal(there.dual_coef_, expected.dual_coef_)
    assert there.kept_iterations_.tolist() == [0]


def test_a_round_that_was_not_kept():
    for keep, listed in (("last", "7"), (3, "0, 3, 6, 7")):
        model = fit(keep)
        with pytest.raises(
            ValueError,
            match="^iteration: expected one whose feature matrix was kept, one of "
            f"{listed}; got 5, and keep_features={keep!r}$",
        ):
            model.at_iteration(5)


@pytest.mark.parametrize(
    "keep, error, message",
    [
        ("some", ValueError, "expected 'all', 'last' or an integer, got 'some'"),
        (0, ValueError, "expected an integer >= 1, got 0"),
        (2.0, TypeError, "expected an integer, got 2.0"),
        (True, TypeError, "expected an integer, got True"),
    ],
)
def test_what_cannot_be_asked_for(keep, error, message):
    with pytest.raises(error, match=f"keep_features: {message}"):
        fit(keep)


def test_all_matrices_are_refused_where_they_take_too_much(monkeypatch):
    def never(*arguments, **named):
        raise AssertionError("work was done")

    monkeypatch.setattr(rounds, "make_machine", never)
    monkeypatch.setattr(requirements, "KEPT_BYTES", 8 * 14**2 * 4 - 1)
    message = "keep_features: expected 'last' or a number of rounds above 1, since all 8 .* got "
    for keep in ("all", 1):
        with pytest.raises(ValueError, match=message + repr(keep)):
            fit(keep)
        with pytest.raises(ValueError, match=message + repr(keep)):
            RFMClassifier(7, iterations=7, keep_features=keep).require_memory(29, 20)
    monkeypatch.undo()
    monkeypatch.setattr(requirements, "KEPT_BYTES", 8 * 14**2 * 4)
    fit("all")
    monkeypatch.setattr(requirements, "KEPT_BYTES", 0)
    fit("last")
    fit(2)


def test_memory_counts_what_is_kept(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)

    def need(keep, iterations=999):
        return RFMClassifier(31, iterations=iterations, keep_features=keep).require_memory(480, 481)

    matrix = 3 * 62**2 * 4  # one by one, as one array, in a checkpoint
    assert need("all") - need("last") == 998 * matrix
    assert need(10) - need("last") == 100 * matrix
    assert need("last", 5) == need("last", 999) == need("last", 0) + matrix
    monkeypatch.setattr(memory, "available_bytes", lambda: 20 << 20)
    with pytest.raises(MemoryError, match="or keep_features='last'"):
        RFMClassifier(7, iterations=10**5).fit(SPLIT)
    RFMClassifier(7, iterations=10, keep_features="last").fit(SPLIT)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("keep", ["last", 3])
def test_checkpoints_hold_what_is_kept(solver, keep):
    whole = fit("all", solver)
    stored = []
    fit(keep, solver, [lambda current: stored.append(current.checkpoint())])
    for t, checkpoint in enumerate(stored):
        kept = sorted({*(KEPT[3] if keep == 3 else []), t} & set(range(t + 1)))
        assert checkpoint["kept_iterations"].tolist() == kept
        assert len(checkpoint["feature_matrices"]) == len(kept)
        assert_same_run(fit(keep, solver, checkpoint=checkpoint), whole, KEPT[keep])
    # Another choice goes on with what is left; what it does not keep is dropped.
    left = sorted({*(KEPT[3][:2] if keep == 3 else []), 4, 5, 6, 7})
    assert_same_run(fit("all", solver, checkpoint=stored[4]), whole, left)
    assert_same_run(fit("last", solver, checkpoint=stored[4]), whole, [7])
    # Only the dual coefficients are missing.
    short = fit("all", solver, iterations=4)
    assert_same_run(fit("last", solver, checkpoint=stored[4], iterations=4), short, [4])


@pytest.mark.parametrize("keep", ["last", 3])
def test_an_early_stop(keep):
    model = fit(keep, callbacks=[lambda current: current.iteration == 4])
    assert_same_run(model, fit("all", iterations=4), [0, 3, 4] if keep == 3 else [4])


@pytest.mark.parametrize("keep", ["last", 3])
@pytest.mark.parametrize("where", ["in a callback", "in a round"])
def test_a_broken_run(keep, where, monkeypatch):
    def interrupt(current):
        if current.iteration == 5:
            raise KeyboardInterrupt

    def broken_row(t, *rest, row=rounds._row):
        if t == 6:
            raise KeyboardInterrupt
        return row(t, *rest)

    if where == "in a round":
        monkeypatch.setattr(rounds, "_row", broken_row)
    model = RFMClassifier(7, iterations=7, solver="cg", keep_features=keep)
    with pytest.raises(KeyboardInterrupt):
        model.fit(SPLIT, callbacks=[interrupt] if where == "in a callback" else [])
    monkeypatch.undo()
    kept = [0, 3, 5] if keep == 3 else [5]
    assert model.kept_iterations_.tolist() == kept and model.n_iter_ == 5
    np.testing.assert_array_equal(model.feature_matrices_, fit("all").feature_matrices_[kept])


@pytest.mark.parametrize("keep", ["last", 3])
def test_copies_and_files(keep, tmp_path):
    model, whole = fit(keep), fit("all")
    model.save(tmp_path / "model.npz")
    loaded = grokrfm.load(tmp_path / "model.npz")
    assert loaded.get_params() == model.get_params()
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_run(other, whole, KEPT[keep])
        at_last = other.at_iteration(7)
        np.testing.assert_array_equal(at_last.dual_coef_, model.at_iteration(7).dual_coef_)


def test_many_runs(backend):
    options = {"iterations": 7, "solver": "cg", "backend": backend}
    splits = [SPLIT, ModularTask("x+y", 7).split(0.6, 1)]
    whole = fit_many([RFMClassifier(7, **options) for _ in splits], splits)
    for keep in ("last", 3):
        models = [RFMClassifier(7, **options, keep_features=keep) for _ in splits]
        for model, other in zip(fit_many(models, splits), whole, strict=True):
            assert_same_run(model, other, KEPT[keep])


@pytest.mark.parametrize("keep", ["last", "3"])
def test_a_run_folder(keep, run, tmp_path):
    options = ["--modulus", "7", "--keep-features", keep, "--checkpoint-every", "2"]
    begun = run("run", *options, "--iterations", "4", "--output", "out")
    assert begun.returncode == 0, begun.stderr
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["keep_features"] == (3 if keep == "3" else "last")
    with np.load(tmp_path / "out" / "checkpoint.npz") as stored:
        assert stored["kept_iterations"].tolist() == ([0, 3, 4] if keep == "3" else [4])
    assert run("run", "--resume", "out", "--iterations", "7").returncode == 0
    model = grokrfm.load_run(tmp_path / "out")
    kept = KEPT[3] if keep == "3" else [7]
    assert model.kept_iterations_.tolist() == kept and model.n_iter_ == 7
    split = ModularTask("x+y", 7).split(0.5, 0)
    whole = RFMClassifier(7, iterations=7).fit(split)
    np.testing.assert_array_equal(model.feature_matrices_, whole.feature_matrices_[kept])
    refused = run("run", "--modulus", "7", "--keep-features", "some")
    assert refused.returncode == 2 and "keep_features: expected 'all'" in refused.stderr
