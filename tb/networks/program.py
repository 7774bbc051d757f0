"""A network in the accelerator's memory: a list of layers, each of which writes what the next ones read.

The host writes an image's integers and starts the list; what it computes itself is the last convolution's output stage
and the classifier, see ``classify``. Operands wider than the array's go through it as digits, one convolution for all
products of digits of the same place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from golden_model.accelerator import registers, schedule
from golden_model.accelerator.plan import Plan, PlanError, bus_bits, check_configuration
from golden_model.configuration import Configuration, Dataflow
from golden_model.network import run
from golden_model.network.digits import digits, digits_needed, parts
from golden_model.network.graph import ConvStep, IntegerNetwork
from golden_model.requantise import Requantisation, WideRequantisation
from golden_model.tiling import ConvShape
from tb.accelerator.command import Layout, Region, layer_fields, placed_records, placed_weights
from tb.networks.tensors import Kind, Tensor, check_readable, passes_on

REPORT_WORDS = 8  # of each layer's counters


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """One layer of the list, before it is known how it runs. outputs: tensor, requantisation (None: sums), pool."""

    name: str
    step: ConvStep
    weight: np.ndarray
    source: str
    signed: bool
    bits: int
    residual: str | None
    shift: int
    outputs: tuple[tuple[str, Requantisation | None, bool], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ProgramLayer:
    """One layer of the list. name: of the layer in the checkpoint, and of the part where digits make several of it."""

    name: str
    plan: Plan
    fields: Mapping[str, int]
    source: str
    residual: str | None
    outputs: tuple[str, ...]
    weight: np.ndarray
    signed: bool

    @property
    def cycles(self) -> int:
        """By the cycle model."""
        return schedule.cycles(
            self.plan, bias=bool(self.fields["bias"]), second=len(self.outputs) > 1,
            residual=self.residual is not None, halves=bool(self.fields.get("residual_half")),
        ).total  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """What the integer model makes of an image.

    values: of every tensor, int [C, H, W]. scores: of the classes, int64 [classes]. saturated: layers of the list an
    output of which was clamped.
    """

    values: Mapping[str, np.ndarray]
    scores: np.ndarray
    saturated: frozenset[str]


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkProgram:
    """A network for one configuration.

    image: tensors that the host writes, each with the digits of the image that it has, None: the image as it is.
    constant: what is written once; what a run writes lies from ``changing`` on. sums: the tensor that ``classify``
    takes.
    """

    network: IntegerNetwork
    configuration: Configuration
    layers: tuple[ProgramLayer, ...]
    tensors: Mapping[str, Tensor]
    image: Mapping[str, tuple[int, ...] | None]
    sums: str
    constant: tuple[Region, ...]
    list_base: int
    report_base: int
    changing: int
    mem_bytes: int

    @property
    def host_fields(self) -> dict[str, int]:
        """What the host writes once."""
        return {
            "list_base": self.list_base, "list_count": len(self.layers), "report": 1, "report_base": self.report_base,
            "mem_limit": self.mem_bytes, "irq_enable": 1,
        }  # fmt: skip

    @property
    def report_bytes(self) -> int:
        """Of each layer's counters."""
        return report_bytes(self.configuration)

    @property
    def list_bytes(self) -> int:
        """Of each layer's words."""
        return list_bytes(self.configuration)

    @property
    def macs(self) -> int:
        """Multiplications of the array's width that the layers need, those of padding included."""
        return sum(layer.plan.shape.macs for layer in self.layers)

    def image_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The image's integers [C, H, W] -> the values of each tensor that the host writes."""
        found = {}
        bits = self.configuration.act_bits
        for name, chosen in self.image.items():
            if chosen is None:
                found[name] = image
            else:
                each = digits(image, bits, digits_needed(self.network.image.high, bits))
                found[name] = np.concatenate([each[index] for index in chosen])
        return found

    def classify(self, sums: np.ndarray) -> np.ndarray:
        """The last convolution's sums int64 [N, OC, OH, OW] -> the scores of the classes int64 [N, classes]."""
        last = self.network.convolutions[-1]
        return run.score(self.network.score, run.made(last.outputs[0], sums.transpose(0, 2, 3, 1)))

    def expected(self, images: np.ndarray) -> list[Expected]:
        """Normalised images [N, C, H, W] -> what the integer model makes of each."""
        made: dict[str, np.ndarray] = {}
        sums: dict[str, np.ndarray] = {}
        scores = run.scores(self.network, images, made.__setitem__, sums.__setitem__)
        made[self.sums] = sums[self._last]
        image = made.pop(self.network.image.tensor)
        for name in self.image:
            made[name] = np.stack([self.image_values(one)[name] for one in image])
        for layer in self.layers:
            for name in layer.outputs:
                if name not in made:  # sums of digits
                    found = [self._partial(layer, made, index) for index in range(len(images))]
                    made[name] = np.stack(found)
        clamped = self._saturated(sums)
        return [
            Expected(
                {name: values[index] for name, values in made.items()}, scores[index],
                frozenset(layer for layer, which in clamped.items() if which[index]),
            )
            for index in range(len(images))
        ]  # fmt: skip

    def _saturated(self, sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Sums [N, C, H, W] of each convolution -> by layer of the list, whether it clamps an output, bool [N]."""
        of_tensor = {output.tensor: (step, output.requant) for step, output in self.network.tensors()}
        found = {}
        for layer in self.layers:
            made = [of_tensor[name] for name in layer.outputs if name in of_tensor]  # others are sums
            clamped = [requant.saturates(sums[step], 1).any(axis=(1, 2, 3)) for step, requant in made]
            found[layer.name] = np.any(clamped, axis=0) if clamped else np.zeros(len(sums[self._last]), bool)
        return found

    @property
    def _last(self) -> str:
        """The last convolution."""
        return self.network.convolutions[-1].name

    def _partial(self, layer: ProgramLayer, made: Mapping[str, np.ndarray], index: int) -> np.ndarray:
        """The sums of a layer of digits for one image."""
        shape = layer.plan.shape
        sums = run.convolve_all(
            layer.weight, shape.stride, shape.padding, made[layer.source][index : index + 1].transpose(0, 2, 3, 1)
        )
        sums = sums.transpose(0, 3, 1, 2)[0]
        if layer.residual is not None:
            sums = sums + (made[layer.residual][index] << layer.fields["residual_shift"])
        return sums


def report_bytes(c: Configuration) -> int:
    """Bytes of a layer's counters. Their address is a multiple of it: one burst, which must not cross 4 KiB."""
    return max(4 * REPORT_WORDS, bus_bits(c) // 8)


def list_bytes(c: Configuration) -> int:
    """Bytes of a layer's words in the list, whole beats."""
    words = len(registers.layer_words({}))
    beat = bus_bits(c) // 8
    return -(-4 * words // beat) * beat


def compile_network(
    network: IntegerNetwork, c: Configuration, size: tuple[int, int], dataflow: Dataflow | None = None
) -> NetworkProgram:
    """The program for images of ``size`` (rows, columns). dataflow: where a layer can run in it; else the faster one.

    PlanError names the layer that cannot run.
    """
    check_configuration(c)
    pieces, image = _pieces(network, c)
    shapes = _shapes(pieces, image, network, size)
    planned = _planned(pieces, shapes, image, c, dataflow)
    layout = Layout(bus_bits(c) // 8)
    list_base = layout.reserve(len(pieces) * list_bytes(c))
    placed = []
    for piece in pieces:
        plan = planned[piece.name]
        placed.append(
            placed_weights(plan, piece.weight, layout)
            | placed_records(plan, None, tuple(requant for _, requant, _ in piece.outputs), layout)
        )
    changing = layout.top
    tensors = _tensors(pieces, shapes, planned, image, layout)
    report_base = layout.reserve(len(pieces) * report_bytes(c), report_bytes(c))
    layers = []
    for piece, fields in zip(pieces, placed, strict=True):
        layers.append(_layer(piece, planned[piece.name], fields, tensors))
    words = np.zeros((len(layers), list_bytes(c) // 4), "<u4")
    for row, layer in zip(words, layers, strict=True):
        found = registers.layer_words(dict(layer.fields))
        row[: len(found)] = found
    constant = (Region(list_base, words.view(np.uint8).reshape(-1)), *layout.regions)
    return NetworkProgram(
        network, c, tuple(layers), tensors, image, pieces[-1].outputs[0][0], constant, list_base, report_base, changing,
        layout.top,
    )  # fmt: skip


def _pieces(network: IntegerNetwork, c: Configuration) -> tuple[list[Piece], dict[str, tuple[int, ...] | None]]:
    """The layers of the list, and which tensors hold the image."""
    pieces: list[Piece] = []
    image: dict[str, tuple[int, ...] | None] = {}
    last = network.convolutions[-1]
    for step in network.convolutions:
        outputs: list[tuple[str, Requantisation | None, bool]] = [
            (output.tensor, output.requant, output.pool) for output in step.outputs
        ]
        if step is last:
            if len(outputs) != 1 or outputs[0][0] != network.score.source:
                raise PlanError(f"{step.name}: the last convolution's output is taken by the classifier alone")
            outputs = [(f"{step.name}.sums", None, False)]
        elif any(tensor == network.score.source for tensor, _, _ in outputs):
            raise PlanError(f"{step.name}: its output is the classifier's, and other convolutions follow")
        if len(outputs) > 2:
            raise PlanError(f"{step.name} makes {len(outputs)} tensors, the accelerator two at most")
        outputs.sort(key=lambda output: (isinstance(output[1], WideRequantisation), not output[2]))
        if step.w_bits <= c.wgt_bits and step.x_bits <= c.act_bits:
            if step.source == network.image.tensor:
                image[step.source] = None
            pieces.append(
                Piece(step.name, step, step.weight, step.source, step.x_signed, step.x_bits, step.residual, 0,
                      tuple(outputs))
            )  # fmt: skip
            continue
        if step.source != network.image.tensor or step.residual is not None:
            raise PlanError(
                f"{step.name} takes {step.x_bits}-bit activations and {step.w_bits}-bit weights, {c.name} has "
                f"ACT_BITS = {c.act_bits}, WGT_BITS = {c.wgt_bits}"
            )
        pieces += _digit_pieces(step, c, tuple(outputs), image, network.image.high)
    return pieces, image


def _digit_pieces(
    step: ConvStep,
    c: Configuration,
    outputs: tuple[tuple[str, Requantisation | None, bool], ...],
    image: dict[str, tuple[int, ...] | None],
    brightest: int,
) -> list[Piece]:
    """A convolution of operands wider than the array's, as several. brightest: the largest value of the image."""
    counts = digits_needed(brightest, c.act_bits), digits_needed(int(np.abs(step.weight).max()), c.wgt_bits)
    weights = digits(step.weight, c.wgt_bits, counts[1])
    each = parts(c.act_bits, counts[0], c.wgt_bits, counts[1])
    pieces = []
    before = None
    for index, part in enumerate(each):
        name = f"{step.name}, part {index + 1} of {len(each)}"
        source = f"{step.source}, part {index + 1}"
        image[source] = tuple(a for a, _ in part.pairs)
        weight = np.concatenate([weights[w] for _, w in part.pairs], axis=1)
        made = outputs if index == len(each) - 1 else ((f"{name}.sums", None, False),)
        pieces.append(Piece(name, step, weight, source, True, c.act_bits, before, part.shift, made))
        before = made[0][0]
    return pieces


def _shapes(
    pieces: Sequence[Piece], image: Mapping[str, tuple[int, ...] | None], network: IntegerNetwork, size: tuple[int, int]
) -> dict[str, tuple[int, int, int]]:
    """[C, H, W] of every tensor."""
    shapes = {}
    for piece in pieces:
        if piece.source in image:
            shapes[piece.source] = (piece.weight.shape[1], *size)
        conv = _conv_shape(piece, shapes)
        for tensor, _, pool in piece.outputs:
            shapes[tensor] = (conv.oc, conv.oh // 2, conv.ow // 2) if pool else (conv.oc, conv.oh, conv.ow)
    return shapes


def _conv_shape(piece: Piece, shapes: Mapping[str, tuple[int, int, int]]) -> ConvShape:
    oc, ic, kh, kw = piece.weight.shape
    channels, h, w = shapes[piece.source]
    if channels != ic:
        raise PlanError(f"{piece.name} takes {ic} channels, {piece.source} has {channels}")
    try:
        return ConvShape(ic, h, w, oc, kh, kw, piece.step.stride, piece.step.padding)
    except ValueError as error:
        raise PlanError(f"{piece.name}: {error}") from None


def _planned(
    pieces: Sequence[Piece],
    shapes: Mapping[str, tuple[int, int, int]],
    image: Mapping[str, tuple[int, ...] | None],
    c: Configuration,
    dataflow: Dataflow | None,
) -> dict[str, Plan]:
    """The plan of each layer, those of the layers behind it first: they decide how it must write."""
    planned: dict[str, Plan] = {}
    readers = {piece.source: piece.name for piece in pieces}
    shortcuts = {tensor for piece in pieces for tensor, requant, _ in piece.outputs if requant is not None}
    for piece in reversed(pieces):
        behind = [planned[readers[tensor]] for tensor, _, _ in piece.outputs if tensor in readers]

        def fits(plan: Plan, piece: Piece = piece, behind: list[Plan] = behind) -> bool:
            if piece.source not in image:
                try:
                    check_readable(plan)
                except PlanError:
                    return False
            if piece.residual is not None and plan.bands > 1 and plan.positions(0) % 2:
                return False
            return all(passes_on(plan, reader) for reader in behind)

        options = {
            "simd": bool(c.simd and piece.bits <= c.act_bits // 2), "pool": piece.outputs[0][2],
            "requant": piece.outputs[0][1] is not None, "second": len(piece.outputs) > 1,
            "residual": piece.residual is not None, "halves": piece.residual in shortcuts,
        }  # fmt: skip
        shape = _conv_shape(piece, shapes)
        plan = None
        try:
            if dataflow is not None:
                try:
                    plan = schedule.choose(shape, c, dataflow=dataflow, fits=fits, **options)
                except PlanError:
                    plan = None
            planned[piece.name] = plan or schedule.choose(shape, c, fits=fits, **options)
        except PlanError as error:
            raise PlanError(f"{piece.name}: {error}") from None
    return planned


def _tensors(
    pieces: Sequence[Piece],
    shapes: Mapping[str, tuple[int, int, int]],
    planned: Mapping[str, Plan],
    image: Mapping[str, tuple[int, ...] | None],
    layout: Layout,
) -> dict[str, Tensor]:
    """All tensors, the image's first, one after the other."""
    tensors: dict[str, Tensor] = {}

    def add(name: str, kind: Kind, plan: Plan) -> None:
        tensor = Tensor(name, kind, shapes[name], plan)
        tensors[name] = dataclasses.replace(tensor, address=layout.reserve(tensor.size))

    readers = {piece.source: planned[piece.name] for piece in pieces}
    takers = {piece.residual: planned[piece.name] for piece in pieces if piece.residual is not None}
    for name in image:
        add(name, Kind.activations, readers[name])
    for piece in pieces:
        for name, requant, _ in piece.outputs:
            if name in readers:
                add(name, Kind.activations, readers[name])
            elif isinstance(requant, WideRequantisation):
                add(name, Kind.shortcut, takers[name])
            elif requant is None:
                add(name, Kind.sums, takers.get(name, planned[piece.name]))
            else:
                raise PlanError(f"nothing takes {name}, which {piece.name} makes")
    return tensors


def _layer(piece: Piece, plan: Plan, fields: dict[str, int], tensors: Mapping[str, Tensor]) -> ProgramLayer:
    fields = fields | layer_fields(plan, signed=piece.signed, bias=False, residual=piece.residual is not None)
    fields |= tensors[piece.source].read_fields()
    if piece.residual is not None:
        fields |= tensors[piece.residual].read_fields() | {"residual_shift": piece.shift}
    for index, (name, _, pool) in enumerate(piece.outputs):
        fields |= tensors[name].placement().fields(second=index == 1)
        if index:
            fields |= {"second": 1, "second_pool": pool}
    return ProgramLayer(
        piece.name, plan, fields, piece.source, piece.residual, tuple(name for name, _, _ in piece.outputs),
        piece.weight, piece.signed,
    )  # fmt: skip
