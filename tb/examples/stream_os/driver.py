"""Drives os_core: each tile is a packet on either input stream, and its rows come back one by one."""

import numpy as np
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSource

from tb.foreign import Driver, pack_lanes, read_bit, read_lanes


class StreamDriver(Driver):
    reset_name, reset_level = "aresetn", 0

    async def start(self):
        self.activations, self.weights = (
            AxiStreamSource(
                AxiStreamBus.from_prefix(self.dut, name), self.clock, self.dut.aresetn, reset_active_level=False,
                byte_lanes=1,
            )
            for name in ("s_act", "s_wgt")
        )  # fmt: skip
        self.dut.m_out_tready.value = 0
        await super().start()

    async def write_activations(self, tile, activations):
        await self.activations.send(AxiStreamFrame(pack_lanes(activations, self.can.act_bits)))

    async def load_weights(self, tile, tap, weights):
        await self.weights.send(AxiStreamFrame(pack_lanes(weights, self.can.wgt_bits)))

    async def execute(self, tile, tap):
        self.rows = []
        self.dut.m_out_tready.value = 1
        while len(self.rows) < self.can.rows:
            await self.edge
            if read_bit(self.dut.m_out_tvalid):
                self.rows.append(read_lanes(self.dut.m_out_tdata, self.can.cols, self.can.psum_bits))
        self.dut.m_out_tready.value = 0

    async def read_outputs(self, tile):
        return np.ma.stack(self.rows)
