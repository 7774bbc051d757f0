"""Bugs planted in the Verilog one by one: the run must turn red for each, and say where.

``make mutate`` runs this and prints for each bug what the bench reported; ``test_mutants.py`` asks the same of every bug.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from golden_model.configuration import Configuration, Dataflow, configuration
from tb import simulation
from tb.jobs import LayerJob, LayerTask
from tb.layers import real_layers


class Mutant(NamedTuple):
    """One bug: in ``module``, ``old`` (which stands there once) becomes ``new``."""

    module: str
    bug: str
    old: str
    new: str


MUTANTS = (
    Mutant("mac_tile", "product without sign extension", "{EXTENSION{product[PROD_BITS-1]}}", "{EXTENSION{1'b0}}"),
    Mutant("mac_tile", "signed activation taken as unsigned", "{act_signed & act_w[ACT_BITS-1], act_w}", "{1'b0, act_w}"),
    Mutant("mac_tile", "first operand of a pass meets the old weight", "swap ? wgt_shadow_q : wgt_active_q", "wgt_active_q"),
    Mutant("mac_tile", "last tap of an output-stationary pass skipped",
           "if (act_valid_w & act_last_w) hold_q <= sum[PSUM_BITS-1:0];", "if (act_valid_w & act_last_w) hold_q <= acc_q;"),
    Mutant("mac_tile", "psum from the north dropped", "~dataflow ? psum_n :", "~dataflow ? {PSUM_BITS{1'b0}} :"),
    Mutant("mac_row", "column 1 takes its activation late", "assign act_w       = g_col[c-1].act_e;",
           "reg [ACT_BITS-1:0] late_q; always @(posedge clk) late_q <= g_col[c-1].act_e; assign act_w = c == 1 ? late_q : g_col[c-1].act_e;"),
    Mutant("mac_array", "last row's weights for another row", ".wgt(wgt_w[r*WGT_BITS +: WGT_BITS])",
           ".wgt(wgt_w[(r == ROWS-1 ? 0 : r)*WGT_BITS +: WGT_BITS])"),
    Mutant("fifo", "entry lost while three are inside", "wire wr_fire = wr_valid & wr_ready;",
           "wire wr_fire = wr_valid & wr_ready & level_q != 3;"),
    Mutant("skew_fifo", "second lane without skew", "assign lane_valid[i] = rd_q;",
           "assign lane_valid[i] = i == 1 ? lane_valid[0] : rd_q;"),
    Mutant("l0", "flags a cycle late in row 1", "assign row_flags[r*FLAGS +: FLAGS] = flags_q;",
           "reg [FLAGS-1:0] late_q; always @(posedge clk) late_q <= flags_q; assign row_flags[r*FLAGS +: FLAGS] = r == 1 ? late_q : flags_q;"),
    Mutant("ififo", "weights of columns reversed", ".wr_data(wr_data)", ".wr_data({wr_data[WIDTH-1:0], wr_data[COLS*WIDTH-1:WIDTH]})"),
    Mutant("ofifo", "two columns swapped", ".wr_data(wr_data[c*WIDTH +: WIDTH])", ".wr_data(wr_data[(c^1)*WIDTH +: WIDTH])"),
    Mutant("sram", "highest address bit ignored on write", "if (wr_en) memory[wr_addr] <= wr_data;",
           "if (wr_en) memory[wr_addr & ~(1 << 4)] <= wr_data;"),
    Mutant("operand_fetch", "padding reads memory", "pad_q ? {WIDTH{1'b0}} : mem_rd_data", "mem_rd_data"),
    Mutant("issue", "swap one weight early", "shadow_q == ALL_COLS[SHADOW_BITS-1:0];", "shadow_q >= ALL_COLS[SHADOW_BITS-1:0] - 1'b1;"),
    Mutant("issue", "drain one cycle too short", "DRAIN_GAP = ROWS - 1", "DRAIN_GAP = ROWS - 2"),
    Mutant("issue", "credit of a psum never claimed", "credit_q <= credit_q - claim +", "credit_q <= credit_q +"),
    Mutant("sfp", "ReLU on the wrong bit", "s1_relu_q & wide[PSUM_BITS-1]", "s1_relu_q & wide[PSUM_BITS-2]"),
    Mutant("sfp", "last tap not accumulated", "s1_acc_q | s1_res_q ? base", "(s1_acc_q & ~s1_emit_q) | s1_res_q ? base"),
    Mutant("sfp", "sum of the cycle before not forwarded", "s1_forward_q  <= mem_wr_en & (s1_waddr_q == op_raddr);", "s1_forward_q <= 1'b0;"),
    Mutant("sfp", "residual ignored", "s1_res_q ? s1_residual_q :", "s1_res_q ? {COLS*PSUM_BITS{1'b0}} :"),
    Mutant("core", "start and last flag exchanged", ".op_flags({act_op_last, act_op_start}),", ".op_flags({act_op_start, act_op_last}),"),
)  # fmt: skip


def crop(task: LayerTask, size: int) -> LayerTask:
    """The upper left corner of a layer's map: the same operands in fewer cycles."""
    activation = task.activation[:, :size, :size]
    residual = None
    if task.residual is not None:   # kernel 3, padding 1, stride 1: the output has the size of the input
        residual = task.residual[:, :size, :size]
    return dataclasses.replace(task, title=f"{task.title} cropped to {size}x{size}", activation=activation, residual=residual)


def mutation_job(c: Configuration, seed: int) -> LayerJob:
    """Layers that together use all that the core can do: both dataflows, signed, residual, tiles, a single position."""
    from quant.network import load_network

    vgg, resnet = load_network("vgg16_digits"), load_network("resnet20_digits")
    ws, os_ = Dataflow.weight_stationary, Dataflow.output_stationary
    tasks = [real_layers(vgg, ["features.27"], 0, c, flow)[0].task for flow in (ws, os_)]
    tasks.append(crop(real_layers(vgg, ["features.0"], 0, c, os_)[0].task, 8))
    tasks.append(crop(real_layers(resnet, ["layer1.0.conv2"], 0, c, ws)[0].task, 8))
    rng = np.random.default_rng(seed)
    pixel = rng.integers(0, 16, (20, 1, 1)), rng.integers(-7, 8, (8, 20, 1, 1))
    tasks.append(LayerTask("one position, three ic_tiles", ws, pixel[1], pixel[0]))
    tasks.append(LayerTask("one position, three operands", os_, pixel[1][:, :3].repeat(2, axis=0), pixel[0][:3]))
    ends = np.full((2, 33, 3, 3), 7)   # 33 * 9 * 15 * 7 = 31,185 of 32,767
    ends[1] = -7
    tasks.append(LayerTask("sums near both ends of PSUM_BITS", ws, ends, np.full((33, 3, 3), 15)))
    return LayerJob(c, tasks, seed, stalls=0.3)   # with stalls psums pile up and leave back to back


def run_mutant(mutant: Mutant, job: LayerJob, sim: str = "icarus") -> str | None:
    """What the bench reports of a bug, None when it stays green."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as work:
        folder = Path(work)
        for source in simulation.rtl_sources():
            shutil.copyfile(source, folder / source.name)
        target = folder / f"{mutant.module}.v"
        text = target.read_text()
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.module}.v has {text.count(mutant.old)} times {mutant.old!r}, a mutant needs it once")
        target.write_text(text.replace(mutant.old, mutant.new))
        environment = job.save(folder / "job.npz")
        try:
            built = simulation.build(sim, "core", job.configuration.parameters, sources=sorted(folder.glob("*.v")))
            outcomes = simulation.run(built, "tb.cases_core", only="layers", seed=job.seed, environment=environment)
        except simulation.SimulationError as error:
            return str(error)
        finally:
            shutil.rmtree(built.directory, ignore_errors=True)
        return outcomes[0].failure


def main() -> int:
    console = Console(highlight=False)
    c = configuration("course_8x8")
    job = mutation_job(c, int(os.environ.get("SEED") or 1))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(lambda mutant: run_mutant(mutant, job), MUTANTS)
        reports = list(track(runs, "planting bugs", total=len(MUTANTS), console=console, transient=True))
    survivors = 0
    for mutant, report in zip(MUTANTS, reports, strict=True):
        survivors += report is None
        console.print(f"{'[bold red]GREEN[/]' if report is None else 'red  '} {mutant.module}: {mutant.bug}")
        if report:
            for line in report.splitlines()[:2]:
                console.print(f"        {line.strip()}", markup=False, soft_wrap=True)
    console.print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} bugs were found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
