"""A blind vote between two ways to make a picture, and whether chance could have done it."""

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from scipy.stats import binomtest

from srlib.figures.raster import encode_for_screen
from srlib.image import check_image

__all__ = ["BlindVote", "verdict"]


class BlindVote(ipywidgets.VBox):
    """Show two pictures side by side, in a hidden order, and count which is liked better.

    Which side is which, and in which order the pairs come, is drawn at random. The names are told
    only by `counts`. The count lasts as long as the widget: the kernel holds it, no file.

    Parameters
    ----------
    pairs : sequence of dict of str to ndarray
        Each has the same two names, and images, uint8 (H, W, 3), of one size. When all were shown
        they come again, in another order.
    seed : int, optional
        Of the order, for tests; by default each vote has another one.

    Attributes
    ----------
    counts : dict of str to int
        Votes for each name so far.
    buttons : tuple of Button
        Left and right.
    pictures : tuple of Image
        Left and right.
    """

    def __init__(self, pairs: Sequence[Mapping[str, np.ndarray]], *, seed: int | None = None):
        pairs = list(pairs)
        if not pairs:
            raise ValueError("pairs must hold at least one pair, got none")
        names = list(pairs[0])
        for pair in pairs:
            if len(names) != 2 or sorted(pair) != sorted(names):
                raise ValueError(f"each pair must have the same two names, got {list(pair)}")
            for name, image in pair.items():
                check_image(image, name)
            if len({image.shape for image in pair.values()}) > 1:
                raise ValueError(f"the pictures of a pair must have one size, got {pair.keys()}")
        self.counts = dict.fromkeys(names, 0)
        self._pairs, self._random = pairs, np.random.default_rng(seed)
        self._waiting: list[int] = []
        self.pictures = ipywidgets.Image(), ipywidgets.Image()
        self.buttons = tuple(
            ipywidgets.Button(description=f"{side} is better") for side in ("left", "right")
        )
        self._text = ipywidgets.HTML()
        columns = [
            ipywidgets.VBox([picture, button])
            for picture, button in zip(self.pictures, self.buttons, strict=True)
        ]
        super().__init__([ipywidgets.HBox(columns), self._text])
        for side, button in enumerate(self.buttons):
            button.on_click(lambda _, side=side: self.vote(side))
        self._next()

    def vote(self, side: int) -> None:
        """Count a vote for the left (0) or the right (1) picture, and show the next pair."""
        if side not in (0, 1):
            raise ValueError(f"side must be 0 or 1, got {side!r}")
        self.counts[self._shown[side]] += 1
        self._next()

    def _next(self):
        if not self._waiting:
            self._waiting = self._random.permutation(len(self._pairs)).tolist()
        pair = self._pairs[self._waiting.pop()]
        self._shown = self._random.permutation(list(self.counts)).tolist()
        for picture, name in zip(self.pictures, self._shown, strict=True):
            picture.format, picture.value = encode_for_screen(pair[name])
        total = sum(self.counts.values())
        self._text.value = f"Which is better? Votes so far: {total}"


def verdict(counts: Mapping[str, int]) -> str:
    """Say in words whether chance could have made such a count of votes for two names.

    By the exact two-sided binomial test: how often would a fair coin give a result as uneven? Below
    one in twenty it is called more than chance.

    >>> verdict({"A": 7, "B": 2})
    'A 7, B 2: a fair coin is as uneven in 18 of 100 such votes, so this could be chance'
    >>> verdict({"A": 18, "B": 2})
    'A 18, B 2: a fair coin is as uneven in 1 of 2485 such votes, so this is more than chance'
    """
    if len(counts) != 2:
        raise ValueError(f"counts must have two names, got {list(counts)}")
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    total = sum(counts.values())
    if not total:
        return f"{listed}: nobody has voted yet"
    chance = binomtest(max(counts.values()), total).pvalue
    often = f"{100 * chance:.0f} of 100" if chance >= 0.01 else f"1 of {1 / chance:.0f}"
    ending = "this could be chance" if chance >= 0.05 else "this is more than chance"
    return f"{listed}: a fair coin is as uneven in {often} such votes, so {ending}"
