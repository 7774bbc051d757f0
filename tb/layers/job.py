"""What a simulation of core or accelerator shall run, handed over from the process that captured the operands.

The file lives as long as the simulation does; nothing is kept between runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from golden_model.configuration import Configuration, Dataflow, Precision, configuration
from tb.layers.task import LayerTask, SystemTask

ENVIRONMENT = "COSIM_JOB"  # the variable that names the job's file
ARRAYS = ("weight", "activation", "residual", "bias", "multiplier", "offset")


TASKS = {task.__name__: task for task in (LayerTask, SystemTask)}


@dataclasses.dataclass(frozen=True)
class LayerJob:
    """Layers to run one after the other on one configuration.

    ``stalls`` is the probability of a held cycle on the streams ``stalled``, by default all of them.
    """

    configuration: Configuration
    layers: list[LayerTask] | list[SystemTask]
    seed: int = 0
    stalls: float = 0.0
    stalled: tuple[str, ...] | None = None

    def save(self, path: Path) -> dict[str, str]:
        """Write the job to ``path``; returns the environment with which a simulation finds it."""
        results_path(path).unlink(missing_ok=True)  # of a job before
        arrays, layers = {}, []
        for index, layer in enumerate(self.layers):
            fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
            fields["task"] = type(layer).__name__
            for name in ARRAYS:
                array = fields.pop(name, None)
                if array is not None:
                    arrays[f"{index}.{name}"] = array
            layers.append(fields)
        meta = {
            "configuration": self.configuration.name, "layers": layers, "seed": self.seed, "stalls": self.stalls,
            "stalled": self.stalled,
        }  # fmt: skip
        np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
        return {ENVIRONMENT: str(path)}

    @classmethod
    def load(cls) -> LayerJob:
        """The job of this simulation."""
        with np.load(os.environ[ENVIRONMENT]) as file:
            meta = json.loads(str(file["meta"]))
            layers = []
            for index, fields in enumerate(meta["layers"]):
                task = TASKS[fields.pop("task")]
                known = {f.name for f in dataclasses.fields(task)}
                arrays = {name: file.get(f"{index}.{name}") for name in ARRAYS if name in known}
                codes = {"dataflow": Dataflow(fields["dataflow"]), "precision": Precision(fields["precision"])}
                layers.append(task(**{**fields, **codes}, **arrays))
        return cls(configuration(meta["configuration"]), layers, meta["seed"], meta["stalls"], meta["stalled"])


def results_path(job: Path) -> Path:
    """Where the simulation of a job writes what it measured."""
    return job.with_suffix(".json")


def report(results: list[dict]) -> None:
    """Called in the simulation: write the results so far of this simulation's job, a dict for each layer."""
    results_path(Path(os.environ[ENVIRONMENT])).write_text(json.dumps(results))


def read_results(job: Path) -> list[dict]:
    """Results of a job's layers; shorter than its list of layers where the simulation failed."""
    path = results_path(job)
    return json.loads(path.read_text()) if path.exists() else []
