"""Mistakes of users: one line on standard error that names the remedy, and exit code 2."""

import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(signs: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with signs, a run, a study, and files of other kinds."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(signs, folder / "signs")
    shutil.copytree(run, folder / "run")
    shutil.copy(ROOT / "studies" / "greek.toml", folder / "greek.toml")
    (folder / "rong.csv").write_text("rong,round\n")
    (folder / "three.csv").write_text("a,b,c\n")
    (folder / "x.pth").touch()
    (folder / "old.siglum").write_bytes(b"PK")
    (folder / "other").mkdir()
    (folder / "other" / "a.txt").write_text("x")
    shutil.copy(ROOT / "siglum" / "recogniser" / "backbone.siglum", folder / "other.siglum")
    return folder


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trian", "got 'trian'. Did you mean 'train'?"),
        ("train signs --epoch 3", "Did you mean --epochs? See: siglum train --help"),
        ("train mnist5", "Did you mean 'mnist5k'?"),
        ("train folder:", "source must be folder:DIR, got 'folder:'."),
        ("train folder:nowhere", "nowhere does not exist. Searched here and in SIGLUM_DATA ("),
        ("train signs --lr 0", "lr must be greater than 0, got '0'."),
        ("train signs --batch-size 1000", "must be at most the 66 training images, got 1000."),
        ("train signs --model glyphnet", "got 'glyphnet'. Did you mean 'glyph_net'?"),
        ("train signs --model mnist_net --model-options.filter 3", "Did you mean 'filters'?"),
        ("train signs --augment afine", "Did you mean 'affine'?"),
        ("train signs --device gpu", "device must be one of cpu, cuda, mps, got 'gpu'"),
        ("train signs --repeats 3", "repeats needs --folds. Add --folds 5, and leave out --fold."),
        ("train signs --folds 2 --repeats 0", "repeats must be at least 1, and folds 2, got 0"),
        ("train signs --folds 2 -o run", "run already exists; a run is never overwritten."),
        ("train mnist5k --folds 2 -o .", ". has runs of folder:"),
        ("train signs --test ./signs", "test must name other images than data, and ./signs has no"),
        ("train signs --config no.toml", "config must be a TOML file, got no.toml"),
        ("train signs --rename no.csv", "Cannot read no.csv: no such file or directory"),
        ("train --resume nowhere", "nowhere not found. 'siglum runs' lists runs"),
        ("train --resume run", "siglum train SOURCE --init run -o NEW"),
        ("train --resume run -o new", "in its folder, with its own settings: leave out out"),
        ("train mnist5k -o run", "siglum train SOURCE --init run -o NEW"),
        ("evaluate nowhere", "nowhere not found. 'siglum runs' lists runs"),
        ("evaluate run folder:x --part val", "part 'val' is a part of the run's own images"),
        ("evaluate run --part test", "has no test images."),
        ("evaluate run --merge rong.csv", "got 'rong'. Did you mean 'ring'?"),
        ("evaluate run --merge three.csv", "each name once, got 'a,b,c' in "),
        ("examine run --only filter", "got 'filter'. Did you mean 'filters'?"),
        ("examine run --only maps --layer features.00", "Did you mean 'features.0'?"),
        ("examine run --only filters --layer head", "layer must be a convolution (features.0, "),
        ("examine run --only attention", "GlyphNet has no attention."),
        ("examine run --part test", "part must be one that the run has (val, train), got 'test'."),
        ("examine run --image 0", "image must be a number from 1 to "),
        ("examine run --image 1 --wrong", "--image and --wrong exclude each other"),
        ("examine run --count 0", "count must be at least 1, got 0."),
        ("examine run --only maps -o maps.doc", "must be one of .npz, .png, .svg, got '.doc'"),
        ("examine run -o all.png", "out must end in .html for 15 panels, got all.png."),
        ("examine run no.png", "no.png"),
        ("examine x.pth", "x.pth is a file of weights, not a run."),
        ("compare run run", "compare needs at least 2 variants, got 1 in 2 runs. Give runs that"),
        ("compare signs run", "config.json"),
        ("study run greek.toml --variant scrach", "got 'scrach'. Did you mean 'scratch'?"),
        ("study list greek.toml --seed 99", "seed must be one of 0, 1, "),
        ("study report greek.toml --seed 1", "A report is of the whole study."),
        ("study run greek.toml --jobs 0", "jobs must be at least 1, got 0."),
        ("label-issues run", "source must hold images. Give: siglum label-issues RUN SOURCE"),
        ("label-issues run mnist5k --relabel-to a.csv", "relabel_to needs a folder or an archive"),
        ("label-issues signs mnist5k", "is neither a run nor a cross-validation"),
        ("label-issues run signs --min-probability 2", "min_probability must be in [0, 1]"),
        ("label-issues run signs --part test", "part must be one of all, got 'test'."),
        ("label-issues run signs --relabel-to rong.csv", "rong.csv"),
        ("data", "data describes one source, got 0."),
        ("data signs -o a.txt", '"a.txt" must have extension "png". See: siglum data --help'),
        ("predict a.siglum", "No image given."),
        ("predict x.pth signs --checkpoint best", "checkpoint and device are for runs."),
        ("predict run --page a.png", "page needs a recogniser that extracts ink, without position"),
        ("studio x.pth", "Choose a .siglum file or a .zip of images."),
        ("studio other", "other has no images in class folders"),
        ("studio other.siglum", "other exists already. Rename it, or other.siglum."),
        ("studio none.siglum", "No such file: none.siglum."),
        ("studio old.siglum", "Choose a .siglum file or a .zip of images."),
        ("studio --port 70000", "Must be <= 65535."),
        ("teach -o a.siglum", "teach needs chars, samples or both, got neither."),
        ("teach -o a.siglum --chars ab,a", "a (U+0061 LATIN SMALL LETTER A) is named twice"),
        ("teach -o a.siglum --chars e\u0301,é", "LETTER E WITH ACUTE) is named twice"),
        ("teach -o a.siglum --chars 'a,CUNEIFORM SIGN A'", "No font has 𒀀 (U+12000 CUNEIFORM SIG"),
        ("teach -o a.siglum --samples no-such-folder", "no-such-folder"),
        ("teach -o a.siglum --chars ab --backbone b.siglum", "Cannot read b.siglum: no such file."),
        ("teach -o old.siglum --chars ab", "old.siglum already exists. Choose another name"),
        ("teach -o three.csv --chars ab", "out must end in .siglum, got 'three.csv'."),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(
    siglum, place: Path, command: str, message: str
) -> None:
    before = sorted(path.name for path in place.iterdir())
    done = siglum(*shlex.split(command), cwd=place)

    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("siglum: ") and message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_mistake_ends_the_process_with_exit_code_2(siglum_process) -> None:
    done = siglum_process("train", "mnist5")

    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith("siglum: ")
    assert done.stderr.count("\n") == 1


def test_commands_of_the_lab_name_the_package_to_install(siglum_process, run: Path) -> None:
    """As in an install of the light half alone: here torch is hidden."""
    done = siglum_process("predict", run, "x.png", start="sys.modules['torch'] = None")

    assert done.returncode == 2
    assert done.stderr.startswith("siglum: The laboratory needs torch. Install Siglum with its ext")
