"""Data sets fetched from a pinned commit of the repository that publishes them."""

from __future__ import annotations

import numpy as np

from polytask.datasets import _descriptions as text
from polytask.datasets._dataset import Dataset, with_frames
from polytask.datasets._files import RemoteFile
from polytask.datasets._parsers import read_arff, read_mat, read_numbers, stack

SCHOOL = RemoteFile(
    folder="school",
    repository="jiayuzhou/MALSAR",
    path="data/school.mat",
    commit="fb9751594983df020ddc4f7e4a40520ee7c37989",
    sha256="57fb3238fdd03a9aa17276e2ce18d9bbb5d128c3261e794fe6233b58b6909068",
)
COMPUTER = RemoteFile(
    folder="computer",
    repository="probml/pmtkdata",
    path="conjointAnalysisComputerBuyers/conjointAnalysisComputerBuyers.mat",
    commit="42bc2738a294382f9d6ffb1b0203404ffb10295a",
    sha256="6e6b5f98f438c7d15ed6c7adab44322c9345f52263a4f3026322019f184679b5",
)
LANDMINE = RemoteFile(
    folder="landmine",
    repository="daizhongxiang/Federated_Bayesian_Optimization",
    path="LandmineData.mat",
    commit="30a4548606f2ae9bc62c6bf0eb4110177aa3876a",
    sha256="2163ab20a80e33a8b65593c48cf283c540599dcb291105e63fa4af2ce24c2bea",
)
_HEART_SHA256 = {
    "cleveland": "417c9c9b4786a091ccd53c141513ffb1e5bd492afd4c01c87f76228d23c66910",
    "hungarian": "d5c34e6c57d3cb1213d542bab964eab45dfcc34dfaa9a4585861943ad7db63fb",
    "switzerland": "5c325b1a8ce31b82c58e0dbbe3e5e54f0f685fead727c228fcb22356de706c76",
    "va": "7768a433fcb7971f4e3667e7ee081c84ac7bde9903e3dcc59cab887933a52da3",
}
HEART = {
    hospital: RemoteFile(
        folder="heart4",
        repository="rsbaher/udemy-heart-disease-2023",
        path=f"data/processed.{hospital}.data",
        commit="6f565ae36156d64aafb9c1855b9e51357db915df",
        sha256=sha256,
    )
    for hospital, sha256 in _HEART_SHA256.items()
}
ENB = RemoteFile(
    folder="mtr_enb",
    repository="tsoumakas/mulan",
    path="data/multi-target/enb.arff",
    commit="43f6389095ad71984264db4387a8074b22bc7d4a",
    sha256="8277d9094ccda6da2cd1c2b79c90ca201fa3695e75aca173ffc43138dcab0071",
)


def fetch_school(*, as_frame: bool = False) -> Dataset:
    """Exam scores of 15362 students of 139 London schools; a task is a school.

    Fetched on first use and kept in the user's cache; a folder named by the environment
    variable POLYTASK_DATA is looked in first.

    Parameters
    ----------
    as_frame : bool, default=False
        Give X as a pandas data frame.

    Returns
    -------
    Dataset
        15362 rows, 28 features (the last a constant 1, as in the file), 139 tasks labelled 0 to
        138 in the order of the file, long form.

    Raises
    ------
    DataError
        If the file cannot be had, or is not the pinned one.

    References
    ----------
    Bakker and Heskes (2003), Task clustering and gating for Bayesian multitask learning, JMLR
    4, 83-99; Argyriou, Evgeniou and Pontil (2008), Convex multi-task feature learning, Machine
    Learning 73, 243-272.
    """
    cells = read_mat(SCHOOL.locate())
    X, y, task = stack(list(cells["X"].flat), list(cells["Y"].flat))
    dataset = Dataset(
        name="school",
        X=X,
        y=y,
        task=task,
        feature_names=text.SCHOOL_FEATURES,
        target_names=("score",),
        task_names=tuple(range(cells["X"].size)),
        task_column="school",
        description=text.SCHOOL,
        citation=text.SCHOOL_CITATION,
        licence="the repository is GPL-3; no separate licence stated for the data",
    )
    return with_frames(dataset) if as_frame else dataset


def fetch_computer(*, as_frame: bool = False) -> Dataset:
    """Ratings of 20 computers by 190 respondents (conjoint analysis); a task is a respondent.

    Fetched on first use and kept in the user's cache; a folder named by the environment
    variable POLYTASK_DATA is looked in first.

    Parameters
    ----------
    as_frame : bool, default=False
        Give X as a pandas data frame.

    Returns
    -------
    Dataset
        3800 rows, 14 features (a constant 1 and 13 attributes coded -1 and 1), 190 tasks
        labelled 0 to 189, long form; `y` is the likelihood of buying, 0 to 10.
        ``extras["profile"]``, (3800,), numbers the computers 1 to 20 (Lenk et al. calibrate on
        1 to 16 and validate on 17 to 20); ``extras["task_features"]``, (190, 7), describes the
        respondents.

    Raises
    ------
    DataError
        If the file cannot be had, or is not the pinned one.

    References
    ----------
    Lenk, DeSarbo, Green and Young (1996), Hierarchical Bayes conjoint analysis, Marketing
    Science 15, 173-191.
    """
    file = read_mat(COMPUTER.locate())
    design, ratings = file["designMarix"].astype(np.float64), file["likeBuy"]  # spelt so there
    n_tasks, n_profiles = ratings.shape
    dataset = Dataset(
        name="computer",
        X=np.tile(design, (n_tasks, 1)),
        y=ratings.astype(np.float64).ravel(),
        task=np.repeat(np.arange(n_tasks), n_profiles),
        feature_names=text.COMPUTER_FEATURES,
        target_names=("rating",),
        task_names=tuple(range(n_tasks)),
        task_column="respondent",
        description=text.COMPUTER,
        citation=text.COMPUTER_CITATION,
        licence="none stated",
        extras={
            "profile": np.tile(np.arange(1, n_profiles + 1), n_tasks),
            "task_features": file["computerDataZ"].astype(np.float64),
        },
    )
    return with_frames(dataset) if as_frame else dataset


def fetch_landmine(*, as_frame: bool = False) -> Dataset:
    """Radar signatures of 14820 objects in 29 fields: land mine or clutter; a task is a field.

    Fetched on first use and kept in the user's cache; a folder named by the environment
    variable POLYTASK_DATA is looked in first.

    Parameters
    ----------
    as_frame : bool, default=False
        Give X as a pandas data frame.

    Returns
    -------
    Dataset
        14820 rows, 9 features, 29 tasks labelled 0 to 28 (0 to 14 foliated, 15 to 28 bare earth
        or desert), long form; `y` is 1 for a land mine (904 rows), else 0.

    Raises
    ------
    DataError
        If the file cannot be had, or is not the pinned one.

    References
    ----------
    Xue, Liao, Carin and Krishnapuram (2007), Multi-task learning for classification with
    Dirichlet process priors, JMLR 8, 35-63.
    """
    cells = read_mat(LANDMINE.locate())
    X, y, task = stack(list(cells["feature"].flat), list(cells["label"].flat))
    dataset = Dataset(
        name="landmine",
        X=X,
        y=y.astype(np.int64),
        task=task,
        feature_names=text.LANDMINE_FEATURES,
        target_names=("mine",),
        task_names=tuple(range(cells["feature"].size)),
        task_column="field",
        description=text.LANDMINE,
        citation=text.LANDMINE_CITATION,
        licence="none stated",
    )
    return with_frames(dataset) if as_frame else dataset


def fetch_heart(*, as_frame: bool = True) -> Dataset:
    """Heart disease in 920 patients of four hospitals; a task is a hospital.

    Fetched on first use and kept in the user's cache; a folder named by the environment
    variable POLYTASK_DATA is looked in first.

    Parameters
    ----------
    as_frame : bool, default=True
        Give X as a pandas data frame, which the estimators impute. With False it is an array
        that has NaN, which they refuse.

    Returns
    -------
    Dataset
        920 rows, 13 features (15% of their values unknown: NaN), 4 tasks ("cleveland",
        "hungarian", "switzerland", "va"), long form; `y` is 1 if heart disease is present, else
        0. ``extras["grade"]``, (920,), is the original grade from 0 to 4 and
        ``extras["categorical"]`` names the features whose numbers are codes without an order.

    Raises
    ------
    DataError
        If a file cannot be had, or is not the pinned one.

    References
    ----------
    Janosi, Steinbrunn, Pfisterer and Detrano (1988), Heart disease, UCI Machine Learning
    Repository, https://doi.org/10.24432/C52P4X.
    """
    tables = [read_numbers(file.locate()) for file in HEART.values()]
    hospitals = tuple(HEART)
    X, grade, index = stack(
        [table[:, :-1] for table in tables], [table[:, -1] for table in tables]
    )
    dataset = Dataset(
        name="heart",
        X=X,
        y=(grade > 0).astype(np.int64),
        task=np.array(hospitals)[index],
        feature_names=text.HEART_FEATURES,
        target_names=("disease",),
        task_names=hospitals,
        task_column="hospital",
        description=text.HEART,
        citation=text.HEART_CITATION,
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        extras={"grade": grade.astype(np.int64), "categorical": text.HEART_CATEGORICAL},
    )
    return with_frames(dataset) if as_frame else dataset


def fetch_enb(*, as_frame: bool = False) -> Dataset:
    """Heating and cooling load of 768 simulated buildings; a task is one of the two targets.

    Fetched on first use and kept in the user's cache; a folder named by the environment
    variable POLYTASK_DATA is looked in first.

    Parameters
    ----------
    as_frame : bool, default=False
        Give X and y as pandas data frames.

    Returns
    -------
    Dataset
        768 rows, 8 features, 2 tasks ("heating_load", "cooling_load"), targets form, all
        labels observed.

    Raises
    ------
    DataError
        If the file cannot be had, or is not the pinned one.

    References
    ----------
    Tsanas and Xifara (2012), Accurate quantitative estimation of energy performance of
    residential buildings using statistical machine learning tools, Energy and Buildings 49,
    560-567; Spyromitros-Xioufis, Tsoumakas, Groves and Vlahavas (2016), Multi-target regression
    via input space expansion, Machine Learning 104, 55-98.
    """
    table = read_arff(ENB.locate())
    n_features = len(text.ENB_FEATURES)
    dataset = Dataset(
        name="enb",
        X=table[:, :n_features],
        y=table[:, n_features:],
        task=None,
        feature_names=text.ENB_FEATURES,
        target_names=text.ENB_TARGETS,
        task_names=text.ENB_TARGETS,
        task_column=None,
        description=text.ENB,
        citation=text.ENB_CITATION,
        licence="the repository is GPL-3; none stated for the data",
    )
    return with_frames(dataset) if as_frame else dataset
