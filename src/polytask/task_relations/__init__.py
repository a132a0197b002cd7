"""Relatedness of tasks: from their data, from a model, or from the training of a network."""

from polytask.task_relations.api import relatedness, summary_of_data
from polytask.task_relations.records import RelatednessSummary
from polytask.task_relations.result import Relatedness

__all__ = ["Relatedness", "RelatednessSummary", "relatedness", "summary_of_data"]
