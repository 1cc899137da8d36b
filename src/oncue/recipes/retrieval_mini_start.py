"""The start of a new mini model that retrieves: a rough circuit, written by hand into its decoder.

It reads; it does not decide where to look. "Opener": the token after which an answer or a range
begins.

    layer 1   a frame takes on the number of its mark; a colour among options takes on its letter;
              an opener takes on the shape and the number that the question names, that of an
              answer the kind of answer, too; the end of a range is proposed a few frames after its
              start
    layer 2   the opener of an answer finds frames: of the asked number (what they show), of the
              asked shape (their number), and of those the one with a flash (its colour)
    layer 3   the opener of an answer finds the option of that colour (its letter)

That of a range knows what is asked, but finds no frame: nothing links it to one.

Everything is then trained. A new model without this start bound nothing to anything in the time
that two cores have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

HIDDEN_SIZE, HEAD_DIM, NUM_LAYERS, MLP_SIZE = 192, 32, 4, 256
ROPE_THETA = 1e9
MROPE_SECTION = (4, 6, 6)  # of one vision token per frame all axes are alike

# Channels of the residual stream. What a token is:
NUMBER = slice(0, 20)
SHAPE = slice(20, 29)  # the last one: no shape
COLOUR = slice(29, 34)  # the last one: no colour
LETTER = slice(34, 38)
WORD = slice(38, 64)
KINDS = (
    *("number", "shape", "colour", "letter", "answer", "retrieve", "frame", "sink"),
    *("question", "comma", "header"),
)
KIND = {name: 64 + i for i, name in enumerate(KINDS)}
# And what it takes on:
OWN_NUMBER = slice(76, 96)
OWN_LETTER = slice(96, 100)
ASKED_SHAPE = slice(100, 109)
ASKED_NUMBER = slice(109, 129)
FOUND_COLOUR = slice(129, 134)
BEFORE = slice(134, 146)
NUM_SCRATCH = 12

_PERIOD = 128  # of the slowest wave of numbers: they may reach that
_WAVES = (1, 3, 8, 14, 21, 27, 35, 44, 52, 61)
_ASIDE = 7  # from the start of a range to its proposed end
_NUM_PLACED = (
    5  # frequencies that turn quickly enough to tell places apart; the others carry content
)
_UNIT = HIDDEN_SIZE**0.5 / 2**0.5  # of a token that is one thing of one kind, once normalised
_MEETS, _PLACES = 1.6, 100.0
_SAYS = 3.0  # how much louder is what is to be said than what a token is
_QUIET = 0.1  # of all that is not written by hand


@dataclass(frozen=True, slots=True)
class Distances:
    """How many tokens apart things are: a frame and the number of its mark, a colour and the letter
    of its option, an opener and the number in a question, the header of an answer and how the turn
    before it ends."""

    mark: int
    option: int
    asked: int
    header: int


def number_code(number: int) -> np.ndarray:
    """(20,) float32 of length 1: waves, so that the code of number + n is a rotation of that of
    number."""
    angles = 2 * np.pi * np.array(_WAVES) * number / _PERIOD
    code = np.concatenate([np.cos(angles), np.sin(angles)]) / len(_WAVES) ** 0.5
    return code.astype(np.float32)


class RetrievalStart:
    """Writes the rough circuit into a decoder. See the module's first lines for what it does."""

    def __init__(self, decoder: Any, distances: Distances) -> None:
        import torch

        self.torch, self.decoder, self.distances = torch, decoder, distances
        num = HEAD_DIM // 2
        self.frequencies = ROPE_THETA ** (-torch.arange(num) / num)
        # Rows of a head that carry content, the last two of them for kinds
        self.content = [*range(_NUM_PLACED, num), *range(num + _NUM_PLACED, HEAD_DIM)]

    def apply(self, says: Mapping[str, Any]) -> None:
        """`says`: of each kind of answer, the codes (N, 26) of the words that ask for it."""
        for layer in self.decoder.layers:
            layer.mlp.down_proj.weight *= _QUIET
            layer.self_attn.o_proj.weight *= _QUIET
        self._gather(says)
        self._find()
        self._name_letter()

    def _gather(self, says: Mapping[str, Any]) -> None:
        far = self.distances
        self._aim(0, 0, far.mark)
        self._pass(0, 0, [(NUMBER, OWN_NUMBER, 3.0)])
        self._aim(0, 1, far.option, of="colour")
        self._pass(0, 1, [(LETTER, OWN_LETTER, 3.0)])
        self._look_for(0, 2, ("answer", "retrieve"), "shape")
        self._pass(0, 2, [(SHAPE, ASKED_SHAPE, 2.0)])
        self._aim(0, 3, far.asked, of="answer")
        self._pass(0, 3, [(NUMBER, ASKED_NUMBER, 2.0)])
        self._look_for(0, 4, ("answer",), "question")
        self._pass_kinds(0, 4, says)
        self._aim(0, 5, 1, of="comma")
        self._aim(0, 5, 1, of="number")
        self._aim(0, 5, far.header, of="header")
        self._pass_aside(0, 5)

    def _find(self) -> None:
        openers = ("answer",)
        self._match(1, 0, ASKED_NUMBER, OWN_NUMBER)
        self._prefer(1, 0, openers, {"frame": 1.0})
        self._pass(1, 0, [(SHAPE, SHAPE, _SAYS), (COLOUR, COLOUR, _SAYS)])
        for head in (1, 2):
            self._match(1, head, ASKED_SHAPE, SHAPE)
            self._prefer(1, head, openers, {"frame": 1.0, "shape": -2.0})
        self._pass(1, 1, [(OWN_NUMBER, NUMBER, _SAYS)])
        flashes = self.content[9]
        attention, first = self.decoder.layers[1].self_attn, 2 * HEAD_DIM
        for kind in openers:
            attention.q_proj.weight[first + flashes, KIND[kind]] = _MEETS
        attention.k_proj.weight[first + flashes, COLOUR.start : COLOUR.stop - 1] = 2 * _MEETS
        attention.k_proj.weight[first + flashes, COLOUR.stop - 1] = -_MEETS
        self._pass(1, 2, [(COLOUR, FOUND_COLOUR, 4.0)])

    def _name_letter(self) -> None:
        self._match(2, 0, FOUND_COLOUR, COLOUR)
        self._prefer(2, 0, ("answer",), {"colour": 1.0, "frame": -3.0})
        self._pass(2, 0, [(OWN_LETTER, LETTER, _SAYS)])

    def _blank(self, layer: int, head: int) -> tuple[Any, slice]:
        return self.decoder.layers[layer].self_attn, slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)

    def _clear(self, layer: int, head: int) -> tuple[Any, slice]:
        """The head, of which nothing looks at anything yet, and its rows."""
        attention, rows = self._blank(layer, head)
        cleared = self.__dict__.setdefault("_cleared", set())
        if (layer, head) not in cleared:
            cleared.add((layer, head))
            for projection in (attention.q_proj, attention.k_proj):
                projection.weight[rows] = 0
                projection.bias[rows] = 0
        return attention, rows

    def _aim(self, layer: int, head: int, distance: int, of: str = "") -> None:
        """Makes a head look `distance` tokens back: always, or from tokens of one kind only."""
        torch = self.torch
        attention, rows = self._clear(layer, head)
        used, none = torch.zeros(HEAD_DIM // 2), torch.zeros(HEAD_DIM // 2)
        used[:_NUM_PLACED] = 1
        angles = distance * self.frequencies
        aim = torch.cat([used * torch.cos(angles), -used * torch.sin(angles)]) * _PLACES**0.5
        attention.k_proj.bias[rows] = _PLACES**0.5 * torch.cat([used, none])
        if of:
            attention.q_proj.weight[rows, KIND[of]] = aim / _UNIT
        else:
            attention.q_proj.bias[rows] = aim

    def _look_for(self, layer: int, head: int, of: Sequence[str], kind: str) -> None:
        """Tokens `of` some kinds look for one of another; where there is none, at a sink."""
        attention, rows = self._clear(layer, head)
        row = rows.start + self.content[-1]
        for name in of:
            attention.q_proj.weight[row, KIND[name]] = _MEETS
        attention.k_proj.weight[row, KIND[kind]] = _MEETS
        attention.k_proj.weight[row, KIND["sink"]] = 0.5 * _MEETS

    def _match(self, layer: int, head: int, asked: slice, shown: slice) -> None:
        attention, rows = self._clear(layer, head)
        for j in range(asked.stop - asked.start):
            row = rows.start + self.content[j]
            attention.q_proj.weight[row, asked.start + j] = _MEETS
            attention.k_proj.weight[row, shown.start + j] = _MEETS

    def _prefer(self, layer: int, head: int, of: Sequence[str], kinds: Mapping[str, float]) -> None:
        attention, rows = self._clear(layer, head)
        row = rows.start + self.content[-1]
        for name in of:
            attention.q_proj.weight[row, KIND[name]] = _MEETS
        for name, gain in kinds.items():
            attention.k_proj.weight[row, KIND[name]] = gain * _MEETS

    def _pass(self, layer: int, head: int, parts: Sequence[tuple[slice, slice, float]]) -> None:
        """What a head finds in some channels goes into others."""
        attention, rows = self._blank(layer, head)
        attention.v_proj.weight[rows] = 0
        attention.v_proj.bias[rows] = 0
        attention.o_proj.weight[:, rows] = 0
        row = rows.start
        for source, target, gain in parts:
            for j in range(source.stop - source.start):
                attention.v_proj.weight[row, source.start + j] = 1 / _UNIT
                attention.o_proj.weight[target.start + j, row] = gain
                row += 1

    def _pass_kinds(self, layer: int, head: int, says: Mapping[str, Any]) -> None:
        """The words of a question become the kind of its answer."""
        torch = self.torch
        attention, rows = self._blank(layer, head)
        self._pass(layer, head, [])
        codes = torch.cat(list(says.values()))
        kinds = torch.zeros(len(codes), len(says))
        first = 0
        for number, of_kind in enumerate(says.values()):
            kinds[first : first + len(of_kind), number] = 1
            first += len(of_kind)
        read = torch.linalg.pinv(codes) @ kinds  # (26, kinds)
        for number, kind in enumerate(says):
            attention.v_proj.weight[rows.start + number, WORD] = read[:, number] / _UNIT
            attention.o_proj.weight[KIND[kind], rows.start + number] = _SAYS

    def _pass_aside(self, layer: int, head: int) -> None:
        """Numbers come out some frames later, words as they are, into channels of their own."""
        torch = self.torch
        attention, rows = self._blank(layer, head)
        self._pass(layer, head, [])
        num = len(_WAVES)
        angles = 2 * np.pi * torch.tensor(_WAVES) * _ASIDE / _PERIOD
        turn = torch.zeros(2 * num, 2 * num)
        for j in range(num):
            cos, sin = torch.cos(angles[j]), torch.sin(angles[j])
            turn[j, j], turn[j, num + j], turn[num + j, j], turn[num + j, num + j] = (
                cos,
                -sin,
                sin,
                cos,
            )
        numbers = slice(rows.start, rows.start + 2 * num)
        attention.v_proj.weight[numbers, NUMBER] = turn / _UNIT
        attention.o_proj.weight[NUMBER, numbers] = _SAYS * torch.eye(2 * num)
        words = slice(numbers.stop, rows.stop)
        width = WORD.stop - WORD.start
        attention.v_proj.weight[words, WORD] = (
            torch.linalg.qr(torch.randn(width, width))[0][:NUM_SCRATCH] / _UNIT
        )
        attention.o_proj.weight[BEFORE, words] = torch.eye(NUM_SCRATCH)
