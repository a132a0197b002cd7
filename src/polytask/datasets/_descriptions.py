"""What is known of each data set: description, citation, names of its columns."""

from __future__ import annotations

DIABETES_GROUPS = """Diabetes patients in six groups.

442 patients; the target measures the progression of the disease one year after the features
were taken. A task is a group of patients of one sex and one age band (under 40, 40 to 59, 60 and
over), so the tasks differ in size from 46 to 121. Values are in the original units, not scaled:
age in years, body mass index, mean blood pressure, and six blood serum measurements, of which
"cholesterol_ratio" is total cholesterol over hdl and "log_triglycerides" probably the logarithm
of the triglycerides. Sex is not among the features, as it is constant within a task. The source
codes sex as 1 and 2 without saying which is which; 2 is read as male here, as hdl is lower (mean
44.6 against 54.4) and blood pressure higher in that group.
"""
DIABETES_GROUPS_CITATION = (
    "Efron, Hastie, Johnstone and Tibshirani (2004), Least angle regression, Annals of "
    "Statistics 32, 407-499"
)

DIGITS_FEW = """Handwritten digits, ten questions, few answers.

1797 images of 8 x 8 pixels with brightness from 0 to 16. A task asks whether an image shows one
given digit. Only few images are labelled for each task, drawn separately for each, so most of
the target matrix is NaN; all labels are kept apart for testing.
"""
DIGITS_FEW_CITATION = (
    "Alpaydin and Kaynak (1998), Optical recognition of handwritten digits, UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C50P49"
)

WAGES = """Wages of 450 women, interviewed between 1968 and 1988.

Each of the 3,887 rows is one interview; a task is a woman, with 5 to 15 interviews. The target is
the logarithm of her hourly wage. Features are the year, her age, years of school, whether she has
a college degree, years of work experience, years in her present job (tenure), usual hours per
week, whether she is married with her husband present, was never married, lives in the South, in a
central city, or outside of a metropolitan area (rural), and the group of her occupation, whose
codes the source does not explain. An extract: of the 4,696 women those with five interviews or
more, then 450 of them at equal distances in the order of their identifiers.
"""
WAGES_CITATION = (
    "US Bureau of Labor Statistics, National Longitudinal Survey of Young Women (1968 cohort), "
    "public use file, as distributed with Stata under the name nlswork"
)

SCHOOL_FEATURES = (
    *("year_1", "year_2", "year_3"),
    *("free_school_meals", "vr_band_1_share"),
    *("female", "male"),
    *("vr_band_3", "vr_band_1", "vr_band_2"),
    *(f"ethnic_group_{k}" for k in range(1, 12)),
    *("school_mixed", "school_boys", "school_girls"),
    *(f"denomination_{k}" for k in range(1, 4)),
    "constant",
)
SCHOOL = """Inner London Education Authority, examination scores.

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
SCHOOL_CITATION = (
    "Inner London Education Authority, 1985-87; Bakker and Heskes (2003), Task clustering and "
    "gating for Bayesian multitask learning, JMLR 4, 83-99; Argyriou, Evgeniou and Pontil "
    "(2008), Convex multi-task feature learning, Machine Learning 73, 243-272; file as published "
    "with MALSAR (Zhou, Chen and Ye 2011)"
)

COMPUTER_FEATURES = (
    "constant",
    "hot_line",
    "ram",
    "screen_size",
    "cpu",
    "hard_disk",
    "cd_rom",
    "cache",
    "colour",
    "availability",
    "warranty",
    "software",
    "guarantee",
    "price",
)
COMPUTER = """Lenk's survey of computer buyers.

190 respondents rated the same 20 hypothetical computers by how likely they were to buy them,
from 0 to 10. A task is a respondent, numbered from 0 in the order of the file. Features: a
constant 1 and 13 attributes with two levels, -1 and 1 (1 is the level with more of the attribute,
for "price" the higher one). The file has no column names; those given here are in the order in
which Lenk et al. (1996) and Argyriou et al. (2008) list the attributes. The seven columns of
``extras["task_features"]`` are unnamed in the file: a constant, four indicators and two counts
about the respondent (in Lenk et al.: female, years of experience, owner of a computer, technical
occupation, number of applications used, expertise).
"""
COMPUTER_CITATION = (
    "Lenk, DeSarbo, Green and Young (1996), Hierarchical Bayes conjoint analysis: recovery of "
    "partworth heterogeneity from reduced experimental designs, Marketing Science 15, 173-191"
)

LANDMINE_FEATURES = (
    *("moment_1", "moment_2", "moment_3", "moment_4"),
    *("correlation_1", "correlation_2", "correlation_3"),
    "energy_ratio",
    "spatial_variance",
)
LANDMINE = """Land mine detection with airborne radar.

14820 objects in 29 fields, seen by synthetic-aperture radar; the target is 1 for a land mine
(904 objects) and 0 for clutter. A task is a field, numbered from 0 in the order of the file:
0 to 14 are foliated regions, 15 to 28 bare earth or desert. The file has no column names; those
given here are in the order in which Xue et al. (2007) list the groups of features (four based on
moments, three on correlations, an energy ratio, a spatial variance).
"""
LANDMINE_CITATION = (
    "Xue, Liao, Carin and Krishnapuram (2007), Multi-task learning for classification with "
    "Dirichlet process priors, JMLR 8, 35-63"
)

HEART_FEATURES = (
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
)
HEART_CATEGORICAL = ("cp", "restecg", "thal")
HEART = """Heart disease in four hospitals.

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
HEART_CITATION = (
    "Janosi, Steinbrunn, Pfisterer and Detrano (1988), Heart disease, UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C52P4X"
)

ENB_FEATURES = (
    "relative_compactness",
    "surface_area",
    "wall_area",
    "roof_area",
    "overall_height",
    "orientation",
    "glazing_area",
    "glazing_area_distribution",
)
ENB_TARGETS = ("heating_load", "cooling_load")
ENB = """Energy efficiency of buildings.

768 simulated buildings described by eight numbers; the two targets, and tasks, are the heating
and the cooling load (Y1 and Y2 in the file; the features are X1 to X8). "orientation" (2 to 5)
and "glazing_area_distribution" (0 to 5) are codes without an order. "roof_area" is half of
"surface_area" less "wall_area", so the features are linearly dependent.
"""
ENB_CITATION = (
    "Tsanas and Xifara (2012), Accurate quantitative estimation of energy performance of "
    "residential buildings using statistical machine learning tools, Energy and Buildings 49, "
    "560-567; as used by Spyromitros-Xioufis, Tsoumakas, Groves and Vlahavas (2016), "
    "Multi-target regression via input space expansion, Machine Learning 104, 55-98"
)
