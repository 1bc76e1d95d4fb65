"""
A group by its Cayley table
===========================

Labels may come from a table: here the direct product of two cyclic groups of six elements, and the
dihedral group of order 36, which is not commutative. Of both, 60 % of all pairs are training pairs.
The first is learnt; the second remains far behind.
"""

import grokrfm
import matplotlib.pyplot as plt

tables = {
    "cyclic × cyclic": grokrfm.groups.abelian(6, 6),
    "dihedral": grokrfm.groups.dihedral(18),
}
shares = {}
for name, table in tables.items():
    n = len(table)
    task = grokrfm.ModularTask.from_table(table)
    model = grokrfm.RFMClassifier.for_task(task, iterations=40).fit(task.split(0.6))
    plt.plot(model.history_["test_accuracy"], label=name)
    shares[name] = grokrfm.groups.line_share(model.feature_matrix_[:n, n:], table)
plt.xlabel("iteration")
plt.ylabel("test accuracy")
plt.legend()
plt.show()

# %%
# How much of the cross block of M depends on a b⁻¹ alone:
print(shares)
