"""Every command with inputs that are wrong: one short message that names the value, nothing done, nothing left behind.

The commands run in this process, their modules imported before, and its processor time counts, so that the time is
theirs. ``test_from_the_shell`` starts some as their user would.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import re
import resource
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from quant.checkpoints import SHIPPED
from tb.commands import command

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 5.0  # seconds
NUMBERS = ("-1", "nan", "1e3", "²", "x", "", "99999999999999999999", "1.5")
SHARES = ("-1", "nan", "inf", "2", "x", "²", "1,5")
CHECKPOINTS = (
    "absent.pth", "folder", "empty.pth", "text.pth", "binary.pth", "cut.safetensors", "picture.png", "pickle.pth",
    "huge.pth",
    "huge.safetensors",
)  # fmt: skip
GOLDEN = (
    "absent",
    "empty_folder",
    "text.pth",
    "broken_golden",
    "binary_golden",
    "other_golden",
    "cut_golden",
    "huge_golden",
)
DATA = ("nope", "folder:", "folder:absent", "folder:empty_folder", "cifar10", "folder:text.pth")
LAYERS = (",", "features.0,", "features.99", "features.0,layer1.0.conv2", "²", " ")
TAKEN = ("text.pth/out", "/proc/nope/out")  # below a file, and where nobody can write

QUICK = ["--checkpoint", "vgg16_digits", "--layer", "features.27"]
WRITE = [*QUICK, "--out", "out"]
# Command: its words that are right, and by option the values that are wrong
COMMANDS: dict[str, tuple[list[str], dict[str, tuple[str, ...]]]] = {
    "tb.commands.cosim": (
        [],
        {
            "--report": ("text.pth", "/proc/nope/out"),
            "--dask": ("localhost", "tls://localhost:1"),
            "--sim": ("foo", "icarus,", "Icarus"),
            "--checkpoint": CHECKPOINTS,
            "--data": DATA,
            "--golden": GOLDEN,
            "--layer": LAYERS,
            "--image": (*NUMBERS[:5], *NUMBERS[6:], "100000"),
            "--config": ("nope", "course_8x8,net_8x8"),
            "--dataflow": ("WS", "weight-stationary"),
            "--seed": (*NUMBERS[:5], *NUMBERS[6:], "4294967296"),
            "--waves": ("maybe", "2"),
            "--stalls": SHARES,
            "--jobs": ("0", *NUMBERS),
            "--nope": ("1",),
        },
    ),
    "tb.commands.accelerate": (
        [],
        {
            "--sim": ("foo",),
            "--checkpoint": CHECKPOINTS[:4],
            "--data": DATA[:2],
            "--layer": LAYERS,
            "--image": ("-1", "²", "100000"),
            "--config": ("nope",),
            "--stalls": SHARES,
            "--golden": ("golden",),
        },
    ),
    "tb.networks.infer": (
        [],
        {
            "--sim": ("foo",),
            "--checkpoint": CHECKPOINTS[:4],
            "--data": DATA[:2],
            "--layer": LAYERS[1:],
            "--images": ("-1", "²", "5:5", "9:3", "", "0:999999", "100000", "1,,2"),
            "--config": ("nope", "odd_3x5"),
            "--check": ("all",),
            "--force": ("2", "x"),
            "--stalls": SHARES,
            "--golden": ("golden",),
            "--results": ("folder", "text.pth", "binary.pth", "text.pth/below.csv", "/proc/nope/r.csv"),
            "--report": ("text.pth", "/proc/nope/out"),
            "--dask": ("localhost", "8786", "tls://localhost:1"),
            "--dask-tls": ("a,b,c",),
            "--limit": ("0", "-1", "nan", "x", ""),
        },
    ),
    "tb.record.report": ([], {"--report": ("absent", "empty_folder", "text.pth", "/proc/nope")}),
    "tb.commands.check_core": (
        ["--core", str(ROOT / "tb/examples/course/core.toml")],
        {
            "--core": ("absent.toml", "folder", "text.pth", "binary.pth", "huge.pth"),
            "--bug": ("nope",),
            "--part": ("mac_tyle", ""),
            "--define": ("1x", "A=b c", ""),
            "--sim": ("foo",),
            "--checkpoint": ("absent.pth",),
            "--image": ("-1", "²"),
            "--layer": LAYERS[:2],
            "--seed": NUMBERS[:5],
            "--stalls": SHARES,
            "--jobs": ("0", "x"),
            "--golden": ("text.pth", "empty_folder"),
            "--report": ("text.pth",),
            "--limit": ("0", "x"),
            "--memory": ("0", "-1"),
            "--disk": ("0", "inf"),
        },
    ),
    "tb.grading.grade": (
        ["--core", str(ROOT / "tb/examples/course/core.toml"), "--report", "made"],
        {"--rubric": ("absent.toml", "text.pth", "binary.pth", "huge.pth"), "--nope": ("1",)},
    ),
    "tb.commands.calibrate": (
        ["--core", str(ROOT / "tb/examples/course/core.toml")],
        {
            "--core": ("absent.toml", "text.pth", str(ROOT / "tb/examples/stream_os/core.toml")),
            "--sim": ("foo",),
            "--seed": ("x",),
        },
    ),
    "tb.commands.new_core": (
        ["--rtl", str(ROOT / "tb/examples/course")],
        {"--rtl": ("absent", "empty_folder", "text.pth"), "--top": ("nope",), "--out": ("text.pth",)},
    ),
    "tb.commands.example": (["course", "made"], {"--nope": ("1",)}),
    "tb.commands.schedule": (
        [],
        {
            "--network": ("alexnet", ""),
            "--config": ("nope", "net_8x8,", ""),
            "--set": (
                "FOO=1", "ROWS", "ROWS=0", "ROWS=²", "ROWS=-8", "ROWS=8.5", "COLS=25", "ACT_DEPTH=4", "ROWS=9999999",
            ),
            "--latency": ("0", *NUMBERS),
            "--plot": ("a.xyz", "a", *(f"{path}.png" for path in TAKEN)),
        },
    ),
    "tb.commands.golden_write": (
        WRITE,
        {
            "--checkpoint": CHECKPOINTS,
            "--data": DATA,
            "--layer": LAYERS,
            "--a-bits": ("0", "9", *NUMBERS),
            "--image": (*NUMBERS, "100000"),
            "--out": ("text.pth", "other", *TAKEN),
            "--format": ("seed9", ""),
            "--dataflow": ("output_stationary", "x"),
            "--ic-tile": ("0", "99", *NUMBERS),
            "--config": ("nope", "odd_3x5"),
        },
    ),
    "tb.commands.golden_check": (["--out", "golden"], {"--out": GOLDEN[:5], "--checkpoint": ("nope", "text.pth")}),
    "tb.commands.synthesis": (
        [],
        {"--config": ("nope",), "--top": ("mac_tyle", ""), "--pnr": ("2", ""), "--seed": NUMBERS},
    ),
    "tb.commands.lint": ([], {"--config": ("nope",), "--nope": ("1",)}),
    "tb.commands.mutate": (
        [],
        {"--seed": NUMBERS, "--core": ("absent.toml",), "--count": ("0", "x"), "--module": ("x", "")},
    ),
    "tb.commands.measure": ([], {"--nope": ("1",)}),
    "tb.commands.registers": ([], {"--nope": ("1",)}),
    "quant.eval": (
        ["--checkpoint", "vgg16_digits"],
        {
            "--checkpoint": CHECKPOINTS,
            "--data": (*DATA, "photos"),
            "--images": NUMBERS,
            "--batch-size": ("0", *NUMBERS),
            "--w-bits": ("1", "3", "9", "x"),
            "--workers": ("-1", "x"),
            "--device": ("tpu", "cuda:99"),
        },
    ),
    "quant.pack": (
        ["vgg16_digits", "out.safetensors"],
        {"--measure": DATA, "--a-bits": ("1", "x"), "--w-bits": ("3",)},
    ),
    "quant.export": (["vgg16_digits", "out.pth"], {"--data": (*DATA, "photos"), "--a-bits": ("1", "x")}),
    "quant.train": (
        ["--out", "run", "--data", "digits"],
        {
            "--recipe": ("nope",),
            "--data": (*DATA, "photos"),
            "--model": ("lenet",),
            "--width": ("0", "-1", "nan", "x"),
            "--epochs": ("0", *NUMBERS),
            "--minutes": ("-1", "nan", "x"),
            "--lr": ("0", "-1", "nan", "inf", "x"),
            "--batch-size": ("0", "99999", *NUMBERS),
            "--augment": ("mixup",),
            "--anneal": ("never",),
            "--warmup": ("-1", "99999", "x"),
            "--ema": ("1", "nan"),
            "--teacher": ("absent.pth",),
            "--warm-start": ("absent.pth", "text.pth"),
            "--train-images": ("0", "99999", "x"),
            "--w-bits": ("1", "9"),
            "--small": ("1", "64"),
            "--seed": ("-1", "x"),
        },
    ),
}  # fmt: skip
CASES = [
    (name, words, option, value)
    for name, (words, options) in COMMANDS.items()
    for option, values in options.items()
    for value in values
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with files of all wrong kinds, and a golden folder that is right."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(1)
    for name in ("folder", "empty_folder", "broken_golden", "binary_golden", "other_golden", "huge_golden", "other"):
        (folder / name).mkdir()
    (folder / "empty.pth").touch()
    (folder / "text.pth").write_text("weights\n")
    (folder / "binary.pth").write_bytes(rng.bytes(5000))
    (folder / "pickle.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (folder / "cut.safetensors").write_bytes(SHIPPED["vgg16_digits"].read_bytes()[:4000])
    Image.new("RGB", (32, 32)).save(folder / "picture.png")
    (folder / "broken_golden/manifest.json").write_text('{"files": ')
    (folder / "binary_golden/manifest.json").write_bytes(rng.bytes(300))
    (folder / "other_golden/manifest.json").write_text('{"files": {}, "format": "seed9", "dataflow": "x"}')
    (folder / "other/mine.txt").write_text("mine")
    for name in ("huge.pth", "huge.safetensors", "huge_golden/manifest.json"):
        with (folder / name).open("wb") as file:
            file.truncate(1 << 36)  # 64 GiB without a block on the disk
    main = importlib.import_module("tb.commands.golden_write").main
    for name in ("golden", "cut_golden"):
        assert main([*QUICK, "--out", str(folder / name)]) == 0
    (folder / "cut_golden/psum.txt").write_bytes(b"")
    return folder


def tree(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*")}


@pytest.fixture
def alone(place, monkeypatch):
    """In the folder, without settings of the shell's."""
    monkeypatch.chdir(place)
    for name in ("CHECKPOINT", "DATA", "GOLDEN", "LAYER", "IMAGE", "CONFIG", "DATAFLOW", "SEED", "WAVES", "SIM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUANT_DATA", "data")
    return place


def started(*arguments):
    raise AssertionError(f"started {arguments[0]}")


@pytest.mark.parametrize(("name", "words", "option", "value"), CASES, ids=[f"{n}-{o}-{v}" for n, _, o, v in CASES])
def test_refused(alone, capfd, monkeypatch, name, words, option, value):
    main = importlib.import_module(name).main
    given = [*words, f"{option}={value}"]
    before = tree(alone)
    for module in ("build", "run"):  # what would be built or simulated
        monkeypatch.setattr(importlib.import_module(f"tb.simulators.{module}"), "execute", started)
    began = time.process_time()
    code = command.run(lambda: main(given))
    seconds = time.process_time() - began
    told = capfd.readouterr()
    said = (told.err + told.out).strip()
    assert code not in (0, None), said
    assert seconds < LIMIT, f"{seconds:.1f} s: {said}"
    assert "Traceback" not in said and 0 < len(said.splitlines()) <= 3, said
    inside = re.findall(r"[\w.]+", value.removeprefix("folder:"))
    assert (inside[0] if inside else value or "''") in said, f"{value!r} is not in: {said}"
    assert tree(alone) == before, "something was left behind"


# What may not be read, or where nothing may be written: the words, in which {} is the file or folder
WRITTEN = " ".join(QUICK)
UNREADABLE = {
    "tb.commands.cosim": [
        "--checkpoint={}/secret.pth", "--golden={}/secret", "--golden={}/manifest", "--data=folder:{}/secret",
    ],
    "tb.commands.accelerate": ["--checkpoint={}/secret.safetensors", "--data=folder:{}/secret"],
    "tb.commands.golden_check": ["--out={}/secret", "--out={}/manifest"],
    "tb.commands.golden_write": [
        f"{WRITTEN} --out={{}}/kept", f"{WRITTEN} --out={{}}/kept/new",
        "--checkpoint={}/secret.pth --layer=x --out=out",
    ],
    "tb.commands.schedule": ["--plot={}/kept/plot.png"],
    "quant.eval": ["--checkpoint={}/secret.pth", "--data=folder:{}/secret", "--plots={}/kept"],
    "quant.pack": ["{}/secret.pth out.safetensors", "vgg16_digits {}/kept/out.safetensors"],
    "quant.export": ["{}/secret.pth out.pth", "vgg16_digits {}/kept/out.pth"],
    "quant.train": [
        "--data=folder:{}/secret --out=run", "--data=digits --out={}/kept",
        "--data=digits --out=run --teacher={}/secret.pth",
    ],
}  # fmt: skip


@contextlib.contextmanager
def modes_count():
    """Files' modes hold for this thread, even if it is root's: without CAP_DAC_OVERRIDE and _READ_SEARCH."""
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    before = ctypes.create_string_buffer(24)  # effective, permitted, inheritable, for 32 capabilities each, twice
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, before) == 0
    effective, *others = struct.unpack("6I", before.raw)
    assert libc.capset(header, struct.pack("6I", effective & ~0b110, *others)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before.raw) == 0


@pytest.fixture
def locked(tmp_path):
    """A folder of what may not be read or written, by root neither."""
    folder = tmp_path / "locked"
    folder.mkdir()
    for name in ("secret", "manifest", "kept"):
        (folder / name).mkdir()
    for name in ("secret.pth", "secret.safetensors", "manifest/manifest.json", "manifest/train"):
        (folder / name).write_bytes(b"x" * 100)
        (folder / name).chmod(0)
    (folder / "secret").chmod(0)
    (folder / "kept").chmod(0o555)
    folder.chmod(0o555)
    with modes_count():
        yield folder
    for name in ("secret", "kept", ""):
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("name", "words"),
    [(name, words) for name, cases in UNREADABLE.items() for words in cases],
    ids=lambda value: re.sub(r"\W+", "_", value),
)
def test_what_may_not_be_read_or_written(locked, monkeypatch, capfd, name, words):
    monkeypatch.chdir(locked)
    monkeypatch.setattr(importlib.import_module("tb.simulators.build"), "execute", started)
    monkeypatch.setenv("QUANT_DATA", "data")
    main = importlib.import_module(name).main
    began = time.process_time()
    code = command.run(lambda: main(words.format(locked).split()))
    seconds = time.process_time() - began
    said = capfd.readouterr().err.strip()
    assert code not in (0, None), said
    assert seconds < LIMIT and "Traceback" not in said and 0 < len(said.splitlines()) <= 3, said
    assert str(locked) in said and "ermission denied" in said, said
    left = sorted(path.name for path in locked.iterdir())
    assert left == [
        "kept",
        "manifest",
        "secret",
        "secret.pth",
        "secret.safetensors",
    ]


FULL = {
    "tb.commands.golden_write": [*WRITE],
    "tb.commands.schedule": ["--plot", "plot.png"],
    "quant.pack": ["vgg16_digits", "out.safetensors"],
    "quant.export": ["vgg16_digits", "out.pth"],
    "quant.train": ["--data", "digits", "--out", "run", "--epochs", "1", "--width", "0.125", "--train-images", "64"],
}


@pytest.mark.parametrize("name", FULL)
def test_full_disk(tmp_path, monkeypatch, capsys, name):
    """No file can grow, as on a disk without room."""
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(name).main
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        code = command.run(lambda: main(FULL[name]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err.strip()
    assert code == 2 and "Traceback" not in said and 0 < len(said.splitlines()) <= 3, said
    assert "File too large" in said and re.search(r"plot\.png|out|run", said), said
    assert not list(tmp_path.rglob("*")), "something was left behind"


def test_there_are_150():
    assert len(CASES) >= 150


@pytest.mark.parametrize("name", COMMANDS)
def test_help_does_nothing_else(alone, capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    before = tree(alone)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and shown.startswith(f"usage: python -m {name}")
    assert max(map(len, shown.splitlines())) <= 80
    assert tree(alone) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["SIM=foo"], "unknown simulator SIM=foo"),
        (["accelerate", "LAYER=,"], "LAYER=, has an empty name"),
        (["golden", "OUT=it's", "CONFIG=nope"], "no configuration 'nope'"),
        (["synth", "CONFIG=nope"], "no configuration 'nope'"),
        (["eval", "CHECKPOINT=nope"], "checkpoint nope does not exist"),
        (["schedule", "PLOT=a.xyz"], "PLOT=a.xyz"),
        (["train", "RECIPE=nope"], "nope"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_from_the_shell(words, told):
    if not (ROOT / ".venv/.installed").exists():
        pytest.skip("make would set up an environment first")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode and told in "\n".join(said) and len(said) <= 3, done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_of_targets_fits_80_columns():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("OUT", "PLOTS", "A_BITS", "IC_TILE", "COSIM_ARGS", "PYTEST_ARGS", "COSIM_BUILD"):
        assert word in shown


CONFIGURATION = (ROOT / "rtl/configurations.toml").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CONFIGURATION.replace("ROWS = 8\n", "ROWS = 8.5\n", 1), "ROWS must be a whole number of at least 1, is 8.5"),
        (CONFIGURATION.replace("ROWS = 8\n", 'ROWS = "8"\n', 1), "ROWS must be a whole number of at least 1, is '8'"),
        (CONFIGURATION.replace("ROWS = 8\n", "ROWS = true\n", 1), "ROWS must be a whole number of at least 1, is True"),
        (CONFIGURATION.replace("ROWS = 8\n", "ROWS = 8\nrows = 8\n", 1), "has ROWS twice"),
        (CONFIGURATION.replace("ROWS = 8\n", "Rows = 8\nrows = 8\n", 1), "has ROWS twice"),
        (CONFIGURATION.replace("ROWS = 8\n", "ROWS = 8\nROWS = 9\n", 1), "not a TOML file"),
        (CONFIGURATION.replace("ROWS = 8\n", "", 1), "misses or does not know: ROWS"),
        (CONFIGURATION.replace("[course_8x8]", "[course_8x8", 1), "not a TOML file"),
        ("depth = 3\n" + CONFIGURATION, "depth = 3 stands outside of a [table]"),
        ("", "is empty"),
        ("\0\x01\x02", "not a TOML file"),
        (None, "No such file"),
    ],
)
def test_broken_configurations(tmp_path, monkeypatch, capsys, text, told):
    from golden_model import configuration as module

    file = tmp_path / "configurations.toml"
    said = told_of(file, text, (module, "CONFIGURATION_FILE", module.configurations), "lint", monkeypatch, capsys)
    assert told in said, said


def told_of(file: Path, text: str | None, place: tuple, name: str, monkeypatch, capsys) -> str:
    """The one line that a command says with ``text`` (None: nothing) in place of a file of the project's."""
    if text is not None:
        file.write_text(text)
    module, constant, read = place
    monkeypatch.setattr(module, constant, file)
    read.cache_clear()
    try:
        assert command.run(lambda: importlib.import_module(f"tb.commands.{name}").main([])) == 2
    finally:
        monkeypatch.undo()
        read.cache_clear()
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


REGISTERS = (ROOT / "rtl/accelerator/registers.toml").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No such file"),
        ("", "it has no [[register]]"),
        ("[[register", "not a TOML file"),
        ("\0\x01", "not a TOML file"),
        ("register = 3", "it has no [[register]]"),
        ("register = [3]", "register 1: name must be text"),
        (REGISTERS.replace('access = "rw"', 'access = "xx"', 1), "access must be text like rw|layer|ro|wo, is 'xx'"),
        (REGISTERS.replace("irq_enable = 1", "irq_enable = 33", 1), "32 together"),
        (REGISTERS.replace("irq_enable = 1", "irq_enable = 0", 1), "at least 1 bit"),
        (REGISTERS.replace("irq_enable = 1", 'irq_enable = "1"', 1), "at least 1 bit"),
        (REGISTERS.replace("irq_enable = 1", "irq_enabled = 1", 1), "irq_enable that accelerator.v connects"),
        (REGISTERS.replace("irq_enable = 1", "irq_enable = 1, other = 1", 1), "has the fields other"),
        (REGISTERS.replace("irq_enable = 1", "irq_enable = 1, busy = 1", 1), "several fields busy"),
    ],
)
def test_broken_registers(tmp_path, monkeypatch, capsys, text, told):
    from golden_model.accelerator import registers as module

    written = module.VERILOG.read_bytes(), module.DOCUMENT.read_bytes()
    place = (module, "SOURCE", module.register_map)
    said = told_of(tmp_path / "registers.toml", text, place, "registers", monkeypatch, capsys)
    assert told in said, said
    assert written == (module.VERILOG.read_bytes(), module.DOCUMENT.read_bytes()), "something was written"
