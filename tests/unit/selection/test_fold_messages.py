"""A fold that cannot be fitted is named, with what to do about it."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifierCV, MultiTaskRegressorCV
from polytask.exceptions import DataError
from polytask.messages import Translator
from polytask.penalties import L21

TASK = np.repeat([0, 1, 2], 20)
X = np.random.default_rng(0).standard_normal((len(TASK), 4))
ROWS = np.arange(len(TASK))
THIRDS = [(ROWS[k != ROWS % 3], ROWS[k == ROWS % 3]) for k in range(3)]
RARE = np.where((TASK != 1) | (ROWS == 25), np.random.default_rng(1).poisson(2.0, 60) + 1, 0)


@pytest.mark.parametrize(
    ("search", "y"),
    [
        (MultiTaskRegressorCV(L21(), loss="poisson", intercept="task", alphas=3), RARE),
        (
            MultiTaskClassifierCV(L21(), intercept="task", alphas=3),
            np.where(TASK == 1, ROWS == 25, X[:, 0] > 0).astype(int),
        ),
    ],
    ids=["counts", "classes"],
)
def test_the_fold_that_lacks_something_is_named(search, y):
    search.set_params(cv=THIRDS)
    with pytest.raises(DataError) as refused:
        search.fit(X, y, TASK)
    said = str(refused.value)
    # Row 25 is held out by the second third.
    assert said.startswith("Without the held-out rows of fold 2 of 3: Task 1 of MultiTask")
    assert "Splits given as cv= can leave rows of every kind in all training parts" in said
    chinese = refused.value.args[0].text(Translator("zh"))
    assert chinese.startswith("去掉第 2 折（共 3 折）留出的行之后：")


@pytest.mark.slow
def test_a_search_over_three_classes_may_leave_no_coefficient():
    y = np.where(TASK == 1, ROWS % 20 // 18, np.random.default_rng(2).integers(0, 3, 60))
    y[ROWS == 39] = 2
    model = MultiTaskClassifierCV(L21(), intercept="task", alphas=3).fit(X, y, TASK)
    assert np.isfinite(model.coef_).all()
