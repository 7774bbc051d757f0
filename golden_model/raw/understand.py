"""What a golden folder without a manifest holds, whether its files agree with each other, and where they do not."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from pathlib import Path

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.files.operands import GoldenSetError
from golden_model.operands import Operands
from golden_model.raw.compare import RELU, SUMS, Compared, compared, copies_of, operand_words, residual_of, same_as
from golden_model.raw.folders import Found, layer_folders
from golden_model.raw.hints import FILE, Hints
from golden_model.raw.names import ACTIVATION, BIAS, OUTPUT, RESIDUAL, TWIN, WEIGHT, Family, families
from golden_model.raw.output_stationary import output_stationary
from golden_model.raw.readings import Candidate, Reading, given_outputs, hints_of_reading, residual_words
from golden_model.raw.suspects import LARGE, MOST, Case, Change, changed_tables, extended, suspects, weights_of
from golden_model.raw.table import Table, TableError, read_table
from golden_model.raw.told import frame, frame_option, frame_words, order, order_option, order_words, size, understood
from golden_model.raw.weight_stationary import weight_stationary

DATA = (".txt", ".dat", ".mem", ".csv", ".vec", ".tv", ".hex")  # what cannot be read as numbers is wrong
SUFFIXES = (*DATA, "", ".bin", ".golden")  # and of these is something else
CLOSEST = 6  # readings that are looked at as a whole where none fits
NOISE = 0.1  # closeness that operands of another layer reach too
FEWEST = 3  # outputs that are not 0, below which a reading may fit by chance
LONGEST = 10.0  # seconds in which a missing line is looked for
LARGEST = (1 << 15) - 1  # of an operand in a decimal file, where it is signed
CUT = 0.2  # closeness from which lines may be missing at the end
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
        return self.reading.act_bits or _bits(self.reading.activation)

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


def _bits(values: np.ndarray) -> int:
    """Bits of the narrowest integers that hold all values: unsigned, or where one is negative two's complement."""
    low, high = int(values.min()), int(values.max())
    if low >= 0:
        return max(1, high.bit_length())
    return 1 + max((-low - 1).bit_length(), max(0, high).bit_length())


def layers_of(directory: Path | str, given: Hints | None = None) -> list[Layer]:
    """The layers of a folder, each name once. GoldenSetError as ``layer_folders``, or where no file is of a layer."""
    layers: dict[str, Layer] = {}
    for found in layer_folders(directory, given):
        for layer in _understand(found):
            name = layer.name
            while name in layers:  # what lies beside the layers has the name of the folder, as one of them may
                name += "'"
            layers[name] = dataclasses.replace(layer, name=name)
    if not layers:
        raise GoldenSetError(
            f"{directory}: no file whose name says activation, weight or out, see docs/golden-files.md"
        )
    return list(layers.values())


def _understand(found: Found) -> list[Layer]:
    """The weight-stationary layer of a folder, the output-stationary tile, both, or none if no file is of a layer."""
    directory, hints = found.directory, found.hints
    tables: list[Table] = []
    twins: list[Table] = []
    wrong, unread = [], list(found.ignored)
    there = set(found.paths)
    for path in found.paths:
        name = path.relative_to(directory).as_posix()
        role = hints.role_of(name)
        if path.suffix.lower() not in SUFFIXES or not role:
            unread.append(name)
            continue
        try:
            table = read_table(path, name)
        except TableError as error:
            if path.suffix.lower() in DATA and role != BIAS:  # that is often not of integers
                wrong.append(str(error))
            else:
                unread.append(name)
            continue
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
            continue
        (twins if _base(path) in there else tables).append(table)
    groups = families(tables, hints.role_of)
    if not groups and not wrong:
        return []
    layers: list[Layer] = []
    works: list[_Work] = []
    for flow in Dataflow:
        chosen = _of_flow(groups, flow, hints)
        if chosen is not None:
            suffix = "_os" if flow is Dataflow.output_stationary and layers else ""
            work = _Work(directory, f"{found.name}{suffix}", flow, hints, groups, chosen)
            works.append(work)
            layers.append(work.layer(wrong, twins))
    if not any(
        layer.right or work.flow is Dataflow.output_stationary for layer, work in zip(layers, works, strict=True)
    ):
        # A stream whose names do not say so
        settled = dataclasses.replace(hints, dataflow=Dataflow.output_stationary.name)
        chosen = _of_flow(groups, Dataflow.output_stationary, settled) if hints.dataflow is None else None
        if chosen is not None:
            work = _Work(directory, found.name, Dataflow.output_stationary, settled, groups, chosen)
            layer = work.layer(wrong, twins)
            if layer.right or work.close >= max(SURE, *(other.close for other in works)):
                fits = "fits" if layer.right else "is closest"
                layer.notes.append(f"read as output-stationary, which {fits}; no name says so, {FILE} may")
                layers, works = [layer], [work]
    if not layers:
        return [
            Layer(
                found.name,
                directory,
                None,
                findings=wrong + _lacking(directory, groups, wrong, hints),
                notes=_not_compared(unread),
            )
        ]
    rest = [family.name for family in groups if not any(work.mine(family) for work in works)]
    layers[0].notes.extend(_not_compared(unread + rest))
    return layers


def _base(path: Path) -> Path | None:
    """The file of which this one is the decimal twin: beside it, or beside the folder ``viz`` that it lies in."""
    if not path.name.startswith(TWIN):
        return None
    folder = path.parent.parent if path.parent.name == TWIN.strip("_") else path.parent
    return folder / path.name.removeprefix(TWIN)


def _lacking(directory: Path, groups: list[Family], wrong: list[str], hints: Hints) -> list[str]:
    """What a folder lacks for a layer; nothing where files that might be it cannot be read."""
    unreadable = {hints.role_of(text.split(":", 1)[0]) for text in wrong}
    missing = [
        role for role in (ACTIVATION, WEIGHT, OUTPUT)
        if role not in unreadable and not any(family.role == role for family in groups)
    ]  # fmt: skip
    if not missing:
        return [] if wrong else [f"{directory}: no files of the dataflow that was asked for"]
    have = ", ".join(f"{family.name} ({family.role})" for family in groups) or "those that can be read"
    return [f"{directory}: no file of {' or '.join(missing)} among {have}"]


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
    oblong: bool = False  # maps that are not square, too
    close: float = 0.0  # of a layer that nothing fits: share of its outputs that agree with the closest reading

    def layer(self, wrong: list[str], twins: list[Table]) -> Layer:
        """The verdict. wrong: files that could not be read."""
        broken = [text for f in self.found if self.mine(f) and f.role != BIAS for text in _broken(f)]
        if broken:
            return Layer(self.name, self.directory, None, findings=[*wrong, *(self._line() or broken)])
        fits = self._exact()
        if not fits:  # a map that is not square, although a square one has as many positions
            self.oblong = True
            fits = self._exact()
            self.oblong = bool(fits)
        if not fits:
            nothing = self._nothing_fits()
            return dataclasses.replace(nothing, findings=[*wrong, *nothing.findings])
        reading, others = fits[0], fits[1:]
        undecided, choose = self._undecided(reading, others)
        residual = self._residual_of(reading)
        agree, findings, notes, added = self._compared(reading, residual, twins)
        return Layer(
            self.name, self.directory, reading, residual=residual if added else None,
            understood=understood(reading), agree=agree, findings=[*wrong, *findings], undecided=undecided,
            choose=choose, notes=notes,
        )  # fmt: skip

    def mine(self, family: Family) -> bool:
        """Whether a family is this dataflow's to look at."""
        if any(family is one for role in self.chosen.values() for one in role):
            return True
        chosen = self.hints.chooses(family.role, family.name)
        return chosen and family.os == (self.flow is Dataflow.output_stationary)

    def _candidates(self, act: Family, wgt: Family, out: Family, hints: Hints | None = None) -> list[Candidate]:
        """All readings of three families, none where files of one are missing or of another size."""
        if any(len(family.sizes()) > 1 or family.missing() for family in (act, wgt, out)):
            return []
        hints = self.hints if hints is None else hints
        if self.flow is Dataflow.output_stationary:
            return list(output_stationary(act, wgt, out, hints))
        return list(weight_stationary(act, wgt, out, hints, self._residual(), self.oblong))

    def _residual(self) -> Family | None:
        """What outputs may have in them beside the sums; a bias, where there is nothing else."""
        found = [family for family in self.found if family.role in (RESIDUAL, BIAS) and self.mine(family)]
        return min(found, key=lambda family: family.role == BIAS, default=None)

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
                if same is None or same.wrong or not (same.is_sums or "residual" in same.kind):
                    continue
                if not any(reading.same_operands(other) for other in found):
                    found.append(reading)
        return found

    def _undecided(self, reading: Reading, others: list[Reading]) -> tuple[list[str], bool]:
        """What else fits, and what decides; whether nothing may be taken before that is said."""
        residual = self._residual_of(reading)
        results = [compared(reading, out, residual) for out in self.chosen[OUTPUT]]
        telling = max((one.telling for one in results if one is not None and not one.wrong), default=0)
        if telling < FEWEST and (others or not self._settled(reading)):
            few = "every output is 0" if telling == 0 else f"only {telling} outputs are not 0"
            return [
                f"{few}: too many readings fit, so nothing is shown; write outputs that say more, or settle all of it "
                f"in {FILE}"
            ], True
        orders, choices = [], []
        for other in others:
            if other.act is not reading.act or other.wgt is not reading.wgt:
                names = [other.act.name, other.wgt.name, other.out.name]
                mine = [reading.act.name, reading.wgt.name, reading.out.name]
                differing = [name for name, own in zip(names, mine, strict=True) if name != own]
                choices.append(
                    f"a second run fits as well, with {' and '.join(differing)}: say which to leave out, "
                    f'as ignore = ["{_pattern(differing[0])}"] in {FILE}, or --ignore'
                )
            elif order(other) != order(reading) and frame(other) == frame(reading):
                orders.append(
                    f"{order_words(other)} fits as well, the course's order was taken; "
                    f"{order_option(other, reading)} decides"
                )
            else:
                choices.append(
                    f"two readings fit: {frame_words(reading)}; or {frame_words(other)}. "
                    f"{frame_option(other, reading)} in {FILE} decides"
                )
        return list(dict.fromkeys(choices + orders))[:3], bool(choices)

    def _settled(self, reading: Reading) -> bool:
        """Whether nothing was inferred but from names and sizes."""
        asked = ["rows_reversed", "columns_reversed", *(["act_bits", "signed"] if reading.act_bits else [])]
        asked += ["wgt_bits"] if reading.wgt_bits else []
        if self.flow is Dataflow.weight_stationary:
            asked += ["kernel", "map", "padding", "stride"]
        return all(getattr(self.hints, name) is not None for name in asked)

    def _compared(
        self, reading: Reading, residual: np.ndarray | None, twins: list[Table]
    ) -> tuple[list[str], list[str], list[str], bool]:
        """Every other file against the reading: what agrees, what does not, what is not compared, and whether the
        residual was added."""
        agree, findings, notes, added = [], [], [], False
        taken = self._residual()
        for family in self.found:
            if family in (reading.act, reading.wgt, taken) or not self.mine(family):
                continue
            if family.role in (ACTIVATION, WEIGHT) and family not in self.chosen[OUTPUT]:
                used = reading.act if family.role == ACTIVATION else reading.wgt
                bits, signed = (
                    (reading.act_bits, reading.signed) if family.role == ACTIVATION else (reading.wgt_bits, True)
                )
                copies = copies_of(family, used)
                difference = same_as(reading, family, used, bits, signed)
                if copies:
                    agree.append(f"{family.name}: the same as {copies}")
                elif difference is None:
                    agree.append(f"{family.name}: the same as {used.name}")
                else:
                    findings.append(f"{difference}: stale, the outputs are those of {used.name}")
                continue
            if family.role == BIAS:
                notes += _not_compared([family.name])
                continue
            if family.role == RESIDUAL:
                other = residual_of(reading, family)
                if other is None or residual is None or not np.array_equal(other, residual):
                    findings.append(f"{family.first.name}: another residual than {taken.name if taken else ''}")
                continue
            result = compared(reading, family, residual)
            dump = "psum" in family.name.lower() or "kij" in family.axes or "ic" in family.axes
            if dump and result is None:
                if cut := _cut_psums(reading, family):
                    findings.append(cut)
                else:
                    notes.append(f"not understood, not compared: {family.name}")
            elif result is None:
                findings.append(self._other_size(reading, family))
            elif result.wrong:
                findings.append(f"{result.first(reading)} ({result.share(reading)})")
            else:
                agree.append(_agrees(family, result, len(reading.weight), taken))
                notes += _misnamed(family, result)
            if result is not None and "residual" in result.kind:
                added = True
                notes += [] if taken is None else _sign_of(taken, residual)
            if result is not None and result.unread:
                notes.append(f"not compared: the last {result.unread} lines of {family.name}")
        if taken is not None and taken.role == BIAS and not added:
            notes += _not_compared([taken.name])
        elif taken is not None and residual is None:
            findings.append(f"{taken.first.name}: not of the outputs' size")
        elif taken is not None and residual is not None and not added and residual.any():
            findings.append(f"{taken.name}: no outputs are sums with it")
        for twin in twins:
            findings += _twin(reading, twin, self.found)
        if reading.spare:
            notes.append(f"not compared: the last {reading.spare} lines of each of {reading.wgt.name}")
        return agree, findings, notes, added

    def _other_size(self, reading: Reading, family: Family) -> str:
        """Outputs that have not the layer's size: a line that is missing, or another layer's."""
        for change in changed_tables(family):
            if text := _line_words(reading, 2, change):
                return text
        tiles = len(reading.weight) // reading.cols
        if tiles > 1 and 1 < len(family.tables) < tiles:
            return f"{family.name}: {len(family.tables)} files, the weights have {tiles} oc_tiles: some are not there"
        return (
            f"{family.first.name}: {family.first.lines} lines of {family.first.width} are not this layer's, which has "
            f"{reading.sums.shape[1]} outputs of {len(reading.weight)} channels: another run's or layer's"
        )

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
        lacking = self._missing_files()
        if best is None:
            return Layer(self.name, self.directory, None, findings=lacking or self._line() or self._sizes())
        close, reading = best
        if close < NOISE:  # the likeliest reading, then
            reading = options[0][2].make()
            close = self._closeness(reading)
        self.close = close
        if close < SURE and lacking:
            return Layer(self.name, self.directory, None, findings=lacking)
        residual = self._residual_of(reading)
        told = [result for out in self.chosen[OUTPUT] if (result := compared(reading, out, residual)) is not None]
        channels = len(reading.weight)
        tiles = channels // reading.cols
        wrong = [result for result in told if result.wrong]
        partial = [
            f"{r.family.name}: oc_tile 0 alone, the weights have {tiles} oc_tiles: some are not there"
            for r in told if not r.wrong and len(r.parts[0].given) < channels
        ]  # fmt: skip
        plain = [r for r in told if r.is_sums and not r.unread and len(r.parts[0].given) == channels]
        why = self._by_psums(reading, residual) if wrong else []
        for result in sorted(plain, key=lambda result: result.kind != SUMS)[:1]:  # sums say more than ReLU of them
            one = dataclasses.replace(reading, out=result.family, psum_bits=result.bits)
            why = why or suspects(Case(one, result.parts[0].given, result.kind != SUMS))
            if len(wrong) + len(partial) > 1:  # then it is not one output
                why = [text for text in why if not text.startswith(tuple(t.name for t in one.out.tables.values()))]
        if not why and close < SURE and (line := self._cut_off() or (self._line() if plain else [])):
            return Layer(self.name, self.directory, None, findings=line)
        findings = [f"{r.first(reading)} ({r.share(reading, bool(why))})" for r in wrong] + partial
        findings += [f"suspect {text}" for text in why]
        beside = self._residual()
        if beside is not None and not any("residual" in result.kind for result in told):
            findings.append(f"{beside.name}: with it, the outputs do not agree either")
        lines = [f"nothing fits; of the closest reading {close:.1%} of what is not 0 agree:"]
        return Layer(
            self.name, self.directory, None, closest=reading, understood=lines + understood(reading),
            findings=findings, notes=self._outputs_agree(reading),
        )  # fmt: skip

    def _by_psums(self, reading: Reading, residual: np.ndarray | None) -> list[str]:
        """Weights of taps whose psums, written beside, are not what they give, where the psums of other taps are."""
        for family in self.found:
            if family.role != OUTPUT or "kij" not in family.axes or not self.mine(family):
                continue
            result = compared(reading, family, residual)
            if result is None or not result.kind.startswith("psums"):
                continue
            wrong = [part for part in result.parts if (part.wanted != part.given).any()]
            if 0 < len(wrong) < len(result.parts) and all(part.kij is not None for part in wrong):
                return [
                    f"{weights_of(reading, part.kij or 0, part.ic_tile)}: {part.family.first.name} is not what these "
                    f"weights give, and those of {len(result.parts) - len(wrong)} others are"
                    for part in wrong[:MOST]
                ]
        return []

    def _cut_off(self) -> list[str]:
        """Outputs or activations of which the last lines are missing, where all that stand there agree."""
        end = time.monotonic() + LONGEST
        for act, wgt, out in self._triples():
            for which, family in ((2, out), (0, act)):
                lines = family.first.lines
                if lines * len(family.tables) * family.first.width > LARGE:
                    continue
                most = math.isqrt(act.first.lines) + 1 if which else math.isqrt(2 * lines)  # outputs of a map
                if len(family.sizes()) > 1 or self.flow is Dataflow.output_stationary:
                    continue
                for side in range(math.isqrt(lines) + 1, min(most, math.isqrt(2 * lines)) + 1):
                    if time.monotonic() > end:
                        return []
                    whole = dataclasses.replace(
                        family, tables={key: extended(table, side * side) for key, table in family.tables.items()}
                    )
                    for candidate in self._candidates(*((act, wgt, whole) if which else (whole, wgt, out))):
                        if candidate.closeness > CUT and (cut := _agree_so_far(candidate.make(), which, lines)):
                            each = " each" if len(family.tables) > 1 else ""
                            return [
                                f"{family.name}: {lines} lines{each}, and {side * side} make a {side}x{side} map: "
                                f"the last {side * side - lines} are missing; {cut}"
                            ]
        return []

    def _missing_files(self) -> list[str]:
        """Files at the end or at the beginning of a count that others say is longer."""
        told = []
        for wgt in self.chosen[WEIGHT]:
            if "kij" in wgt.axes:
                taps = sorted({key[wgt.axes.index("kij")] for key in wgt.tables})
                side = math.isqrt(len(taps) + 1)
                if side > 1 and side * side == len(taps) + 1:
                    which = f"kij {taps[0] - 1}" if taps[0] == 1 else f"kij {taps[-1] + 1}"
                    told.append(f"{wgt.name}: {len(taps)} taps, {side}x{side} have one more: {which} is not there")
            for act in self.chosen[ACTIVATION]:
                ic = next((i for i, axis in enumerate(wgt.axes) if axis in ("ic", "channel")), None)
                tiles = 1 if ic is None else len({key[ic] for key in wgt.tables})
                if self.flow is Dataflow.weight_stationary and ic is not None and tiles != len(act.tables):
                    told.append(
                        f"{act.name}: {len(act.tables)} file{'s' * (len(act.tables) > 1)}, {wgt.name} has {tiles} "
                        f"ic_tiles: some are not there"
                    )
        return told

    def _closeness(self, reading: Reading) -> float:
        """Of the outputs that are nearest to a reading."""
        residual = self._residual_of(reading)
        found = [result for out in self.chosen[OUTPUT] if (result := compared(reading, out, residual)) is not None]
        return max((result.closeness for result in found), default=0.0)

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
        """A line that is missing or one too many, where all others agree then.

        Outputs behind the line are shifted; so the reading is found with the change at the end and at the beginning,
        and the place with that reading alone.
        """
        end = time.monotonic() + LONGEST
        best: tuple[float, str] | None = None
        for act, wgt, out in self._triples():
            for which, family in enumerate((act, wgt, out)):
                if family.first.lines * len(family.tables) * family.first.width > LARGE:
                    continue
                changes = list(changed_tables(family))
                for kind in (True, False):
                    mine = [change for change in changes if change.inserted == kind]
                    reading = self._reading_of_a_line((act, wgt, out), which, mine[:1] + mine[-1:])
                    if reading is None:
                        continue
                    for change in mine:
                        for candidate in self._with_change((act, wgt, out), which, change, hints_of_reading(reading)):
                            if candidate.closeness > (0.3 if best is None else best[0]):
                                text = _line_words(candidate.make(), which, change)
                                best = best if text is None else (candidate.closeness, text)
                        if time.monotonic() > end:
                            return [] if best is None else [best[1]]
        return [] if best is None else [best[1]]

    def _with_change(
        self, triple: tuple[Family, Family, Family], which: int, change: Change, hints: Hints | None = None
    ) -> list[Candidate]:
        families = list(triple)
        families[which] = change.family
        return self._candidates(families[0], families[1], families[2], hints)

    def _reading_of_a_line(
        self, triple: tuple[Family, Family, Family], which: int, changes: list[Change]
    ) -> Reading | None:
        """The reading that is closest with any of these changes."""
        found = [candidate for change in changes for candidate in self._with_change(triple, which, change)]
        best = max(found, key=lambda candidate: candidate.closeness, default=None)
        return None if best is None else best.make()

    def _sizes(self) -> list[str]:
        """Sizes that do not belong together."""
        act, wgt, out = (self.chosen[role][0] for role in (ACTIVATION, WEIGHT, OUTPUT))
        taps = f"{len(wgt.tables)} files" if wgt.axes else "1 file"
        several = act.axes and self.flow is Dataflow.weight_stationary
        tiles = f" (its {len(act.tables)} files were taken for as many ic_tiles)" if several else ""
        return [
            f"{act.name}{tiles}, {wgt.name} and {out.name} are not of one layer: {size(act.first.lines)} of "
            f"{act.first.width} digits; {taps} of {wgt.first.lines} lines of {wgt.first.width}; "
            f"{size(out.first.lines)} of {out.first.width}: no map, padding and stride gives that"
        ]


def _agree_so_far(reading: Reading, which: int, lines: int) -> str | None:
    """What agrees, where all outputs do that do not depend on the lines after the first ``lines``; else None. which: 0
    activations, 2 outputs."""
    result = compared(reading, reading.out, None)
    if result is None or not result.is_sums:
        return None
    wanted, given = result.parts[0].wanted, result.parts[0].given
    told = np.zeros(wanted.shape, bool)
    if which == 2:
        told[:, :lines] = True
    else:
        last = np.arange(reading.activation[0].size).reshape(reading.activation[0].shape) >= lines
        marked = np.broadcast_to(last, reading.activation.shape).astype(np.int64)
        whole = dataclasses.replace(reading, activation=marked, weight=np.ones_like(reading.weight))
        told = whole.sums == 0
    if ((wanted != given) & told).any() or np.count_nonzero(given[told]) < FEWEST:
        return None
    return f"the {np.count_nonzero(told):,} outputs that {'stand there' if which else 'do not read them'} agree"


def _cut_psums(reading: Reading, family: Family) -> str | None:
    """Psums of taps of which the last lines are missing: those that stand there agree."""
    shape, lines = reading.shape, family.first.lines
    if "kij" not in (*family.axes, *family.fixed) or len(family.sizes()) > 1:
        return None
    for whole in (shape.n_nij, shape.ih * shape.iw):
        if whole <= lines:
            continue
        tables = {key: extended(table, whole) for key, table in family.tables.items()}
        result = compared(reading, dataclasses.replace(family, tables=tables), None)
        if result is None or not result.kind.startswith("psums"):
            continue
        stand = [(part.wanted[:, :lines], part.given[:, :lines]) for part in result.parts]
        if all(np.array_equal(*pair) for pair in stand) and any(given.any() for _, given in stand):
            return f"{family.first.name}: {lines} lines, and the psums of a tap are {whole}: the rest is missing"
    return None


def _sign_of(family: Family, residual: np.ndarray | None) -> list[str]:
    """A note where a residual has bits that two's complement reads as negative, and was taken as unsigned."""
    if residual is None or residual.min() < 0 or len(residual_words(family, residual.shape)) < 2:
        return []
    return [f"{family.name}: taken as unsigned, by which the outputs agree; as two's complement they do not"]


def _misnamed(family: Family, result: Compared) -> list[str]:
    """A note where a name says of outputs that they went through ReLU, or did not, and the values say otherwise."""
    words = set(re.split(r"[^a-z]+", family.name.lower()))
    negative = any((part.given < 0).any() for part in result.parts)
    if (
        negative
        and result.kind == SUMS
        and any("relu" in word for word in words)
        and not words & {"pre", "before", "no"}
    ):
        return [f"{family.name} says ReLU, and holds the sums"]
    zeroed = any(((part.wanted == 0) & (part.given == 0)).any() for part in result.parts)
    if not negative and zeroed and result.kind == RELU and words & {"raw", "outraw"}:
        return [f"{family.name} says raw, and holds ReLU of the sums"]
    return []


def _line_words(reading: Reading, which: int, change: Change) -> str | None:
    """A line in words, where all outputs that do not depend on it agree; else None. which: 0 activations, 1 weights,
    2 outputs."""
    out = change.family if which == 2 else reading.out
    result = compared(reading, out, None)
    if result is None or not result.is_sums:
        return None
    wanted, given = result.parts[0].wanted, result.parts[0].given
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
    if family.role in (ACTIVATION, WEIGHT):
        for table in family.tables.values():
            if table.numbers is not None:
                for line, word in np.argwhere((table.numbers < -LARGEST - 1) | (table.numbers > 2 * LARGEST + 1))[:1]:
                    value = table.numbers[line, word]
                    told.append(
                        f"{table.place(line, word, 0)}: {value} has more than the 16 bits that operands may have"
                    )
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
    base = _base(Path(twin.name))
    for family in found:
        for table in family.tables.values():
            if Path(table.name) != base:
                continue
            if family.role == ACTIVATION:
                bits, signed = reading.act_bits, reading.signed
            elif family.role == WEIGHT:
                bits, signed = reading.wgt_bits, True
            else:
                bits, signed = reading.psum_bits, True
            if not bits or table.width % bits or not table.binary or (twin.binary and twin.width % bits):
                return []
            mine, theirs = table.words(bits, signed), twin.words(bits, signed)
            if mine.shape != theirs.shape:
                return [f"{twin.name}: {twin.lines} lines of {theirs.shape[1]} numbers, {table.name} has {table.lines}"]
            for line, word in np.argwhere(mine != theirs)[:1]:
                place = twin.place(line, word, bits)
                return [f"{place}: {theirs[line, word]}, where {table.name} has {mine[line, word]}"]
    return []


def _pattern(name: str) -> str:
    """A pattern of the files that a family's name stands for: of its folder, where it lies in one."""
    return f"{name.rsplit('/', 1)[0]}/*" if "/" in name else re.sub(r"\{.*", "*", name)


def _agrees(family: Family, result: Compared, channels: int, added: Family | None) -> str:
    part = result.parts[0]
    unread = f", the first {part.wanted.shape[1]} lines" if result.unread else ""
    tile = ", oc_tile 0 alone" if len(part.given) < channels else ""
    kind = result.kind if added is None else result.kind.replace("the residual", added.name)
    return f"{family.name}: {kind}, {result.total:,} values{unread}{tile}"
