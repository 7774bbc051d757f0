"""Operators exchanged at random in the example core: the layers that ``make check-core`` runs by default find them.

All 60 are run by ``make mutate CORE=tb/examples/course/core.toml``; here a few of them, of which every one must be
found.
"""

import shutil

import pytest

from tb import simulators
from tb.commands import mutate
from tb.foreign.adapter import read_adapter
from tb.foreign.mutants import mutants

CORE = simulators.ROOT / "tb" / "examples" / "course" / "core.toml"
# Nothing that the suite reads shows it: o_valid then says that the first column has a psum, and the suite, which has
# waited for the last one, reads it later.
SURVIVES = ("ofifo.v", "~|", "~&")


@pytest.fixture(scope="module")
def few():
    return [
        mutant for mutant in mutants(read_adapter(CORE), 1, 9) if (mutant.file.name, mutant.old, mutant.new) != SURVIVES
    ]


def test_mutants_are_found(sim, few):
    if sim != "icarus":
        pytest.skip("planted once, where building is quick")
    assert len(few) >= 8
    reports = list(mutate.foreign_reports(read_adapter(CORE), few, 1))
    lost = [str(mutant) for mutant, report in zip(few, reports, strict=True) if not isinstance(report, str)]
    assert not lost, lost


def test_mutants_are_real(few):
    for mutant in few:
        text = mutant.file.read_text()  # ASCII: characters are bytes
        assert text[mutant.offset : mutant.offset + len(mutant.old)] == mutant.old and mutant.text != text
    assert len({(mutant.file, mutant.offset, mutant.new) for mutant in few}) == len(few)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_comments_of_any_language_move_no_bug(tmp_path, few, encoding):
    """The parser counts bytes."""
    shutil.copytree(CORE.parent, tmp_path / "core")
    plain = {(mutant.file.name, mutant.line, mutant.old, mutant.new) for mutant in mutants(read_adapter(CORE), 1, 999)}
    for file in (tmp_path / "core").glob("*.v"):
        comment = "// é → µ" if encoding == "utf-8" else "// é µ"
        file.write_bytes(f"{comment}\n".encode(encoding) + file.read_bytes())
    adapter = read_adapter(tmp_path / "core/core.toml")
    found = mutants(adapter, 1, 999)
    assert {(mutant.file.name, mutant.line - 1, mutant.old, mutant.new) for mutant in found} == plain
    for mutant in found:
        before = mutant.file.read_text(encoding="utf-8", errors="replace").encode()
        assert (
            mutant.text.encode("latin-1")
            == before[: mutant.offset] + mutant.new.encode() + before[mutant.offset + len(mutant.old) :]
        )
