"""One layer to run, on whatever target."""

from __future__ import annotations

import dataclasses

from golden_model.configuration import Dataflow
from golden_model.operands import Operands
from golden_model.tiling import ConvShape


@dataclasses.dataclass(frozen=True, eq=False)
class LayerTask:
    """A layer, and how it shall run.

    band_rows: output rows of a band, for targets that choose; None: as many as fit. psums: compare every psum of every
    pass too, where the target does not do so anyway.
    """

    title: str
    dataflow: Dataflow
    operands: Operands
    band_rows: int | None = None
    psums: bool = False

    @property
    def shape(self) -> ConvShape:
        return self.operands.shape
