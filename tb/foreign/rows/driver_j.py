import numpy as np

from tb.foreign import Driver, pack_lanes, read_bit, read_lanes


class SequencerDriver(Driver):
    async def start(self):
        for name in ("start", "ins_we", "act_we", "wgt_we", "out_addr"):
            getattr(self.dut, name).value = 0
        await super().start()

    async def write(self, name, base, words):
        address, data, enable = (getattr(self.dut, f"{name}_{part}") for part in ("addr", "data", "we"))
        enable.value = 1
        for i, word in enumerate(words):
            address.value, data.value = base + i, word
            await self.edge
        enable.value = 0

    async def write_activations(self, tile, activations):
        await self.write("act", 0, pack_lanes(activations, self.can.act_bits))
        await self.write("ins", 0, [tile.taps, tile.outputs, *map(int, tile.reads.ravel())])

    async def load_weights(self, tile, tap, weights):
        await self.write("wgt", tap * self.can.cols, pack_lanes(weights.T, self.can.wgt_bits))

    async def execute(self, tile, tap):
        if tap == tile.taps - 1:
            for value in (1, 0):
                self.dut.start.value = value
                await self.edge
            while not read_bit(self.dut.ready):
                await self.edge

    async def read_outputs(self, tile):
        rows = []
        for index in range(tile.outputs):
            self.dut.out_addr.value = index
            await self.edge
            rows.append(read_lanes(self.dut.out_data, self.can.cols, self.can.psum_bits))
        return np.ma.stack(rows)
