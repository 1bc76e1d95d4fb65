"""
AGOP of one's own PyTorch module
================================

:func:`grokrfm.torch.agop` takes any differentiable module; the analyses take the square root of the
result like any feature matrix. Here a small network with x² units learns x + y mod 23.
"""

import grokrfm
import matplotlib.pyplot as plt
import torch
from grokrfm.torch import agop
from scipy.linalg import sqrtm

p = 23
split = grokrfm.ModularTask("x+y", p).split(0.8)
inputs = torch.eye(p)[torch.from_numpy(split.X_train)].flatten(1)
test = torch.eye(p)[torch.from_numpy(split.X_test)].flatten(1)
targets = torch.eye(p)[torch.from_numpy(split.y_train)]

torch.manual_seed(0)
first, second = torch.nn.Linear(2 * p, 256, bias=False), torch.nn.Linear(256, p, bias=False)
optimizer = torch.optim.AdamW(
    [*first.parameters(), *second.parameters()], lr=1e-2, weight_decay=1.0
)
for _ in range(600):
    optimizer.zero_grad()
    ((second(first(inputs) ** 2) - targets) ** 2).mean().backward()
    optimizer.step()

with torch.no_grad():
    predicted = second(first(test) ** 2).argmax(1).numpy()
print(f"test accuracy {(predicted == split.y_test).mean():.1%}")
M = sqrtm(agop(lambda x: second(first(x) ** 2), inputs).numpy()).real
for orientation in ("circulant", "hankel"):
    block = grokrfm.features.cross_block(M, "x+y")
    print(orientation, grokrfm.features.circulant_deviation(block, orientation))
grokrfm.figures.plot_feature_matrix(M, "x+y")
plt.show()
