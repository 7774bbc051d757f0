"""Bugs planted in foreign Verilog by exchanging an operator at random: does what is run on the core find them?"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pyslang import syntax

from quant.errors import UserError
from tb import simulators
from tb.foreign.adapter import Adapter
from tb.foreign.target import foreign_target
from tb.foreign.verilog import Verilog
from tb.layers.task import LayerTask
from tb.target import run_layers

EXCHANGED = {
    "+": ("-", "|", "^", "&", "*", "<<", ">>"), "-": ("+", "|", "^"), "*": ("+", "-", "&", "|", "^", "<<", ">>"),
    "&": ("|", "^", "~^"), "|": ("&", "^", "~^"), "^": ("&", "|", "~^"), "&&": ("||",), "||": ("&&",),
    "==": ("!=", "<", ">", "<=", ">="), "!=": ("==", "<", ">"), "<": ("<=", ">=", "==", ">"), ">=": ("<", ">"),
    ">": (">=", "<="), "<=": ("<", ">"), "<<": (">>",), ">>": ("<<",),
}  # fmt: skip
UNARY = {
    "~": ("",), "!": ("",), "|": ("&", "^", "~|"), "&": ("|", "^", "~&"), "^": ("|", "&"),
    "~|": ("|", "~&", "&", "^"), "~&": ("&", "~|"),
}  # fmt: skip


# Where an operator says how the hardware is built, not what it does
STRUCTURE = (
    "DimensionSpecifier", "VariableDimension", "RangeDimensionSpecifier", "ParameterDeclaration",
    "ParameterValueAssignment",
    "SimpleRangeSelect", "AscendingRangeSelect", "BitSelect", "DescendingRangeSelect",
    "MultipleConcatenationExpression", "InitialBlock",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One operator exchanged: ``old`` at ``offset`` of ``file``, in bytes, becomes ``new``."""

    file: Path
    line: int
    offset: int
    old: str
    new: str

    @property
    def text(self) -> str:
        source = _text(self.file)
        return source[: self.offset] + self.new + source[self.offset + len(self.old) :]

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}: {self.old} becomes {self.new or 'nothing'}"


def mutants(adapter: Adapter, seed: int, count: int) -> list[Mutant]:
    """So many different ones, drawn from all operators of the files that the core needs."""
    verilog = Verilog(adapter.sources, adapter.include, adapter.defines)
    every = [mutant for file in verilog.used(adapter.top) for mutant in _in_file(file, verilog.trees[file])]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(every))
    return [every[index] for index in order[:count]]


def _text(file: Path) -> str:
    """A file as the parser reads it, whatever its comments are written in, with a character for each byte of UTF-8:
    what it counts."""
    return file.read_text(encoding="utf-8", errors="replace").encode().decode("latin-1")


def _in_file(file: Path, tree: syntax.SyntaxTree) -> Iterator[Mutant]:
    text, found = _text(file), []

    def look(node: object) -> None:
        if not isinstance(node, syntax.SyntaxNode) or _structural(node):
            return
        if isinstance(node, syntax.ConditionalExpressionSyntax):
            one, other = (
                text[part.sourceRange.start.offset : part.sourceRange.end.offset] for part in (node.left, node.right)
            )
            first, last = node.left.sourceRange.start.offset, node.right.sourceRange.end.offset
            whole = text[first:last]
            if whole.startswith(one) and whole.endswith(other):  # not out of a macro
                exchanged = f"{other} : {one}"
                found.append(Mutant(file, text.count("\n", 0, first) + 1, first, whole, exchanged))
            return
        kind = str(node.kind)
        token = getattr(node, "operatorToken", None)
        if token is None:
            return
        old, offset = token.rawText, token.location.offset
        if text[offset : offset + len(old)] != old:
            return  # out of a macro or an included file
        if isinstance(node, syntax.BinaryExpressionSyntax) and "Assignment" not in kind:
            others = EXCHANGED.get(old, ())
        elif isinstance(node, syntax.PrefixUnaryExpressionSyntax):
            others = UNARY.get(old, ())
        else:
            return
        line = text.count("\n", 0, offset) + 1
        found.extend(Mutant(file, line, offset, old, new) for new in others)

    tree.root.visit(look)
    return iter(sorted(found, key=lambda mutant: mutant.offset))


def _structural(node: syntax.SyntaxNode) -> bool:
    inner, above = None, node
    while above is not None:
        kind = str(above.kind).rpartition(".")[2]
        if kind in STRUCTURE or (kind in ("LoopGenerate", "IfGenerate") and inner is not None and inner != above.block):
            return True
        inner, above = above, above.parent
    return False


@dataclasses.dataclass(frozen=True)
class Untried:
    """A bug of which nothing is known: the simulator refuses it, or what built or ran it came to no end."""

    why: str
    refused: bool = False


def report_of(mutant: Mutant, adapter: Adapter, tasks: list[LayerTask], made: list, seed: int) -> str | Untried | None:
    """What layers on Icarus report of the bug, None where they stay green. made: what ``prepared`` gave for them."""
    c = adapter.configuration
    with tempfile.TemporaryDirectory(prefix="mutant-") as work:
        file = Path(work) / mutant.file.name
        file.write_bytes(mutant.text.encode("latin-1"))
        sources = tuple(file if source == mutant.file else source for source in adapter.sources)
        other = foreign_target(dataclasses.replace(adapter, sources=sources))
        try:
            built = other.build("icarus", c)
        except (simulators.SimulationError, UserError) as error:
            # Complaints come with a place in the file; a full disk, a killed compiler do not.
            return Untried(str(error), refused=f"{mutant.file.name}:" in str(error))
        try:
            ran = run_layers(other, c, tasks, sim="icarus", seed=seed, built=built, made=made, timeout=600)
            return Untried(ran.failure or "") if ran.from_outside else ran.failure
        finally:
            if mutant.new != mutant.old:  # else others use it too
                simulators.discard(built)
