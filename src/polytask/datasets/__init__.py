"""Small real data sets for examples, tests and measurements.

Three need no network (``load_...``). The others are not shipped: each is fetched once from
a pinned commit of the repository that publishes it, checked by its sha256 and kept in the user's
cache (``fetch_...``). Where the environment variable ``POLYTASK_DATA`` names a folder, the files
are looked for there first, so nothing needs the network.
"""

from __future__ import annotations

from polytask.datasets._bundled import load_diabetes_groups, load_digits_few, load_wages
from polytask.datasets._dataset import Dataset
from polytask.datasets._fetched import (
    fetch_computer,
    fetch_enb,
    fetch_heart,
    fetch_landmine,
    fetch_school,
)

__all__ = [
    "Dataset",
    "fetch_computer",
    "fetch_enb",
    "fetch_heart",
    "fetch_landmine",
    "fetch_school",
    "load_diabetes_groups",
    "load_digits_few",
    "load_wages",
]
