"""
Cross-validation with scikit-learn
==================================

Both estimators follow scikit-learn's conventions: here a grid search over kernel and exponent of
the AGOP, with three folds of the training pairs.
"""

import grokrfm
import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV

split = grokrfm.ModularTask("x+y", 23).split(0.8)
search = GridSearchCV(
    grokrfm.RFMClassifier(23, iterations=20, n_classes=23),
    {"kernel": ["quadratic", "gaussian"], "agop_power": [0.25, 0.5, 1.0]},
    cv=3,
)
search.fit(split.X_train, split.y_train)
print(search.best_params_, f"{search.score(split.X_test, split.y_test):.1%} of the test pairs")

results = search.cv_results_
names = [f"{given['kernel']}, {given['agop_power']}" for given in results["params"]]
plt.figure(layout="constrained")
plt.barh(names, results["mean_test_score"], xerr=results["std_test_score"])
plt.xlabel("accuracy, three folds")
plt.show()
