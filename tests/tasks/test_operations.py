"""Names of operations are read in one place."""

import numpy as np
import pytest
from grokrfm import FeatureMeasures, ModularTask, NetworkMeasures
from grokrfm.analysis.features import cross_block
from grokrfm.tasks import OPERATIONS, check_operation


def test_spaces_do_not_matter():
    for name in OPERATIONS:
        for written in (name, " ".join(name), name.replace("+", " + ")):
            assert check_operation(written) == name
    np.testing.assert_array_equal(ModularTask("x * y", 5).table, ModularTask("x*y", 5).table)
    assert ModularTask("x * y", 5).operation == FeatureMeasures(" x*y").operation == "x*y"
    M = np.arange(100.0).reshape(10, 10)
    np.testing.assert_array_equal(cross_block(M, "x * y"), cross_block(M, "x*y"))


@pytest.mark.parametrize("measures", [FeatureMeasures, NetworkMeasures])
@pytest.mark.parametrize("operation", ["xy", "y*x", "", 3, "x + z"])
def test_unknown_operations_are_errors(measures, operation):
    with pytest.raises(ValueError, match=r"operation: expected one of x\+y, .*; got"):
        measures(operation)
