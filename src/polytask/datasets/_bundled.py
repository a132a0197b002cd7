"""Data sets that need no network: those of scikit-learn, cut into tasks, and one extract."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polytask._checks import is_whole, sentence
from polytask.datasets._dataset import Dataset, with_frames
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

_SEXES = ("female", "male")
_AGE_LIMITS = (40, 60)
_AGE_BANDS = ("under 40", "40 to 59", "60 and over")
_DIABETES_FEATURES = (
    "age", "bmi", "blood_pressure", "total_cholesterol", "ldl", "hdl", "cholesterol_ratio",
    "log_triglycerides", "glucose",
)  # fmt: skip

_DIABETES_GROUPS = """Diabetes patients in six groups.

442 patients; the target measures the progression of the disease one year after the features
were taken. A task is a group of patients of one sex and one age band (under 40, 40 to 59, 60 and
over), so the tasks differ in size from 46 to 121. Values are in the original units, not scaled:
age in years, body mass index, mean blood pressure, and six blood serum measurements, of which
"cholesterol_ratio" is total cholesterol over hdl and "log_triglycerides" probably the logarithm
of the triglycerides. Sex is not among the features, as it is constant within a task. The source
codes sex as 1 and 2 without saying which is which; 2 is read as male here, as hdl is lower (mean
44.6 against 54.4) and blood pressure higher in that group.
"""
_DIABETES_GROUPS_CITATION = (
    "Efron, Hastie, Johnstone and Tibshirani (2004), Least angle regression, Annals of "
    "Statistics 32, 407-499"
)

_DIGITS_FEW = """Handwritten digits, ten questions, few answers.

1797 images of 8 x 8 pixels with brightness from 0 to 16. A task asks whether an image shows one
given digit. Only few images are labelled for each task, drawn separately for each, so most of
the target matrix is NaN; all labels are kept apart for testing.
"""
_DIGITS_FEW_CITATION = (
    "Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C50P49"
)

_WAGES = """Wages of 450 women, interviewed between 1968 and 1988.

Each of the 3,887 rows is one interview; a task is a woman, with 5 to 15 interviews. The target is
the logarithm of her hourly wage. Features are the year, her age, years of school, whether she has
a college degree, years of work experience, years in her present job (tenure), usual hours per
week, whether she is married with her husband present, was never married, lives in the South, in a
central city, or outside of a metropolitan area (rural), and the group of her occupation, whose
codes the source does not explain. An extract: of the 4,696 women those with five interviews or
more, then 450 of them at equal distances in the order of their identifiers.
"""
_WAGES_CITATION = (
    "US Bureau of Labor Statistics, National Longitudinal Survey of Young Women (1968 cohort), "
    "public use file, as distributed with Stata under the name nlswork"
)


def load_diabetes_groups(*, as_frame: bool = False) -> Dataset:
    """Disease progression of 442 diabetes patients; a task is a sex and an age band.

    Six tasks ("female, under 40" ... "male, 60 and over") of 46 to 121 patients. Features are
    in their original units. Sex is left out of them, as it is the same for all rows of a task;
    age is kept, as it varies within a band. Nothing is downloaded.

    Parameters
    ----------
    as_frame : bool, default=False
        Give X as a pandas data frame.

    Returns
    -------
    Dataset
        442 rows, 9 features, 6 tasks, long form; `y` is disease progression one year later.

    References
    ----------
    Efron, Hastie, Johnstone and Tibshirani (2004), Least angle regression, Annals of
    Statistics 32, 407-499.
    """
    from sklearn.datasets import load_diabetes

    values, y = load_diabetes(return_X_y=True, scaled=False)
    names = tuple(f"{sex}, {band}" for sex in _SEXES for band in _AGE_BANDS)
    band_code = np.digitize(values[:, 0], _AGE_LIMITS)
    sex_code = values[:, 1].astype(np.intp) - 1  # 1 and 2 in the source
    group = sex_code * len(_AGE_BANDS) + band_code
    dataset = Dataset(
        name="diabetes_groups",
        X=np.delete(values, 1, axis=1),
        y=y,
        task=np.array(names)[group],
        feature_names=_DIABETES_FEATURES,
        target_names=("progression",),
        task_names=names,
        task_column="group",
        description=_DIABETES_GROUPS,
        citation=_DIABETES_GROUPS_CITATION,
        licence="distributed with scikit-learn (BSD-3-Clause); none stated for the data",
    )
    return with_frames(dataset) if as_frame else dataset


def load_digits_few(
    n_labels: int = 40, *, random_state: int | None = 0, as_frame: bool = False
) -> Dataset:
    """Ten one-vs-rest tasks on small images of digits, with few labels each.

    Task t asks whether an image shows the digit t. For each task, `n_labels` of the 1797 images
    are drawn at random, with the digit as frequent among them as among all images (but at least
    one image of either class); every other entry of `y` is NaN. Nothing is downloaded.

    Parameters
    ----------
    n_labels : int, default=40
        Labelled images per task, from 2 to 1797.
    random_state : int or None, default=0
        Seed of the draw; None draws anew each time.
    as_frame : bool, default=False
        Give X and y as pandas data frames.

    Returns
    -------
    Dataset
        1797 rows, 64 features (brightness 0 to 16), 10 tasks, targets form; `y` is 1.0, 0.0 or
        NaN. ``extras["Y_full"]``, (1797, 10), has every label, to test on those left out.

    Raises
    ------
    ParameterError
        If `n_labels` is not an integer from 2 to 1797.

    References
    ----------
    Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49.
    """
    from sklearn.datasets import load_digits

    X, digit = load_digits(return_X_y=True)
    if not is_whole(n_labels) or not 2 <= n_labels <= len(digit):
        allowed = LazyMessage("allowed.labels_per_digit", {"n": len(digit)})
        raise ParameterError(sentence("n_labels", "load_digits_few", allowed, repr(n_labels)))
    full = (digit[:, np.newaxis] == np.arange(10)).astype(np.float64)
    rng = np.random.default_rng(random_state)
    observed = np.full_like(full, np.nan)
    for t, labels in enumerate(full.T):
        positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        n_positive = max(1, round(n_labels * len(positive) / len(labels)))
        drawn = [
            rng.choice(positive, n_positive, replace=False),
            rng.choice(negative, n_labels - n_positive, replace=False),
        ]
        rows = np.concatenate(drawn)
        observed[rows, t] = labels[rows]
    names = tuple(f"digit_{t}" for t in range(10))
    dataset = Dataset(
        name="digits_few",
        X=X,
        y=observed,
        task=None,
        feature_names=tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
        target_names=names,
        task_names=names,
        task_column=None,
        description=_DIGITS_FEW,
        citation=_DIGITS_FEW_CITATION,
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        extras={"Y_full": full},
    )
    return with_frames(dataset) if as_frame else dataset


def load_wages() -> Dataset:
    """Load the wages of 450 women over twenty years; a task is a woman.

    3,887 interviews, 5 to 15 per woman, an extract of the National Longitudinal Survey of Young
    Women. Learning the women together predicts better than one model per woman and than one
    model for all of them. Nothing is downloaded.

    Returns
    -------
    Dataset
        3887 rows, 13 features, 450 tasks, long form; `y` is the logarithm of the hourly wage.
        `X` is a pandas data frame, as occupations are text.

    References
    ----------
    US Bureau of Labor Statistics, National Longitudinal Surveys,
    https://www.bls.gov/nls/original-cohorts/mature-and-young-women.htm.
    """
    import pandas as pd

    table = pd.read_csv(Path(__file__).with_name("wages.csv.gz"))
    X = table.drop(columns=["woman", "log_wage"])
    return Dataset(
        name="wages",
        X=X,
        y=table["log_wage"].to_numpy(),
        task=table["woman"].to_numpy(),
        feature_names=tuple(X.columns),
        target_names=("log_wage",),
        task_names=tuple(sorted(set(table["woman"].tolist()))),
        task_column="woman",
        description=_WAGES,
        citation=_WAGES_CITATION,
        licence="public use file of the US Bureau of Labor Statistics",
    )
