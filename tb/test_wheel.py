"""The installed form: a wheel in an environment of its own, used from a folder that has nothing of the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from systolic_cosim.__main__ import COMMANDS
from tb.simulators import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs ``systolic-cosim`` of a fresh environment. What the wheel depends on comes from this one: that takes
    minutes."""
    place = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
    ]
    subprocess.run([*build, "--wheel-dir", str(place), str(ROOT)], check=True)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    python = place / "venv" / "bin" / "python"
    packages = Path(subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
        capture_output=True, text=True,
    ).stdout.strip())  # fmt: skip
    ours = sysconfig.get_path("purelib")
    # Only what the checkout's environment holds, not the checkout itself
    (packages / "dependencies.pth").write_text(f"import sys; sys.path.append({ours!r})\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        f"--python={python}",
        "install",
        "-q",
        "--no-deps",
        "--disable-pip-version-check",
    ]
    subprocess.run([*command, str(wheel)], check=True)
    home = place / "home"
    home.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COSIM", "PYTHON", "VIRTUAL"))
    }
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "COLUMNS": "80"}

    def run(*words, code=0):
        done = subprocess.run(
            [str(python.parent / "systolic-cosim"), *words], cwd=home, env=environment, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.home, run.packages = home, packages
    yield run
    shutil.rmtree(place, ignore_errors=True)


def test_no_bare_names(installed):
    names = {path.name for path in installed.packages.iterdir()}
    assert "systolic_cosim" in names and not names & {"tb", "quant", "golden_model", "rtl"}


def test_an_example_is_checked_and_a_bug_found(installed):
    assert "core.toml" in installed("example", "course", "mine")
    told = installed("check-core", "--core", "mine/core.toml", "--layer", "features.27", "--checkpoint", "vgg16_digits")
    assert "1 of 1 layers match" in told
    told = installed("check-core", "--core", "mine/core.toml", "--bug", "sign_extension", code=1)
    assert (
        "negative weights taken as positive" in told
        and "replay: systolic-cosim check-core --core mine/core.toml" in told
    )
    assert (installed.home / "cache" / "systolic-cosim" / "sim").is_dir(), "builds are not in the cache folder"
    assert sorted(path.name for path in installed.home.iterdir()) == ["cache", "mine"]
    words = ["--core", "mine/core.toml", "--checkpoint", "vgg16_digits", "--layer", "features.27"]
    installed("check-core", *words, "--report", "out")
    assert (
        "systolic-cosim check-core --core mine/core.toml --checkpoint"
        in (installed.home / "out/report.csv").read_text()
    )
    shutil.rmtree(installed.home / "out")


def test_a_driver_in_python_is_found(installed):
    installed("example", "stream_os", "stream")
    told = installed(
        "check-core", "--core", "stream/core.toml", "--layer", "features.27", "--checkpoint", "vgg16_digits"
    )
    assert "1 of 1 layers match" in told


def test_other_commands(installed):
    assert "features.0" in installed("schedule", "--network", "vgg16", "--config", "net_8x8")
    told = installed("cosim", "--checkpoint", "vgg16_digits", "--layer", "features.27")
    assert "1 of 1 layers match" in told
    installed("golden", "--checkpoint", "vgg16_digits", "--out", "files")
    installed("golden-check", "--out", "files")


def test_every_command_has_help(installed):
    told = installed()
    assert all(name in told for name in COMMANDS)
    for name in ("check-core", "golden"):  # of the others by test_bad_inputs
        assert installed(name, "--help").startswith(f"usage: systolic-cosim {name}")
    assert "no command 'nope'" in installed("nope", code=2)
