"""A hand-in is one document: numbered figures, the student's words, commands, and a PDF of it."""

import html
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siglum import cli
from siglum.lab.run_folder import Run
from tests.report.conftest import HOSTILE
from tests.report.test_report import Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WORDS = """\
Can it read **rings**? <script>alert(1)</script> [link](javascript:alert(1))

# Tiny

It can.

## A heading within

# Figure 3. The curve

It rises. ![my drawing](my%20drawing.png)

# Conclusion

More images are needed.
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "my drawing.png")
    (folder / "words.md").write_text(WORDS)
    return folder / "words.md"


@pytest.fixture(scope="module")
def document(tiny_run: Run, words: Path) -> str:
    """The hand-in of a run as a page, with words."""
    path = words.with_name("hand-in.html")
    flags = ["--title", f"About {HOSTILE}", "--author", "Ada", "--text", str(words)]
    assert cli.run(["report", str(tiny_run.path), "--hand-in", *flags, "-o", str(path)]) == 0
    return path.read_text().replace("\xa0", " ")


def test_figures_and_tables_are_numbered_and_captioned(document: str) -> None:
    captions = re.findall(
        r"<figcaption><strong>((Figure|Table) (\d+)\. .+?\.)</strong> (.*?)</figcaption>",
        document.replace("\n", " "),
    )

    for kind in ("Figure", "Table"):
        numbers = [int(number) for _, of, number, _ in captions if of == kind]
        assert numbers == [*range(1, len(numbers) + 1)]
    titles = [caption.partition(". ")[2] for caption, *_ in captions]
    expected = ("First images.", "Diagram.", "Learning.", "Confusion matrix.", "Mistakes.")
    assert titles[-1] == "Environment." and {*expected, "Layers.", "Settings."} <= {*titles}
    assert len(captions) == document.count('<figure class="numbered')


def test_a_hand_in_says_how_to_repeat_it(tiny_run: Run, document: str) -> None:
    page = Page(document)

    assert f"siglum train folder:{Path(tiny_run.config.data[7:])}" in page.text
    assert f"-o {tiny_run.path}" in page.text and "classes.csv" in page.text
    assert all(version in page.text for version in tiny_run.env["versions"].values())
    assert tiny_run.env["processor"] in page.text and "Ada" in page.text
    assert "Wilson 1927" in page.text and "Batch normalization" in page.text
    assert "--hand-in" in page.text and "--author=Ada" in page.text and "--text=" in page.text
    assert "Holm" not in page.text and "Dropout: a simple way" not in page.text


def test_words_stand_at_their_place_and_nothing_of_them_runs(document: str) -> None:
    page, figure = Page(document), document.split("Figure 3. ")[1]

    assert "Can it read <strong>rings</strong>?" in document and "Your words" not in page.text
    assert figure.index("It rises.") < figure.index("Figure 4. ")
    assert document.index("<h2>tiny</h2>") < document.index("It can.") < document.index("Figure 1.")
    assert "<h2>A heading within</h2>" in document and "More images are needed." in page.text
    assert document.count("<script>") == 1 and HOSTILE not in document and HOSTILE in page.text
    assert "<script>alert(1)</script>" in page.text and not page.values("onerror")
    assert not any(target.startswith("javascript:") for target in page.values("href"))
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert re.search(r'<img src="data:[^"]+" alt="my drawing"', document)


def test_several_runs_are_compared_and_have_room_for_words(tiny_run: Run, tmp_path: Path) -> None:
    runs = [str(tiny_run.path), str(tmp_path / HOSTILE)]
    shutil.copytree(*runs)
    config = tmp_path / HOSTILE / "config.json"
    config.write_text(config.read_text().replace('"lr": 0.01', '"lr": 0.02'))
    assert cli.run(["report", *runs, "--hand-in", "-o", str(tmp_path / "both.html")]) == 0
    text = (tmp_path / "both.html").read_text().replace("\xa0", " ")
    identifiers = Page(text).values("id")

    assert f"Comparison of tiny, {html.escape(HOSTILE)}" in text and HOSTILE not in text
    assert "Table 3. Paired differences." in text
    assert "but one seed cannot separate variants from chance" in text
    assert "Holm 1979" in text and text.count('<p class="blank quiet">Your words</p>') == 5
    assert len(identifiers) == len({*identifiers})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--hand-in", "-o", "hand-in.png"], "out must end in .pdf or .html"),
        (["--hand-in", "--text", "gone.md"], "Cannot read gone.md: no such file"),
        (["--hand-in", "--text", "bad.md"], "must be a place, got 'discussion'. Places: Intro"),
        (["--hand-in", "-o", "file/hand-in.html"], "Cannot write file/hand-in.html"),
        (["--author", "Ada"], "need --hand-in"),
        (["other-run"], "need --hand-in"),
    ],
)
def test_bad_input_is_one_line(
    flags: list[str],
    message: str,
    tiny_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.md").write_text("# Discussion\n\nText.")
    Path("file").touch()

    assert cli.run(["report", str(tiny_run.path), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("browser", "message"),
    [("no-browser", "no-browser is not installed"), ("false", "false failed, or took over 120 s")],
)
def test_without_a_working_browser_the_page_is_written_instead(
    browser: str,
    message: str,
    tiny_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SIGLUM_CHROMIUM", browser)
    path = tmp_path / "hand-in.pdf"

    assert cli.run(["report", str(tiny_run.path), "--hand-in", "-o", str(path)]) == 0
    output = capsys.readouterr().out
    assert message in output and "Open the page in a browser and print it." in output
    assert [file.name for file in tmp_path.iterdir()] == ["hand-in.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: apt-get install chromium")
@pytest.mark.parametrize(("paper", "width"), [("A4", "594.9"), ("letter", "612")])
def test_chromium_prints_the_pdf(tiny_run: Run, tmp_path: Path, paper: str, width: str) -> None:
    path = tmp_path / "new" / "hand-in.pdf"
    flags = ["--title", "My network", "--paper", paper, "-o", str(path)]
    assert cli.run(["report", str(tiny_run.path), "--hand-in", *flags]) == 0
    pdf = path.read_bytes()

    assert pdf.startswith(b"%PDF") and 4 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 12
    assert b"/Title (My network: Siglum hand-in)" in pdf and f"[0 0 {width}".encode() in pdf
    assert [file.name for file in path.parent.iterdir()] == ["hand-in.pdf"]
