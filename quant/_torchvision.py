"""``import torchvision`` beside a CPU-only torch, whose missing operator schemas stop the plain import."""

import importlib
from functools import cache
from types import ModuleType

import torch

# torchvision declares these in compiled code, which does not load beside a CPU-only torch. Its import asks for the
# declarations alone; data sets and transforms do not call the operators.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a Library's declarations end with the object


@cache
def torchvision() -> ModuleType:
    """The torchvision package, imported on first use (it costs about a second)."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return importlib.import_module("torchvision")
