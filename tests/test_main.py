import errno
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from srlib.__main__ import main
from srlib._files import in_words
from srlib._upscale_command import upscale_photo
from srlib.evaluation import published_results, upscale
from srlib.image import read_image, write_image
from srlib.models import blend, create_model, load_pretrained, pretrained, save_network
from srlib.photo import Photo, read_photo, write_photo
from srlib.resample import imresize

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path):
    write_image(tmp_path / "photo.png", PHOTO)
    return tmp_path / "photo.png"


@pytest.fixture
def networks(monkeypatch):
    """Small networks in place of those of the course, by the names of those."""
    torch.manual_seed(0)
    made = {f"srresnet_x{n}": create_model("SrResNet", n, channels=4, num_blocks=1) for n in (2, 4)}
    for network in made.values():
        nn.init.normal_(network.eval().tail.conv.weight, std=0.1)
    table = pd.DataFrame({"scale": [2, 4]}, index=pd.Index(made, name="name"))
    monkeypatch.setattr("srlib.__main__.pretrained", lambda: table)
    monkeypatch.setattr("srlib.__main__.load_pretrained", lambda name, _: made[name])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return made


@pytest.mark.parametrize("scale", ["1", "1.1", "1.15", "2.5", "3"])
@pytest.mark.parametrize("method", ["bicubic", "lanczos3"])
def test_upscale_with_a_kernel(photo, scale, method, capsys):
    out = photo.with_name("out.png")
    arguments = ["upscale", str(photo), str(out), "--scale", scale, "--method", method]
    assert main(arguments) == 0
    np.testing.assert_array_equal(read_image(out), imresize(PHOTO, float(scale), kernel=method))
    assert "31 x 24" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, name, ensemble",
    [
        ([], "srresnet_x4", False),
        (["--scale", "2"], "srresnet_x2", False),
        (["--method", "srresnet_x2"], "srresnet_x2", False),  # as its card says it
        (["--scale", "2", "--method", "srresnet_x2", "--ensemble"], "srresnet_x2", True),
        (["--tile", "10"], "srresnet_x4", False),
    ],
)
def test_upscale_with_a_network(photo, networks, arguments, name, ensemble, capsys):
    out = photo.with_name("out.png")
    assert main(["upscale", str(photo), str(out), *arguments]) == 0
    expected = upscale(networks[name], PHOTO, ensemble=ensemble)
    np.testing.assert_array_equal(read_image(out), expected)
    assert name in capsys.readouterr().out


def test_the_scale_of_a_file_is_its_network_s(photo, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # a GPU rounds in another order
    path = Path(__file__).parents[1] / "data" / "weights" / "srresnet_x3" / "model.safetensors"
    out = photo.with_name("out.png")
    assert main(["upscale", str(photo), str(out), "--method", str(path)]) == 0
    np.testing.assert_array_equal(read_image(out), upscale(load_pretrained(path), PHOTO))
    arguments = ["upscale", str(photo), str(out), "--method", str(path), "--force"]
    assert main([*arguments, "--scale", "2"]) == 1
    assert "enlarges by 3, got --scale 2" in capsys.readouterr().err


@pytest.fixture
def trained_on(tmp_path):
    """A network that was trained on from another one, with its record; both files."""
    paths = []
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        network = create_model("SrResNet", 2, channels=4, num_blocks=1)
        nn.init.normal_(network.tail.conv.weight, std=0.1)
        paths.append(tmp_path / name / "model.safetensors")
        paths[-1].parent.mkdir()
        save_network(paths[-1], network, "SrResNet", scale=2, channels=4, num_blocks=1)
    digest = hashlib.sha256(paths[0].read_bytes()).hexdigest()
    made_by = {"name": "SrResNet", "scale": 2, "channels": 4, "num_blocks": 1}
    record = {"network": made_by, "start_from": str(paths[0]), "start_from_sha256": digest}
    (tmp_path / "second/run.json").write_text(json.dumps(record))
    return paths


@pytest.mark.parametrize("strength", [0, 0.25, 1])
def test_upscale_at_a_strength(photo, trained_on, strength, capsys):
    out, (first, second) = photo.with_name("out.png"), trained_on
    options = ["--method", str(second), "--strength", str(strength)]
    assert main(["upscale", str(photo), str(out), *options]) == 0
    network = blend(load_pretrained(first), load_pretrained(second), strength)
    np.testing.assert_array_equal(read_image(out), upscale(network, PHOTO))
    assert (f", strength {strength:g})" in capsys.readouterr().out) == (strength < 1)


def test_the_strength_of_a_network_that_was_trained_on_in_two_pieces(trained_on):
    first, second = trained_on
    record = json.loads(second.with_name("run.json").read_text())
    pieces = {"start_from": "second", "start_from_sha256": "of a file that was replaced"}
    second.with_name("run.json").write_text(json.dumps(record | pieces | {"start": record}))
    found = load_pretrained(second, 0.5).state_dict()
    expected = blend(load_pretrained(first), load_pretrained(second), 0.5).state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize(
    ("method", "strength", "message"),
    [
        ("second", "1.5", "strength must be in 0..1, got 1.5"),
        ("second", "nan", "strength must be in 0..1, got nan"),
        ("first", "0.5", "was not trained on from another network"),
        ("replaced", "0.5", "which it was trained on from, is not here as it was then"),
        ("bicubic", "0.5", "--strength is for networks, got --method bicubic"),
        ("srresnet_small_x4", "0.5", "Networks with one: srresnet_gan_x4, srresnet_real_x4"),
    ],
)
def test_a_strength_that_there_is_not(
    photo, trained_on, method, strength, message, monkeypatch, capsys
):
    monkeypatch.chdir(photo.parent)  # where there is no runs/
    names = dict(zip(("first", "second"), map(str, trained_on), strict=True))
    if method == "replaced":
        network = create_model("SrResNet", 2, channels=4, num_blocks=1)
        save_network(names["first"], network, "SrResNet", scale=2, channels=4, num_blocks=1)
        method = "second"
    command = ["upscale", str(photo), str(photo.with_name("out.png"))]
    command += ["--method", names.get(method, method), "--strength", strength]
    assert main(command) == 1
    assert message in capsys.readouterr().err and not photo.with_name("out.png").exists()


@pytest.mark.parametrize("quality", [20, 75, 93])
def test_upscale_advises_where_a_jpeg_was_compressed_hard(tmp_path, networks, quality, capsys):
    networks["srresnet_real_x4"] = networks["srresnet_x4"]
    pretrained_here = pd.DataFrame({"scale": [4, 4]}, index=["srresnet_x4", "srresnet_real_x4"])
    with mock.patch("srlib.__main__.pretrained", lambda: pretrained_here):
        path = tmp_path / "photo.jpg"
        Image.fromarray(PHOTO).save(path, quality=quality)
        said = {}
        for method in ("srresnet_x4", "srresnet_real_x4", "bicubic"):
            command = ["upscale", str(path), str(tmp_path / "out.png"), "--force"]
            assert main([*command, "--method", method]) == 0
            said[method] = "--method srresnet_real_x4" in capsys.readouterr().err
    hard = quality < 90
    assert said == {"srresnet_x4": hard, "srresnet_real_x4": False, "bicubic": hard}


def test_upscale_works_in_tiles(networks, tmp_path, capsys):
    photo = np.random.default_rng(0).integers(0, 256, (150, 280, 3), dtype=np.uint8)
    write_image(tmp_path / "photo.png", photo)
    seen = []
    networks["srresnet_x2"].register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[-2:]))
    out = tmp_path / "out.png"
    arguments = ["--scale", "2", "--tile", "100"]
    assert main(["upscale", str(tmp_path / "photo.png"), str(out), *arguments]) == 0
    assert "6/6" in capsys.readouterr().err
    assert max(map(max, seen)) < 150
    np.testing.assert_array_equal(read_image(out), upscale(networks["srresnet_x2"], photo))


@pytest.mark.parametrize("tile", ["10", "100"])
@pytest.mark.parametrize("kind", ["grey", "turned", "clear", "16 bit", "16 bit grey"])
def test_what_came_in_goes_out(networks, tmp_path, kind, tile):
    path, out, network = tmp_path / "photo.png", tmp_path / "out.png", networks["srresnet_x2"]
    expected = upscale(network, PHOTO)
    grey = upscale(network, PHOTO[..., :1].repeat(3, axis=2)).mean(axis=2)
    if kind == "grey":
        Image.fromarray(PHOTO[..., 0]).save(path)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held upright
        Image.fromarray(PHOTO).save(path, exif=exif)
        expected = upscale(network, np.rot90(PHOTO, -1))
    elif kind == "clear":
        Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0] | 1])).save(path)
    elif kind == "16 bit":
        photo = Photo("deep", PHOTO.astype(np.uint16) * 257)
        with write_photo(path, like=photo, height=24, width=31) as writer:
            writer.write_rows(photo.pixels)
    else:
        Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257).save(path)
    assert main(["upscale", str(path), str(out), "--scale", "2", "--tile", tile]) == 0
    result = read_photo(out)
    levels = result.pixels / (257 if "16" in kind else 1)
    if "grey" in kind:
        assert levels.shape == (48, 62, 1) and np.abs(levels[..., 0] - grey).max() <= 0.84
    else:
        seen = slice(None) if result.alpha is None else result.alpha > 0
        assert np.abs(levels - expected)[seen].max() <= (0.51 if "16" in kind else 0)
    assert ("16" in kind) == (len(np.unique(result.pixels)) > 256)
    assert (result.alpha is not None) == (kind == "clear")
    if kind == "clear":
        alpha = upscale(network, (PHOTO[..., :1] | 1).repeat(3, axis=2)).mean(axis=2)
        assert np.abs(result.alpha - alpha).max() <= 0.84


def test_pixels_and_alpha_may_come_in_other_bands(tmp_path):
    """A GPU has less free memory when the second of the two is cut."""
    levels = np.dstack([PHOTO, PHOTO[..., 0] | 1])
    Image.fromarray(levels).save(tmp_path / "photo.png")

    def enlarge(pixels, _):
        step = {3: 10, 1: 7}[pixels.shape[2]]
        return (pixels[top : top + step] for top in range(0, len(pixels), step))

    upscale_photo(tmp_path / "photo.png", tmp_path / "out.png", enlarge, 1)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), levels)


@pytest.fixture
def album(tmp_path):
    """Five photographs, two of them under one stem and one damaged, and other things."""
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    picture = Image.fromarray(PHOTO)
    for name in ("a.png", "a.gif", "b.JPG", "sub/c.bmp"):
        picture.convert("L" if name == "a.gif" else "RGB").save(folder / name)
    (folder / "damaged.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "notes.txt").touch()
    return folder


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_folder_is_enlarged_and_one_bad_file_stops_no_other(album, networks, capsys):
    out = album / "large" / "x2"
    command = ["upscale", str(album), str(out), "--scale", "2", "--recursive"]
    assert main(command) == 1
    assert files(out) == ["a.gif.png", "a.png", "b.JPG", "sub/c.bmp"]
    np.testing.assert_array_equal(
        read_image(out / "a.png"), upscale(networks["srresnet_x2"], PHOTO)
    )
    assert read_photo(out / "a.gif.png").pixels.shape == (48, 62, 1)
    said = capsys.readouterr()
    assert "4 enlarged, 1 failed" in said.out and "5.0/5" in said.err
    assert "left out: notes.txt" in said.err
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "damaged.png: damaged or cut off" in errors[0]


def test_results_that_are_there_are_skipped_unless_forced(album, networks, capsys):
    out = album.with_name("out")
    command = ["upscale", str(album), str(out), "--scale", "2", "--method", "bicubic"]
    (album / "damaged.png").unlink()
    assert main(command) == 0
    (out / "a.png").write_text("mine")
    (out / "b.JPG").unlink()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 of 3 are there already" in said and "1 enlarged, 0 failed" in said
    assert (out / "a.png").read_text() == "mine" and (out / "b.JPG").exists()
    assert main([*command, "--force"]) == 0
    np.testing.assert_array_equal(read_image(out / "a.png"), imresize(PHOTO, 2))
    assert files(out) == ["a.gif.png", "a.png", "b.JPG"]  # not the folder within


def test_a_folder_s_results_may_all_be_of_one_format(album, networks):
    out = album.with_name("out")
    (album / "damaged.png").unlink()
    command = ["upscale", str(album), str(out), "--method", "nearest", "--format", "webp"]
    assert main(command) == 0
    assert files(out) == ["a.gif.webp", "a.png.webp", "b.webp"]
    (album / "a.gif.png").touch()  # as the result of a.gif would be called
    assert main(["upscale", str(album), str(album.with_name("o2")), "--method", "nearest"]) == 1


def test_a_folder_s_bar_counts_photographs_and_tiles(album, networks, monkeypatch):
    seen = []

    class Bar(tqdm):
        def update(self, n=1):
            seen.append(n)
            super().update(n)

    monkeypatch.setattr("srlib._upscale_command.tqdm", Bar)
    (album / "damaged.png").unlink()
    write_image(album / "b.JPG", np.zeros((150, 280, 3), np.uint8))
    options = ["--scale", "2", "--tile", "100"]
    assert main(["upscale", str(album), str(album.with_name("out")), *options]) == 0
    assert seen.count(pytest.approx(1 / 6)) == 6 and sum(seen) == pytest.approx(3)


def test_a_full_disk_stops_a_folder(album, networks, monkeypatch, capsys):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("srlib._upscale_command.write_photo", write)
    assert main(["upscale", str(album), str(album.with_name("out")), "--method", "nearest"]) == 1
    assert "No space left" in (error := capsys.readouterr().err) and "failed" not in error


def test_a_gpu_that_has_failed_stops_a_folder(album, networks, monkeypatch, capsys):
    def fail(*_):
        tried.append(0)
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nMore")

    tried = []
    monkeypatch.setattr("srlib.__main__.upscale_bands", lambda *_, **__: fail())
    assert main(["upscale", str(album), str(album.with_name("out")), "--scale", "2"]) == 1
    error = capsys.readouterr().err
    assert "error: the GPU has failed (CUDA error: an illegal" in error and len(tried) == 1


@pytest.mark.parametrize("command", ["upscale", "evaluate"])
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--scale", "6"], "no network of the course enlarges by 6.*--method .*bicubic"),
        (["--scale", "2", "--method", "srresnet_x4"], "srresnet_x4 cannot enlarge by 2"),
        (["--method", "nonsense"], "must be one of srresnet_x2.*bicubic.* got 'nonsense'"),
        (["--method", "bicubic", "--ensemble"], "--ensemble is for networks"),
    ],
)
def test_a_method_that_does_not_fit_is_refused_before_any_work(
    networks, tmp_path, command, arguments, message, capsys
):
    files = ["missing.jpg", str(tmp_path / "out.png")] if command == "upscale" else []
    source = [] if command == "upscale" else ["--data", "nowhere"]
    assert main([command, *files, *source, *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_scale_between_names_the_kernels(networks, photo, capsys):
    assert main(["upscale", str(photo), str(photo.with_name("o.png")), "--scale", "2.5"]) == 1
    assert "lanczos3" in capsys.readouterr().err


def test_a_result_may_go_into_a_folder(photo, networks, capsys):
    out = photo.parent / "out"
    out.mkdir()
    Image.fromarray(PHOTO).save(photo.with_name("b.gif"))
    for name in ("photo.png", "b.gif"):
        assert main(["upscale", str(photo.with_name(name)), str(out), "--method", "nearest"]) == 0
    assert files(out) == ["b.png", "photo.png"]
    assert main(["upscale", str(photo), str(out), "--method", "nearest"]) == 1
    assert "photo.png exists" in capsys.readouterr().err


def test_upscale_replaces_nothing_unasked(photo, networks, capsys):
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
        (
            ["upscale", "{photo}", "{folder}/o.png", "--method", "bicubic", "--half"],
            "--half is for networks, got --method bicubic",
        ),
        (
            ["upscale", "{photo}", "{folder}/o.png", "--method", "bicubic", "--tile", "16"],
            "--tile is for networks",
        ),
        (["upscale", "{photo}", "{folder}/out.xyz"], "must end in one of .png"),
        (["upscale", "{photo}", "{folder}/no/out.png"], "does not exist"),
        (["upscale", "{photo}", "{folder}/out.png", "--tile", "0"], "--tile must .* got 0"),
        (["upscale", "{folder}/missing.jpg", "{folder}/out.png"], "missing.jpg"),
        (["upscale", "{folder}/text.jpg", "{folder}/out.png"], "not an image"),
        (["upscale", "{folder}", "{folder}/out.png"], "must be a folder"),
        (["upscale", "{folder}", "{photo}"], "must be a folder"),
        (["upscale", "{folder}", "{folder}"], "another folder than that of the photographs"),
        (["upscale", "{photo}", "{folder}/out.png", "--recursive"], "are for folders"),
        (["fetch", "Set6"], "Set5"),
        (["evaluate", "--data", "nowhere"], "must be a folder"),
        (["evaluate", "--method", "bicubic", "--scale", "0"], "--scale must be .* got 0"),
        (["evaluate", "--method", "bicubic", "--scale", "-2"], "--scale must be .* got -2"),
        (["evaluate", "--csv", "{folder}"], "--csv: .* is a folder"),
    ],
)
def test_what_cannot_be_done_is_said_and_returns_1(photo, networks, arguments, message, capsys):
    photo.with_name("text.jpg").write_text("hello")
    before = sorted(photo.parent.iterdir())
    filled = [a.format(photo=photo, folder=photo.parent) for a in arguments]
    assert main(filled) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error
    assert re.search(message.replace("+", r"\+"), error)
    assert sorted(photo.parent.iterdir()) == before


def test_a_result_that_its_format_cannot_hold_is_refused_before_any_work(photo, networks, capsys):
    write_image(photo, np.zeros((4, 16_400, 3), np.uint8))
    for network in networks.values():
        network.register_forward_pre_hook(lambda *_: pytest.fail("the network was asked"))
    assert main(["upscale", str(photo), str(photo.with_name("out.jpg"))]) == 1
    error = capsys.readouterr().err
    assert "65600 x 16" in error and ".png, .tif" in error and ".webp" not in error
    assert not photo.with_name("out.jpg").exists()


def test_a_loss_is_said(photo, networks, capsys):
    Image.new("RGBA", (12, 12), (0, 0, 0, 0)).save(photo.with_name("clear.png"))
    out = photo.with_name("out.jpg")
    assert main(["upscale", str(photo.with_name("clear.png")), str(out)]) == 0
    assert "note: " in (error := capsys.readouterr().err) and "onto white" in error


def test_a_diverging_training_and_odd_settings_get_a_sentence(tmp_path, monkeypatch, capsys):
    arguments = ["train", "--out", str(tmp_path / "out"), "--scale", "2"]
    wild = "--profile ci --progress false --output linear --learning-rate 1e30".split()
    assert main([*arguments, *wild]) == 1
    assert re.match("error: the loss in step .* is .*lower learning rate", capsys.readouterr().err)
    monkeypatch.setenv("SRLIB_PROFILE", "laptop")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: SRLIB_PROFILE must be one of ci, cpu, gpu")
    monkeypatch.setenv("SRLIB_DATA", "~nosuchuser/pictures")
    assert main(["fetch", "Set5"]) == 1
    assert "error: SRLIB_DATA must be a folder, got '~nosuchuser/" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["upscale", "photo.png", "out.png", "--method"],
        ["evaluate", "--method"],
        ["train", "--profile", "ci", "--out", "out", "--start-from"],
        ["train", "--profile", "ci", "--out", "out", "--teacher"],
    ],
)
def test_weights_that_cannot_be_used_get_a_sentence(photo, monkeypatch, command, capsys):
    monkeypatch.chdir(photo.parent)
    Path("weights.safetensors").write_text("not weights")
    assert main([*command, "weights.safetensors"]) == 1
    assert "error: weights.safetensors holds no network" in capsys.readouterr().err
    assert main([*command, "nowhere.safetensors"]) == 1
    assert "error: nowhere.safetensors: No such file or directory" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["photo.png", "weights.safetensors"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["upscale"], ["evaluate", "--scale", "x"]])
def test_wrong_usage_exits_with_2(arguments):
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 2


@pytest.mark.parametrize("command", ["info", "fetch", "upscale", "evaluate", "train"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as info:
        main([command, "--help"])
    assert info.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_info_names_machine_datasets_and_methods_on_one_screen(monkeypatch, capsys):
    monkeypatch.setattr("srlib.assets.servers", lambda: ())
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    words = ("Python", "torch", "memory", "cache", "Set5", "DIV2K", "chelsea", "bicubic", "profile")
    for word in (*words, *pretrained().index):
        assert word in text
    lines = text.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 100
    assert lines[-1].startswith("This machine can do the course.")


def test_evaluate_prints_and_writes_the_table(shared_data, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    path = tmp_path / "table.csv"
    arguments = ["evaluate", "--method", "bicubic", "--data", "Set5", "--csv", str(path)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    means = [line.split() for line in lines if line.split()[:1] == ["bicubic"]]
    assert [mean[1] for mean in means] == ["28.42", "28.43"]  # published, this run
    table = pd.read_csv(path, index_col="image")
    assert len(table) == 6 and table.loc["mean", "psnr_db"] == pytest.approx(28.43, abs=0.005)


@pytest.mark.parametrize("ensemble", [False, True])
def test_evaluate_puts_a_network_among_the_published(
    networks, shared_data, monkeypatch, tmp_path, ensemble, capsys
):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    path = tmp_path / "table.csv"
    arguments = ["evaluate", "--scale", "2", "--csv", str(path)]
    assert main(arguments + ["--ensemble"] * ensemble) == 0
    text = capsys.readouterr().out
    title = "srresnet_x2 with self-ensemble" if ensemble else "srresnet_x2"
    assert text.startswith(f"{title}, x2 on Set5")
    means = text.split("Among published results\n")[1].splitlines()[1:]
    psnr_db = [float(re.search(r"\d\d\.\d\d", line)[0]) for line in means]
    assert psnr_db == sorted(psnr_db)
    published = published_results(2)
    assert len(means) == len(published) + 2  # the network and bicubic interpolation, here
    (own,) = [line for line in means if title in line]
    mean = pd.read_csv(path, index_col="image").loc["mean"]
    assert f"{mean['psnr_db']:.2f}" in own and own.endswith("this run")
    (vdsr,) = [line for line in means if "VDSR" in line]
    assert "37.53" in vdsr and "CVPR 2016" in vdsr


def test_evaluate_a_folder_of_one_s_own(photo, networks, capsys):
    assert main(["evaluate", "--data", str(photo.parent), "--method", "srresnet_x2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("srresnet_x2, x2 on")
    assert "mean" in text and "Beside bicubic interpolation" in text


def test_evaluate_scores_what_it_can_of_a_folder(album, networks, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(album / "tiny.png")
    Image.new("RGB", (60, 60), "white").save(album / "white.png")
    path = tmp_path / "table.csv"
    options = ["--method", "bicubic", "--scale", "2", "--csv", str(path)]
    assert main(["evaluate", "--data", str(album), *options]) == 1
    table = pd.read_csv(path, index_col="image")
    assert list(table.index) == ["a.gif", "a.png", "b.JPG", "tiny.png", "white.png", "mean"]
    assert table.loc["white.png", "psnr_db"] == np.inf and table.loc["tiny.png"].isna().all()
    assert table.loc["mean", "psnr_db"] == pytest.approx(table["psnr_db"].iloc[:3].mean())
    error = capsys.readouterr().err
    assert re.search("error: .*damaged.png: damaged", error)
    assert "tiny.png: images must be at least 11x11" in error
    assert "white.png: reproduced exactly" in error
    (album / "damaged.png").unlink()
    (album / "tiny.png").unlink()
    assert main(["evaluate", "--data", str(album), *options]) == 0
    nowhere = ["--csv", str(tmp_path / "no" / "table.csv")]
    assert main(["evaluate", "--data", str(album), "--method", "bicubic", *nowhere]) == 1
    assert "no does not exist" in capsys.readouterr().err


def test_evaluate_says_why_it_could_read_nothing(album, networks, capsys):
    for name in ("a.png", "a.gif", "b.JPG"):
        (album / name).unlink()
    assert main(["evaluate", "--data", str(album), "--method", "bicubic"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "damaged.png: damaged" in errors[0]


def test_fetch_looks_at_all_names_before_it_downloads_any(monkeypatch, capsys):
    monkeypatch.setattr("srlib.assets.fetch", lambda name: pytest.fail("something was fetched"))
    assert main(["fetch", "Set5", "nosuch"]) == 1
    assert "got 'nosuch'" in capsys.readouterr().err


def test_where_a_file_was_to_be_renamed_its_new_name_is_said():
    error = OSError(errno.EISDIR, "Is a directory", ".table-x/table.csv", None, "table.csv")
    assert in_words(error) == "table.csv: Is a directory"


def test_a_folder_called_as_a_benchmark_is_not_among_published_results(
    album, networks, monkeypatch, capsys
):
    monkeypatch.chdir(album.rename(album.with_name("Set5")).parent)
    Path("Set5", "damaged.png").unlink()
    assert main(["evaluate", "--data", "Set5", "--method", "bicubic"]) == 0
    assert "Among published" not in (text := capsys.readouterr().out) and "this run" in text


def test_ctrl_c_is_quiet(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("srlib.__main__._info", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_module_runs_as_a_program():
    # Without docstrings (-OO): they are for people, no command may depend on them.
    command = [sys.executable, "-OO", "-m", "srlib", "fetch", "Set6"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("error: ")
