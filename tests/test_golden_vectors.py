"""The text format, byte for byte, and every way in which a file can be wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model.files.vectors import VectorFileError, decimal_text, read_vectors, vector_header, vector_text

HEADER = ("#a#", "#b#", "#c#")


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (
            ("time", "row", 8),
            {},
            (
                "#time0row7[msb-lsb],time0row6[msb-lst],...,time0row0[msb-lst]#",
                "#time1row7[msb-lsb],time1row6[msb-lst],...,time1row0[msb-lst]#",
                "#.....#",
            ),
        ),
        (
            ("col", "row", 8),
            {"dots": 4},
            (
                "#col0row7[msb-lsb],col0row6[msb-lst],...,col0row0[msb-lst]#",
                "#col1row7[msb-lsb],col1row6[msb-lst],...,col1row0[msb-lst]#",
                "#....#",
            ),
        ),
        (
            ("time", "col", 8),
            {"lane_above": "co"},
            (
                "#time0co7[msb-lsb],time0co6[msb-lst],...,time0col0[msb-lst]#",
                "#time1co7[msb-lsb],time1co6[msb-lst],...,time1col0[msb-lst]#",
                "#.....#",
            ),
        ),
        (
            ("time", "row", 3),
            {},
            (
                "#time0row2[msb-lsb],time0row1[msb-lst],time0row0[msb-lst]#",
                "#time1row2[msb-lsb],time1row1[msb-lst],time1row0[msb-lst]#",
                "#.....#",
            ),
        ),
        (("time", "row", 1), {}, ("#time0row0[msb-lsb]#", "#time1row0[msb-lsb]#", "#.....#")),
    ],
)
def test_header(arguments, options, expected):
    assert vector_header(*arguments, **options) == expected


def test_bytes_of_a_file_and_its_twin():
    matrix = np.array([[1, -2, 3], [0, 15, -8]])
    assert vector_text("a.txt", matrix, 4, HEADER) == b"#a#\n#b#\n#c#\n001111100001\n100011110000\n"
    assert vector_text("a.txt", matrix, 4, ()) == b"001111100001\n100011110000\n"
    assert decimal_text(matrix, 3, HEADER) == b"#a#\n#b#\n#c#\n  3  -2   1 \n -8  15   0 \n"
    assert decimal_text(np.array([[-12345, 7]]), 6, ()) == b"     7 -12345 \n"


@given(st.data())
def test_what_is_written_is_read_back(tmp_path_factory, data):
    bits, lanes, signed = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 9)), data.draw(st.booleans())
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    rows = st.lists(st.integers(low, high), min_size=lanes, max_size=lanes)
    matrix = np.array(data.draw(st.lists(rows, min_size=1, max_size=5)))
    header = HEADER[: data.draw(st.integers(0, 3))]
    path = tmp_path_factory.getbasetemp() / "round_trip.txt"
    path.write_bytes(vector_text(path, matrix, bits, header))
    np.testing.assert_array_equal(read_vectors(path, lanes, bits, signed, len(matrix), len(header)), matrix)


@pytest.mark.parametrize("value", [16, -9])
def test_a_value_that_the_width_does_not_hold_is_refused(value):
    with pytest.raises(ValueError, match=rf"a.txt: time 1, lane 2 is {value}, which 4 bits do not hold"):
        vector_text("a.txt", np.array([[0, 0, 0], [0, 0, value]]), 4, HEADER)


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("", 1, 1, "the file ends before header line 1 of 3"),
        ("#a\n#b\n", 3, 1, "the file ends before header line 3 of 3"),
        ("00000000\n11111111\n", 1, 1, "header line 1 of 3 must start with '#'"),
        ("#a\n#b\n00000000\n", 3, 1, "header line 3 of 3 must start with '#'"),
        ("#a\n#b\n#c\n", 4, 1, "no data after the header"),
        ("#a\n#b\n#c\n00000000\n0000000\n", 5, 8, "the line ends after 7 of 8 digits (2 words of 4 bits)"),
        ("#a\n#b\n#c\n\n00000000\n", 4, 1, "the line ends after 0 of 8 digits (2 words of 4 bits)"),
        ("#a\n#b\n#c\n000000001\n", 4, 9, "the line goes on to 9 characters after 8 digits (2 words of 4 bits)"),
        ("#a\n#b\n#c\n0000x000\n", 4, 5, "'x' is neither 0 nor 1"),
        ("#a\n#b\n#c\n0000 0000\n", 4, 5, "' ' is neither 0 nor 1"),
        ("#a\n#b\n#c\n0000\n", 4, 5, "the line ends after 4 of 8 digits (2 words of 4 bits)"),
        ("#a\n#b\n#c\n2\n", 4, 1, "'2' is neither 0 nor 1"),
        ("#a\n#b\n#c\n00000000\n", 5, 1, "1 time steps where 2 are expected"),
        ("#a\n#b\n#c\n" + "00000000\n" * 3, 6, 1, "3 time steps where 2 are expected"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(tmp_path, text, line, column, problem):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(VectorFileError) as caught:
        read_vectors(path, lanes=2, bits=4, signed=True, count=2)
    assert str(caught.value) == f"{path}:{line}:{column}: {problem}"


def test_a_binary_file_is_named_too(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"#\n#\n#\n0000\xff000\n")
    with pytest.raises(VectorFileError, match=r"bad\.txt:4:5: 'ÿ' is neither 0 nor 1"):
        read_vectors(path, lanes=2, bits=4, signed=True)


def test_windows_line_ends_are_taken(tmp_path):
    """The course's notebooks ran on Windows, too."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"#a#\r\n#b#\r\n#c#\r\n00011111\r\n")
    assert read_vectors(path, lanes=2, bits=4, signed=True).tolist() == [[-1, 1]]


def test_a_file_without_header(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0001\n00x1\n")
    with pytest.raises(VectorFileError, match=r"a\.txt:2:3: 'x' is neither 0 nor 1"):
        read_vectors(path, lanes=2, bits=2, signed=False, header_lines=0)
    path.write_text("")
    with pytest.raises(VectorFileError, match=r"a\.txt:1:1: no data"):
        read_vectors(path, lanes=2, bits=2, signed=False, header_lines=0)
