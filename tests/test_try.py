"""The page that enlarges photographs in the browser: built alone, tried as a visitor would.

What it computes is compared with srlib: pictures go in through its file chooser, results come out
through its button "Save".
"""

import base64
import contextlib
import gzip
import shutil
from pathlib import Path

import build_try
import numpy as np
import pytest
from browser import ROOT, chromium_or_skip, launch
from npm_packages import install_packages
from PIL import Image, ImageCms
from site_reading import AXE, SERIOUS, Reader, served

from srlib.assets import sample_image
from srlib.degradation import degrade, jpeg
from srlib.evaluation import upscale, upscale_bands
from srlib.metrics import score
from srlib.models import load_pretrained, pretrained
from srlib.photo import read_photo
from srlib.resample import KERNELS, imresize, modcrop

pytestmark = [pytest.mark.browser, pytest.mark.network, pytest.mark.slow]

PACKAGES = ROOT / "build/npm/node_modules"
IS = "what => document.body.dataset.now === what"
NETWORKS = list(pretrained().index)
FIRST_LOAD = 6e6  # bytes, compressed


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, dict]:
    """The page, in a folder whose name needs quoting in an address, and its manifest."""
    if not shutil.which("npm") and not AXE.is_file():
        pytest.skip("needs npm: apt-get install nodejs npm")
    chromium_or_skip()
    output = tmp_path_factory.mktemp("built") / "a café" / "try"
    return output, build_try.build(ROOT, output, install_packages(ROOT))


@pytest.fixture(scope="module")
def folder(built) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def modules(built, tmp_path_factory) -> str:
    """A script that makes `page.evaluate` see the modules that need no page."""
    work = tmp_path_factory.mktemp("modules") / "try"
    build_try.gather(ROOT / "docs/try", work, PACKAGES, built[1])
    names = ("resize", "degrade", "score", "runtime", "state", "tiles")
    (work / "tested.js").write_text("".join(f'export * from "./{name}.js";\n' for name in names))
    script = work / "tested-bundle.js"
    build_try.esbuild(work, "tested.js", "--global-name=tested", f"--outfile={script}")
    return script.read_text("utf-8")


class Visitor(Reader):
    """Somebody on the page, who notes whatever goes wrong."""

    forgiven = ()  # there is one page only

    def __init__(self, page, address: str):
        super().__init__(page, address)
        page.set_default_timeout(300_000)  # on any machine; nothing takes long but what hangs

    def open(self, settings: str = ""):
        self.page.goto(f"{self.base}index.html{settings}")
        self.wait()

    def wait(self, what: str = "done"):
        self.page.wait_for_function(IS, arg=what)

    def set(self, settings: str):
        """Change the settings as a link does, and wait for the result."""
        self.page.evaluate(
            """settings => new Promise(done => {
              addEventListener("hashchange", () => done(), {once: true});
              location.hash = settings + "&t=" + Math.random();
            })""",
            settings,
        )
        self.wait()

    def choose(self, path: Path):
        self.page.set_input_files("#file", path)
        self.page.wait_for_function("() => ['done', 'failed'].includes(document.body.dataset.now)")

    def save(self) -> np.ndarray:
        with self.page.expect_download() as download:
            self.page.click("#save")
        return np.array(Image.open(download.value.path()))

    def scores(self, side: str) -> tuple[float, float]:
        values = self.page.evaluate(f"({{...document.getElementById('score-{side}').dataset}})")
        return float(values["psnr"]), float(values["ssim"])

    def message(self) -> str:
        return self.page.inner_text("#message")


@contextlib.contextmanager
def visit(address: str, **options):
    with launch(**options) as context:
        yield Visitor(context.new_page(), address)


@pytest.fixture(scope="class")
def online(folder):
    with served(folder) as address, launch() as context:
        yield context, address


@pytest.fixture
def visitor(online):
    context, address = online
    visitor = Visitor(context.new_page(), address)
    yield visitor
    visitor.page.close()
    assert visitor.faults == []


def write(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path, compress_level=1)
    return path


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def steps(height: int, width: int) -> np.ndarray:
    """Edges between levels that differ by 1: the mean of two pixels lies between two levels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(x // 4 + 100), (y // 2 + x // 8), 128 + (x + y) % 2], -1).astype(np.uint8)


def small_photograph(height: int, width: int, name: str = "coffee") -> np.ndarray:
    image = imresize(sample_image(name), 1 / 2)
    return np.ascontiguousarray(image[20 : 20 + height, 30 : 30 + width])


def differences(result: np.ndarray, expected: np.ndarray) -> int:
    assert result.shape == expected.shape
    return int(np.abs(result.astype(int) - expected.astype(int)).max())


# ---- a visit -------------------------------------------------------------------------------


def first_visit(visitor: Visitor):
    """What is seen without a click is right: photograph, both methods and both scores."""
    visitor.open()
    hr = modcrop(sample_image("coffee"), 4)
    lr = imresize(hr, 1 / 4)
    psnr, ssim = score(imresize(lr, 4), hr, 4)
    assert visitor.scores("a") == (pytest.approx(psnr, abs=1e-6), pytest.approx(ssim, abs=1e-8))
    chosen = visitor.page.input_value("#b")
    psnr, ssim = score(upscale(load_pretrained(chosen), lr), hr, 4)
    assert visitor.scores("b") == (pytest.approx(psnr, abs=0.01), pytest.approx(ssim, abs=1e-4))
    visitor.page.keyboard.press("Tab")
    for _ in range(30):
        if visitor.page.evaluate("document.activeElement.id") == "wipe":
            break
        visitor.page.keyboard.press("Tab")
    before = int(visitor.page.get_attribute("#wipe", "aria-valuenow"))
    visitor.page.keyboard.press("ArrowRight")
    assert int(visitor.page.get_attribute("#wipe", "aria-valuenow")) > before
    assert visitor.faults == []


def test_the_first_visit_asks_for_little_and_for_nothing_elsewhere(folder):
    asked = []
    with served(folder, asked) as address, visit(address) as visitor:
        first_visit(visitor)
        sizes = {name: len(gzip.compress((folder / name).read_bytes(), 6)) for name in asked}
        assert "runtimes/wasm.js" in sizes and "page.js" in sizes
        assert sum(name.startswith("networks/") for name in sizes) == 1
        assert "runtimes/webgpu.js" not in sizes
        assert sum(sizes.values()) < FIRST_LOAD


def test_it_works_from_a_folder_on_a_telephone(folder):
    address = f"{folder.as_uri()}/"
    options = {"width": 390, "height": 844, "has_touch": True, "device_scale_factor": 2}
    with visit(address, **options) as visitor:
        first_visit(visitor)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
        # A finger moves the line.
        box = visitor.page.locator("#wipe").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        before = float(visitor.page.get_attribute("#wipe", "aria-valuenow"))
        visitor.page.mouse.move(x, y)
        visitor.page.mouse.down()
        visitor.page.mouse.move(x - 100, y, steps=4)
        visitor.page.mouse.up()
        assert float(visitor.page.get_attribute("#wipe", "aria-valuenow")) < before - 20
        # The picture stays in sight while the last control is used.
        visitor.page.locator("#jpeg").scroll_into_view_if_needed()
        stage = visitor.page.locator("#stage").bounding_box()
        assert 0 <= stage["y"] < 400
        visitor.page.locator("#jpeg").fill("40")
        visitor.wait()
        visitor.page.wait_for_function("() => location.hash.includes('jpeg=40')")
        assert visitor.faults == []


class TestPage:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1366, 390])
    def test_everybody_can_use_it(self, visitor, scheme, width):
        page = visitor.page
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        visitor.open("#a=nearest&b=bicubic")
        page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
        # As an extension would, beside the page's policy.
        page.context.new_cdp_session(page).send(
            "Runtime.evaluate", {"expression": AXE.read_text("utf-8")}
        )
        assert page.evaluate(SERIOUS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_every_link_leads_to_a_notebook_of_the_course(self, visitor):
        visitor.open("#a=nearest&b=bicubic")
        targets = visitor.page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
        notebooks = {f"../notebooks/{path.stem}.html" for path in ROOT.glob("notebooks/*.ipynb")}
        assert len(targets) > 8
        assert set(targets) - notebooks == {"../index.html"}

    def test_a_link_leads_to_a_setting_and_the_address_follows(self, visitor):
        page = visitor.page
        link = "#image=coins&scale=3&a=nearest&b=lanczos3&kernel=box&noise=9&zoom=3&show=error"
        visitor.open(link)
        assert page.input_value("#a") == "nearest" and page.input_value("#kernel") == "box"
        assert page.input_value("#noise") == "9" and page.is_checked("#show")
        page.locator("#blur").fill("1.5")
        visitor.wait()
        page.wait_for_function("() => location.hash.includes('blur=1.5')")
        assert set(link[1:].split("&")) < set(page.evaluate("location.hash")[1:].split("&"))
        visitor.open("#image=nothing&scale=7&a=<b>&b=nearest&noise=lots&zoom=1e9&jpeg=-3")
        assert page.input_value("#a") == "bicubic" and page.input_value("#noise") == "0"
        assert page.input_value("#zoom") == "8"

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("notes.txt", b"no picture", "notes.txt is not a picture"),
            ("empty.png", b"", "empty.png is empty"),
            ("cut.png", None, "cut.png is damaged"),
            ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(40), "phone.heic is a HEIC photograph"),
            ("dot.png", (8, 40), "dot.png has 40 x 8 pixels"),
        ],
    )
    def test_what_cannot_be_used_is_said_in_a_sentence(
        self, visitor, tmp_path, name, content, words
    ):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write(path, noise(*(content or (60, 60))))
            if content is None:
                path.write_bytes(path.read_bytes()[:3000])
        visitor.open("#a=nearest&b=bicubic")
        about = visitor.page.inner_text("#credit"), visitor.page.is_checked("#shrink")
        scores = visitor.scores("b")
        visitor.choose(path)
        visitor.wait()
        assert words in visitor.message()
        # what was open still is
        assert about == (visitor.page.inner_text("#credit"), visitor.page.is_checked("#shrink"))
        assert visitor.scores("b") == scores
        # and it goes on
        visitor.choose(write(tmp_path / "good.png", noise(40, 50)))
        assert visitor.message() == "" and "good.png" in visitor.page.inner_text("#credit")

    def test_a_file_that_cannot_be_read_before_the_first_picture_is_there(self, visitor, tmp_path):
        (tmp_path / "notes.txt").write_text("no picture")
        page = visitor.page
        page.route("**/photographs/*.js", lambda route: None)
        page.goto(f"{visitor.base}index.html#a=nearest&b=bicubic", wait_until="commit")
        page.wait_for_function(IS, arg="working")
        page.set_input_files("#file", tmp_path / "notes.txt")
        page.get_by_text("notes.txt is not a picture").wait_for(timeout=60_000)
        page.unroute("**/photographs/*.js")  # lets what was held go on
        visitor.wait()
        assert "notes.txt is not a picture" in visitor.message()
        assert "coffee" in page.inner_text("#credit").lower() and visitor.scores("a")[0] > 20

    def test_a_message_about_the_view_goes_with_it(self, visitor):
        page = visitor.page
        visitor.open("#a=nearest&b=bicubic")
        page.route("**/networks/**", lambda route: route.fulfill(body=""))
        page.select_option("#b", NETWORKS[-1])
        visitor.wait("failed")
        assert visitor.message()
        page.select_option("#b", "lanczos3")
        visitor.wait()
        assert visitor.message() == ""

    def test_more_than_one_file_is_said(self, visitor, tmp_path):
        visitor.open("#a=nearest&b=bicubic")
        files = [write(tmp_path / name, noise(30, 44)) for name in ("one.png", "two.png")]
        visitor.page.evaluate("document.getElementById('file').multiple = true")
        visitor.page.set_input_files("#file", files)
        visitor.wait()
        assert "One picture at a time" in visitor.message() and "one.png" in visitor.message()
        assert "one.png, 44 x 30" in visitor.page.inner_text("#credit")

    def test_16_bits_are_said(self, visitor, tmp_path):
        Image.fromarray(noise(30, 44)[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(tmp_path / "deep.png")
        assert "16 bits a colour, read as 8" in visitor.page.inner_text("#credit")

    def test_without_webassembly_it_says_so_and_interpolates(self, visitor):
        visitor.page.add_init_script("delete globalThis.WebAssembly;")
        visitor.open()
        assert "no WebAssembly" in visitor.message()
        assert visitor.page.input_value("#b") == "lanczos3"
        assert visitor.page.locator("#b option:disabled").count() > 0
        assert visitor.scores("b")[0] > 20

    def test_work_can_be_stopped_and_goes_on(self, visitor, tmp_path):
        page = visitor.page
        visitor.open("#a=nearest&b=bicubic&zoom=1")
        visitor.choose(write(tmp_path / "large.png", noise(600, 800)))
        page.select_option("#b", NETWORKS[-1])
        page.wait_for_selector("#cancel", state="visible")
        page.click("#cancel")
        visitor.wait("stopped")
        assert "Stopped" in visitor.message()
        page.select_option("#b", "lanczos3")
        visitor.wait()
        assert page.input_value("#b") == "lanczos3"
        page.select_option("#b", NETWORKS[-1])
        page.click("#save")
        page.click("#cancel")
        page.wait_for_function(
            "() => document.getElementById('message').textContent.includes('no file was made')"
        )
        assert page.is_enabled("#save")

    def test_paste_and_drop(self, visitor, tmp_path):
        visitor.open("#a=nearest&b=bicubic")
        path = write(tmp_path / "x.png", noise(30, 44))
        for kind, carrier, name in (
            ("paste", "clipboardData", "pasted.png"),
            ("drop", "dataTransfer", "dropped.png"),
        ):
            visitor.page.evaluate(
                """([bytes, kind, carrier, name]) => {
                  const data = new DataTransfer();
                  data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
                  const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
                  const options = {[carrier]: data, bubbles: true, cancelable: true};
                  document.body.dispatchEvent(new Kind(kind, options));
                }""",
                [list(path.read_bytes()), kind, carrier, name],
            )
            visitor.wait()
            assert f"{name}, 44 x 30 pixels" in visitor.page.inner_text("#credit")


# ---- against srlib -------------------------------------------------------------------------


class TestNumbers:
    def test_resize_equals_srlib_in_every_sample(self, visitor, modules):
        """Every kernel, with and without antialiasing, many sizes and scales."""
        page = visitor.page
        page.goto("about:blank")
        page.evaluate(modules)
        images = [noise(23, 31), noise(8, 64, 1), steps(40, 36)]
        cases = [
            {"kernel": kernel, "scale": scale, "antialias": antialias}
            for kernel in KERNELS
            for scale in (2, 3, 4, 1 / 2, 1 / 3, 1 / 4, 0.7, 1.37, 1, 0.05)
            for antialias in ((True, False) if scale < 1 else (True,))
        ]
        resize = """({pixels, height, width, cases}) => cases.map(({scale, ...options}) => {
          const data = Uint8Array.from(atob(pixels), c => c.charCodeAt());
          const size = {width, height, fullWidth: width, fullHeight: height};
          const picture = {data, x: 0, y: 0, channels: 3, ...size};
          const made = tested.resize(picture, scale, options).data;
          return btoa(Array.from(made, value => String.fromCharCode(value)).join(""));
        })"""
        wrong = []
        for image in images:
            height, width = image.shape[:2]
            pixels = base64.b64encode(image.tobytes()).decode()
            given = {"pixels": pixels, "height": height, "width": width, "cases": cases}
            for case, text in zip(cases, page.evaluate(resize, given), strict=True):
                options = {key: case[key] for key in ("kernel", "antialias")}
                expected = imresize(image, case["scale"], **options).tobytes()
                wrong += [] if base64.b64decode(text) == expected else [case]
        assert wrong == []
        visitor.faults.clear()  # about:blank is another place

    @pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "lanczos3"])
    def test_what_is_saved_equals_imresize(self, visitor, tmp_path, kernel):
        visitor.open("#a=nearest&b=bicubic")
        image = small_photograph(57, 83)
        visitor.choose(write(tmp_path / "odd.png", image))
        for scale in (2, 3, 4):
            visitor.set(f"#a=nearest&b={kernel}&scale={scale}&shrink=0")
            assert np.array_equal(visitor.save(), imresize(image, scale, kernel=kernel))

    @pytest.mark.parametrize(
        ("settings", "options"),
        [
            ("kernel=bicubic", {}),
            ("kernel=box", {"kernel": "box"}),
            ("blur=1.3", {"blur": 1.3}),
            ("kernel=lanczos3&blur=3", {"kernel": "lanczos3", "blur": 3.0}),
        ],
    )
    def test_damage_is_that_of_degrade(self, visitor, tmp_path, settings, options):
        hr = sample_image("chelsea")[:211, :307]
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(write(tmp_path / "cat.png", hr))
        for scale in (2, 3):
            visitor.set(f"#a=bicubic&b=nearest&scale={scale}&shrink=1&{settings}")
            lr = visitor.save()[::scale, ::scale]
            expected = degrade(modcrop(hr, scale), scale, **options)
            assert differences(lr, expected) <= (1 if "blur" in options else 0)
            assert np.mean(lr != expected) < 1e-3
            # and both scores are those of the protocol, for what was made of it
            enlarged = imresize(lr, scale)
            psnr, ssim = score(enlarged, modcrop(hr, scale), scale)
            assert visitor.scores("a") == (pytest.approx(psnr, abs=1e-6), pytest.approx(ssim))

    def test_noise_and_jpeg_are_as_strong_as_they_say(self, visitor, tmp_path):
        hr = np.full((256, 320, 3), 128, np.uint8)
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(write(tmp_path / "grey.png", hr))
        visitor.set("#a=bicubic&b=nearest&scale=2&shrink=1&noise=8")
        noisy = visitor.save()[::2, ::2].astype(float) - 128
        assert noisy.std() == pytest.approx(8, rel=0.03) and abs(noisy.mean()) < 0.15
        channels = np.corrcoef(noisy.reshape(-1, 3).T)
        assert np.abs(channels - np.eye(3)).max() < 0.03
        assert abs(np.corrcoef(noisy[:, 1:, 0].ravel(), noisy[:, :-1, 0].ravel())[0, 1]) < 0.03
        hr = sample_image("coffee")
        visitor.choose(write(tmp_path / "coffee.png", hr))
        visitor.set("#a=bicubic&b=nearest&scale=4&shrink=1&jpeg=30")
        found = visitor.save()[::4, ::4].astype(float)
        clean = imresize(hr, 1 / 4)
        expected = jpeg(clean, 30).astype(float)
        assert np.abs(found - expected).mean() < 0.1 * np.abs(expected - clean).mean()

    @pytest.mark.parametrize("name", NETWORKS)
    def test_networks_equal_srlib_within_one_level(self, visitor, tmp_path, name):
        """Each on colour with odd sides; those of scale 4 also on grey and with alpha."""
        network = load_pretrained(name)
        visitor.open("#a=nearest&b=bicubic")
        colour = small_photograph(61, 75, "coffee" if name.endswith("4") else "chelsea")
        visitor.choose(write(tmp_path / "colour.png", colour))
        visitor.set(f"#a=nearest&b={name}&shrink=0")
        assert differences(visitor.save(), upscale(network, colour)) <= 1

        if network.scale == 4:
            grey = small_photograph(41, 53, "camera")[..., :1]
            visitor.choose(write(tmp_path / "grey.png", grey[..., 0]))
            visitor.set(f"#a=nearest&b={name}&shrink=0")
            expected = np.concatenate(list(upscale_bands(network, grey)))
            assert differences(visitor.save(), expected[..., 0]) <= 1

            y, x = np.mgrid[:37, :45]
            alpha = np.clip(255 * (1.3 - np.hypot(y - 16, x - 22) / 16), 0, 255)
            file = write(
                tmp_path / "alpha.png",
                np.dstack([small_photograph(37, 45), alpha.astype(np.uint8)]),
            )
            visitor.choose(file)
            visitor.set(f"#a=nearest&b={name}&shrink=0")
            photo = read_photo(file)
            parts = [photo.pixels, photo.alpha[..., None]]
            large = [np.concatenate(list(upscale_bands(network, part))) for part in parts]
            assert differences(visitor.save(), np.concatenate(large, axis=2)) <= 1

    def test_tiles_give_the_whole_picture(self, visitor, tmp_path):
        name = visitor.open("#a=nearest") or visitor.page.input_value("#b")
        image = imresize(sample_image("coffee"), 0.5)[:, :239]
        visitor.choose(write(tmp_path / "large.png", image))
        visitor.set(f"#a=nearest&b={name}&shrink=0")
        assert differences(visitor.save(), upscale(load_pretrained(name), image)) <= 1

    def test_strength_blends_as_srlib_does(self, visitor, tmp_path):
        blendable = []
        for name in NETWORKS:
            with contextlib.suppress(ValueError):
                blendable.append((name, load_pretrained(name, 0)))
        image = small_photograph(40, 48)
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(write(tmp_path / "x.png", image))
        for name, _ in blendable:
            results = {}
            for strength in (0, 0.35, 1):
                visitor.set(f"#a=nearest&b={name}&shrink=0&strength={strength}")
                assert visitor.page.is_enabled("#strength")
                results[strength] = visitor.save()
                expected = upscale(load_pretrained(name, strength), image)
                assert differences(results[strength], expected) <= 1
            assert differences(results[0], results[1]) > 3
        for name in set(NETWORKS) - {name for name, _ in blendable}:
            visitor.set(f"#a=nearest&b={name}&shrink=0")
            assert not visitor.page.is_enabled("#strength")
        assert blendable

    def test_alpha_goes_through_interpolation(self, visitor, tmp_path):
        image = np.dstack([noise(33, 29), noise(33, 29, 1)[..., 0]])
        image[5:9, 4:20, 3] = 0
        file = write(tmp_path / "alpha.png", image)
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(file)
        visitor.set("#a=nearest&b=bicubic&scale=3&shrink=0")
        photo = read_photo(file)
        expected = [imresize(photo.pixels, 3), imresize(photo.alpha, 3)[..., None]]
        assert np.array_equal(visitor.save(), np.concatenate(expected, axis=2))

    def test_orientation_is_applied(self, visitor, tmp_path):
        image = Image.fromarray(small_photograph(48, 64))
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(tmp_path / "turned.jpg")
        visitor.set("#a=bicubic&b=nearest&scale=2&shrink=0")
        expected = read_photo(tmp_path / "turned.jpg").pixels
        assert expected.shape == (64, 48, 3)
        assert np.abs(visitor.save()[::2, ::2].astype(int) - expected).mean() < 1

    @pytest.mark.parametrize("what", ["orientation", "profile"])
    def test_a_transparent_png_is_turned_and_its_colours_converted(self, visitor, tmp_path, what):
        image = np.dstack([small_photograph(48, 64), np.full((48, 64), 255, np.uint8)])
        image[:4, :4, 3] = 128
        exif = Image.Exif()
        exif[0x0112] = 6
        # A profile with red and blue changed over shows whether it is used.
        wide = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        for i in range(128 + 4, len(wide) - 4, 12):
            if wide[i : i + 4] in (b"rXYZ", b"bXYZ"):
                wide[i] = ord("b") if wide[i] == ord("r") else ord("r")
        options = {"exif": exif} if what == "orientation" else {"icc_profile": bytes(wide)}
        expected = np.rot90(image, -1) if what == "orientation" else image[..., [2, 1, 0, 3]]
        Image.fromarray(image).save(tmp_path / "told.png", **options)
        visitor.open("#a=nearest&b=bicubic")
        visitor.choose(tmp_path / "told.png")
        visitor.set("#a=nearest&b=nearest&scale=2&shrink=0")
        result = visitor.save()[::2, ::2]
        assert result.shape == expected.shape
        assert np.abs(result.astype(int) - expected).mean() < 3

    def test_eight_megapixels(self, visitor, tmp_path):
        y, x = np.mgrid[:2448, :3264]
        image = np.stack([x // 13, (x + y) // 23, y // 10 + (x * y // 5000) % 7], -1)
        image = (image % 256).astype(np.uint8)
        visitor.open("#a=nearest&b=bicubic&zoom=1")
        visitor.choose(write(tmp_path / "large.png", image))
        visitor.set("#a=nearest&b=bicubic&scale=2&shrink=0&zoom=1&x=0.2&y=0.9")
        seen = visitor.page.evaluate(
            "[...document.querySelectorAll('.layer canvas')].map(c => c.width * c.height)"
        )
        assert max(seen) < 2e6, "only what is seen is computed"
        result = visitor.save()
        assert result.shape == (4896, 6528, 3)
        assert np.array_equal(result, imresize(image, 2))


# ---- what runs the networks ----------------------------------------------------------------


def test_threads_are_used_where_the_page_is_isolated(folder):
    with served(folder, isolated=True) as address, visit(address) as visitor:
        first_visit(visitor)
        assert visitor.page.evaluate("crossOriginIsolated")
        cores = visitor.page.evaluate("navigator.hardwareConcurrency")
        words = f"{min(cores, 8)} threads" if cores > 1 else "one thread"
        assert visitor.page.inner_text("#runtime") == f"processor (WebAssembly, {words})"


def test_the_fastest_runtime_is_chosen(folder, modules, online):
    context, _ = online
    page = context.new_page()
    page.evaluate(modules)
    choose = """async times => {
      const race = async name => {
        if (times[name] === null) throw new Error(`${name} is broken`);
        return times[name];
      };
      try { return await tested.chooseRuntime(Object.keys(times), race); }
      catch (error) { return error.message; }
    }"""
    assert page.evaluate(choose, {"wasm": 20, "webgpu": 5}) == "webgpu"
    assert page.evaluate(choose, {"wasm": 20, "webgpu": 50}) == "wasm"
    assert page.evaluate(choose, {"wasm": 20, "webgpu": None}) == "wasm"
    assert page.evaluate(choose, {"wasm": None, "webgpu": None}) == "webgpu is broken"
    page.close()
