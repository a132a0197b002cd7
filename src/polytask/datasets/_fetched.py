"""Data sets fetched from a pinned commit of the repository that publishes them."""

from __future__ import annotations

import csv
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.datasets._dataset import Dataset, with_frames
from polytask.exceptions import DataError
from polytask.messages import LazyMessage

VARIABLE = "POLYTASK_DATA"


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file of a public GitHub repository, pinned by commit and checksum."""

    folder: str
    repository: str
    path: str
    commit: str
    sha256: str

    @property
    def name(self) -> str:
        """The file name without folders."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """The address of exactly this version."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"

    def locate(self) -> Path:
        """Return a verified copy: that in the user's folder or in the cache, else downloaded."""
        import pooch

        if named := os.environ.get(VARIABLE):
            root = Path(named)
            if not root.is_dir():
                raise DataError(
                    sentence(
                        VARIABLE,
                        LazyMessage("what.environment"),
                        LazyMessage("allowed.existing_folder"),
                        named,
                    )
                )
            for place in (root / "original" / self.folder, root / self.folder, root):
                path = place / self.name
                if not path.is_file():
                    continue
                # Not downloaded instead: whoever names a folder wants to know of another file.
                if (got := pooch.file_hash(str(path))) != self.sha256:
                    raise DataError(sentence("sha256", str(path), self.sha256, got))
                return path
        folder, known_hash = (
            Path(pooch.os_cache("polytask")) / self.folder,
            f"sha256:{self.sha256}",
        )
        try:
            return Path(pooch.retrieve(self.url, known_hash, fname=self.name, path=folder))
        except OSError as error:  # no network, no such address, or a cache that cannot be written
            reason = LazyMessage("datasets.refusal.not_downloaded", {"name": type(error).__name__})
            raise DataError(self._advice(reason)) from error
        except ValueError as error:  # what pooch raises when the checksum is another
            reason = LazyMessage("datasets.refusal.other_content", {"sha256": self.sha256})
            raise DataError(self._advice(reason)) from error

    def _advice(self, reason: LazyMessage) -> LazyMessage:
        wanted = f"{self.folder}/{self.name}"
        return LazyMessage(
            "datasets.refusal.needs",
            {"url": self.url, "reason": reason, "variable": VARIABLE, "wanted": wanted},
        )


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

_SCHOOL_FEATURES = (
    *("year_1", "year_2", "year_3"),
    *("free_school_meals", "vr_band_1_share"),
    *("female", "male"),
    *("vr_band_3", "vr_band_1", "vr_band_2"),
    *(f"ethnic_group_{k}" for k in range(1, 12)),
    *("school_mixed", "school_boys", "school_girls"),
    *(f"denomination_{k}" for k in range(1, 4)),
    "constant",
)
_SCHOOL = """Inner London Education Authority, examination scores.

15362 students of 139 secondary schools, 1985 to 1987; the target is an exam score from 1 to 70.
A task is a school, numbered from 0 in the order of the file. Features: year of the exam, percent
of students with free school meals and percent in verbal reasoning (VR) band 1 in that school and
year, gender and VR band of the student, ethnic group, gender of the school, its denomination,
and a constant 1. All but the two percentages are 0 or 1. The file has no column names: those
given here follow the attributes listed by Bakker and Heskes (2003), and the data bear them out
(schools for one gender hold one gender only, the share of a school's students in "vr_band_1"
follows "vr_band_1_share", scores rise from band 3 to band 1). Which gender is which is an
inference (girls score higher); the levels of year, ethnic group and denomination are numbered.
Fixed intercepts per task make "constant" redundant. The literature's "explained variance" is
normalised within schools; against the grand mean the same predictions read about ten points
higher: say which one a figure uses.
"""
_SCHOOL_CITATION = (
    "Inner London Education Authority, 1985-87; Bakker and Heskes (2003), Task clustering and "
    "gating for Bayesian multitask learning, JMLR 4, 83-99; Argyriou, Evgeniou and Pontil "
    "(2008), Convex multi-task feature learning, Machine Learning 73, 243-272; file as published "
    "with MALSAR (Zhou, Chen and Ye 2011)"
)

_COMPUTER_FEATURES = (
    "constant", "hot_line", "ram", "screen_size", "cpu", "hard_disk", "cd_rom", "cache",
    "colour", "availability", "warranty", "software", "guarantee", "price",
)  # fmt: skip
_COMPUTER = """Lenk's survey of computer buyers.

190 respondents rated the same 20 hypothetical computers by how likely they were to buy them,
from 0 to 10. A task is a respondent, numbered from 0 in the order of the file. Features: a
constant 1 and 13 attributes with two levels, -1 and 1 (1 is the level with more of the attribute,
for "price" the higher one). The file has no column names; those given here are in the order in
which Lenk et al. (1996) and Argyriou et al. (2008) list the attributes. The seven columns of
``extras["task_features"]`` are unnamed in the file: a constant, four indicators and two counts
about the respondent (in Lenk et al.: female, years of experience, owner of a computer, technical
occupation, number of applications used, expertise).
"""
_COMPUTER_CITATION = (
    "Lenk, DeSarbo, Green and Young (1996), Hierarchical Bayes conjoint analysis: recovery of "
    "partworth heterogeneity from reduced experimental designs, Marketing Science 15, 173-191"
)

_LANDMINE_FEATURES = (
    *("moment_1", "moment_2", "moment_3", "moment_4"),
    *("correlation_1", "correlation_2", "correlation_3"),
    "energy_ratio",
    "spatial_variance",
)
_LANDMINE = """Land mine detection with airborne radar.

14820 objects in 29 fields, seen by synthetic-aperture radar; the target is 1 for a land mine
(904 objects) and 0 for clutter. A task is a field, numbered from 0 in the order of the file:
0 to 14 are foliated regions, 15 to 28 bare earth or desert. The file has no column names; those
given here are in the order in which Xue et al. (2007) list the groups of features (four based on
moments, three on correlations, an energy ratio, a spatial variance).
"""
_LANDMINE_CITATION = (
    "Xue, Liao, Carin and Krishnapuram (2007), Multi-task learning for classification with "
    "Dirichlet process priors, JMLR 8, 35-63"
)

_HEART_FEATURES = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak",
    "slope", "ca", "thal",
)  # fmt: skip
_HEART_CATEGORICAL = ("cp", "restecg", "thal")
_HEART = """Heart disease in four hospitals.

920 patients who had a coronary angiography: 303 in Cleveland, 294 in Budapest ("hungarian"), 123
in Zurich and Basel ("switzerland") and 200 in the VA hospital of Long Beach ("va"). A task is a
hospital; the target is 1 if the grade of heart disease (0 to 4) is above 0. Features: age in
years, sex (1 male), type of chest pain (cp, 1 to 4), blood pressure at rest (trestbps), serum
cholesterol (chol), blood sugar above 120 mg/dl (fbs), electrocardiogram at rest (restecg, 0 to
2), maximal heart rate (thalach), angina under exercise (exang), depression of ST (oldpeak),
slope of the ST segment (slope, 1 to 3), number of major vessels coloured (ca, 0 to 3), thallium
scan (thal, 3, 6 or 7). An empty field, "?" and -9 are NaN: 15% of all values, most of slope, ca
and thal outside Cleveland. Switzerland writes unknown cholesterol as 0, which is left as it is.
All features are numbers; cp, restecg and thal are codes without an order.
"""
_HEART_CITATION = (
    "Janosi, Steinbrunn, Pfisterer and Detrano (1988), Heart disease, UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C52P4X"
)

_ENB_FEATURES = (
    "relative_compactness", "surface_area", "wall_area", "roof_area", "overall_height",
    "orientation", "glazing_area", "glazing_area_distribution",
)  # fmt: skip
_ENB_TARGETS = ("heating_load", "cooling_load")
_ENB = """Energy efficiency of buildings.

768 simulated buildings described by eight numbers; the two targets, and tasks, are the heating
and the cooling load (Y1 and Y2 in the file; the features are X1 to X8). "orientation" (2 to 5)
and "glazing_area_distribution" (0 to 5) are codes without an order. "roof_area" is half of
"surface_area" less "wall_area", so the features are linearly dependent.
"""
_ENB_CITATION = (
    "Tsanas and Xifara (2012), Accurate quantitative estimation of energy performance of "
    "residential buildings using statistical machine learning tools, Energy and Buildings 49, "
    "560-567; as used by Spyromitros-Xioufis, Tsoumakas, Groves and Vlahavas (2016), "
    "Multi-target regression via input space expansion, Machine Learning 104, 55-98"
)


_UNKNOWN = {"", "?", "-9", "-9.0"}


def read_mat(path: Path) -> dict[str, NDArray[Any]]:
    """Return the variables of a MATLAB file."""
    from scipy.io import loadmat

    return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}


def read_arff(path: Path) -> NDArray[np.float64]:
    """Return the numeric attributes of an ARFF file, one column each: (n, n_attributes)."""
    from scipy.io.arff import loadarff

    records, meta = loadarff(path)
    return np.column_stack([records[name] for name in meta.names()]).astype(np.float64)


def read_numbers(path: Path) -> NDArray[np.float64]:
    """Return the numbers of a comma-separated file with a header, unknown ones as NaN."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [[field.strip() for field in row] for row in csv.reader(stream) if row][1:]
    return np.array([[np.nan if f in _UNKNOWN else float(f) for f in row] for row in rows])


def stack(
    blocks: list[NDArray[Any]], targets: list[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Stack one block of rows per task into the long form."""
    # Shapes: blocks (n_t, d), X (n, d), y (n,), index (n,).
    index = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    X = np.concatenate(blocks).astype(np.float64)
    return X, np.concatenate([target.ravel() for target in targets]).astype(np.float64), index


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
        feature_names=_SCHOOL_FEATURES,
        target_names=("score",),
        task_names=tuple(range(cells["X"].size)),
        task_column="school",
        description=_SCHOOL,
        citation=_SCHOOL_CITATION,
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
        feature_names=_COMPUTER_FEATURES,
        target_names=("rating",),
        task_names=tuple(range(n_tasks)),
        task_column="respondent",
        description=_COMPUTER,
        citation=_COMPUTER_CITATION,
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
        feature_names=_LANDMINE_FEATURES,
        target_names=("mine",),
        task_names=tuple(range(cells["feature"].size)),
        task_column="field",
        description=_LANDMINE,
        citation=_LANDMINE_CITATION,
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
        feature_names=_HEART_FEATURES,
        target_names=("disease",),
        task_names=hospitals,
        task_column="hospital",
        description=_HEART,
        citation=_HEART_CITATION,
        licence="CC BY 4.0 (UCI Machine Learning Repository)",
        extras={"grade": grade.astype(np.int64), "categorical": _HEART_CATEGORICAL},
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
    n_features = len(_ENB_FEATURES)
    dataset = Dataset(
        name="enb",
        X=table[:, :n_features],
        y=table[:, n_features:],
        task=None,
        feature_names=_ENB_FEATURES,
        target_names=_ENB_TARGETS,
        task_names=_ENB_TARGETS,
        task_column=None,
        description=_ENB,
        citation=_ENB_CITATION,
        licence="the repository is GPL-3; none stated for the data",
    )
    return with_frames(dataset) if as_frame else dataset
