"""README and docs: every command, link and example in them works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import siglum
from siglum import cli
from siglum.images import sources, splits
from siglum.images.decode import to_png
from siglum.lab.study import read_study
from tests.conftest import draw_sign, write_signs
from tests.images.making import uji, write_format

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNABLE = (
    *("README", "course", "examine", "find", "first-network", "first-signs", "formats"),
    *("label-issues", "python", "sources", "teach", "transfer"),
)
NOT_HERE = (
    "siglum studio",
    "siglum study",
    "Chars74K",
    "runs/chars",
    "--weights",
    "-o my-signs.ndjson",
    "parquet",
    "idx:",
    "mnistTask3",
    "doubtful",
    "planted",
    "manifest:",
    "--resume",
)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page: language and text."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def words(text: str) -> list[str]:
    """The words of a help page, whatever boxes and breaks a version draws around them."""
    return re.findall(r"[\w./:,'\[\]()-]+", text)


def test_the_page_of_commands_is_generated() -> None:
    """Made again with: make pictures"""
    code = "import sys; sys.path.insert(0, 'docs'); import generate; print(generate.cli_page())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert words(done.stdout) == words((ROOT / "docs" / "cli.md").read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_works(page: Path) -> None:
    text = re.sub("`[^`\n]*`", "", page.read_text())
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        if not target.startswith("http"):
            file = page.parent / target if target else page
            assert file.exists(), target
            headings = re.findall("^#+ (.*)", file.read_text(), re.MULTILINE) if anchor else []
            slugs = [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings]
            assert not anchor or anchor in slugs, f"{target}#{anchor}"


def test_every_study_can_be_read(tmp_path: Path) -> None:
    files = sorted((ROOT / "studies").glob("*.toml"))
    for number, (language, text) in enumerate(blocks(ROOT / "docs" / "studies.md")):
        if language == "toml":
            files.append(tmp_path / f"{number}.toml")
            files[-1].write_text(text)

    assert len(files) >= 4
    for file in files:
        study = read_study(file, Path("runs"))
        assert (study.levels or study.trials) and study.file.question.endswith("?")


def write_files_of_formats(folder: Path) -> None:
    """Write a file or folder of each format, with the names in docs/formats.md."""
    write_format("inkml", folder / "crohme")
    write_format("quickdraw", folder).rename(folder / "drawings.ndjson")
    write_format("pixels", folder / "digit-recognizer")
    write_format("numpy", folder).rename(folder / "mnist.npz")
    write_format("matlab", folder).rename(folder / "emnist-letters.mat")
    (folder / "ujipenchars2.txt").write_text(uji(), "utf-8")
    image = next((folder / "my-signs/ring").iterdir()).name
    header, line = "path,symbol_id,latex,user_id", rf"my-signs/ring/{image},1000,\bigcirc,7"
    (folder / "hasy-data-labels.csv").write_text(f"{header}\n{line}\n")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some images of mnist5k, as a folder: it comes before the set of that name."""
    folder = tmp_path_factory.mktemp("digits")
    for part, count in (("train", 20), ("test", 4)):
        whole = sources.load("mnist5k", part)
        chosen = whole.subset(splits.per_class(whole.labels, count, 0, whole.classes))
        for number, (image, label) in enumerate(zip(chosen.images, chosen.labels, strict=True)):
            path = folder / part / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to_png(image))
    return folder


@pytest.fixture
def folder(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages expect to be there: images of three signs, photos, the docs."""
    (tmp_path / "mnist5k").symlink_to(digits)
    for name in ("my-images", "my-signs"):
        write_signs(tmp_path / name)
    for name in ("photo.png", "alpha.png", "beta.jpg", "drawing.png"):
        draw_sign("ring", np.random.RandomState(5), 200).save(tmp_path / name)
    write_files_of_formats(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def in_a_moment(command: str) -> list[str]:
    """Split a command, with patterns as a shell expands them, and with short trainings."""
    command = re.sub(" --epochs [0-9]+", "", command)
    arguments = shlex.split(command, comments=True)[1:]
    if arguments[0] == "train":
        arguments += ["--epochs", "1"]
    expanded = []
    for word in arguments:
        files = sorted(map(str, Path().glob(word))) if "*" in word else []
        expanded += files or [word]
    return expanded


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipped")  # some signs of the small folder are equal
@pytest.mark.parametrize("name", RUNNABLE)
def test_every_command_and_python_of_a_page_works_in_its_order(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / ("README.md" if name == "README" else f"docs/{name}.md")
    commands = [
        line
        for language, text in blocks(page)
        for line in text.splitlines()
        if language in ("", "sh") and line.startswith("siglum ")
    ]
    commands = [line for line in commands if not any(word in line for word in NOT_HERE)]
    for command in commands:
        assert cli.run(in_a_moment(command)) == 0, f"{command}: {capsys.readouterr().err}"
    output = capsys.readouterr().out
    for start in ("file  ", "       "):
        assert all(text in output for _, text in blocks(page) if text.startswith(start))
    code = "\n".join(text for language, text in blocks(page) if language == "python")
    assert commands or code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("α ") or name != "README"


@pytest.mark.slow
def test_the_requests_to_the_service_are_answered(folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    siglum.teach(chars="αβγ").save("greek.siglum")
    command = [sys.executable, "-m", "siglum", "serve", "greek.siglum", "--port", "0"]
    texts = [text for _, text in blocks(ROOT / "docs" / "service.md")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        host = next(filter(None, (re.search(r"[\d.]+:\d+", line) for line in service.stdout)))[0]
        requests = [one for one in texts if one.startswith("curl http://localhost:8000")]
        curl = [
            one.replace("curl", "curl -sS", 1).replace("localhost:8000", host) for one in requests
        ]
        answers = [json.loads(subprocess.check_output(["bash", "-c", one])) for one in curl]
        service.terminate()
    (example,) = (json.loads(text) for text in texts if text.startswith("[{"))

    images, strokes = answers
    assert "detail" not in str(answers)
    assert [*images[0]] == [*example[0]] == [*strokes]
    assert [one["label"] for one in images] == ["α", "β"]


def test_make_has_the_targets_of_the_readme() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in ("demo", "test", "check", "docs"):
        done = subprocess.run(["make", "-n", target], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_its_links_work(tmp_path: Path) -> None:
    for package in ("furo", "myst_parser", "sphinx", "sphinx_copybutton", "sphinx_design"):
        pytest.importorskip(package, reason=f"{package} is missing: pip install '.[docs]'")
    command = ["sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        targets = re.findall(r'(?:href|src)="([^"#?]+)', page.read_text("utf-8"))
        local = {target for target in targets if not re.match(r"\w+:", target)}
        assert all((page.parent / target).exists() for target in local), page


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's packages
@pytest.mark.parametrize(
    ("name", "expected", "kind"),
    [
        ("teach-three-signs", "α of ('α',)", "application/vnd.jupyter.widget-view+json"),
        ("look-inside-a-network", "conv1", "image/png"),
    ],
)
def test_a_notebook_runs(
    name: str, expected: str, kind: str, digits: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    nbformat = pytest.importorskip("nbformat", reason="nbformat is missing: pip install nbclient")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: pip install nbclient")
    pytest.importorskip("anywidget", reason="anywidget is missing: pip install anywidget")
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in cells)
    (tmp_path / "letters").symlink_to(ROOT / "docs" / "letters")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "mnist5k").symlink_to(digits)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    place = {"metadata": {"path": str(tmp_path / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()

    outputs = [output for cell in cells for output in cell.outputs]
    assert expected in "".join(output.get("text", "") for output in outputs)
    assert any(kind in output.get("data", ()) for output in outputs)
