"""`siglum.Pad` in JupyterLab: the kernel answers what is drawn in the browser, and has it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from conftest import HELPERS, WAIT
from hand_drawn import draw

import siglum

LINE = [[[0.5, 0.2, 0, 0.5], [0.5, 0.8, 9, 0.5]]]
CELLS = (
    "import siglum\npad = siglum.Pad('greek.siglum')\npad",
    "print(len(pad.strokes), pad.prediction.label, pad.recogniser.predict(pad.drawing).label)",
    f"pad.drawing = {{'version': 1, 'aspect': 1.0, 'strokes': {LINE}}}",
    "pad.clear()",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a notebook in JupyterLab, with a recogniser beside it."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is missing: pip install jupyterlab")
    pytest.importorskip("jupyterlab", reason="JupyterLab is missing: pip install jupyterlab")
    pytest.importorskip("anywidget", reason="anywidget is missing: pip install anywidget")
    folder = tmp_path_factory.mktemp("lab")
    siglum.teach(chars="αβγ").save(folder / "greek.siglum")
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # else it asks
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "pad.ipynb")
    places = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    options = ["--allow-root", "--no-browser", "--ServerApp.port=0", "--IdentityProvider.token="]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        cwd=folder,
        env={**os.environ, **places, "IPYTHONDIR": str(folder / "ipython")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = iter(server.stderr.readline, "")  # type: ignore[union-attr]
        words = (word for line in lines for word in line.split())
        yield f"{next(word for word in words if word.startswith('http'))}/tree/pad.ipynb"
    finally:
        server.terminate()
        server.communicate()


def test_the_pad_answers_in_jupyterlab_and_the_kernel_has_strokes(browser: Any, lab: str) -> None:
    from playwright import sync_api

    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(4 * WAIT)  # JupyterLab starts a kernel
    context.add_init_script(HELPERS)
    page = context.new_page()
    page.goto(lab)
    page.locator(".jp-Cell-inputArea").nth(3).wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()

    def run(cell: int) -> Any:
        page.locator(".jp-Cell .cm-content").nth(cell).click()
        page.locator(".jp-Notebook.jp-mod-editMode").wait_for()
        page.keyboard.press("Shift+Enter")
        return page.locator(".jp-Cell").nth(cell)

    output = run(0)
    for _ in range(3):
        with suppress(sync_api.TimeoutError):
            output.locator("canvas").wait_for(timeout=WAIT)
            break
        run(0)  # JupyterLab, while it starts, may lose the first
    output.locator("canvas").focus()
    answers = output.locator(".answers .sign")
    for key in ("Space", "ArrowRight", "ArrowDown", "Space"):  # JupyterLab's own keys elsewhere
        page.keyboard.press(key)
    answers.first.wait_for()
    output.get_by_role("button", name="Clear").click()
    answers.first.wait_for(state="detached")

    page.evaluate("(strokes) => draw('.siglum-pad canvas', strokes, {})", draw("β", 1))
    page.wait_for_function("document.querySelector('.siglum-pad .sign')?.textContent === 'β'")
    assert answers.count() == 3
    run(1).get_by_text(f"{len(draw('β', 1))} β β").wait_for()
    run(2)
    page.wait_for_function("hasInk([0.5, 0.5], '.siglum-pad canvas')")
    run(3)
    answers.first.wait_for(state="detached")
    context.close()
