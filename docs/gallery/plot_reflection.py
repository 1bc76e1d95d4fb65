"""
A machine that knows one reflection
===================================

The pairs of one sum are the vertices of a polygon, and a reflection takes (a, b) to (b - k, a + k).
A machine that starts from the feature matrix I + R of a reflection cannot tell a pair from its
mirror image. It never learns to add: right are exactly the test pairs whose mirror image is a
training pair. The small ridge makes the solve well defined where both are.
"""

import grokrfm
import matplotlib.pyplot as plt
import numpy as np

p, k = 29, 3
split = grokrfm.ModularTask("x+y", p).split(0.5)
R = grokrfm.features.reflection_matrix(p, k)
model = grokrfm.RFMClassifier(p, "quadratic", iterations=10, ridge=1e-6, dtype="float64")
model.fit(split, feature_matrix=np.eye(2 * p) + R)
right = model.predict(split.X_test) == split.y_test
mirrored = grokrfm.features.orbit(split.X_test, split.X_train, p, k)
print(f"right: {right.sum()} of {len(right)}, mirror image trained: {mirrored.sum()}")
print(f"both or neither: {(right == mirrored).mean():.1%}")

grid = np.full((p, p), 0.5)  # training pairs grey
grid[tuple(split.X_test.T)] = right
plt.imshow(grid, cmap="RdBu", vmin=-0.2, vmax=1.2)
plt.xlabel("b")
plt.ylabel("a")
plt.title("training pairs white, test pairs right (blue) and wrong (red)")
plt.show()
