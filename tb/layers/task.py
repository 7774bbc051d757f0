"""One layer to run, on the core or on the accelerator."""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model.accelerator import schedule
from golden_model.accelerator.plan import Plan, plan
from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.requantise import Requantisation
from golden_model.tiling import ConvShape


@dataclasses.dataclass(frozen=True)
class LayerTask:
    """One layer: weight [OC, IC, KH, KW], activation [IC, H, W], residual [OC, OH, OW] in psum scale or None."""

    title: str
    dataflow: Dataflow
    weight: np.ndarray
    activation: np.ndarray
    stride: int = 1
    padding: int = 0
    a_signed: bool = False
    residual: np.ndarray | None = None
    precision: Precision = Precision.a4w4

    @property
    def shape(self) -> ConvShape:
        return ConvShape.of(self.weight, self.activation, self.stride, self.padding)


@dataclasses.dataclass(frozen=True)
class SystemTask(LayerTask):
    """One layer for the sequencer; bias [OC] in psum scale; multiplier, offset [OC], shift, bits: requantisation.

    band_rows: output rows of a band, None: as many as fit. psums: compare every psum of every pass.
    """

    relu: bool = True
    pool: bool = False
    bias: np.ndarray | None = None
    multiplier: np.ndarray | None = None
    offset: np.ndarray | None = None
    shift: int = 0
    bits: int = 0
    band_rows: int | None = None
    psums: bool = False

    @property
    def simd(self) -> bool:
        return self.precision is Precision.a2w4

    @property
    def requant(self) -> Requantisation | None:
        if self.multiplier is None:
            return None
        return Requantisation(self.multiplier, self.offset, self.shift, self.bits)

    def plan(self, c: Configuration) -> Plan:
        """The layer's plan; PlanError where it cannot run."""
        return plan(
            self.shape, c, self.dataflow, simd=self.simd, pool=self.pool, requant=self.multiplier is not None,
            band_rows=self.band_rows,
        )  # fmt: skip

    def predicted(self, c: Configuration) -> int:
        """Cycles from start to done by the cycle model."""
        return schedule.cycles(self.plan(c), residual=self.residual is not None).total
