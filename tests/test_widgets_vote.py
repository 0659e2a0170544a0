import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binom

from srlib.widgets import BlindVote, verdict

DARK, LIGHT = (np.full((8, 8, 3), level, np.uint8) for level in (10, 200))
PAIRS = [{"dark": DARK + np.uint8(n), "light": LIGHT + np.uint8(n)} for n in range(4)]


def shown(vote):
    """The levels of both pictures, left and right, as a browser gets them."""
    return [
        int(np.asarray(Image.open(io.BytesIO(picture.value)).convert("RGB"))[0, 0, 0])
        for picture in vote.pictures
    ]


def test_a_vote_counts_for_the_picture_that_is_seen():
    vote = BlindVote(PAIRS, seed=0)
    for _ in range(20):  # always for the light one
        left, right = shown(vote)
        vote.buttons[0 if left > right else 1].click()
    assert vote.counts == {"dark": 0, "light": 20}
    left, right = shown(vote)
    vote.vote(0 if left < right else 1)
    assert vote.counts == {"dark": 1, "light": 20}


def test_sides_are_drawn_and_every_pair_comes_before_one_comes_again():
    vote, sides, pairs = BlindVote(PAIRS, seed=1), [], []
    for _ in range(40):
        left, right = shown(vote)
        sides.append(left > right)
        pairs.append(min(left, right) - 10)
        vote.vote(0)
    assert 8 < sum(sides) < 32
    for start in range(0, 40, 4):
        assert sorted(pairs[start : start + 4]) == [0, 1, 2, 3]
    assert len({tuple(pairs[start : start + 4]) for start in range(0, 40, 4)}) > 1


def test_nothing_that_is_shown_tells_the_names():
    vote = BlindVote(PAIRS, seed=0)
    words = [button.description for button in vote.buttons] + [vote._text.value]
    assert not any(name in text for name in ("dark", "light") for text in words)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "at least one pair"),
        ([{"a": DARK}], "two names"),
        ([{"a": DARK, "b": LIGHT}, {"a": DARK, "c": LIGHT}], "two names"),
        ([{"a": DARK, "b": LIGHT[:4]}], "one size"),
        ([{"a": DARK, "b": LIGHT / 255}], "b must be uint8"),
    ],
)
def test_what_cannot_be_voted_on_is_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        BlindVote(pairs)


@pytest.mark.parametrize("votes", [(5, 5), (7, 2), (0, 6), (9, 1), (30, 10)])
def test_the_verdict_is_the_binomial_test(votes):
    most, total = max(votes), sum(votes)
    chance = min(1, 2 * binom.sf(most - 1, total, 0.5))  # both tails of a fair coin
    text = verdict(dict(zip("ab", votes, strict=True)))
    assert ("could be chance" in text) == (chance >= 0.05)
    often = text.split("uneven in ")[1].split(" such")[0]
    part, whole = map(float, often.split(" of "))
    assert part / whole == pytest.approx(chance, rel=0.1)


def test_no_votes_are_no_verdict():
    assert verdict({"a": 0, "b": 0}) == "a 0, b 0: nobody has voted yet"
    with pytest.raises(ValueError, match="two names"):
        verdict({"a": 1})
