"""What to do about single tasks."""

from __future__ import annotations

from polytask.comparison.records import Findings, TaskGain
from polytask.comparison.sentences import recommended
from polytask.messages import Translator

# Names of tasks in a sentence before it says "and n more".
_NAMED = 5
_ACTIONS = ("share", "separate", "pool")
_ACTION_OF_KIND = {"separate": "separate", "pooled": "pool", "shared": "share"}


def usual_actions(result: Findings) -> tuple[str, ...]:
    """Return what is recommended for all tasks, whether the verdict says so or not."""
    row = recommended(result)
    undecided = result.verdict in ("inconclusive", "no practical difference")
    followed = "" if row is None or not undecided else _ACTION_OF_KIND.get(row.kind, "")
    return result.verdict, followed


def action_words(action: str, result: Findings, say: Translator) -> str:
    """Return what to do about a task; nothing where no model is recommended."""
    said = "any" if action in usual_actions(result) else action
    return say.word("verb", said) if result.recommended else ""


def actions(result: Findings, say: Translator) -> list[str]:
    """Return a sentence for every action that some tasks call for beside the verdict's own."""
    kinds = [kind for kind in _ACTIONS if kind not in usual_actions(result)]
    found = ((kind, [t for t in result.tasks if t.action == kind]) for kind in kinds)
    return [_action(kind, tasks, say) for kind, tasks in found if tasks]


def _action(kind: str, tasks: list[TaskGain], say: Translator) -> str:
    names = say.listed(say.task(task.task) for task in tasks[:_NAMED])
    rest = len(tasks) - _NAMED
    names = say("list.more", {"names": names, "n": rest}) if rest > 0 else names
    action = say(f"action.{kind}", {"n": len(tasks)})
    return say("action.named", {"action": action, "names": names})
