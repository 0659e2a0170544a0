import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from srlib.image import read_image
from srlib.resample import KERNELS, Kernel, cubic, imresize, imresize_bands, modcrop, resize_matrix

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, (37, 53, 3), dtype=np.uint8)
scales = st.one_of(
    st.sampled_from([1 / 4, 1 / 3, 0.5, 1, 2, 3, 4, 8, 0.1]), st.floats(0.05, 9, allow_nan=False)
)
kernels = st.sampled_from(sorted(KERNELS))
borders = st.sampled_from(["replicate", "mirror"])


def matlab_imresize(image, scale, kernel, border):
    """A second transcription of MATLAB's imresize, by loops, for one channel."""

    def weight(x):
        x = abs(x)
        if kernel == "bicubic":
            if x <= 1:
                return 1.5 * x**3 - 2.5 * x**2 + 1
            return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0
        if kernel == "bilinear":
            return max(0, 1 - x)
        lobes = int(kernel[-1])
        if x == 0:
            return 1
        if x >= lobes:
            return 0
        t = math.pi * x
        return lobes * math.sin(t) * math.sin(t / lobes) / t**2

    def along_first_axis(image):
        size, shrink = len(image), min(scale, 1)
        reach = {"bicubic": 2, "bilinear": 1}.get(kernel) or int(kernel[-1])
        out = []
        for position in range(math.ceil(size * scale - 1e-9)):
            centre = (position + 0.5) / scale - 0.5
            total, row = 0.0, 0.0
            low = math.floor(centre - reach / shrink) - 1
            for index in range(low, math.ceil(centre + reach / shrink) + 2):
                w = weight((centre - index) * shrink)
                if border == "replicate":
                    inside = min(max(index, 0), size - 1)
                else:
                    inside = index % (2 * size)
                    inside = inside if inside < size else 2 * size - 1 - inside
                total, row = total + w, row + w * image[inside].astype(float)
            out.append(row / total)
        if image.dtype == np.uint8:
            return np.floor(np.array(out) + 0.5).clip(0, 255).astype(np.uint8)
        return np.array(out)

    return along_first_axis(along_first_axis(image).T).T


@pytest.mark.parametrize("dataset", ["Set5", "Set14"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_matlab_s_low_resolution_images_bit_for_bit(shared_data, dataset, scale):
    folder = shared_data / dataset / f"x{scale}"
    paths = sorted((folder / "HR").glob("*.png"))
    assert len(paths) == {"Set5": 5, "Set14": 14}[dataset]
    for path in paths:
        expected = read_image(folder / "LR" / path.name)
        np.testing.assert_array_equal(imresize(read_image(path), 1 / scale), expected, path.name)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "lanczos2", "lanczos3"])
@pytest.mark.parametrize("border", ["replicate", "mirror"])
@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.37, 1.5, 2, 3])
def test_equals_a_second_transcription(kernel, border, scale):
    image = PHOTO[:21, :17, 0]
    exact = matlab_imresize(image.astype(float), scale, kernel, border)
    np.testing.assert_allclose(
        imresize(image.astype(float), scale, kernel=kernel, border=border), exact, atol=1e-9
    )
    # In uint8 a tie such as 12.5 may round apart where weights are no binary fractions.
    rounded = matlab_imresize(image, scale, kernel, border).astype(int)
    difference = np.abs(imresize(image, scale, kernel=kernel, border=border) - rounded)
    assert difference.max() <= 1
    if scale in (0.25, 2):
        assert np.count_nonzero(difference) == 0 or "lanczos" in kernel


def test_border_choices_differ_only_near_the_border():
    a, b = (imresize(PHOTO, 0.25, border=border) for border in ("replicate", "mirror"))
    assert (a != b).any()
    np.testing.assert_array_equal(a[2:-2, 2:-2], b[2:-2, 2:-2])


def test_pillow_agrees_inside():
    image = PHOTO // 2 + 64  # overshoot is not clipped: Pillow does columns first
    ours = imresize(image, 2).astype(int)
    pillow = np.array(Image.fromarray(image).resize((106, 74), Image.Resampling.BICUBIC))
    assert np.abs(ours - pillow)[6:-6, 6:-6].max() <= 1  # it rounds in between as well


@pytest.mark.parametrize("antialias", [False, True])
def test_torch_agrees_inside(antialias):
    x = torch.rand(2, 3, 40, 48, dtype=torch.float64)
    scale, a = (0.25, -0.5) if antialias else (0.5, -0.75)
    expected = torch.nn.functional.interpolate(
        x, scale_factor=scale, mode="bicubic", antialias=antialias
    )
    actual = imresize(x, scale, kernel=cubic(a), antialias=antialias)
    torch.testing.assert_close(actual[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3])


def test_nearest_and_box_are_what_their_names_say():
    np.testing.assert_array_equal(
        imresize(PHOTO, 3, kernel="nearest"), PHOTO.repeat(3, axis=0).repeat(3, axis=1)
    )
    np.testing.assert_array_equal(
        imresize(PHOTO, 3, kernel="box"), imresize(PHOTO, 3, kernel="nearest")
    )
    image = PHOTO[:36, :52].astype(float)
    means = image.reshape(9, 4, 13, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(imresize(image, 0.25, kernel="box"), means)
    assert set(np.unique(imresize(PHOTO, 0.3, kernel="nearest"))) <= set(np.unique(PHOTO))


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), scales, kernels, borders, st.booleans())
def test_sizes_types_and_constants(height, width, scale, kernel, border, antialias):
    options = {"kernel": kernel, "border": border, "antialias": antialias}
    image = np.full((height, width, 3), 77, np.uint8)
    result = imresize(image, scale, **options)
    exact = [size * scale for size in (height, width)]
    for size, target in zip(result.shape[:2], exact, strict=True):
        assert size == max(1, math.ceil(target * (1 - 1e-12)))
    assert result.dtype == np.uint8 and (result == 77).all()
    grey = imresize(image[..., 0].astype(np.float32), scale, **options)
    assert grey.dtype == np.float32 and grey.shape == result.shape[:2]
    np.testing.assert_allclose(grey, 77, rtol=1e-5)


@settings(max_examples=40)
@given(
    arrays(np.float64, (7, 9), elements=st.floats(0, 1)), scales, kernels, borders, st.booleans()
)
def test_arrays_tensors_and_the_matrix_agree(image, scale, kernel, border, antialias):
    options = {"kernel": kernel, "border": border, "antialias": antialias}
    array = imresize(image, scale, **options)
    tensor = imresize(torch.from_numpy(image)[None, None], scale, **options)
    np.testing.assert_allclose(tensor[0, 0].numpy(), array, atol=1e-12)
    rows, columns = (resize_matrix(size, scale, **options) for size in image.shape)
    np.testing.assert_allclose(rows @ image @ columns.T, array, atol=1e-12)
    np.testing.assert_allclose(rows.sum(axis=1), 1)


@settings(max_examples=40)
@given(arrays(np.uint8, (8, 11, 3)), st.sampled_from([0.5, 1 / 3, 1.5, 2]), kernels, borders)
def test_flipping_and_transposing_commute_where_nothing_rounds_between(
    image, scale, kernel, border
):
    image = image.astype(np.float64)
    options = {"kernel": kernel, "border": border}
    result = imresize(image, scale, **options)
    np.testing.assert_allclose(
        imresize(image.swapaxes(0, 1), scale, **options), result.swapaxes(0, 1), atol=1e-9
    )
    exact_multiple = all((size * scale) % 1 == 0 for size in image.shape[:2])
    if exact_multiple and kernel not in ("nearest", "box"):  # those decide ties to one side
        flipped = imresize(image[::-1, ::-1], scale, **options)
        np.testing.assert_allclose(flipped, result[::-1, ::-1], atol=1e-9)


def test_scale_one_is_the_identity():
    for kernel in KERNELS:
        np.testing.assert_array_equal(imresize(PHOTO, 1, kernel=kernel), PHOTO)


def test_a_scale_just_off_a_whole_size_adds_no_pixel():
    assert imresize(np.zeros((30, 30)), 0.1).shape == (3, 3)  # 30 * 0.1 > 3 in floating point
    assert imresize(np.zeros((30, 30)), 0.101).shape == (4, 4)
    for size in range(1, 500):
        assert resize_matrix(3 * size, 1 / 3).shape[0] == size


def test_tensors_are_differentiable():
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: imresize(x, 0.6), x)
    assert torch.autograd.gradcheck(lambda x: imresize(x, 1.7, kernel="lanczos3"), x)
    assert imresize(torch.rand(3, 8, 8), 2).shape == (3, 16, 16)
    assert imresize(torch.rand(1, 3, 8, 8).half(), 2).dtype == torch.float16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees():
    x = torch.rand(2, 3, 31, 45)
    torch.testing.assert_close(imresize(x.cuda(), 0.3).cpu(), imresize(x, 0.3))


def test_memory_order_does_not_matter():
    for view in (PHOTO[::-1], PHOTO[:, ::2], np.asfortranarray(PHOTO), PHOTO.swapaxes(0, 1)):
        np.testing.assert_array_equal(imresize(view, 0.5), imresize(view.copy(), 0.5))


def test_blocks_do_not_show(monkeypatch):
    whole = imresize(PHOTO, 1.7)
    monkeypatch.setattr("srlib.resample._BLOCK", 500)
    np.testing.assert_array_equal(imresize(PHOTO, 1.7), whole)


def test_an_own_kernel():
    triangle = Kernel("tent", lambda x: np.maximum(1 - np.abs(x), 0), 2.0)
    np.testing.assert_array_equal(
        imresize(PHOTO, 1.7, kernel=triangle), imresize(PHOTO, 1.7, kernel="bilinear")
    )


@pytest.mark.parametrize("a", [-1.0, -0.75, -0.5, 0.0])
def test_cubic_kernels_interpolate_and_sum_to_one(a):
    kernel = cubic(a).function
    np.testing.assert_allclose(kernel(np.arange(-3.0, 4)), [0, 0, 0, 1, 0, 0, 0])
    offsets = np.linspace(0, 1, 11)
    total = sum(kernel(offsets + k) for k in range(-3, 3))
    np.testing.assert_allclose(total, 1)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((PHOTO, 0), ValueError, "scale must be a finite number > 0, got 0"),
        ((PHOTO, -1), ValueError, "got -1"),
        ((PHOTO, float("nan")), ValueError, "got nan"),
        ((PHOTO, float("inf")), ValueError, "got inf"),
        ((PHOTO.astype(int), 2), TypeError, "got int64"),
        ((PHOTO.tolist(), 2), TypeError, "got list"),
        ((PHOTO[:0], 2), ValueError, r"got \(0, 53, 3\)"),
        ((PHOTO[None], 2), ValueError, r"got \(1, 37, 53, 3\)"),
        ((torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 2), TypeError, "torch.uint8"),
        ((torch.zeros(4, 4), 2), ValueError, r"got \(4, 4\)"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        imresize(*arguments)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="kernel must be .*nearest, box.*got 'cubic'"):
        imresize(PHOTO, 2, kernel="cubic")
    with pytest.raises(ValueError, match="border must be one of replicate, mirror, got 'wrap'"):
        imresize(PHOTO, 2, border="wrap")


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6))
def test_modcrop(height, width, scale):
    image = np.arange(height * width * 3).reshape(height, width, 3)
    if min(height, width) < scale:
        with pytest.raises(ValueError, match="image must be at least"):
            modcrop(image, scale)
        return
    cropped = modcrop(image, scale)
    assert all(size % scale == 0 for size in cropped.shape[:2])
    assert all(b - a < scale for a, b in zip(cropped.shape[:2], image.shape[:2], strict=True))
    np.testing.assert_array_equal(cropped, image[: cropped.shape[0], : cropped.shape[1]])
    tensor = modcrop(torch.from_numpy(image).permute(2, 0, 1), scale)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0), cropped)


@pytest.mark.parametrize("scale", [0, -2, 1.5])
def test_modcrop_refuses(scale):
    with pytest.raises(ValueError, match=f"got {scale}"):
        modcrop(PHOTO, scale)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kernel", ["nearest", "bicubic", "lanczos3"])
def test_bands_are_the_rows_of_the_whole(dtype, kernel):
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top, (150, 7, 3), dtype, endpoint=True)
    for scale in (1, 2.5, 4):
        bands = list(imresize_bands(image, scale, kernel=kernel))
        assert len(bands) == math.ceil(150 * scale / 256)
        np.testing.assert_array_equal(np.concatenate(bands), imresize(image, scale, kernel=kernel))


def test_sixteen_bits_are_eight_bits_with_more_steps():
    image = np.random.default_rng(0).integers(0, 256, (9, 8), np.uint8)
    deep = imresize(image.astype(np.uint16) * 257, 2.5)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - imresize(image, 2.5)).max() < 1.2  # rounded twice
