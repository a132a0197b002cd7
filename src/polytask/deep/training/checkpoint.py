"""Checkpoints: everything that training goes on from, in one file written whole or not at all."""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.deep.balancing import StatefulBalancer
from polytask.deep.regularise import Penalties
from polytask.exceptions import DataError, DataWarning, IncompatibleError
from polytask.io.atomic import write_whole
from polytask.io.codec import from_node, plain, to_node
from polytask.io.fingerprint import fingerprints
from polytask.messages import LazyMessage, Translator

FORMAT = "polytask-checkpoint"
# 2 told of objects in one text, which every new parameter of theirs changed.
VERSION = 3
# What tells the weights that given modules began with, among what a training is known by.
BEGINNING = "the weights of the modules given"


def write_checkpoint(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write a checkpoint, replacing the one before."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}

    def other(value: Any, part: str) -> Any:  # noqa: ANN401 - any value
        if isinstance(value, Tensor):
            name = f"t{len(tensors)}"
            tensors[name] = value.detach().cpu().contiguous().clone()
            return {"$tensor": name}
        if (base := plain(value)) is not value:
            return to_node(base, partial(other, part=part))
        fields = {"part": part, "kind": type(value).__name__}
        raise IncompatibleError(LazyMessage("deep.refusal.checkpoint_state", fields))

    rest = {name: held for name, held in content.items() if name != "parts"}
    node = to_node(rest, partial(other, part="training"))
    node["parts"] = {
        part: to_node(held, partial(other, part=part)) for part, held in content["parts"].items()
    }
    text = json.dumps({"format": FORMAT, "version": VERSION, "content": node})
    write_whole(path, save(tensors, metadata={"polytask": text}))


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what :func:`write_checkpoint` wrote; None if there is no such file."""
    # No code of the file is run: it holds JSON and arrays.
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        return None
    file_name = os.fspath(path)
    try:
        with safe_open(file_name, framework="pt") as file:
            document = json.loads((file.metadata() or {})["polytask"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, known = (document["format"], document["version"]), (FORMAT, VERSION)
        content = document["content"] if found == known else None
        decoded: dict[str, Any] | None = from_node(
            content, {"$tensor": lambda node: tensors[node["$tensor"]]}
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        fields = {"path": file_name, "error": str(error)}
        raise DataError(LazyMessage("deep.refusal.no_checkpoint", fields)) from error
    if decoded is None:
        told = {"found": "{} {}".format(*found), "known": "{} {}".format(*known)}
        raise DataError(LazyMessage("deep.refusal.checkpoint_version", told | {"path": file_name}))
    return decoded


def known_by(
    network: nn.Module,
    tasks: Sequence[Hashable],
    penalties: Penalties,
    balance: StatefulBalancer | None,
    batches: object,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what tells a training from another, whoever asks for it, and defaults of that."""
    objects: dict[str, Any] = {"balancer": None if balance is None else balance.balancer}
    for place, found in enumerate(penalties.terms):
        name = f"penalties of layers.{found.name}.{place}"
        objects |= {f"{name}.smooth": found.split.smooth, f"{name}.prox": found.split.proximable}
    texts, defaults = fingerprints(objects, {})
    # Lazy layers have another class after a first pass.
    kinds = [type(module).__name__.removeprefix("Lazy") for module in network.modules()]
    own = {
        "shapes": {name: list(value.shape) for name, value in network.state_dict().items()},
        "kinds of layers": zlib.crc32(repr(kinds).encode()),
        "tasks": [repr(task) for task in tasks],
        "generators of batches": len(_generators(batches)),
    }
    return own | texts, defaults


def require_same(
    path: str | os.PathLike[str],
    found: Mapping[str, Any],
    identity: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> None:
    """Refuse to go on from the checkpoint of another training."""
    # What was added since the file was written had no other value than its default.
    known = {**defaults, **found}
    differs = [name for name, value in identity.items() if known.get(name) != value]
    if differs == [BEGINNING]:
        message = LazyMessage("warn.checkpoint", {"path": os.fspath(path)})
        warnings.warn(DataWarning(message), stacklevel=2)
    elif differs:
        raise DataError(_refusal("other_training", path, differs))
    if unknown := sorted(set(found) - set(identity)):
        raise DataError(_refusal("unknown_entries", path, unknown))


def _refusal(key: str, path: str | os.PathLike[str], entries: list[str]) -> LazyMessage:
    """Return a refusal that names entries: in words, or as the parameters that they are."""
    keys, say = {name: f"deep.entry.{name}" for name in entries}, Translator()
    names = [LazyMessage(word).node if say.has(word) else name for name, word in keys.items()]
    return LazyMessage(f"deep.refusal.{key}", {"path": os.fspath(path), "names": names})


def random_state(batches: object = None) -> dict[str, Any]:
    """Return the state of torch's own generators, and of those that batches are drawn by."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    state["batches"] = [found.get_state() for found in _generators(batches)]
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any], batches: object = None) -> None:
    """Put torch's own generators, and those that batches are drawn by, into a state."""
    torch.set_rng_state(state["cpu"])
    for found, kept in zip(_generators(batches), state["batches"], strict=True):
        found.set_state(kept)
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _generators(batches: object) -> list[torch.Generator]:
    """Return the generators of a DataLoader and its samplers, each once."""
    samplers = [getattr(batches, name, None) for name in ("sampler", "batch_sampler")]
    inner = [getattr(found, "sampler", None) for found in samplers]
    held = [getattr(found, "generator", None) for found in (batches, *samplers, *inner)]
    found = {id(g): g for g in held if isinstance(g, torch.Generator)}
    return list(found.values())
