"""The examples run, and the notebook that is shown executed still gives what it shows."""

import importlib.util
from pathlib import Path

import nbclient
import nbformat
import pytest

from tb.simulators import ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_script(path, sim, capsys):
    found = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.main(sim)["mismatches"] == 0
    assert capsys.readouterr().out.count("\n") >= 2


def said(notebook) -> list[str]:
    """What each cell prints or ends with; pictures by their kind alone, since fonts differ."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return texts


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook(path: Path, sim, monkeypatch):
    monkeypatch.setenv("SIM", sim)
    shown, notebook = (nbformat.read(path, as_version=4) for _ in range(2))
    assert any("image/png" in output.get("data", {}) for cell in shown.cells for output in cell.get("outputs", []))
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert said(notebook) == said(shown)
