"""The scoreboard fails on differences, leftovers on either side, unknown values, and on nothing compared."""

import numpy as np
import pytest

from tb.parts.scoreboard import Mismatch, Scoreboard

WORDS = np.arange(6).reshape(3, 2)
LABELS = np.array([[0, 4], [0, 5], [1, 4]])


def board(actual, **options) -> Scoreboard:
    result = Scoreboard("layer")
    result.compare("psum", WORDS, actual, names=("oc_tile", "o_nij"), labels=LABELS, **options)
    return result


def test_equal_passes():
    equal = board(WORDS)
    equal.check()
    assert equal.compared == 6 and equal.mismatches == 0


def test_difference_is_named():
    wrong = WORDS.copy()
    wrong[2, 1] = -7
    with pytest.raises(
        Mismatch,
        match="layer: 1 mismatches in 6 values\n  psum mismatch: oc_tile 1, o_nij 4, column 1: expected 5, got -7",
    ):
        board(wrong).check()


def test_missing_words():
    with pytest.raises(Mismatch, match="psum: 2 of 3 missing, from oc_tile 0, o_nij 5"):
        board(WORDS[:1]).check()
    with pytest.raises(Mismatch, match="psum: 3 of 3 missing, from oc_tile 0, o_nij 4"):
        board(WORDS[:0]).check()


def test_extra_words():
    with pytest.raises(Mismatch, match=r"psum: 1 words too many, the first: \[8, 9\]"):
        board(np.vstack([WORDS, [[8, 9]]])).check()


def test_unknown_is_a_mismatch_even_where_the_zero_would_fit():
    unknown = np.zeros(WORDS.shape, bool)
    unknown[0, 0] = True
    with pytest.raises(Mismatch, match="oc_tile 0, o_nij 4, column 0: expected 0, got X"):
        board(WORDS, unknown=unknown).check()


def test_nothing_compared():
    with pytest.raises(Mismatch, match="compared nothing"):
        Scoreboard("layer").check()
    empty = Scoreboard("layer")
    empty.compare("psum", WORDS[:0], WORDS[:0])
    with pytest.raises(Mismatch, match="compared nothing"):
        empty.check()


def test_notes_fail():
    with pytest.raises(Mismatch, match="overflow bit is set"):
        board(WORDS).check("the core's overflow bit is set")
