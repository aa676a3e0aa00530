"""What a study file asks for, how its runs share the work, and cross-validation."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from siglum.config import TrainConfig
from siglum.errors import ConfigError, Stopped
from siglum.lab.compare import Variant, compare_runs
from siglum.lab.device import Device
from siglum.lab.label_issues import contingency, read_out_of_fold
from siglum.lab.run_folder import Run
from siglum.lab.study import Cell, Study, collect, cross_validate, read_study, run_cells
from siglum.lab.train_run import Watch, load_data
from siglum.lab.training_loop import Epoch
from siglum.report.compare import headline


def read(tmp_path: Path, text: str) -> Study:
    file = tmp_path / "question.toml"
    file.write_text(text)
    return read_study(file, tmp_path / "runs")


def test_named_variants_are_combined_with_every_point_of_the_grid(tmp_path: Path) -> None:
    base = 'seeds = [0, 1, 2]\n[base]\nmodel = "mnist_net"\nmodel_options.kernel_size = 3\n'
    grid = "[grid]\nlr = [0.1, 0.2]\nmodel_options.filters = [5, 10]\n"
    study = read(tmp_path, f"{base}{grid}[variants.a]\nepochs = 1\n[variants.b]")

    assert len(study.cells) == 24 and study.cells[0].config.momentum == 0.5  # the model's recipe
    assert list(study.levels)[:2] == ["a, lr=0.1, filters=5", "a, lr=0.1, filters=10"]
    assert study.levels["b, lr=0.2, filters=5"] == {"variant": "b", "lr": 0.2, "filters": 5}
    assert study.cells[-1].config.model_options == {"kernel_size": 3, "filters": 10}
    assert list(read(tmp_path, "seeds = [3]").levels) == ["base"]
    same = "[grid]\nsize = [28]\nmodel_options.size = [1, 2]\naugment = [[]]"
    names = [f"size=28, model_options.size={size}, augment=none" for size in (1, 2)]
    assert list(read(tmp_path, same).levels) == names


def test_parents_come_first_for_each_seed(tmp_path: Path) -> None:
    text = "seeds = [0, 1]\n[parents.more]\nepochs = 3\n[variants.scratch]\n[variants.after]\n"
    text += 'init = "parents.more"\n[variants.frozen]\ninit = "parents.more"\nfreeze = ["head"]'
    study = read(tmp_path, text)
    cells = study.select()

    assert [cell.variant for cell in cells[:2]] == ["parents.more", "parents.more"]
    assert len(cells) == 2 + 6  # variants share a parent
    after = [cell for cell in study.cells if cell.variant == "after"]
    assert [cell.config.init for cell in after] == [f"{cell.path}" for cell in cells[:2]]
    assert [cell.variant for cell in study.select(["after"], [1])] == ["parents.more", "after"]


def test_a_run_is_named_by_what_decides_its_outcome(tmp_path: Path) -> None:
    def key(text: str) -> str:
        return read(tmp_path, text).cells[0].path.name

    child = '[base]\nepochs = 1\n[variants.a]\ninit = "parents.p"\n[parents.p]\nepochs = '
    same = '[variants.x]\nepochs = 2\nlr = 0.1\ncurve = "test"'
    assert key("[base]\nepochs = 2") == key(same)
    keys = {key("[base]\nepochs = 2"), key("[base]\nepochs = 3"), key("seeds = [1]")}
    assert len(keys | {key(f"{child}2"), key(f"{child}3")}) == 5
    own = []
    for code in ("", "# changed"):
        (tmp_path / "net.py").write_text(code)
        own.append(key(f'[base]\nmodel = "{tmp_path}/net.py:Net"'))
    assert own[0] != own[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = [", "study must be a TOML file, got"),
        ("seeds = [1, 1]", "seeds must be a list of different values, got [1, 1]."),
        ("[base]\nepoch = 3", "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ("[base]\nmodel_options = 1", "model_options must be a table, got 1."),
        ("[base]\nseed = 1", "seed must be in the list 'seeds'"),
        ("[grid]\nlr = []", "grid.lr must be a list of different values, got []."),
        ('[variants.a]\ninit = "parents.b"\n[parents.c]', "parent must be one of c, got 'b'"),
        ('[variants.a]\ninit = "parents.b"\n[parents.b]\ninit = "parents.b"', "must be one run"),
        ('[variants.a]\ninit = "parents.b"\n[parents.b]\nfolds = 5', "parents.b must be one run,"),
        ("[variants.first]\n[published.frist]\nval = 0.5", "Did you mean 'first'?"),
        ("pairs = [['a', 'bb']]\n[variants.a]\n[variants.b]", "Did you mean 'b'?"),
        ("pairs = [['a', 'a']]\n[variants.a]\n[variants.b]", "must each name two different"),
    ],
)
def test_a_study_file_with_mistakes_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)

    assert message in str(error.value)


@pytest.fixture
def study(tmp_path: Path, signs: Path) -> Study:
    """Two variants with two seeds; the parent of one is the other."""
    settings = f'data = "folder:{signs}"\nbatch_size = 16\nepochs = 2\n'
    text = f"seeds = [0, 1]\n[base]\n{settings}[parents.first]\n{settings}[variants.scratch]\n"
    return read(tmp_path, f'{text}[variants.after]\ninit = "parents.first"')


def note(names: list[str]) -> Callable[[Cell, int], Watch]:
    def start(cell: Cell, remaining: int) -> Watch:
        names.append(cell.name)
        return lambda record: None

    return start


def lock_of(cell: Cell) -> FileLock:
    """Return the lock that a process holds while it trains a run."""
    (cell.path.parent / "locks").mkdir(parents=True)
    return FileLock(cell.path.parent / "locks" / f"{cell.path.name}.lock")


def test_each_run_is_trained_once_and_a_stopped_one_resumed_wherever_it_was_moved(
    study: Study, machine: Device, tmp_path: Path
) -> None:
    names: list[str] = []
    parent, child = study.select(["after"], [0])
    run_cells([parent], machine)
    with pytest.raises(Stopped):
        run_cells([child], machine, lambda *_: lambda record: isinstance(record, Epoch))
    assert child.state == "stopped"
    study = read_study(tmp_path / "question.toml", child.path.parent.rename(tmp_path / "moved"))
    run_cells(study.select(), machine, note(names))
    run_cells(study.select(), machine, note(names))

    assert names == ["scratch, seed 1", "after, seed 0", "after, seed 1"]
    assert {cell.state for cell in study.cells} == {"finished"}
    counts = [(v.name, len(v.runs), v.missing) for v in collect(study)]
    assert counts == [("scratch", 2, 0), ("after", 2, 0)]


def test_a_run_of_another_process_is_waited_for_and_others_are_trained_meanwhile(
    study: Study, machine: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = study.select(["scratch"])
    names: list[str] = []
    other = lock_of(first)
    other.acquire()
    assert first.state == "training"
    monkeypatch.setattr("time.sleep", lambda seconds: other.release())
    run_cells([first, second], machine, note(names))

    assert names == ["scratch, seed 1", "scratch, seed 0"]


def test_locks_and_folders_of_a_killed_process_block_nobody(study: Study, machine: Device) -> None:
    (cell,) = study.select(["scratch"], [0])
    cell.path.mkdir(parents=True)
    (cell.path / "env.json").write_text("{}")
    if (child := os.fork()) == 0:
        lock_of(cell).acquire()
        os._exit(1)
    os.waitpid(child, 0)

    assert cell.state == "waiting"
    with pytest.warns(UserWarning, match="starting anew"):
        run_cells([cell], machine)
    assert cell.state == "finished"


def test_a_diverged_run_is_noted_as_failed_and_so_are_its_children(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    wild = f'lr = 1e30\nmodel = "cnn"\ndata = "folder:{signs}"\nbatch_size = 66\nepochs = 2\n'
    text = f"[base]\n{wild}[parents.wild]\n{wild}[variants.wild]\n[variants.child]\nlr = 0.1\n"
    study = read(tmp_path, f'{text}init = "parents.wild"')
    for _ in range(2):
        run_cells(study.select(["wild"]), machine)

    failed, _ = collect(study)
    ((seed, reason),) = failed.failed
    assert (seed, failed.runs, failed.missing) == (0, (), 0) and "are not numbers" in reason
    run_cells(study.select(["child"]), machine)
    (parent, child) = study.select(["child"])
    assert "Its parent failed: " in str(collect(study)[1].failed) and child.run is None
    shutil.rmtree(parent.path)
    assert child.state == "waiting"


@pytest.fixture(scope="module")
def validated(
    signs: Path, machine: Device, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainConfig, Path]:
    """A cross-validation of two repeats of three folds."""
    folder = tmp_path_factory.mktemp("cv")
    data = {"data": f"folder:{signs}", "writers": r"w(\d)_"}
    config = TrainConfig(**data, folds=3, val=0, epochs=3, batch_size=16)
    cross_validate(config, folder, machine, repeats=2)
    return config, folder


def test_cross_validation_predicts_every_image_once_per_repeat(
    validated: tuple[TrainConfig, Path], machine: Device
) -> None:
    config, folder = validated
    started: list[str] = []
    comparison = cross_validate(config, folder, machine, 2, note(started))
    whole = load_data(TrainConfig(data=config.data, val=0)).train
    with np.load(folder / "out-of-fold.npz") as file:
        arrays = dict(file)
    (variant,) = comparison.variants.itertuples()
    correct = arrays["log_probs"].argmax(axis=2) == arrays["labels"]

    assert not started  # everything was finished
    assert arrays["log_probs"].shape == (2, 72, 3)
    assert arrays["files"].tolist() == list(whole.files or ())
    assert arrays["labels"].tolist() == whole.labels.tolist() and len(arrays["writers"]) == 72
    assert variant.accuracy == pytest.approx(correct.mean())
    assert variant.method == "corrected t, 6 folds; at least Wilson, 72 images"
    assert variant.writers_low < variant.writers_high
    assert "glyph_net: test accuracy" in headline(comparison)


def test_cross_validated_variants_are_compared_on_the_same_folds(
    validated: tuple[TrainConfig, Path], machine: Device
) -> None:
    config, folder = validated
    folders = cross_validate(config, folder, machine, repeats=2).seeds.run
    runs = tuple(Run(Path(path)) for paths in folders for path in paths)
    (pair,) = compare_runs([Variant("a", runs), Variant("b", runs)]).pairs.to_numpy()

    assert [*pair[2:4], pair[6], pair[9]] == [2, 72, 0.0, 1.0]
    with pytest.raises(ConfigError, match="their test images differ"):
        compare_runs([Variant("a", runs), Variant("b", runs[1:])])
    with pytest.raises(ConfigError, match="repeats must be at least 1, and folds 2"):
        cross_validate(TrainConfig(data=config.data, val=0), folder, machine)


def test_labels_exchanged_on_purpose_are_label_issues(
    validated: tuple[TrainConfig, Path], tmp_path: Path
) -> None:
    """Out-of-fold predictions that know the truth; three labels are changed."""
    labels = np.repeat([0, 1, 2], 30)
    probs = np.full((1, 90, 3), 0.02)
    probs[0, np.arange(90), labels] = 0.96
    labels[[4, 40, 77]] = [1, 2, 0]
    names = {"classes": np.array(list("abc")), "source": np.array("folder:x")}
    np.savez(tmp_path / "out-of-fold.npz", log_probs=np.log(probs), labels=labels, **names)
    source, table, trained = read_out_of_fold(tmp_path)

    assert (source, trained) == ("folder:x", 0)
    assert sorted(table.index[table.issue.notna()]) == [4, 40, 77]
    assert contingency(table).agreement.hits == 87
    assert len(read_out_of_fold(validated[1])[1]) == 72
