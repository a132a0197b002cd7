"""Several kinds of input: an encoder for each, fused, and one or more may be missing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polytask._checks import below_one, listed, nearest, nonnegative, sentence
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

Inputs = Mapping[str, Tensor | None]


class Modalities(nn.Module):
    """A trunk for a dictionary of inputs: each through its encoder, then fused.

    An input, a tensor of shape (n, ...), that is missing is represented by a vector that is
    learned for its modality. It may be missing for the whole batch (its name is absent, or None)
    or for some rows (NaN in a row).
    Hiding inputs at random while training (`hide`) teaches the network to do without them.

    Parameters
    ----------
    encoders : mapping of str to nn.Module
        For each input a module that gives (n, width) for n rows.
    widths : mapping of str to int
        The width of each encoding.
    fusion : nn.Module or None, default=None
        Takes the encodings side by side, (n, sum of widths), in the order of `encoders`, and
        returns the representation; None returns them as they are.
    hide : float, default=0.0
        While training, the chance that an input of a row is hidden, in [0, 1); one input that
        is there always stays.
    alignment : float, default=0.0
        Strength of a penalty on the squared distance between the encodings of a row, mean over
        rows and pairs of inputs that are there; all widths must then be equal. It lets a
        network that was trained on two inputs predict from either.

    Attributes
    ----------
    extra_loss : Tensor or None
        The penalty of the last batch seen in training; added to the loss by
        :class:`TaskNetwork`.

    Raises
    ------
    ParameterError
        If a setting is outside its set, or there is no encoder.
    IncompatibleError
        If encodings of different widths are to be aligned.

    References
    ----------
    .. [1] Neverova, N., Wolf, C., Taylor, G. and Nebout, F. (2016). ModDrop: adaptive multi-modal
       gesture recognition. IEEE TPAMI 38, 1692-1706 (hidden inputs).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from polytask.deep import Modalities
    >>> encoders = {"size": nn.Linear(2, 4), "look": nn.Linear(3, 5)}
    >>> trunk = Modalities(encoders, {"size": 4, "look": 5})
    >>> trunk({"size": torch.ones(6, 2), "look": None}).shape
    torch.Size([6, 9])
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        widths: Mapping[str, int],
        fusion: nn.Module | None = None,
        *,
        hide: float = 0.0,
        alignment: float = 0.0,
    ) -> None:
        super().__init__()
        if not encoders or set(encoders) != set(widths):
            fields = {"encoders": str(list(encoders)), "widths": str(list(widths))}
            raise ParameterError(LazyMessage("deep.refusal.widths_of_inputs", fields))
        self.hide = below_one(hide, "hide", "Modalities")
        self.alignment = nonnegative(alignment, "alignment", "Modalities")
        if self.alignment > 0 and len(set(widths.values())) > 1:
            fields = {"widths": str(dict(widths))}
            raise IncompatibleError(LazyMessage("deep.refusal.alignment", fields))
        self.names = tuple(encoders)
        self.encoders = nn.ModuleList(list(encoders.values()))
        self.stand_ins = nn.ParameterList([torch.zeros(widths[name]) for name in self.names])
        self.fusion = nn.Identity() if fusion is None else fusion
        self.extra_loss: Tensor | None = None

    def input_layers(self) -> list[nn.Module]:
        """Refuse: features of unlike inputs cannot stand in one row of a matrix."""
        fields = {"name": repr(self.names[0])}
        raise IncompatibleError(LazyMessage("deep.refusal.several_inputs", fields))

    def forward(self, x: Inputs) -> Tensor:
        """Return the representation of every row; x is described in the class.

        Raises
        ------
        DataError
            If an input is unknown, or none is there, or their rows differ in number, or an
            encoder cannot take its input, or an encoding has another width than was said.
        """
        there = self._seen(x)
        encodings = self._encoded(x, there)
        if self.training and self.alignment > 0:
            self.extra_loss = self.alignment * _distance(encodings, there)
        else:
            self.extra_loss = None
        used = self._kept(there) if self.training and self.hide > 0 else there
        parts = [
            torch.where(used[:, m, None], encoding, stand_in)
            for m, (encoding, stand_in) in enumerate(zip(encodings, self.stand_ins, strict=True))
        ]
        fused: Tensor = self.fusion(torch.cat(parts, dim=1))
        return fused

    def _seen(self, x: Inputs) -> Tensor:
        """Return which inputs of which rows are there, (n, n_inputs)."""
        strangers = [name for name in x if name not in self.names]
        if strangers:
            what, got = LazyMessage("what.one_input"), repr(strangers[0])
            told = sentence(what, "Modalities", listed(self.names), got)
            raise DataError(told + nearest(strangers[0], self.names))
        given = [value for value in x.values() if value is not None]
        if not given:
            raise DataError(LazyMessage("deep.refusal.no_input"))
        n = len(given[0])
        there = torch.zeros(n, len(self.names), dtype=torch.bool, device=given[0].device)
        for m, name in enumerate(self.names):
            value = x.get(name)
            if value is None:
                continue
            if len(value) != n:
                what = LazyMessage("what.input", {"name": repr(name)})
                allowed = LazyMessage("allowed.of_rows", {"count": n})
                raise DataError(sentence(what, "Modalities", allowed, len(value)))
            real = value.is_floating_point()
            there[:, m] = ~torch.isnan(value).flatten(1).any(1) if real else True
        return there

    def _encoded(self, x: Inputs, there: Tensor) -> list[Tensor]:
        """Return the encoding of every input, stand-ins where it is missing."""
        found = []
        for m, name in enumerate(self.names):
            whole = self.stand_ins[m].expand(len(there), -1)
            rows = torch.nonzero(there[:, m])[:, 0]
            value = x.get(name)
            if value is not None and len(rows):
                # A row without the input must not enter the norms of its encoder.
                whole = whole.index_copy(0, rows, self._encoding(m, value[rows]).to(whole.dtype))
            found.append(whole)
        return found

    def _encoding(self, m: int, value: Tensor) -> Tensor:
        try:
            found: Tensor = self.encoders[m](value)
        except ValueError as error:
            if len(value) > 1 or "more than 1 value" not in str(error):
                raise
            fields = {"name": repr(self.names[m])}
            raise DataError(LazyMessage("deep.refusal.one_row_of_input", fields)) from error
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            fields = {"name": repr(self.names[m]), "shape": str(tuple(value.shape))}
            told = LazyMessage("deep.refusal.input_shape", fields | {"error": str(error)})
            raise DataError(told) from error
        wanted = (len(value), self.stand_ins[m].shape[0])
        if tuple(found.shape) != wanted:
            what = LazyMessage("what.encoding", {"name": repr(self.names[m])})
            allowed = LazyMessage("allowed.of_shape", {"shape": str(wanted)})
            raise DataError(sentence(what, "Modalities", allowed, tuple(found.shape)))
        return found

    def _kept(self, there: Tensor) -> Tensor:
        """Return which inputs are left when some are hidden; each row keeps one of its own."""
        chance = torch.rand(there.shape, device=there.device)
        best = torch.where(there, chance, -1.0).argmax(1, keepdim=True)
        kept = there & (chance >= self.hide)
        return kept | (there & torch.zeros_like(there).scatter(1, best, True))


def _distance(encodings: list[Tensor], there: Tensor) -> Tensor:
    """Return the mean squared distance between the encodings of rows, over pairs of inputs."""
    total = encodings[0].new_zeros(())
    pairs = total.clone()
    for a in range(len(encodings)):
        for b in range(a + 1, len(encodings)):
            both = (there[:, a] & there[:, b]).to(total.dtype)
            apart = (encodings[a] - encodings[b]).square().mean(1)
            total = total + (both * apart).sum()
            pairs = pairs + both.sum()
    return total / pairs.clamp_min(1.0)
