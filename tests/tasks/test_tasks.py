import itertools

import numpy as np
import pytest
from grokrfm import ModularTask, MultiTask
from grokrfm.tasks import OPERATIONS
from grokrfm.tasks.arithmetic import is_prime
from hypothesis import given
from hypothesis import strategies as st

# The operations once more, on Python integers: exact, whatever their size.
EXACT = {
    "x+y": lambda x, y, p: x + y,
    "x-y": lambda x, y, p: x - y,
    "x*y": lambda x, y, p: x * y,
    "x/y": lambda x, y, p: x * pow(y, -1, p),
    "x^2+y": lambda x, y, p: x**2 + y,
    "x^2+y^2": lambda x, y, p: x**2 + y**2,
    "x^2+xy+y^2": lambda x, y, p: x**2 + x * y + y**2,
    "x^2+xy+y^2+x": lambda x, y, p: x**2 + x * y + y**2 + x,
    "x^3+xy": lambda x, y, p: x**3 + x * y,
    "x^3+xy^2+x": lambda x, y, p: x**3 + x * y**2 + x,
    "x/y if y odd else x-y": lambda x, y, p: x * pow(y, -1, p) if y % 2 else x - y,
}


def test_every_operation_is_checked():
    assert tuple(EXACT) == OPERATIONS


@pytest.mark.parametrize("p", [2, 3, 7, 13, 61])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_labels(operation, p):
    task = ModularTask(operation, modulus=p)
    defined = [
        (x, y) for x, y in itertools.product(range(p), repeat=2) if operation != "x/y" or y != 0
    ]
    assert [tuple(pair) for pair in task.pairs] == defined
    expected = [EXACT[operation](x, y, p) % p for x, y in defined]
    np.testing.assert_array_equal(task.labels, expected)
    assert task.labels.dtype == task.pairs.dtype == np.int64
    assert (task.n_classes, task.modulus) == (p, p)


def test_composite_modulus_where_the_operation_is_defined():
    for operation in OPERATIONS:
        if "/" not in operation:
            assert len(ModularTask(operation, modulus=6).pairs) == 36
        else:
            with pytest.raises(ValueError, match="prime modulus, got 6"):
                ModularTask(operation, modulus=6)


def test_callable():
    def skewed(x, y):
        return x + 2 * y if y else None

    task = ModularTask(skewed, modulus=5)
    assert task.operation == "skewed"
    assert len(task.pairs) == 20
    np.testing.assert_array_equal(task.labels, task.pairs @ [1, 2] % 5)


def test_cayley_table_of_the_symmetric_group():
    elements = list(itertools.permutations(range(5)))
    number = {element: i for i, element in enumerate(elements)}
    table = [[number[tuple(g[h[k]] for k in range(5))] for h in elements] for g in elements]
    task = ModularTask.from_table(table)
    assert (task.modulus, task.n_classes, len(task.pairs)) == (120, 120, 14400)
    assert all(len(set(row)) == 120 for row in task.table)


def test_table_may_leave_pairs_out_and_have_more_labels_than_rows():
    task = ModularTask.from_table([[0, 5], [-1, 2]])
    assert (task.modulus, task.n_classes) == (2, 6)
    np.testing.assert_array_equal(task.pairs, [[0, 0], [0, 1], [1, 1]])


@given(p=st.integers(3, 20), fraction=st.floats(0.05, 0.95), seed=st.integers(0, 2**32))
def test_split_is_a_seeded_partition(p, fraction, seed):
    task = ModularTask("x+y", modulus=p)
    if int(fraction * p * p + 1e-9) == 0:
        return
    split, again = (task.split(fraction, seed) for _ in range(2))
    np.testing.assert_array_equal(split.X_train, again.X_train)
    pairs = np.concatenate([split.X_train, split.X_test])
    assert len(split.X_train) == int(fraction * p * p + 1e-9)
    np.testing.assert_array_equal(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], task.pairs)
    np.testing.assert_array_equal(split.y_train, split.X_train.sum(axis=1) % p)
    np.testing.assert_array_equal(split.y_test, split.X_test.sum(axis=1) % p)
    assert not split.noisy.any()


def test_split_by_count():
    task = ModularTask("x+y", modulus=7)
    assert len(task.split(train_count=1).X_train) == 1
    everything = task.split(train_count=49)
    assert (len(everything.X_train), len(everything.X_test)) == (49, 0)
    assert (task.split(seed=1).X_train != task.split(seed=2).X_train).any()


def test_label_noise_replaces_that_share_of_training_labels():
    split = ModularTask("x+y", modulus=20).split(0.5, seed=3, label_noise=0.25)
    clean = split.X_train.sum(axis=1) % 20
    np.testing.assert_array_equal(split.y_train != clean, split.noisy)
    assert split.noisy.sum() == 50
    np.testing.assert_array_equal(split.y_test, split.X_test.sum(axis=1) % 20)


def test_every_wrong_label_may_come():
    split = ModularTask("x+y", modulus=7).split(0.9, label_noise=0.9)
    shift = (split.y_train - split.X_train.sum(axis=1)) % 7
    assert set(shift[split.noisy].tolist()) == {1, 2, 3, 4, 5, 6}
    assert not shift[~split.noisy].any()


def test_a_single_label():
    task = ModularTask(lambda x, y: 0, modulus=3)
    np.testing.assert_array_equal(task.labels, np.zeros(9))


def test_reprs_are_a_line():
    task = ModularTask("x+y", 7)
    assert repr(task.split()) == "Split('x+y', modulus=7, n_train=24, n_test=25)"
    noisy = ModularTask.from_table(task.table).split(label_noise=0.2)
    assert repr(noisy) == "Split(modulus=7, n_train=24, n_test=25, n_noisy=4)"
    several = MultiTask(["x+y", "x*y"], 7)
    assert repr(several) == "MultiTask(['x+y', 'x*y'], modulus=7)"
    assert repr(several.split()) == "Split(modulus=7, n_train=48, n_test=50)"


def test_random_labels_keep_pairs_and_frequencies():
    task = ModularTask("x/y", modulus=7)
    table = task.table.copy()
    shuffled = task.with_random_labels(seed=2)
    np.testing.assert_array_equal(task.table, table)
    np.testing.assert_array_equal(shuffled.pairs, task.pairs)
    np.testing.assert_array_equal(np.sort(shuffled.labels), np.sort(task.labels))
    assert (shuffled.labels != task.labels).mean() > 0.5
    np.testing.assert_array_equal(shuffled.labels, task.with_random_labels(seed=2).labels)


@pytest.mark.parametrize("reflection", ["swap", "negate", lambda a, b: (3 - a, b)])
@pytest.mark.parametrize("moved_back", [0, 1])
def test_symmetric_split(reflection, moved_back):
    p = 7
    image = {"swap": lambda a, b: (b, a), "negate": lambda a, b: (-a % p, -b % p)}.get(
        reflection, lambda a, b: ((3 - a) % p, b)
    )
    task = ModularTask("x+y", p)
    split = task.symmetric_split(0.5, 1, reflection=reflection, moved_back=moved_back)
    train = {(int(a), int(b)) for a, b in split.X_train}
    assert len(train) == 24 + moved_back
    assert sorted(train | {(int(a), int(b)) for a, b in split.X_test}) == sorted(
        map(tuple, task.pairs.tolist())
    )
    assert all(image(*pair) in train for pair in train)
    assert sum(image(*pair) == pair for pair in train) == moved_back
    np.testing.assert_array_equal(split.y_train, split.X_train.sum(axis=1) % p)


def test_largest_symmetric_split():
    """With all of (a, b) and (b, a) known, the pairs that are their own image are left."""
    split = ModularTask("x+y", 7).symmetric_split(42 / 49)
    assert len(split.X_train) == 42
    np.testing.assert_array_equal(split.X_test[:, 0], split.X_test[:, 1])
    with pytest.raises(ValueError):
        ModularTask("x+y", 7).symmetric_split(44 / 49)


@pytest.mark.parametrize("k", [0, 3, 9])
@pytest.mark.parametrize("moved_out", [0, 1, 41])
def test_all_but_the_fixed_points_of_a_reflection(k, moved_out):
    p, task = 7, ModularTask("x+y", 7)
    split = task.symmetric_split(None, 1, reflection=k, moved_out=moved_out)
    assert len(split.X_train) == 42 - moved_out
    tested = {tuple(pair) for pair in split.X_test.tolist()}
    fixed = {(a, (a + k) % p) for a in range(p)}
    assert fixed <= tested and len(tested) == p + moved_out
    np.testing.assert_array_equal(split.y_test, split.X_test.sum(axis=1) % p)
    same = task.symmetric_split(6 / 7, 1, reflection=k, moved_out=moved_out)
    np.testing.assert_array_equal(same.X_train, split.X_train)


def test_pairs_moved_out_are_drawn_by_the_seed():
    task = ModularTask("x+y", 7)
    whole = {tuple(pair) for pair in task.symmetric_split(None).X_train.tolist()}
    out = {
        tuple(
            whole
            - {tuple(x) for x in task.symmetric_split(None, seed, moved_out=1).X_train.tolist()}
        )
        for seed in range(8)
    }
    assert len(out) > 4


def test_several_tasks():
    tasks = MultiTask(["x+y", "x/y"], 7)
    assert (tasks.n_tasks, tasks.n_classes, len(tasks.pairs)) == (2, 7, 49 + 42)
    split = tasks.split(0.5, seed=1)
    for X, y in ((split.X_train, split.y_train), (split.X_test, split.y_test)):
        for t, task in enumerate(tasks.tasks):
            here = X[:, 2] == t
            np.testing.assert_array_equal(task.table[tuple(X[here, :2].T)], y[here])
    # A pair is on the same side for both.
    train, test = ({tuple(x) for x in X[:, :2].tolist()} for X in (split.X_train, split.X_test))
    assert len(train) == 24 and not train & test
    assert len(split.X_train) + len(split.X_test) == len(tasks.pairs)


def bad_calls():
    task = ModularTask("x+y", modulus=5)
    yield ValueError, "operations: expected two or more", lambda: MultiTask(["x+y"], 5)
    yield TypeError, "operations: expected a sequence of names", lambda: MultiTask("x+y", 5)
    yield TypeError, "operations: expected a sequence of names", lambda: MultiTask(None, 5)
    yield (
        TypeError,
        "reflection: expected a function that returns two integer arrays",
        lambda: task.symmetric_split(reflection=lambda a, b: (a + 0.5, b)),
    )
    yield (
        ValueError,
        "reflection: expected one of swap, negate; got 'turn'",
        lambda: task.symmetric_split(reflection="turn"),
    )
    yield (
        ValueError,
        "reflection: expected a map that is its own inverse",
        lambda: ModularTask("x/y", 5).symmetric_split(),
    )
    yield (
        ValueError,
        "reflection: expected a map that is its own inverse",
        lambda: task.symmetric_split(reflection=lambda a, b: (a + 1, b)),
    )
    yield (
        ValueError,
        "moved_back: expected an integer from 0 to 5, got 6",
        lambda: task.symmetric_split(moved_back=6),
    )
    yield (
        ValueError,
        "moved_out: expected an integer from 0 to 19, got 20",
        lambda: task.symmetric_split(None, moved_out=20),
    )
    yield (
        ValueError,
        "reflection: expected one that leaves the labels alone.*, got 1 for x-y",
        lambda: ModularTask("x-y", 5).symmetric_split(reflection=1),
    )
    yield (
        TypeError,
        "reflection: expected an integer, got 1.5",
        lambda: task.symmetric_split(reflection=1.5),
    )
    yield (
        ValueError,
        "train_fraction: expected a share that takes 1 to 10 pairs of mirror images, got 0.9",
        lambda: task.symmetric_split(0.9),
    )
    yield (
        ValueError,
        "operation: expected one of x[+]y, .*; got 'x%y'",
        lambda: ModularTask("x%y", 5),
    )
    yield TypeError, "modulus: expected an integer, got 5.0", lambda: ModularTask("x+y", 5.0)
    yield ValueError, "modulus: expected an integer >= 2, got 1", lambda: ModularTask("x+y", 1)
    yield TypeError, r"operation: .* got 0.5 for \(0, 0\)", lambda: ModularTask(lambda x, y: 0.5, 5)
    yield ValueError, "operation: .*at least one pair", lambda: ModularTask(lambda x, y: None, 5)
    yield (
        ValueError,
        r"table: expected shape \(p, p\)",
        lambda: ModularTask.from_table(np.zeros((2, 3), int)),
    )
    yield ValueError, "table: .*different lengths", lambda: ModularTask.from_table([[1, 2], [3]])
    yield ValueError, "table: .*from -2 to 1", lambda: ModularTask.from_table([[1, -2], [0, 0]])
    yield TypeError, "table: expected an integer dtype", lambda: ModularTask.from_table(np.eye(2))
    for fraction in (0, 1, -0.5, 1.5, float("nan")):
        yield (
            ValueError,
            r"train_fraction: expected a number in \(0, 1\), got",
            lambda fraction=fraction: task.split(fraction),
        )
    yield ValueError, "train_fraction: .*at least one training pair of 25", lambda: task.split(0.01)
    yield TypeError, "train_fraction: expected a real number", lambda: task.split("half")
    yield (
        ValueError,
        "train_count: expected an integer from 1 to 25, got 26",
        lambda: task.split(train_count=26),
    )
    yield (
        ValueError,
        r"label_noise: expected a number in \[0, 1\)",
        lambda: task.split(label_noise=1),
    )
    yield ValueError, "seed: expected an integer >= 0", lambda: task.split(seed=-1)


@pytest.mark.parametrize("error, message, call", list(bad_calls()))
def test_bad_input(error, message, call):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_primes():
    assert [n for n in range(-1, 30) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert is_prime(2**31 - 1)
