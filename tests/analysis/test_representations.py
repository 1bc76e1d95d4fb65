import numpy as np
import pytest
from grokrfm import features, fourier, groups


def function_on(lines, table, seed=0):
    """A random function of one product of x and y, as a block."""
    inverse = groups.inverses(table)
    values = np.random.default_rng(seed).standard_normal(len(table))
    cells = {"x y^-1": table[:, inverse], "x^-1 y": table[inverse], "x y": table, "y x": table.T}
    return values[cells[lines]]


def test_line_share_is_that_of_circulants_for_a_cyclic_group():
    table = groups.abelian(11)
    block = np.random.default_rng(0).standard_normal((11, 11))
    block -= block.mean()
    for lines, orientation in (("x y^-1", "circulant"), ("x y", "hankel")):
        deviation = features.circulant_deviation(block, orientation)
        np.testing.assert_allclose(groups.line_share(block, table, lines), 1 - deviation)


@pytest.mark.parametrize("lines", ["x y^-1", "x^-1 y", "x y", "y x"])
def test_line_share(lines):
    table = groups.symmetric(4)
    block = function_on(lines, table)
    np.testing.assert_allclose(groups.line_share(block + 3, table, lines), 1)
    for other in {"x y^-1", "x^-1 y", "x y", "y x"} - {lines}:
        assert groups.line_share(block, table, other) < 0.5
    assert np.isnan(groups.line_share(np.ones((24, 24)), table, lines))
    noise = np.random.default_rng(1).standard_normal((24, 24))
    assert groups.line_share(noise, table, lines) < 0.15


@pytest.mark.parametrize(
    ("table", "sizes"),
    [
        (groups.abelian(7), [1, 2, 2, 2]),
        (groups.abelian(2, 2), [1, 1, 1, 1]),
        (groups.dihedral(5), [1, 1, 4, 4]),
        (groups.quaternion(), [1, 1, 1, 1, 4]),
        (groups.symmetric(4), [1, 1, 4, 9, 9]),
        (groups.alternating(5), [1, 9, 9, 16, 25]),
        (groups.heisenberg(3), [1, 2, 2, 2, 2, 18]),
    ],
)
def test_isotypic_components(table, sizes):
    bases = groups.isotypic_components(table)
    assert [basis.shape[1] for basis in bases] == sizes
    together = np.hstack(bases)
    np.testing.assert_allclose(together.T @ together, np.eye(len(table)), atol=1e-10)
    np.testing.assert_allclose(np.ptp(bases[0]), 0, atol=1e-10)
    for basis in bases:  # translations from either side stay inside
        for moved in (basis[table[1]], basis[table[:, 1]]):
            np.testing.assert_allclose(basis @ (basis.T @ moved), moved, atol=1e-9)


def test_energies_are_those_of_fourier_lines_for_a_cyclic_group():
    table = groups.abelian(9)
    block = function_on("x y^-1", table)
    lines = np.asarray(fourier.line_energies(block, "circulant"))
    expected = sorted([lines[0], *(lines[k] + lines[-k] for k in range(1, 5))] / lines.sum())
    np.testing.assert_allclose(sorted(groups.isotypic_energies(block, table)), expected, atol=1e-10)


def test_energies_of_any_block():
    table = groups.alternating(4)
    for lines in ("x y^-1", "x y"):
        energies = groups.isotypic_energies(function_on(lines, table), table)
        np.testing.assert_allclose(energies.sum(), 1)
    noise = np.random.default_rng(0).standard_normal((12, 12))
    assert 0 < groups.isotypic_energies(noise, table).sum() < 1
    assert groups.isotypic_energies(np.zeros((12, 12)), table).sum() == 0
    blocks = np.random.default_rng(1).standard_normal((2, 3, 12, 12))
    each = [[groups.isotypic_energies(block, table) for block in row] for row in blocks]
    np.testing.assert_allclose(groups.isotypic_energies(blocks, table), each)


def test_coset_shares():
    """Of the abelianisation's functions all, of what sums to zero over cosets nothing."""
    table = groups.direct_product(groups.symmetric(3), groups.abelian(2))
    cosets, inverse = groups.commutator_cosets(table), groups.inverses(table)
    rng = np.random.default_rng(0)
    of_cosets = rng.standard_normal(cosets.max() + 1)[cosets]
    lines = rng.standard_normal(len(table))
    rest = lines - (np.bincount(cosets, lines) / np.bincount(cosets))[cosets]
    for values, share in ((of_cosets, 1), (rest, 0)):
        block = values[table[:, inverse]]
        np.testing.assert_allclose(groups.coset_share(block, table), share, atol=1e-12)
        np.testing.assert_allclose(groups.line_share(block, table), 1)
    noise = rng.standard_normal((9, 9))
    abelian = groups.abelian(3, 3)
    assert groups.coset_share(noise, abelian) == groups.line_share(noise, abelian)


def test_bad_input():
    table = groups.abelian(5)
    with pytest.raises(ValueError, match=r"block: expected shape \(5, 5\)"):
        groups.line_share(np.ones((4, 4)), table)
    with pytest.raises(ValueError, match=r"blocks: expected shape \(…, 5, 5\)"):
        groups.isotypic_energies(np.ones(5), table)
    with pytest.raises(ValueError, match="lines"):
        groups.line_share(np.ones((5, 5)), table, "x")


def cross_block_sum(C, table):
    """S[a, b, g] = Σ C[a, b'] C[a', b] over all a' b' = g, the pairs of one class."""
    inverse = groups.inverses(table)
    return np.stack(
        [C[:, table[inverse, g]] @ C for g in range(len(table))],
        axis=-1,
    )


def test_a_circulant_cross_block_of_flat_spectrum_multiplies():
    p = 7
    phases = np.exp(1j * np.random.default_rng(0).uniform(0, 2 * np.pi, p // 2))
    spectrum = np.concatenate([[1], phases, phases[::-1].conj()])
    C = features.circulant(np.fft.ifft(spectrum).real)
    table = groups.abelian(p)
    expected = table[:, :, None] == np.arange(p)
    np.testing.assert_allclose(cross_block_sum(C, table), expected, atol=1e-12)
