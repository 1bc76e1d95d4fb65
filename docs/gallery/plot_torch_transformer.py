"""
A transformer's features beside RFM's
=====================================

The model of the interpretability literature: one layer, four heads, no normalisation, the sum read
off behind a token "=". Its AGOP is that over the one-hot tokens. On lines of constant a + b or
a - b the transformer keeps a few frequencies, a Recursive Feature Machine all of them alike.
"""

import grokrfm
import matplotlib.pyplot as plt
import numpy as np
import torch
from grokrfm.torch import agop
from scipy.linalg import sqrtm

p, width, heads = 23, 64, 4
split = grokrfm.ModularTask("x+y", p).split(0.8)


class Transformer(torch.nn.Module):
    """Tokens a, b, = as one-hot rows (m, 2p) to logits (m, p)."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Linear(p, width, bias=False)
        self.positions = torch.nn.Parameter(torch.randn(3, width) / width**0.5)
        self.attend = torch.nn.MultiheadAttention(width, heads, bias=False, batch_first=True)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)
        self.out = torch.nn.Linear(width, p, bias=False)

    def forward(self, x):
        operands = self.embed(x.unflatten(1, (2, p)))
        tokens = torch.cat([operands, torch.zeros_like(operands[:, :1])], 1) + self.positions
        last = tokens[:, 2:]
        last = last + self.attend(last, tokens, tokens, need_weights=False)[0]
        return self.out(last + self.down(torch.relu(self.up(last))))[:, 0]


def one_hot(pairs):
    return torch.eye(p)[torch.from_numpy(pairs)].flatten(1)


torch.manual_seed(0)
model, labels = Transformer(), torch.from_numpy(split.y_train)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0, betas=(0.9, 0.98))
inputs, test = one_hot(split.X_train), one_hot(split.X_test)
accuracy = []
for _ in range(400):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
    with torch.no_grad():
        accuracy.append((model(test).argmax(1).numpy() == split.y_test).mean())

rfm = grokrfm.RFMClassifier(p, "quadratic", iterations=30).fit(split)
features = {
    "transformer": sqrtm(agop(model, inputs).double().numpy()).real,
    "RFM": rfm.feature_matrix_,
}
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(accuracy)
left.set_xlabel("epoch")
left.set_ylabel("test accuracy of the transformer")
for name, M in features.items():
    block = grokrfm.features.cross_block(M, "x+y")
    lines = [np.asarray(grokrfm.fourier.line_energies(block, o)) for o in ("circulant", "hankel")]
    energies = max(lines, key=lambda each: each[1:].sum())[1 : p // 2 + 1]
    right.plot(np.arange(1, p // 2 + 1), energies / energies.sum(), "o-", label=name)
right.set_xlabel("frequency")
right.set_ylabel("share of the energy on lines")
right.legend()
plt.show()
