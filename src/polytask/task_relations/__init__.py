"""Relatedness of tasks: from their data, from a model, or from the training of a network."""

from polytask.task_relations.api import relatedness
from polytask.task_relations.result import Relatedness

__all__ = ["Relatedness", "relatedness"]
