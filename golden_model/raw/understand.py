"""What a golden folder without a manifest holds, whether its files agree with each other, and where they do not."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.files.operands import GoldenSetError
from golden_model.operands import Operands
from golden_model.raw.compare import Compared, compared, operand_words, residual_of, same_as
from golden_model.raw.hints import FILE, Hints, read_hints
from golden_model.raw.names import ACTIVATION, OUTPUT, RESIDUAL, TWIN, WEIGHT, Family, families, role_of
from golden_model.raw.output_stationary import output_stationary
from golden_model.raw.readings import Candidate, Reading, closeness, given_outputs
from golden_model.raw.suspects import LARGE, Case, Change, changed_tables, suspects
from golden_model.raw.table import Table, TableError, read_table
from golden_model.raw.told import frame, frame_option, frame_words, order, order_option, order_words, size, understood
from golden_model.raw.weight_stationary import weight_stationary

SUFFIXES = ("", ".txt", ".dat", ".mem", ".csv", ".vec", ".tv", ".bin", ".golden")
MOST_FILES = 20_000
CLOSEST = 6  # readings that are looked at as a whole where none fits
NOISE = 0.1  # closeness that operands of another layer reach too
SURE = 0.9  # closeness from which a wrong word is likelier than a missing line


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a folder. name: of the folder, with ``_os`` where it is the output-stationary stream of another.

    reading: how it was understood, None where nothing fits; closest: the nearest, then. residual: what is added to its
    sums, [OC, n]. understood, agree, notes: lines of text. findings: what is wrong, a line each, beginning with the
    place. undecided: other readings that fit as well and what decides; ``choose`` where nothing may be taken before.
    """

    name: str
    directory: Path
    reading: Reading | None
    closest: Reading | None = None
    residual: np.ndarray | None = None
    understood: list[str] = dataclasses.field(default_factory=list)
    agree: list[str] = dataclasses.field(default_factory=list)
    findings: list[str] = dataclasses.field(default_factory=list)
    undecided: list[str] = dataclasses.field(default_factory=list)
    choose: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether it was understood, by one reading, and all files agree with it."""
        return self.reading is not None and not self.findings and not self.choose

    @property
    def operands(self) -> Operands:
        """What the core runs; a border of zeros is its padding. GoldenSetError where the files are wrong."""
        if not self.right or self.reading is None:
            raise GoldenSetError(f"{self.directory}: {self.problem()}")
        r, border = self.reading, self.reading.border
        bordered = r.bordered
        activation = r.activation[:, border:-border, border:-border] if bordered else r.activation
        shape = r.shape
        residual = None if self.residual is None else self.residual.reshape(shape.oc, shape.oh, shape.ow)
        return Operands(
            r.weight, activation, stride=r.stride, padding=border if bordered else r.padding, a_signed=r.signed,
            residual=residual,
        )  # fmt: skip

    @property
    def act_bits(self) -> int:
        """Bits of an activation, as they stand or as many as the numbers need."""
        assert self.reading is not None
        values = self.reading.activation
        return self.reading.act_bits or max(int(np.abs(values).max()).bit_length() + int(values.min() < 0), 1)

    def told(self) -> list[str]:
        """How it was understood and what agrees, a line each."""
        flow = "" if self.reading is None else f"{self.reading.flow.name.replace('_', '-')}"
        lines = [f"{self.name}: {flow}" if flow else f"{self.name}:", *(f"  {line}" for line in self.understood)]
        lines += [f"  agrees: {line}" for line in self.agree]
        lines += [f"  open: {line}" for line in self.undecided]
        return lines + [f"  {line}" for line in self.notes]

    def problem(self) -> str:
        """What is wrong, in one line."""
        if self.findings:
            more = f"; and {len(self.findings) - 1} more" if len(self.findings) > 1 else ""
            return f"{self.findings[0]}{more}"
        return self.undecided[0] if self.undecided else "no layer is in it"


def layers_of(directory: Path | str, given: Hints | None = None) -> list[Layer]:
    """The layers of a folder: of itself, or of each folder in it that has activations and weights of its own.

    GoldenSetError where there is nothing that could be one.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise GoldenSetError(f"{directory} is not a directory")
    hints = read_hints(directory, given)
    own = _files(directory)
    if any(role_of(path.name) in (ACTIVATION, WEIGHT) and path.parent == directory for path in own):
        return _understand(directory, own, hints)
    inner = [folder for folder in sorted(directory.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    roles = {folder: {role_of(path.name) for path in _files(folder)} for folder in inner}
    whole = [folder for folder, held in roles.items() if ACTIVATION in held and held & {WEIGHT, OUTPUT}]
    if not whole:
        return _understand(directory, own, hints)
    return [layer for folder in whole for layer in _understand(folder, _files(folder), read_hints(folder, hints))]


def _files(directory: Path) -> list[Path]:
    found = sorted(
        path for path in directory.rglob("*")
        if path.is_file() and path.name != FILE
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )  # fmt: skip
    if len(found) > MOST_FILES:
        raise GoldenSetError(f"{directory} holds {len(found):,} files; a golden folder has {MOST_FILES:,} at most")
    return found


def _understand(directory: Path, paths: list[Path], hints: Hints) -> list[Layer]:
    """The weight-stationary layer of a folder, the output-stationary tile, or both."""
    tables: list[Table] = []
    twins: list[Table] = []
    wrong, unread = [], []
    names = {path.name for path in paths}
    for path in paths:
        name = path.relative_to(directory).as_posix()
        if not hints.takes(name):
            unread.append(f"{name} (ignored)")
            continue
        if path.suffix.lower() not in SUFFIXES or not role_of(name):
            unread.append(name)
            continue
        try:
            table = read_table(path, name)
        except TableError as error:
            wrong.append(str(error))
            continue
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
            continue
        is_twin = path.name.startswith(TWIN) and path.name.removeprefix(TWIN) in names
        (twins if is_twin else tables).append(table)
    found = families(tables)
    if not found:
        told = wrong or [f"{directory}: no file whose name says activation, weight or out, see docs/golden-files.md"]
        return [Layer(directory.name, directory, None, findings=told, notes=_not_compared(unread))]
    layers: list[Layer] = []
    works: list[_Work] = []
    for flow in Dataflow:
        chosen = _of_flow(found, flow, hints)
        if chosen is not None:
            suffix = "_os" if flow is Dataflow.output_stationary and layers else ""
            work = _Work(directory, f"{directory.name}{suffix}", flow, hints, found, chosen)
            works.append(work)
            layers.append(work.layer(wrong, twins))
    if not layers:
        have = ", ".join(f"{family.name} ({family.role})" for family in found)
        missing = [role for role in (ACTIVATION, WEIGHT, OUTPUT) if not any(f.role == role for f in found)]
        told = [*wrong, f"{directory}: no file of {' or '.join(missing or ['this dataflow'])} among {have}"]
        return [Layer(directory.name, directory, None, findings=told, notes=_not_compared(unread))]
    rest = [family.name for family in found if not any(work.mine(family) for work in works)]
    layers[0].notes.extend(_not_compared(unread + rest))
    return layers


def _not_compared(names: list[str]) -> list[str]:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return [f"not compared: {shown}"] if names else []


def _of_flow(found: list[Family], flow: Dataflow, hints: Hints) -> dict[str, list[Family]] | None:
    """Families by role that one dataflow takes; None where it has none."""
    os = flow is Dataflow.output_stationary
    if not hints.allows(dataflow=flow.name):
        return None
    forced = hints.dataflow is not None

    def of(role: str) -> list[Family]:
        all_ = [f for f in found if f.role == role and hints.chooses(role, f.name)]
        if role == OUTPUT:
            all_ = [f for f in all_ if "kij" not in f.axes]
        own = [f for f in all_ if f.os == os]
        return own or (all_ if forced or (os and role != ACTIVATION) else [])

    chosen = {role: of(role) for role in (ACTIVATION, WEIGHT, OUTPUT)}
    if not chosen[WEIGHT] and not os:  # under a misleading name
        chosen[WEIGHT] = [f for f in found if f.role == OUTPUT and "kij" in f.axes and "weight" in f.name.lower()]
    if not chosen[ACTIVATION] or not chosen[WEIGHT] or not chosen[OUTPUT]:
        return None
    return chosen


@dataclasses.dataclass
class _Work:
    directory: Path
    name: str
    flow: Dataflow
    hints: Hints
    found: list[Family]
    chosen: dict[str, list[Family]]

    def layer(self, wrong: list[str], twins: list[Table]) -> Layer:
        """The verdict. wrong: files that could not be read."""
        broken = [text for family in self.found if self.mine(family) for text in _broken(family)]
        if wrong or broken:
            explained = [] if wrong else self._line()
            return Layer(self.name, self.directory, None, findings=explained or [*wrong, *broken])
        fits = self._exact()
        if not fits:
            return self._nothing_fits()
        reading, others = fits[0], fits[1:]
        undecided, choose = self._undecided(reading, others)
        residual = self._residual_of(reading)
        agree, findings, added = self._compared(reading, residual, twins)
        return Layer(
            self.name, self.directory, reading, residual=residual if added else None,
            understood=understood(reading), agree=agree, findings=findings, undecided=undecided, choose=choose,
        )  # fmt: skip

    def mine(self, family: Family) -> bool:
        """Whether a family is this dataflow's to look at."""
        if any(family is one for role in self.chosen.values() for one in role):
            return True
        chosen = self.hints.chooses(family.role, family.name)
        return chosen and family.os == (self.flow is Dataflow.output_stationary)

    def _candidates(self, act: Family, wgt: Family, out: Family) -> list[Candidate]:
        """All readings of three families, none where files of one are missing or of another size."""
        if any(len(family.sizes()) > 1 or family.missing() for family in (act, wgt, out)):
            return []
        if self.flow is Dataflow.output_stationary:
            return list(output_stationary(act, wgt, out, self.hints))
        return list(weight_stationary(act, wgt, out, self.hints, self._residual()))

    def _residual(self) -> Family | None:
        return next((family for family in self.found if family.role == RESIDUAL and self.mine(family)), None)

    def _triples(self) -> list[tuple[Family, Family, Family]]:
        return [
            (act, wgt, out)
            for act in self.chosen[ACTIVATION] for wgt in self.chosen[WEIGHT] for out in self.chosen[OUTPUT]
        ]  # fmt: skip

    def _residual_of(self, reading: Reading) -> np.ndarray | None:
        family = self._residual()
        return None if family is None else residual_of(reading, family)

    def _exact(self) -> list[Reading]:
        """All readings with which some outputs follow from the operands, each once; the course's order first."""
        found: list[Reading] = []
        for act, wgt, out in self._triples():
            for candidate in self._candidates(act, wgt, out):
                if not candidate.fits:
                    continue
                reading = candidate.make()
                same = compared(reading, out, self._residual_of(reading))
                if same is None or same.wrong or "psums" in same.kind:
                    continue
                if not any(reading.same_operands(other) for other in found):
                    found.append(reading)
        return found

    def _undecided(self, reading: Reading, others: list[Reading]) -> tuple[list[str], bool]:
        """What else fits, and what decides; whether nothing may be taken before that is said."""
        told, choose = [], False
        if not reading.sums.any():
            return ["every output is 0: any reading fits, so nothing is shown; write outputs that are not all 0"], True
        for other in others:
            if other.act is not reading.act or other.wgt is not reading.wgt:
                names = [other.act.name, other.wgt.name, other.out.name]
                mine = [reading.act.name, reading.wgt.name, reading.out.name]
                differing = [name for name, own in zip(names, mine, strict=True) if name != own]
                told.append(
                    f"a second run fits as well, with {' and '.join(differing)}: say which to leave out, "
                    f'as ignore = ["{differing[0].replace("{", "*").split("*")[0]}*"] in {FILE}, or --ignore'
                )
                choose = True
            elif order(other) != order(reading) and frame(other) == frame(reading):
                told.append(
                    f"{order_words(other)} fits as well, the course's order was taken; "
                    f"{order_option(other, reading)} decides"
                )
            else:
                told.append(
                    f"two readings fit: {frame_words(reading)}; or {frame_words(other)}. "
                    f"{frame_option(other, reading)} in {FILE} decides"
                )
                choose = True
        return list(dict.fromkeys(told))[:3], choose

    def _compared(
        self, reading: Reading, residual: np.ndarray | None, twins: list[Table]
    ) -> tuple[list[str], list[str], bool]:
        """Every other file against the reading: what agrees, what does not, whether the residual was added."""
        agree, findings, added = [], [], False
        for family in self.found:
            if family is reading.act or family is reading.wgt or not self.mine(family):
                continue
            if family.role == RESIDUAL:
                if residual is None:
                    findings.append(f"{family.first.name}: not of the outputs' size")
                continue
            if family.role in (ACTIVATION, WEIGHT) and family not in self.chosen[OUTPUT]:
                used = reading.act if family.role == ACTIVATION else reading.wgt
                if family.os != used.os:
                    continue
                bits, signed = (
                    (reading.act_bits, reading.signed) if family.role == ACTIVATION else (reading.wgt_bits, True)
                )
                difference = same_as(reading, family, used, bits, signed)
                if difference is None:
                    agree.append(f"{family.name}: the same as {used.name}")
                else:
                    findings.append(f"{difference}: stale, the outputs are those of {used.name}")
                continue
            result = compared(reading, family, residual)
            if result is None:
                lines = family.first.lines
                told = [text for change in changed_tables(family) if (text := _line_words(reading, 2, change))]
                findings += told[:1] or [
                    f"{family.first.name}: {lines} lines of {family.first.width} are not this layer's, which has "
                    f"{reading.sums.shape[1]} outputs of {len(reading.weight)} channels: another run's or layer's"
                ]
            elif result.wrong:
                findings.append(f"{result.first(reading)} ({result.share})")
            else:
                agree.append(_agrees(family, result))
                added |= "residual" in result.kind
        if residual is not None and not added:
            name = next(f.name for f in self.found if f.role == RESIDUAL)
            findings.append(f"{name}: no outputs are sums with it")
        for twin in twins:
            findings += _twin(reading, twin, self.found)
        return agree, findings, added

    def _nothing_fits(self) -> Layer:
        """The closest reading, its first disagreement, and what would explain all."""
        best: tuple[float, Reading] | None = None
        options: list[tuple[float, int, Candidate]] = []
        for act, wgt, out in self._triples():
            for candidate in self._candidates(act, wgt, out):
                options.append((candidate.closeness, -len(options), candidate))
        for _, _, candidate in sorted(options, key=lambda option: option[:2], reverse=True)[:CLOSEST]:
            reading = candidate.make()
            close = self._closeness(reading)
            if best is None or close > best[0]:
                best = (close, reading)
        if best is None:
            return Layer(self.name, self.directory, None, findings=self._line() or self._sizes())
        close, reading = best
        if close < NOISE:  # the likeliest reading, then
            reading = options[0][2].make()
            close = self._closeness(reading)
        residual = self._residual_of(reading)
        told = [result for out in self.chosen[OUTPUT] if (result := compared(reading, out, residual)) is not None]
        findings = [f"{result.first(reading)} ({result.share})" for result in told if result.wrong]
        plain = [result for result in told if result.kind in ("sums", "ReLU of the sums") and not result.unread]
        for result in sorted(plain, key=lambda result: result.kind != "sums")[:1]:  # sums say more than ReLU of them
            one = dataclasses.replace(reading, out=result.family, psum_bits=result.bits)
            why = suspects(Case(one, result.parts[0][2], result.kind != "sums"))
            if len(findings) > 1:  # then it is not one output
                why = [text for text in why if not text.startswith(tuple(t.name for t in one.out.tables.values()))]
            if not why and close < SURE and (line := self._line()):
                return Layer(self.name, self.directory, None, findings=line)
            findings += [f"suspect {text}" for text in why]
        lines = [f"nothing fits; of the closest reading {close:.1%} of what is not 0 agree:"]
        return Layer(
            self.name, self.directory, None, closest=reading, understood=lines + understood(reading),
            findings=findings, notes=self._outputs_agree(reading),
        )  # fmt: skip

    def _closeness(self, reading: Reading) -> float:
        """Of the outputs that are nearest to a reading."""
        found = [0.0]
        for out in self.chosen[OUTPUT]:
            result = compared(reading, out, self._residual_of(reading))
            for _, wanted, given in result.parts if result else ():
                found.append(closeness(wanted, given))
        return max(found)

    def _outputs_agree(self, reading: Reading) -> list[str]:
        """Whether the output files agree with each other, so that the operands are what is wrong."""
        found = [(f, g[0]) for f in self.chosen[OUTPUT] if (g := given_outputs(f, len(reading.weight))) is not None]
        for family, values in found:
            for other, outputs in found:
                told = family is not other and values.shape == outputs.shape and values.min() < 0
                if told and np.array_equal(np.maximum(values, 0), outputs):
                    return [f"{other.name} is ReLU of {family.name}: they agree, so look at the operands"]
        return []

    def _line(self) -> list[str]:
        """A line that is missing or one too many, where all others agree then."""
        best: tuple[float, str] | None = None
        for act, wgt, out in self._triples():
            for which, family in enumerate((act, wgt, out)):
                if family.first.lines * len(family.tables) * family.first.width > LARGE:
                    continue
                for change in changed_tables(family):
                    triple = [act, wgt, out]
                    triple[which] = change.family
                    for candidate in self._candidates(*triple):
                        if candidate.closeness > (0.3 if best is None else best[0]):
                            text = _line_words(candidate.make(), which, change)
                            best = best if text is None else (candidate.closeness, text)
        return [] if best is None else [best[1]]

    def _sizes(self) -> list[str]:
        """Sizes that do not belong together."""
        act, wgt, out = (self.chosen[role][0] for role in (ACTIVATION, WEIGHT, OUTPUT))
        taps = f"{len(wgt.tables)} files" if wgt.axes else "1 file"
        return [
            f"{act.name}, {wgt.name} and {out.name} are not of one layer: {size(act.first.lines)} of "
            f"{act.first.width} digits; {taps} of {wgt.first.lines} lines of {wgt.first.width}; "
            f"{size(out.first.lines)} of {out.first.width}: no map, padding and stride gives that"
        ]


def _line_words(reading: Reading, which: int, change: Change) -> str | None:
    """A line in words, where all outputs that do not depend on it agree; else None. which: 0 activations, 1 weights,
    2 outputs."""
    out = change.family if which == 2 else reading.out
    result = compared(reading, out, None)
    if result is None or "psums" in result.kind:
        return None
    _, wanted, given = result.parts[0]
    excused = np.zeros(wanted.shape, bool)
    if which == 2:
        if change.inserted and change.at < wanted.shape[1]:
            excused[:, change.at] = True
        words = f"{result.per_line} {change.at}"
    else:
        cells = reading.activation_cells if which == 0 else reading.weight_cells
        bits = reading.act_bits if which == 0 else reading.wgt_bits
        per_line = change.family.first.width // (bits or 1)
        line = list(change.family.tables).index(change.key) * change.family.first.lines + change.at
        if change.inserted:
            marked = (cells // per_line == line).astype(np.int64)
            ones = np.ones_like(reading.weight if which == 0 else reading.activation)
            both = {"activation": marked, "weight": ones} if which == 0 else {"activation": ones, "weight": marked}
            excused = dataclasses.replace(reading, **both).sums != 0  # type: ignore[arg-type]
        words = operand_words(reading, change.family, change.key, change.at, 0).rsplit(", ", 1)[0]
    if ((wanted != given) & ~excused).any() or excused.all():
        return None
    table, at = change.table, change.at
    if not change.inserted:
        return f"{table.name}:{table.line_numbers[at]}:1: one line too many: without it all agree"
    number = table.line_numbers[at] if at < table.lines else table.line_numbers[-1] + 1
    agree = "all others agree" if which == 2 else "all that do not read it agree"
    return f"{table.name}:{number}:1: the line of {words} is missing: with a line there, {agree}"


def _broken(family: Family) -> list[str]:
    """Files that are missing between others, or have another size."""
    told = []
    if gap := family.missing():
        told.append(f"{family.name}: the file of {gap} is not there, and those around it are")
    sizes = [(table.lines, table.width) for table in family.tables.values()]
    usual = max(set(sizes), key=sizes.count)
    for table in family.tables.values():
        if (table.lines, table.width) != usual:
            what = f"{table.lines} lines of {table.width}"
            last = table.line_numbers[-1] + (table.lines < usual[0])
            told.append(
                f"{table.name}:{last}:1: {what}, where the others of {family.name} have {usual[0]} of {usual[1]}"
            )
    return told


def _twin(reading: Reading, twin: Table, found: list[Family]) -> list[str]:
    """The first difference between a decimal twin and its file."""
    base = PurePosixPath(twin.name).name.removeprefix(TWIN)
    for family in found:
        for table in family.tables.values():
            if PurePosixPath(table.name).name != base:
                continue
            if family.role == ACTIVATION:
                bits, signed = reading.act_bits, reading.signed
            elif family.role == WEIGHT:
                bits, signed = reading.wgt_bits, True
            else:
                bits, signed = reading.psum_bits, True
            if not bits or table.width % bits or not table.binary:
                continue
            mine, theirs = table.words(bits, signed), twin.words(bits, signed)
            if mine.shape != theirs.shape:
                return [f"{twin.name}: {twin.lines} lines of {theirs.shape[1]} numbers, {table.name} has {table.lines}"]
            for line, word in np.argwhere(mine != theirs)[:1]:
                place = twin.place(line, word, bits)
                return [f"{place}: {theirs[line, word]}, where {table.name} has {mine[line, word]}"]
    return []


def _agrees(family: Family, result: Compared) -> str:
    unread = f", the first {result.parts[0][1].shape[1]} lines" if result.unread else ""
    return f"{family.name}: {result.kind}, {result.total:,} values{unread}"
