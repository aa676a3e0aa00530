"""The commands from end to end, as processes, on a small folder of signs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siglum.lab.run_folder import Run
from tests.cli.conftest import FLAGS
from tests.conftest import CLASSES


def test_train_prints_a_summary(siglum, signs: Path, tmp_path: Path) -> None:
    done = siglum("train", f"folder:{signs}", "--epochs", 1, "--val", 0.2, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert re.search(r"\nmodel +glyph_net\nstart +random weights; ", done.stdout)
    assert re.search(r"\nval  +\d", done.stdout)
    assert (tmp_path / "runs" / "glyph_net-signs-1" / "result.json").exists()


def test_flags_take_precedence_over_a_file_and_over_a_models_recipe(
    siglum, signs: Path, tmp_path: Path
) -> None:
    options = "[model_options]\nfilters = 4\ndropout = 0.1\n"
    (tmp_path / "s.toml").write_text(f'data = "{signs}"\nepochs = 3\nlr = 0.05\n{options}')
    flags = ("--model", "mnist_net", "--model-options.filters", 3, "--epochs", 1, "--json")
    done = siglum("train", "--config", "s.toml", *flags, "-o", "r", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 1
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["model_options"] == {"dropout": 0.1, "filters": 3}
    assert (config["lr"], config["epochs"], config["momentum"]) == (0.05, 1, 0.5)


def test_cross_validation_predicts_every_image_with_a_default_batch(
    siglum, signs: Path, tmp_path: Path
) -> None:
    """The default batch of 128 is larger than a fold's training images."""
    flags = ("--folds", 3, "--epochs", 1, "-o", "cv")
    done = siglum("train", f"folder:{signs}", *flags, "--json", cwd=tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout, parse_constant=refuse)["accuracy"]["total"] == 72
    again = siglum("train", f"folder:{signs}", *flags, cwd=tmp_path)
    assert again.returncode == 0 and re.search("predictions +cv", again.stdout)
    siglum("train", f"folder:{signs}", "--epochs", 1, "-o", "p", cwd=tmp_path)
    flags = ("--init", "p", *flags[:-1], "known")
    warned = siglum("train", f"folder:{signs}", *flags, cwd=tmp_path)
    labels = siglum("label-issues", "known", cwd=tmp_path)
    assert "weights of glyph_net were trained on 66 of these images." in warned.stdout
    assert "known was trained on 66 of these 72 images, and has learned" in labels.stderr


def test_a_training_writes_its_log_for_tensorboard(siglum, signs: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    flags = ("--epochs", 2, "--val", 0.2, "--log", "tensorboard", "-o", "run")
    done = siglum("train", f"folder:{signs}", *flags, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    events = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    for name in ("loss", "accuracy"):
        values = [(one.step, one.value) for one in events.Scalars(f"{name}/val")]
        log = [(one.examples, getattr(one, f"val_{name}")) for one in Run(tmp_path / "run").history]
        assert values == [(step, pytest.approx(value)) for step, value in log]
        points = [one for epoch in Run(tmp_path / "run").history for one in epoch.curve]
        assert [one.step for one in events.Scalars(f"{name}/train")] == [p.examples for p in points]


def test_evaluate_warns_of_a_single_prediction(siglum, run: Path, tmp_path: Path) -> None:
    """A network whose head is all zeros except one bias."""
    shutil.copytree(run, tmp_path / "constant")
    constant = Run(tmp_path / "constant")
    model = constant.model()
    model.head.weight.data.zero_()
    model.head.bias.data[:] = model.head.bias.new_tensor([0, 9, 0])
    constant.save_checkpoint("best", model)
    done = siglum("evaluate", constant.path, "--part", "val", "--checkpoint", "best")

    assert done.returncode == 0 and "predicts class ring for every image" in done.stdout


def test_evaluate_measures_an_archive_whose_classes_are_renamed(
    siglum, run: Path, later_signs: Path, tmp_path: Path
) -> None:
    shutil.copytree(later_signs, tmp_path / "later")
    (tmp_path / "later" / "ring").rename(tmp_path / "later" / "circle")
    archive = shutil.make_archive(str(tmp_path / "later"), "zip", tmp_path, "later")
    (tmp_path / "names.csv").write_text("circle,ring\n", encoding="utf-8-sig")
    refused = siglum("evaluate", run, f"archive:{archive}")
    flags = ("evaluate", run, f"archive:{archive}", "--rename", tmp_path / "names.csv")
    done, text = siglum(*flags, "--json"), siglum(*flags).stdout

    assert refused.returncode == 2
    assert "must hold only classes of the run (cross, ring, stroke), got 'circle'" in refused.stderr
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["accuracy"]["total"] == 30 and measured["accuracy"]["hits"] >= 28
    assert measured["classes"] == list(CLASSES)
    assert np.trace(measured["confusion"]) == measured["accuracy"]["hits"]
    assert " of 30)" in text and "95 % CI" in text and "calibration" in text


def test_predict_reads_either_polarity_and_names_what_it_cannot_read(
    siglum, run: Path, later_signs: Path, tmp_path: Path
) -> None:
    files = [later_signs / kind / "w0_00.png" for kind in CLASSES]
    light = tmp_path / "light.png"
    Image.eval(Image.open(files[1]), lambda x: 255 - x).save(light)
    (tmp_path / "text.png").write_text("no picture")
    done = siglum("predict", run, *files, light, tmp_path / "text.png", "--json")

    records = json.loads(done.stdout)
    assert [record["label"] for record in records] == [*CLASSES, "ring"]
    assert [record["inverted"] for record in records] == [True, True, True, False]
    assert records[1]["probability"] == pytest.approx(records[3]["probability"], abs=1e-5)
    assert all(0.3 < record["probability"] <= 1 for record in records)
    assert done.returncode == 2 and "Cannot read 1 of 5 files." in done.stderr
    assert "text.png: not an image" in done.stderr and "Traceback" not in done.stderr


def test_runs_lists_the_runs_of_a_folder(siglum, run: Path) -> None:
    text = siglum("runs", run.parent).stdout
    (facts,) = json.loads(siglum("runs", run.parent, "--json").stdout)

    assert "signs" in text and "glyph_net" in text
    assert "Train one with: siglum train" in siglum("runs", run / "resume").stdout
    assert facts["model"] == "glyph_net" and facts["epochs"] == 12 and facts["finished"]


def start_training(signs: Path, out: Path, *flags: object) -> subprocess.Popen[str]:
    command = ["train", f"folder:{signs}", "-o", str(out), *map(str, flags)]
    return subprocess.Popen(
        [sys.executable, "-m", "siglum", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epochs(out: Path, count: int) -> None:
    log, deadline = out / "log.jsonl", time.monotonic() + 120
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "the training is too slow"
        time.sleep(0.005)


def test_ctrl_c_names_the_command_that_resumes_a_run(siglum, signs: Path, tmp_path: Path) -> None:
    training = start_training(signs, tmp_path / "run", "--epochs", 2000, "--batch-size", 16)
    wait_for_epochs(tmp_path / "run", 2)
    training.send_signal(signal.SIGINT)
    _, error = training.communicate(timeout=60)

    assert training.returncode == 130
    assert f"Resume with: siglum train --resume {tmp_path / 'run'}" in error
    assert "Traceback" not in error
    folds = start_training(signs, tmp_path / "cv", "--folds", 2, "--epochs", 2000)
    while not [*tmp_path.glob("cv/*/log.jsonl")]:
        time.sleep(0.05)
    folds.send_signal(signal.SIGINT)
    assert f"the same command and -o {tmp_path / 'cv'}" in folds.communicate(timeout=60)[1]
    refused = siglum("train", "--resume", tmp_path / "run", "--lr", 0.2)
    assert refused.returncode == 2 and "its own settings: leave out lr. For more" in refused.stderr


@pytest.mark.slow
def test_resume_after_kill_is_bit_identical(siglum, signs: Path, run: Path, tmp_path: Path) -> None:
    """Killed -9 within a training, in the precision and threads of `run`."""
    out = tmp_path / "run"
    with start_training(signs, out, *FLAGS, "--threads", 1) as training:
        wait_for_epochs(out, 2)
        training.kill()
    assert not (out / "result.json").exists()
    done = siglum("train", "--resume", out)
    assert done.returncode == 0, done.stderr

    for name in ("best.safetensors", "last.safetensors", "predictions.npz"):
        assert (out / name).read_bytes() == (run / name).read_bytes(), name


@pytest.mark.skipif(os.name != "posix", reason="file-size limits are POSIX's")
def test_a_full_disk_while_training_is_one_line(siglum_process, signs: Path, tmp_path) -> None:
    """A limit on the size of files stands for a full disk: weights of 118 kB do not fit."""
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    )
    arguments = ("train", f"folder:{signs}", "-o", tmp_path / "run", "--epochs", 2)
    done = siglum_process(*arguments, start=limit)

    assert done.returncode == 2, done.stderr
    message = "best.safetensors: file too large. Make room and resume: siglum train --resume"
    assert message in done.stderr and "Traceback" not in done.stderr
