"""Several labels of images and of texts, with a trunk that was trained on something else before.

Images: digits of scikit-learn. A small vision transformer learns to tell 0 to 4 from each other;
then the digit, whether it is even and whether it has a loop are learned of 5 to 9, from 100 rows.
Texts: simulated. Words are of groups of synonyms; a small BERT learns topic, mood and style of
4000 sentences; then labels that follow from these in other ways (who reads it, whether it is
urgent, whether it needs an answer) are learned from 100 sentences.

Models are written to a folder and read from it as any other of Hugging Face; nothing is fetched.

Run: python examples/deep/pretrained.py [SEEDS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from polytask.deep import DeepMultiTaskClassifier, sharing
from polytask.deep.pretrained import (
    LayerwiseDecay,
    Pixels,
    Pretrained,
    Tokens,
    first_token,
    freeze,
    mean_of_tokens,
)
from polytask.deep.regularise import ToStart
from polytask.penalties import L2

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
PIXELS = Pixels((1, 8, 8))
ROWS, EPOCHS = 100, 60
# Padding, then groups of synonyms: 3 topics, 2 moods, 2 styles, and words that say nothing.
SYNONYMS, LENGTH = 40, 12


def images(seed: int, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Train a vision transformer on 0 to 4, write it, and return 5 to 9 with their labels."""
    X, digit = load_digits(return_X_y=True)
    X = X / 8.0 - 1.0
    config = ViTConfig(image_size=8, patch_size=2, num_channels=1, **SIZE)
    old = digit < 5
    first = DeepMultiTaskClassifier(
        Pretrained(ViTModel(config, add_pooling_layer=False), PIXELS, first_token),
        standardize=False,
        max_epochs=40,
        random_state=seed,
    ).fit(X[old], digit[old, None])
    first.network_.sharing.trunk.model.save_pretrained(folder)
    labels = {
        "digit": digit.astype(str),
        "even": digit % 2 == 0,
        "loop": np.isin(digit, [6, 8, 9]),
    }
    return X[~old], pd.DataFrame(labels)[~old].astype(str)


def sentences(n: int, rng: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
    """Simulate token ids and what they are about; a quarter of the words says nothing."""
    topic, mood, style = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 2, n)
    groups = np.column_stack([topic, 3 + mood, 5 + style, np.full(n, 7)])
    group = np.take_along_axis(groups, rng.integers(0, 4, (n, LENGTH)), axis=1)
    X = 1 + group * SYNONYMS + rng.integers(0, SYNONYMS, (n, LENGTH))
    X[np.arange(LENGTH) >= rng.integers(6, LENGTH + 1, n)[:, None]] = 0
    return X.astype(float), pd.DataFrame({"topic": topic, "mood": mood, "style": style})


def texts(seed: int, folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Train a BERT on old labels, write it, and return other sentences with new labels."""
    rng = np.random.default_rng(seed)
    X, known = sentences(4000, rng)
    model = BertModel(BertConfig(vocab_size=1 + 8 * SYNONYMS, **SIZE), add_pooling_layer=False)
    first = DeepMultiTaskClassifier(
        Pretrained(model, Tokens()), standardize=False, max_epochs=12, random_state=seed
    ).fit(X, known.astype(str))
    first.network_.sharing.trunk.model.save_pretrained(folder)
    X, about = sentences(1500, rng)
    topic, mood, style = (about[name] for name in about)
    desk = topic.where(style == 0, 3)
    labels = {"desk": desk, "urgent": mood & style, "answer": (topic == 2) | (mood == 1)}
    return X, pd.DataFrame(labels).astype(str)


def networks(read: Callable[[], torch.nn.Module], trunk: Callable[..., Pretrained], seed: int):
    """Return what is compared by name; all have the same number of epochs."""

    def net(model: Pretrained, rate: float = 3e-3, **settings: object) -> DeepMultiTaskClassifier:
        if "optimizer" not in settings:
            settings["learning_rate"] = rate
        return DeepMultiTaskClassifier(
            model,
            standardize=False,
            max_epochs=EPOCHS,
            early_stopping=False,
            random_state=seed,
            **settings,
        )

    fresh = type(read())(read().config)
    rates = LayerwiseDecay(3e-3, 0.5)
    return {
        "from scratch": net(trunk(fresh)),
        "frozen": net(trunk(freeze(read())), 1e-2),
        "all layers": net(trunk(read())),
        "layer-wise rates": net(trunk(read()), optimizer=rates),
        "last layer": net(trunk(freeze(read(), but=["*layer*.1.*"]))),
        "near the start": net(trunk(read()), penalties={"trunk": ToStart(L2(0.1))}),
        "LoRA, shared": net(trunk(read()), sharing=sharing.LoRA(None, 4)),
        "LoRA, each task": net(trunk(read()), sharing=sharing.LoRA(4)),
    }


def readers(make: Callable, folder: str) -> tuple[Callable, Callable]:
    """Return what reads the written model, and what makes a trunk of it."""
    kind = ViTModel if make is images else BertModel
    given = (PIXELS, first_token) if make is images else (Tokens(), mean_of_tokens)
    read = partial(kind.from_pretrained, folder, local_files_only=True, add_pooling_layer=False)
    return read, lambda model: Pretrained(model, *given)


def one_seed(make: Callable, seed: int) -> pd.DataFrame:
    """Return the accuracy of each label and the seconds of fitting, a row for each model."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        X, Y = make(seed, Path(folder))
        read, trunk = readers(make, folder)
        at = np.random.default_rng(seed).permutation(len(X))
        fit, new = at[:ROWS], at[ROWS:]
        found = {}
        for name, model in networks(read, trunk, seed).items():
            start = time.process_time()
            model.fit(X[fit], Y.iloc[fit])
            seconds = time.process_time() - start
            right = np.asarray(model.predict(X[new]) == Y.iloc[new].to_numpy()).mean(0)
            found[name] = [*right, seconds]
    start = time.process_time()
    right = []
    for label in Y:
        # Pixels, or which words a sentence has: positions say nothing here.
        plain = LogisticRegression(max_iter=5000)
        rows = X if make is images else words(X)
        plain.fit(rows[fit], Y[label].iloc[fit])
        right.append(plain.score(rows[new], Y[label].iloc[new]))
    found["logistic regression"] = [*right, time.process_time() - start]
    return pd.DataFrame(found, index=[*Y, "seconds"]).T


def words(X: np.ndarray) -> np.ndarray:
    """Return which words each sentence has, (n, n_words)."""
    found = np.zeros((len(X), 1 + 8 * SYNONYMS))
    np.put_along_axis(found, X.astype(int), 1.0, axis=1)
    return found


def main(n_seeds: int = 1) -> dict[str, pd.DataFrame]:
    """Print the means over seeds, with paired differences to the frozen trunk, and return them."""
    tables = {}
    for make in (images, texts):
        runs = [one_seed(make, seed) for seed in range(n_seeds)]
        tables[make.__name__] = pd.concat(runs).groupby(level=0, sort=False).mean()
        mean = pd.concat([run.drop(columns="seconds").mean(axis=1) for run in runs], axis=1)
        tables[make.__name__].insert(0, "mean", mean.mean(axis=1))
        if n_seeds > 1:
            gain = mean - mean.loc["frozen"]
            t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}[n_seeds]
            half = t * gain.std(axis=1, ddof=1) / np.sqrt(n_seeds)
            tables[make.__name__]["to frozen"] = gain.mean(axis=1)
            tables[make.__name__]["+-"] = half
        print(make.__name__)
        print(tables[make.__name__].round(3).to_string())
    return tables


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
