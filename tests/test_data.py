import itertools
import math
import os

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import resize

from srlib.assets import sample_names
from srlib.data import (
    Pair,
    PatchSampler,
    add_shrunk,
    image_files,
    image_readers,
    load_images,
    make_pairs,
)
from srlib.image import read_image, write_image
from srlib.resample import imresize

RANDOM = np.random.default_rng(0)


def test_a_folder_is_read_in_the_order_of_the_names(tmp_path):
    images = {name: RANDOM.integers(0, 256, (9, 8, 3), dtype=np.uint8) for name in "bca"}
    for name, image in images.items():
        write_image(tmp_path / f"{name}.png", image)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "sub").mkdir()
    (tmp_path / "._a.png").write_bytes(b"what macOS leaves on other disks")
    with pytest.warns(UserWarning, match="left out: notes.txt, sub/$"):
        loaded = load_images(tmp_path)
    assert list(loaded) == ["a", "b", "c"]
    for name, image in loaded.items():
        np.testing.assert_array_equal(image, images[name])


def test_images_of_one_stem_are_kept_apart(tmp_path):
    for level, name in enumerate(["1.JPEG", "1.jpg", "1.png", "2.png", "mean.gif"]):
        Image.new("RGB", (4, 4), (50 * level,) * 3).save(tmp_path / name)
    loaded = load_images(tmp_path)
    assert {name: image[0, 0, 0] // 50 for name, image in loaded.items()} == {
        "1.JPEG": 0, "1.jpg": 1, "1.png": 2, "2.png": 3, "mean.gif": 4,
    }  # fmt: skip
    (tmp_path / "1.JPEG").unlink()
    (tmp_path / "1.jpg").unlink()
    assert "mean" not in load_images(tmp_path)  # as the last row of every table is called


@pytest.mark.parametrize("ending", ["gif", "ppm", "avif", "jp2", "jfif", "tga", "bmp", "TIF"])
def test_a_folder_may_hold_what_a_file_may_be(tmp_path, ending):
    Image.new("RGB", (16, 16), "gray").save(tmp_path / f"a.{ending}")
    assert list(load_images(tmp_path)) == ["a"]


def test_every_image_that_cannot_be_read_is_named(tmp_path):
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_text("no picture")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"^2 of 3 images cannot be read: .*a\.png.*c\.png"):
        load_images(tmp_path)
    readers = image_readers(tmp_path)
    assert list(readers) == ["a", "b", "c"] and readers["b"]().shape == (4, 4, 3)


def test_folders_within_are_searched_on_request(tmp_path):
    places = ["a.png", "sub/b.jpg", "sub/deep/c.png", ".hidden/d.png", "out/e.png", "._f.png"]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    with pytest.warns(UserWarning, match="left out: loop/$"):
        found = image_files(tmp_path, recursive=True, without=tmp_path / "sub" / ".." / "out")
    assert [str(path.relative_to(tmp_path)) for path in found] == places[:3]
    with pytest.warns(UserWarning, match="left out: out/, sub/$"):
        assert image_files(tmp_path) == [tmp_path / "a.png"]


def test_bundled_photographs_need_no_network():
    assert tuple(load_images("bundled/test")) == sample_names("test")
    assert set(load_images("bundled")) == set(sample_names())
    as_grey = load_images("bundled/test", grey="as_grey")
    grey = {name for name, image in as_grey.items() if image.ndim == 2}
    assert grey == {"brick", "camera", "coins", "page"}
    for name, image in load_images("bundled/test").items():
        np.testing.assert_array_equal(as_grey[name], image[..., 0] if name in grey else image)


def test_benchmarks_are_loaded_by_name_and_scale(shared_data, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    images = load_images("Set14", 3)
    assert len(images) == 14
    expected = read_image(shared_data / "Set14/x3/HR/img_003.png")
    np.testing.assert_array_equal(images["img_003"], expected)
    as_grey = load_images("Set14", 3, grey="as_grey")
    assert [name for name, image in as_grey.items() if image.ndim == 2] == ["img_003"]


def test_the_photograph_that_is_also_in_set5_is_left_out(shared_data, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    for source in ("BSDS500/train", shared_data / "BSDS500" / "train"):
        names = load_images(source).keys()
        assert len(names) == 199 and "302003" not in names
    twin = read_image(shared_data / "BSDS500/train/302003.jpg")
    benchmark = load_images("Set5", 2)["img_005"]
    small = [resize(image / 255, (24, 24), anti_aliasing=True) for image in (twin, benchmark)]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("cwd", [".", "BSDS500", "BSDS500/train"])
def test_it_is_left_out_wherever_the_folder_is_named_from(tmp_path, monkeypatch, cwd):
    folder = tmp_path / "BSDS500" / "train"
    folder.mkdir(parents=True)
    for name in ("302003.jpg", "other.jpg"):
        write_image(folder / name, np.zeros((8, 8, 3), np.uint8))
    monkeypatch.chdir(tmp_path / cwd)
    assert list(load_images(os.path.relpath(folder))) == ["other"]
    (tmp_path / "link").symlink_to(folder)
    assert list(load_images(tmp_path / "link")) == ["other"]
    (folder / "302003.jpg").rename(tmp_path / "digest")  # as a cache keeps it
    (folder / "302003.jpg").symlink_to(tmp_path / "digest")
    assert list(load_images(os.path.relpath(folder))) == ["other"]


def test_pairs_equal_the_published_low_resolution_images(shared_data, monkeypatch):
    monkeypatch.setenv("SRLIB_DATA", str(shared_data))
    for pair in make_pairs(load_images("Set5", 3), 3):
        expected = read_image(shared_data / f"Set5/x3/LR/{pair.name}.png")
        np.testing.assert_array_equal(pair.lr, expected)


def test_pairs_are_aligned_and_cut():
    hr = RANDOM.integers(0, 256, (23, 17, 3), dtype=np.uint8)
    (pair,) = make_pairs({"photo": hr}, 4)
    assert pair.name == "photo" and pair.lr.shape == (5, 4, 3)
    np.testing.assert_array_equal(pair.hr, hr[:20, :16])
    np.testing.assert_array_equal(pair.lr, imresize(hr[:20, :16], 1 / 4))


def test_the_lr_image_of_a_grey_original_is_rgb():
    hr = RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)
    (pair,) = make_pairs({"grey": hr}, 2)
    assert pair.hr.shape == (8, 8) and pair.lr.shape == (4, 4, 3)
    np.testing.assert_array_equal(pair.lr[..., 2], imresize(hr, 1 / 2))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("Set6", 4), "must be a folder, 'bundled' or one of Set5.*got 'Set6'"),
        (("Set5",), "scale must be given for the benchmark Set5"),
        (("Set5", 5), "Set5/x5"),
        (("bundled/val",), "got 'val'"),
    ],
)
def test_unknown_sources_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_images(*arguments)


@pytest.mark.parametrize("source", ["bundled/test", "Set5"])
def test_an_unknown_treatment_of_grey_is_named(source):
    with pytest.raises(ValueError, match="grey must be 'as_rgb' or 'as_grey', got 'grey'"):
        image_readers(source, 4, grey="grey")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="must hold image files"):
        load_images(tmp_path)


def numbered_pairs(scale, *sizes):
    """Images in which every pixel has a value of its own, so that a patch tells its place."""
    pairs = []
    for number, (height, width) in enumerate(sizes):
        images = []
        for factor in (1, scale):
            rows, columns = np.mgrid[: height * factor, : width * factor]
            layers = [rows, columns, np.full_like(rows, number)]
            images.append(np.stack(layers, axis=2).astype(np.uint8))
        pairs.append(Pair(f"image {number}", *images))
    return pairs


def to_bytes(patches):
    """(N, 3, P, P) in 0..1 -> uint8 (N, P, P, 3)."""
    array = patches.permute(0, 2, 3, 1).numpy() * 255
    np.testing.assert_allclose(array, array.round(), atol=1e-4)
    return array.round().astype(np.uint8)


def eight_turns(patch):
    for quarter in range(4):
        turned = np.rot90(patch, quarter)
        yield from (turned, turned[:, ::-1])


def places(pairs, scale, size, batch):
    """Image, top, left and turn of each patch, if HR is the same place in the same turn."""
    for lr, hr in zip(*map(to_bytes, batch), strict=True):
        number = lr[0, 0, 2]
        top, left = lr[..., 0].min(), lr[..., 1].min()
        crop = pairs[number].lr[top : top + size, left : left + size]
        assert crop.shape == lr.shape
        turns = [n for n, turned in enumerate(eight_turns(crop)) if np.array_equal(turned, lr)]
        assert len(turns) == 1
        box = [slice(edge * scale, (edge + size) * scale) for edge in (int(top), int(left))]
        expected = list(eight_turns(pairs[number].hr[tuple(box)]))[turns[0]]
        np.testing.assert_array_equal(hr, expected)
        yield int(number), int(top), int(left), turns[0]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_patches_are_aligned_crops_in_all_turns_from_all_places(scale):
    pairs = numbered_pairs(scale, (4, 6), (7, 5), (3, 3))
    sampler = PatchSampler(pairs, scale, lr_patch_size=3, batch_size=64)
    drawn = []
    for _ in range(30):
        drawn += places(pairs, scale, 3, sampler.sample())
    possible = {
        (number, top, left)
        for number, pair in enumerate(pairs)
        for top in range(pair.lr.shape[0] - 2)
        for left in range(pair.lr.shape[1] - 2)
    }
    counts = np.unique([place[:3] for place in drawn], axis=0, return_counts=True)[1]
    assert {place[:3] for place in drawn} == possible
    # 1920 draws from 24 places: 80 each, give or take 9; four times that is too much.
    assert np.abs(counts - 80).max() < 36
    turns = np.bincount([place[3] for place in drawn], minlength=8)
    assert np.abs(turns - 240).max() < 60


def test_without_augmentation_patches_are_not_turned():
    pairs = numbered_pairs(2, (8, 9))
    sampler = PatchSampler(pairs, 2, lr_patch_size=4, batch_size=50, augment=False)
    assert {turn for *_, turn in places(pairs, 2, 4, sampler.sample())} == {0}


def test_colours_come_in_every_order_and_alike_in_lr_and_hr():
    image = np.broadcast_to(np.uint8([10, 20, 30]), (12, 12, 3))
    pairs = make_pairs({"flat": image}, 2)
    sampler = PatchSampler(pairs, 2, lr_patch_size=4, batch_size=600, permute_colours=True)
    lr, hr = map(to_bytes, sampler.sample())
    assert (lr == lr[:, :1, :1]).all() and (hr == lr[:, :1, :1]).all()
    orders, counts = np.unique(lr[:, 0, 0], axis=0, return_counts=True)
    assert orders.tolist() == sorted(map(list, itertools.permutations((10, 20, 30))))
    assert counts.min() > 60  # 100 each, give or take 9


def test_places_and_turns_are_the_same_with_permuted_colours():
    pairs = numbered_pairs(2, (30, 20))
    plain, permuted = (
        PatchSampler(pairs, 2, lr_patch_size=4, permute_colours=permute) for permute in (0, 1)
    )
    for one, other in zip(plain.sample(), permuted.sample(), strict=True):
        torch.testing.assert_close(one.sum(dim=1), other.sum(dim=1))


@pytest.mark.parametrize("equal", [False, True])
def test_a_large_image_gives_more_patches_or_as_many(equal):
    images = {
        "small": np.zeros((20, 20, 3), np.uint8),
        "large": np.full((80, 80, 3), 200, np.uint8),
    }
    sampler = PatchSampler(
        make_pairs(images, 2), 2, lr_patch_size=4, batch_size=2000, equal_images=equal
    )
    share = (sampler.sample()[1][:, 0, 0, 0] > 0.5).float().mean().item()
    expected = 1 / 2 if equal else 37**2 / (37**2 + 7**2)  # places for a patch: 37 and 7 a side
    assert share == pytest.approx(expected, abs=0.05)


def test_shrunk_copies_stand_behind_their_photographs():
    images = {"wide": RANDOM.integers(0, 256, (40, 100, 3), dtype=np.uint8)}
    images["grey"] = RANDOM.integers(0, 256, (61, 50), dtype=np.uint8)
    more = add_shrunk(images, (0.9, 0.5), smallest_side=25)
    assert list(more) == ["wide", "grey", "wide x0.9", "grey x0.9", "grey x0.5"]
    np.testing.assert_array_equal(more["wide x0.9"], imresize(images["wide"], 0.9))
    assert more["grey x0.5"].shape == (31, 25)
    for factor in (0, 1, -0.5, 2, math.nan):
        with pytest.raises(ValueError, match=f"factors must be between 0 and 1, got {factor}"):
            add_shrunk(images, (0.5, factor))


def test_a_photograph_called_like_a_shrunk_copy_is_refused():
    image = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="got 'boat x0.5'"):
        add_shrunk({"boat": image, "boat x0.5": image}, [0.5])


def test_patches_of_photographs_are_what_make_pairs_made():
    photo = RANDOM.integers(0, 256, (41, 37, 3), dtype=np.uint8)
    pairs = make_pairs({"photo": photo}, 3)
    sampler = PatchSampler(pairs, 3, lr_patch_size=5, batch_size=6, augment=False)
    windows = np.lib.stride_tricks.sliding_window_view(pairs[0].lr, (5, 5, 3))[:, :, 0]
    for lr, hr in zip(*map(to_bytes, sampler.sample()), strict=True):
        ((top, left),) = np.argwhere((windows == lr).all(axis=(2, 3, 4)))
        expected = pairs[0].hr[3 * top : 3 * top + 15, 3 * left : 3 * left + 15]
        np.testing.assert_array_equal(hr, expected)


def test_a_batch_has_the_promised_shape_type_and_range():
    sampler = PatchSampler(numbered_pairs(4, (9, 9)), 4, lr_patch_size=9, batch_size=2)
    lr, hr = sampler.sample()
    assert lr.shape == (2, 3, 9, 9) and hr.shape == (2, 3, 36, 36)
    assert lr.dtype == hr.dtype == torch.float32
    assert 0 <= hr.min() and hr.max() <= 1


def test_the_seed_decides_and_nothing_else():
    pairs = numbered_pairs(2, (30, 30))
    samplers = [PatchSampler(pairs, 2, lr_patch_size=8, seed=seed) for seed in (5, 5, 6)]
    first = [torch.cat([sampler.sample()[0] for _ in range(2)]) for sampler in samplers]
    torch.rand(3)  # the global generator is another one
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])
    before = torch.get_rng_state()
    second = samplers[0].sample()[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first[0][:16], second) and torch.equal(second, samplers[1].sample()[0])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batch_that_one_would_draw(processes):
    pairs = numbered_pairs(2, (30, 20), (9, 40))
    one = PatchSampler(pairs, 2, lr_patch_size=8, batch_size=4 * processes, seed=3)
    each = [PatchSampler(pairs, 2, lr_patch_size=8, batch_size=4, seed=3) for _ in range(processes)]
    for _ in range(3):
        parts = [sampler.sample(rank, processes) for rank, sampler in enumerate(each)]
        for whole, of_parts in zip(one.sample(), zip(*parts, strict=True), strict=True):
            assert torch.equal(whole, torch.cat(of_parts))


def test_a_restored_sampler_goes_on_with_the_same_patches():
    pairs = numbered_pairs(2, (30, 30))
    sampler = PatchSampler(pairs, 2, lr_patch_size=8, seed=1)
    sampler.sample()
    state = sampler.state_dict()
    expected = [sampler.sample() for _ in range(3)]
    other = PatchSampler(pairs, 2, lr_patch_size=8, seed=2)
    other.load_state_dict(state)
    for batch in expected:
        for wanted, got in zip(batch, other.sample(), strict=True):
            assert torch.equal(wanted, got)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_patches_are_the_same_on_a_gpu():
    pairs = numbered_pairs(4, (30, 20), (9, 40))
    samplers = [PatchSampler(pairs, 4, lr_patch_size=8, device=d) for d in ("cpu", "cuda")]
    for on_cpu, on_gpu in zip(*(sampler.sample() for sampler in samplers), strict=True):
        assert on_gpu.is_cuda and torch.equal(on_cpu, on_gpu.cpu())


@pytest.mark.parametrize(
    "pairs, options, message",
    [
        ([], {}, "at least one pair, got none"),
        (numbered_pairs(2, (30, 8)), {}, "image 0: lr_patch_size must be at most 8, got 24"),
        (numbered_pairs(2, (30, 8)), {"lr_patch_size": 0}, "lr_patch_size must be.*got 0"),
        (numbered_pairs(2, (30, 30)), {"batch_size": 0}, "batch_size must be.*got 0"),
        (numbered_pairs(3, (30, 30)), {}, "image 0: HR must be 2 times LR and RGB"),
        (
            [Pair("grey", np.zeros((30, 30, 3), np.uint8), np.zeros((60, 60), np.uint8))],
            {},
            r"grey: HR must be 2 times LR and RGB, got \(60, 60\)",
        ),
    ],
)
def test_what_patches_cannot_be_cut_from_is_named(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        PatchSampler(pairs, 2, **options)
