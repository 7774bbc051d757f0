"""Drives this project's core: a tile is a little layer, run as the project's own bench runs one."""

import numpy as np

from golden_model.configuration import configuration
from golden_model.operands import Operands
from tb.core.core_bench import CoreBench
from tb.core.program import compile_layer
from tb.foreign import Driver


class OwnDriver(Driver):
    stalls = (0, 0.0)

    def disturb(self, seed, probability):
        self.stalls = (seed, probability)

    async def start(self):
        self.bench = CoreBench(self.dut, configuration("course_8x8"))
        await self.bench.start()
        self.bench.set_stalls(*self.stalls)

    async def reset(self):
        await self.bench.reset()

    async def write_activations(self, tile, activations):
        self.activations = activations.T.reshape(self.can.rows, tile.shape.ih, tile.shape.iw)

    async def load_weights(self, tile, tap, weights):
        pass  # they go with the whole tile

    async def execute(self, tile, tap):
        if tap < tile.taps - 1:
            return
        s = tile.shape
        weight = tile.weights.transpose(2, 1, 0).reshape(s.oc, s.ic, s.kh, s.kw)
        operands = Operands(weight, self.activations, s.stride, a_signed=tile.signed)
        self.program = compile_layer(operands, self.bench.configuration, self.can.flow)
        self.bench.load(self.program, act_signed=tile.signed)
        await self.bench.run_program(self.program)

    async def read_psums(self, tile):
        values, unknown = self.bench.lanes(self.bench.psum, 0)
        at = dict(zip(self.program.psum_names, self.program.psum_labels.T, strict=True))
        psums = np.ma.masked_all((tile.taps, tile.positions, self.can.cols), np.int64)
        psums[at["kij"], at["nij"]] = np.ma.MaskedArray(values, unknown)
        return psums

    async def read_outputs(self, tile):
        return np.ma.MaskedArray(*self.bench.lanes(self.bench.out, 0 if tile.relu else 1))
