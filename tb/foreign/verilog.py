"""What foreign Verilog is, read by slang: its modules, ports and parameters, and what of it may not be run.

Foreign Verilog is untrusted: it is somebody else's program. What reaches out of the folder in which it is simulated is
refused before anything is built.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyslang
from pyslang import ast, parsing, syntax

from tb.foreign.adapter import AdapterError

# What simulators define themselves
PREDEFINED = {
    "icarus": ["__ICARUS__=1"],
    "verilator": ["VERILATOR=1", "verilator=1", "verilator3=1", "COVERAGE_IGNORE=1"],
}
# System tasks and functions that do no more than print, measure, compute, or end the simulation
HARMLESS = frozenset((
    "$display", "$displayb", "$displayh", "$displayo", "$write", "$writeb", "$writeh", "$writeo", "$strobe",
    "$strobeb", "$strobeh", "$monitor", "$monitorb", "$monitorh", "$monitoron", "$monitoroff", "$fdisplay",
    "$fdisplayb", "$fdisplayh", "$fwrite", "$fwriteb", "$fwriteh", "$fstrobe", "$fmonitor", "$fclose", "$fflush",
    "$fgets", "$fgetc", "$ungetc", "$fread", "$fscanf", "$feof", "$ferror", "$fseek", "$ftell", "$rewind", "$swrite",
    "$sformat", "$sformatf", "$sscanf", "$time", "$stime", "$realtime", "$timeformat", "$printtimescale", "$finish",
    "$stop", "$exit", "$fatal", "$error", "$warning", "$info", "$signed", "$unsigned", "$clog2", "$bits", "$size",
    "$left", "$right", "$low", "$high", "$increment", "$dimensions", "$unpacked_dimensions", "$typename",
    "$isunbounded", "$cast", "$countones", "$countbits", "$onehot", "$onehot0", "$isunknown", "$random", "$urandom",
    "$urandom_range", "$dist_uniform", "$rtoi", "$itor", "$realtobits", "$bitstoreal", "$shortrealtobits",
    "$bitstoshortreal", "$pow", "$sqrt", "$ln", "$log10", "$exp", "$floor", "$ceil", "$sin", "$cos", "$tan",
    "$test$plusargs", "$value$plusargs", "$dumpvars", "$dumpon", "$dumpoff", "$dumpall", "$dumplimit", "$dumpflush",
    "$setup", "$hold", "$setuphold", "$width", "$period", "$skew", "$recovery", "$removal", "$recrem", "$rose",
    "$fell", "$stable", "$changed", "$past", "$sampled", "$asserton", "$assertoff", "$assertkill", "$root", "$unit",
))  # fmt: skip
# Those that open a file, with the place of its name among the arguments
FILES = {"$fopen": 0, "$readmemh": 0, "$readmemb": 0, "$writememh": 0, "$writememb": 0, "$dumpfile": 0}


@dataclasses.dataclass(frozen=True)
class Port:
    name: str
    direction: str  # input, output, inout
    width: int


@dataclasses.dataclass(frozen=True)
class Reach:
    """A place where foreign Verilog reaches out of its folder."""

    file: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


class Verilog:
    """The files of a design, as a simulator would read them."""

    def __init__(
        self, sources: Sequence[Path], include: Sequence[Path] = (), defines: Mapping[str, str] | None = None,
        simulator: str = "icarus", nearest: bool = False,
    ):  # fmt: skip
        """nearest: of several files with a module, the one nearest to the file that needs it is taken; else it is an
        error."""
        self.sources, self.include = list(sources), list(include)
        self.nearest, self.left_out = nearest, set[Path]()  # the latter: files that were not taken
        options = parsing.PreprocessorOptions()
        options.predefines = [*(f"{name}={value}" for name, value in (defines or {}).items()), *PREDEFINED[simulator]]
        options.additionalIncludePaths = [str(folder) for folder in include]
        self._bag = pyslang.Bag([options])
        self._manager = pyslang.SourceManager()
        self._manager.setDisableProximatePaths(True)
        self.trees: dict[Path, syntax.SyntaxTree] = {}
        for source in self.sources:
            try:
                # Not fromFile: it names a file relative to the working folder
                text = source.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise AdapterError(f"{source}: {error.strerror}") from None
            try:
                tree = syntax.SyntaxTree.fromText(text, self._manager, str(source), str(source), self._bag)
            except RuntimeError:  # read already, since a source before it includes it
                tree = syntax.SyntaxTree.fromBuffer(
                    self._manager.readSource(str(source), None), self._manager, self._bag
                )
            self.trees[source] = tree

    @functools.cached_property
    def homes(self) -> dict[str, list[Path]]:
        """The files that have each module; of one that is in an included file, that file if it is a source."""
        found: dict[str, list[Path]] = {}
        of_file = {source.resolve(): source for source in reversed(self.sources)}
        for source, tree in self.trees.items():
            for module in _modules(tree):
                # Of a file that is no source, the first one that includes it
                home = of_file.setdefault(self._written_in(module), source)
                files = found.setdefault(module.header.name.valueText, [])
                if home not in files:
                    files.append(home)
        return found

    def _written_in(self, module: syntax.ModuleDeclarationSyntax) -> Path:
        return Path(self._manager.getFileName(module.header.name.location)).resolve()

    def home(self, module: str, user: Path | None = None) -> Path:
        """The file of a module that ``user`` needs; AdapterError where several have one of that name."""
        first, *others = self.homes[module]
        if not others:
            return first
        if self.nearest and user is not None:
            near = sorted(self.homes[module], key=lambda file: _distance(user, file))
            if _distance(user, near[0]) < _distance(user, near[1]):
                self.left_out.update(near[1:])
                return near[0]
        where = " and in ".join(map(str, self.homes[module]))
        how = "name the folder of one of them" if self.nearest else "leave one out of sources"
        raise AdapterError(f"module {module} is in {where}; {how}")

    def used(self, top: str) -> list[Path]:
        """The files that ``top`` needs, in the order given: not the benches beside it.

        AdapterError without ``top``, and where several files have a module that is needed.
        """
        if top not in self.homes:
            there = ", ".join(sorted(self.homes)) or "no module"
            raise AdapterError(f"no module {top!r} in the sources, which have: {there}")
        brings = {
            source: {module.header.name.valueText for module in _modules(tree)} for source, tree in self.trees.items()
        }
        needs = {source: _needs(tree) - brings[source] for source, tree in self.trees.items()}
        inside = {source for sources in self.homes.values() for source in sources}
        wanted, pending = set(), [self.home(top)]
        while pending:
            source = pending.pop()
            if source not in wanted:
                wanted.add(source)
                pending += [self.home(name, source) for name in needs[source] if name in self.homes]
        # What a file includes comes with it.
        included = {file for source in wanted for file in map(self._written_in, _modules(self.trees[source]))
                    if file != source.resolve()}  # fmt: skip
        # A file without modules (packages, macros) may be meant for those behind it; a bench may be a program.
        return [
            source for source in self.sources
            if (source in wanted and source.resolve() not in included)
            or (source not in inside and not _is_bench(self.trees[source]))
        ]  # fmt: skip

    def reaches(self, files: Sequence[Path]) -> Iterator[Reach]:
        """Where the files, which have gone through the preprocessor, reach out of the folder of their simulation."""
        for source in files:
            yield from self._calls(source, self.trees[source])

    def _calls(self, source: Path, tree: syntax.SyntaxTree) -> Iterator[Reach]:
        found: list[Reach] = []

        def look(node: object) -> None:
            if isinstance(node, syntax.SyntaxNode):
                kind = str(node.kind).rpartition(".")[2]
                if kind in ("DPIImport", "DPIExport"):
                    found.append(
                        self._reach(
                            node.sourceRange.start, f"{kind[:3]} {kind[3:].lower()}s run code outside of the simulator"
                        )
                    )
                elif kind == "InvocationExpression" and node.left.getFirstToken().rawText in FILES:
                    name, arguments = node.left.getFirstToken().rawText, _arguments(node)
                    why = _outside(arguments[FILES[name]] if len(arguments) > FILES[name] else "")
                    if why:
                        found.append(self._reach(node.sourceRange.start, f"{name}{why}"))
            elif isinstance(node, parsing.Token) and node.kind == parsing.TokenKind.SystemIdentifier:
                name = node.valueText or node.rawText
                if name not in HARMLESS and name not in FILES:
                    found.append(
                        self._reach(node.location, f"{name} is not among the system tasks that foreign Verilog may use")
                    )

        tree.root.visit(look)
        yield from found
        # Directives of Verilator that carry C++ are comments or macros to slang.
        text = source.read_text(encoding="utf-8", errors="replace")
        for mark in re.finditer(r"`(systemc_\w+|verilog_\w*c)\b|\bsc_bv\b", text):
            yield Reach(source, text.count("\n", 0, mark.start()) + 1, f"{mark[0]} carries C++ into the build")

    def _reach(self, location: pyslang.SourceLocation, what: str) -> Reach:
        return Reach(Path(self._manager.getFileName(location)), self._line(location), what)

    def _line(self, location: pyslang.SourceLocation) -> int:
        return self._manager.getLineNumber(self._manager.getFullyExpandedLoc(location))

    def elaborated(self, top: str, parameters: Mapping[str, int] | None = None) -> Elaborated:
        """``top`` with these parameters. AdapterError where it cannot be made sense of."""
        options = ast.CompilationOptions()
        options.topModules = {top}
        options.paramOverrides = [f"{name}={value}" for name, value in (parameters or {}).items()]
        compilation = ast.Compilation(pyslang.Bag([options]))
        for source in self.used(top):
            compilation.addSyntaxTree(self.trees[source])
        tops = [instance for instance in compilation.getRoot().topInstances if instance.name == top]
        if not tops:
            raise AdapterError(f"module {top} cannot be read: {self._complaint(compilation)}")
        return Elaborated(compilation, tops[0])

    def _complaint(self, compilation: ast.Compilation) -> str:
        for diagnostic in compilation.getAllDiagnostics():
            if diagnostic.isError():
                place = f"{self._manager.getFileName(diagnostic.location)}:{self._line(diagnostic.location)}"
                return f"{place}: {str(diagnostic.code)[9:-1]} {' '.join(map(str, diagnostic.args))}"
        return "of an unknown reason"


class Elaborated:
    """A top module with its parameters set."""

    def __init__(self, compilation: ast.Compilation, instance: ast.InstanceSymbol):
        self._compilation, self._body = compilation, instance.body  # the first keeps the second alive

    @property
    def ports(self) -> list[Port]:
        """Ports in their order. AdapterError for one that is no vector of bits."""
        ports = []
        for port in self._body.portList:
            direction = {"In": "input", "Out": "output", "InOut": "inout"}.get(
                str(getattr(port, "direction", "")).rpartition(".")[2]
            )
            if direction is None or not port.type.isIntegral:
                raise AdapterError(f"port {port.name} is not a vector of bits; wrap the module in one whose ports are")
            ports.append(Port(port.name, direction, port.type.bitWidth))
        return ports

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters that can be set, and their values."""
        return {p.name: str(p.value) for p in self._body.parameters if not p.isLocalParam and hasattr(p, "value")}

    def memories(self, bits: int) -> list[str]:
        """Hierarchical names, within the top module, of memories with words of ``bits`` bits, the deepest first."""
        found: list[tuple[int, str]] = []

        def look(symbol: object) -> None:
            if isinstance(symbol, ast.VariableSymbol) and symbol.type.isUnpackedArray:
                word = symbol.type.arrayElementType
                if word is not None and word.isIntegral and word.bitWidth == bits:
                    found.append((-symbol.type.fixedRange.width, symbol.hierarchicalPath.split(".", 1)[1]))

        self._body.visit(look)
        return [name for _, name in sorted(found)]

    def memory(self, path: str) -> int | None:
        """Bits of a word of the memory at a hierarchical name; None where there is none."""
        symbol = self._body.lookupName(path)
        kind = getattr(symbol, "type", None)
        if kind is None or not kind.isUnpackedArray:
            return None
        word = kind.arrayElementType
        return word.bitWidth if word is not None and word.isIntegral else None


def _modules(tree: syntax.SyntaxTree) -> list[syntax.ModuleDeclarationSyntax]:
    root = tree.root
    members = [root] if root.kind == syntax.SyntaxKind.ModuleDeclaration else getattr(root, "members", [])
    return [member for member in members if member.kind == syntax.SyntaxKind.ModuleDeclaration]


def _is_bench(tree: syntax.SyntaxTree) -> bool:
    """Whether a file has a program, which only benches have, and nothing that others may need."""
    kinds = syntax.SyntaxKind
    root = tree.root
    members = [root] if root.kind == kinds.ProgramDeclaration else list(getattr(root, "members", []))
    programs = any(member.kind == kinds.ProgramDeclaration for member in members)
    return programs and all(member.kind in (kinds.ProgramDeclaration, kinds.ClassDeclaration) for member in members)


_OLD = {"old", "backup", "bak", "copy", "archive", "unused", "deprecated", "orig"}


def _distance(user: Path, file: Path) -> tuple[int, int]:
    """How far a file is from one that needs it: steps through folders, those that keep what is old being far away."""
    mine, theirs = user.resolve().parent.parts, file.resolve().parent.parts
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs, strict=False)))
    words = re.findall("[a-z]+", " ".join([*theirs[common:], file.stem]).lower())
    return len(_OLD & set(words)), len(mine) + len(theirs) - 2 * common


def _needs(tree: syntax.SyntaxTree) -> set[str]:
    """Names of modules that a file instantiates."""
    names: set[str] = set()

    def look(node: object) -> None:
        if isinstance(node, syntax.HierarchyInstantiationSyntax):
            names.add(node.type.valueText)

    tree.root.visit(look)
    return names


def _arguments(call: syntax.InvocationExpressionSyntax) -> list[str]:
    if call.arguments is None:
        return []
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", str(call.arguments), flags=re.DOTALL)
    inside = text.strip()[1:-1]
    return [part.strip() for part in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', inside)]


def _outside(argument: str) -> str:
    """What is wrong with the name of a file, in words; empty for one in the folder of the simulation."""
    literal = re.fullmatch(r'"([^"\\]*)"', argument)
    if literal is None:
        return f" of {argument or 'nothing'}: only a file that is named as it stands can be allowed"
    name = literal[1]
    if name.startswith(("/", "~", "|", "\\")) or ".." in name.split("/") or ":" in name:
        return f" of {name}, outside of the folder in which it is simulated"
    return ""
