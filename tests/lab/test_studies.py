"""What a study file asks for, and what it may not."""

from pathlib import Path

import pytest

from siglum.errors import ConfigError
from siglum.lab import studies
from siglum.lab.studies import Study

FOLDER = Path("runs")


def read(tmp_path: Path, text: str, many: bool = False) -> Study:
    file = tmp_path / "question.toml"
    file.write_text(text)
    return studies.read(file, FOLDER, many=many)


def test_the_base_alone_is_one_arm(tmp_path: Path) -> None:
    study = read(tmp_path, 'seeds = [3, 4]\n[base]\nmodel = "mnist_net"\nepochs = 2')

    assert study.name == "question" and study.arms == ["base"]
    assert [cell.seed for cell in study.cells] == [3, 4]
    assert study.cells[0].config.lr == 0.01  # of the model's own recipe


def test_every_combination_of_the_grid_is_an_arm(tmp_path: Path) -> None:
    study = read(
        tmp_path,
        """
        seeds = [0, 1, 2]
        [base]
        model = "mnist_net"
        model_options.kernel_size = 3
        [grid]
        epochs = [1, 2]
        model_options.filters = [5, 10]
        """,
    )

    assert study.arms == [
        "epochs=1, filters=5",
        "epochs=1, filters=10",
        "epochs=2, filters=5",
        "epochs=2, filters=10",
    ]
    assert len(study.cells) == 12
    assert study.cells[-1].config.model_options == {"kernel_size": 3, "filters": 10}


def test_named_arms_are_taken_through_the_grid(tmp_path: Path) -> None:
    study = read(
        tmp_path,
        '[arms.small]\nepochs = 1\n[arms.old]\nmodel = "mnist_net"\n[grid]\nlr = [0.1, 0.2]',
    )

    assert study.arms == ["small, lr=0.1", "small, lr=0.2", "old, lr=0.1", "old, lr=0.2"]


def test_levels_tell_what_each_arm_is_of_the_grid(tmp_path: Path) -> None:
    text = "[arms.a]\n[arms.b]\n[grid]\nepochs = [1, 2]\nmodel_options.width = [1]"
    study = read(tmp_path, text)

    assert study.levels["b, epochs=2, width=1"] == {"arm": "b", "epochs": 2, "width": 1}
    assert read(tmp_path, "[grid]\nepochs = [1, 2]").levels["epochs=1"] == {"epochs": 1}


def test_every_fold_of_every_seed_is_a_run(tmp_path: Path) -> None:
    study = read(tmp_path, "seeds = [0, 1]\n[base]\nfolds = 3")

    assert [(cell.seed, cell.config.fold) for cell in study.cells] == [
        *((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
    ]
    assert len({cell.key for cell in study.cells}) == 6
    assert study.cells[1].name == "base, seed 0, fold 2 of 3"


def test_settings_that_came_later_change_no_run_that_leaves_them_out(tmp_path: Path) -> None:
    """The name that this run had before there were folds and pictures a class."""
    assert read(tmp_path, "[base]\nepochs = 2\nmomentum = 0.5").cells[0].key == "28bad9571d11"


def test_answers_stand_beside_hypotheses(tmp_path: Path) -> None:
    study = read(tmp_path, 'hypotheses = ["a", "b"]\nanswers = ["yes"]')

    assert study.answers == ("yes",)
    with pytest.raises(ConfigError, match=r"answers must be at most the 1 hypotheses, got 2 in"):
        read(tmp_path, 'hypotheses = ["a"]\nanswers = ["yes", "no"]')


def test_parents_come_first_seed_by_seed(tmp_path: Path) -> None:
    study = read(
        tmp_path,
        """
        seeds = [0, 1]
        [base]
        epochs = 1
        [parents.more]
        data = "mnist5k"
        epochs = 3
        [arms.scratch]
        [arms.after]
        init = "parents.more"
        [arms.shuffled]
        init = "parents.more"
        shuffle_init = true
        """,
    )
    needed = study.needed()
    after = [cell for cell in study.cells if cell.arm == "after"]

    assert [cell.arm for cell in needed[:2]] == ["parents.more", "parents.more"]
    assert len(needed) == 2 + 6  # a parent is shared by the arms that begin with it
    assert [cell.config.init for cell in after] == [f"runs/{cell.key}" for cell in needed[:2]]
    assert [cell.parent.config.epochs for cell in after if cell.parent] == [3, 3]
    assert [cell.arm for cell in study.needed(["after"], [1])] == ["parents.more", "after"]


def test_a_run_is_named_by_what_decides_it(tmp_path: Path) -> None:
    """Whatever the arm is called, wherever the runs lie, and whether a default is written out."""
    plain = read(tmp_path, "[base]\nepochs = 2").cells[0].key
    named = read(tmp_path, "[arms.x]\nepochs = 2\nlr = 0.1").cells[0].key
    other = read(tmp_path, "[base]\nepochs = 3").cells[0].key
    seed = read(tmp_path, "seeds = [1]\n[base]\nepochs = 2").cells[0].key

    assert plain == named
    assert len({plain, other, seed}) == 3


def test_a_child_is_named_by_its_parents_settings(tmp_path: Path) -> None:
    text = '[base]\nepochs = 1\n[arms.a]\ninit = "parents.p"\n[parents.p]\nepochs = {}'

    first, second = (read(tmp_path, text.format(n)).cells[0] for n in (2, 3))
    assert first.key != second.key
    file = tmp_path / "question.toml"
    assert studies.read(file, Path("elsewhere")).cells[0].key == second.key


def test_published_figures_are_kept_by_arm(tmp_path: Path) -> None:
    study = read(tmp_path, "[arms.A]\n[published.A]\nval = 0.779")

    assert study.published == {"A": {"val": 0.779}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = [1]", "unknown setting 'seed'. Did you mean 'seeds'?"),
        ("[base]\nepoch = 3", "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ("[base]\nlr = -1", "lr must be above 0.0, got -1."),
        ("[grid]\nlr = []", "grid.lr must be a list of at least one value, got []."),
        ("[grid]\nlr = 0.1", "grid.lr must be a list of at least one value, got 0.1."),
        ("[grid]\nlr = [1, 1]", "grid.lr must have each value once, got [1, 1]."),
        ("[grid]\nlrr = [0.1]", "unknown setting 'lrr'. Did you mean 'lr'?"),
        (
            "[base]\nseed = 1",
            "seed must stand in the list 'seeds' of a study, not in its settings.",
        ),
        (
            '[arms.a]\ninit = "parents.b"\n[parents.c]',
            "init's parent must be one of c, got 'b'.",
        ),
        (
            '[arms.a]\ninit = "parents.b"\n[parents.b]\ninit = "parents.b"',
            "parents.b must begin from scratch or from a run, got 'parents.b'.",
        ),
        (
            "[arms.first]\n[published.frist]\nval = 0.5",
            "published must name arms of the study, got 'frist'. Did you mean 'first'?",
        ),
        (
            "pairs = [['a', 'bb']]\n[arms.a]\n[arms.b]",
            "pairs must be of two different arms of the study, got ['a', 'bb']. Did you mean 'b'?",
        ),
        (
            "pairs = [['a', 'a']]\n[arms.a]\n[arms.b]",
            "pairs must be of two different arms of the study, got ['a', 'a'].",
        ),
        (
            "[arms.a]\n[published.a]\nvall = 0.5",
            "published.a must be one of test, train, val, got 'vall'. Did you mean 'val'?",
        ),
        (
            "[arms.a]\n[published.a]\nval = 77.9",
            "published.a.val must be in [0, 1], got 77.9.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)

    assert str(error.value) == message


def test_seeds_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seeds must be different numbers, got \[1, 1\]"):
        read(tmp_path, "seeds = [1, 1]")


def test_a_million_runs_must_be_meant(tmp_path: Path) -> None:
    values = list(range(1, 101))
    text = f"[grid]\nepochs = {values}\nbatch_size = {values}\nlr = {values}"
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)

    assert "at most 1,000 runs unless --yes is given, got 1,000,000 in" in str(error.value)
    few = text.replace(str(values), "[1, 2]", 2)
    assert len(read(tmp_path, f"{few}\n[base]\nepochs = 1", many=True).cells) == 400


@pytest.mark.parametrize("text", ["seeds = [", "\x00"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="study must be a TOML file, got .*question.toml"):
        read(tmp_path, text)
