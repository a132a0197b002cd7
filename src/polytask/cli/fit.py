"""``polytask fit``: learn all tasks of a table and write the model."""

from __future__ import annotations

from typing import Annotated

from polytask._options import argument
from polytask.cli.console import say
from polytask.cli.files import MODEL_SUFFIX, Tables, writable
from polytask.cli.models import FIXED, SEARCH, Learning
from polytask.cli.options import Cluster, Running, Vary

EXAMPLES = """\
  polytask fit exams.csv --task school --target score --out exams.polytask

  polytask fit plant.csv --targets 'y_*' --id batch --out plant.polytask

  polytask fit --file-per-task 'wards/*.csv' --target ill --out wards.polytask
"""


def fit(
    tables: Annotated[Tables, Vary(changed={"data": argument("help.data.or_statistics", "DATA")})],
    learning: Learning,
    cluster: Cluster,
    running: Annotated[Running, Vary(("json", "resume", "time_budget"))],
) -> None:
    """Read, fit, write the model and say what was done."""
    from polytask import save
    from polytask.cli.describe import say_data, say_model, say_next, scores_beside
    from polytask.cli.in_parts import collect_training
    from polytask.cli.training_data import read_training

    speech = running.speech
    tables.check("fit", running.out, f"model{MODEL_SUFFIX}")
    tables = learning.check_search(tables)
    path = writable(
        running.out,
        force=running.force,
        example=f"model{MODEL_SUFFIX}",
        inputs=(tables.source.data,),
    )
    in_parts = bool(tables.source.too_large or cluster.dask)
    if in_parts:
        training, learning = collect_training(tables, learning, running, cluster.dask)
    else:
        training = read_training(tables, learning.override)
    training.refuse_constant(tables.source.name)
    if tables.source.is_statistics:
        learning = learning.for_statistics(training.X)
    learning = learning.for_groupings(training)
    estimator = learning.estimator(training, running)
    say_data(training, speech)
    with running.waiting("cli.fitting", estimator):
        estimator.fit(training.X, training.y, sample_weight=training.weight)
    if "cv" in estimator.get_params(deep=False):
        # Groups or times in the splitter are nothing that the model has to know.
        estimator.set_params(cv=learning.n_folds)
    save(estimator, path)
    name = learning.name
    scores = None
    if not (tables.source.is_statistics or in_parts):
        scores = scores_beside(estimator, training, learning, running)
        if scores.with_errors is not None:
            save(estimator, path)
    say()
    say_model(estimator, speech, None if name in (SEARCH, FIXED) else name, scores)
    say()
    say(speech("cli.fit.answers"))
    say_next(path, tables, speech)
