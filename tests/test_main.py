import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from srlib.__main__ import main
from srlib.image import read_image, write_image
from srlib.resample import imresize

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path):
    write_image(tmp_path / "photo.png", PHOTO)
    return tmp_path / "photo.png"


@pytest.mark.parametrize("scale", ["1", "2.5", "3"])
@pytest.mark.parametrize("method", ["bicubic", "lanczos3"])
def test_upscale(photo, scale, method, capsys):
    out = photo.with_name("out.png")
    arguments = ["upscale", str(photo), str(out), "--scale", scale, "--method", method]
    assert main(arguments) == 0
    np.testing.assert_array_equal(read_image(out), imresize(PHOTO, float(scale), kernel=method))
    assert "31 x 24" in capsys.readouterr().out


def test_upscale_replaces_nothing_unasked(photo, capsys):
    before = photo.read_bytes()
    assert main(["upscale", str(photo), str(photo)]) == 1
    assert "--force" in capsys.readouterr().err
    assert photo.read_bytes() == before
    assert main(["upscale", str(photo), str(photo), "--scale", "2", "--force"]) == 0
    assert read_image(photo).shape == (48, 62, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["upscale", "{photo}", "{folder}/out.png", "--scale", "0.5"],
            "--scale must be .* got 0.5",
        ),
        (["upscale", "{photo}", "{folder}/out.png", "--scale", "nan"], "got nan"),
        (["upscale", "{photo}", "{folder}/out.png", "--scale", "1e9"], "got 1e+09"),
        (["upscale", "{photo}", "{folder}/out.xyz"], "must end in one of .png"),
        (["upscale", "{photo}", "{folder}/no/out.png"], "does not exist"),
        (["upscale", "{folder}/missing.jpg", "{folder}/out.png"], "missing.jpg"),
        (["upscale", "{folder}/text.jpg", "{folder}/out.png"], "not an image"),
        (["upscale", "{folder}", "{folder}/out.png"], "directory"),
        (["fetch", "Set6"], "Set5"),
        (["evaluate", "--data", "nowhere"], "must be a folder"),
    ],
)
def test_what_cannot_be_done_is_said_and_returns_1(photo, arguments, message, capsys):
    photo.with_name("text.jpg").write_text("hello")
    before = sorted(photo.parent.iterdir())
    filled = [a.format(photo=photo, folder=photo.parent) for a in arguments]
    assert main(filled) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error
    assert re.search(message.replace("+", r"\+"), error)
    assert sorted(photo.parent.iterdir()) == before


def test_an_enlargement_that_would_not_fit_is_refused(photo, capsys):
    write_image(photo, np.zeros((200, 200, 3), np.uint8))
    assert main(["upscale", str(photo), str(photo.with_name("out.png")), "--scale", "99"]) == 1
    assert "choose a smaller --scale" in capsys.readouterr().err


def test_a_loss_is_said(photo, capsys):
    from PIL import Image

    Image.new("RGBA", (12, 12), (0, 0, 0, 0)).save(photo.with_name("clear.png"))
    out = photo.with_name("out.png")
    assert main(["upscale", str(photo.with_name("clear.png")), str(out)]) == 0
    assert "note: " in (error := capsys.readouterr().err) and "onto white" in error


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["upscale"], ["evaluate", "--scale", "x"]])
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 2


@pytest.mark.parametrize("command", ["info", "fetch", "upscale", "evaluate"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as info:
        main([command, "--help"])
    assert info.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_info_names_machine_datasets_and_methods(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("Python", "torch", "Set5", "DIV2K", "chelsea", "bicubic", "Profile"):
        assert word in text


def test_evaluate_prints_and_writes_the_table(shared_data, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    path = tmp_path / "table.csv"
    assert main(["evaluate", "--data", "Set5", "--scale", "4", "--csv", str(path)]) == 0
    text = capsys.readouterr().out
    assert "28.43" in text and "published: 28.42" in text
    table = pd.read_csv(path, index_col="image")
    assert len(table) == 6 and table.loc["mean", "psnr_db"] == pytest.approx(28.43, abs=0.005)


def test_evaluate_a_folder_of_one_s_own(photo, capsys):
    assert main(["evaluate", "--data", str(photo.parent), "--scale", "2"]) == 0
    assert "mean" in capsys.readouterr().out


def test_ctrl_c_is_quiet(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("srlib.__main__._info", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_module_runs_as_a_program():
    result = subprocess.run(
        [sys.executable, "-m", "srlib", "fetch", "Set6"], capture_output=True, text=True
    )
    assert result.returncode == 1 and result.stderr.startswith("error: ")
