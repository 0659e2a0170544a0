"""Draw the README's picture from a bundled photograph: ``python tools/readme_picture.py``."""

from pathlib import Path

from srlib.assets import sample_image
from srlib.evaluation import upscale
from srlib.figures import zoom_grid
from srlib.models import load_pretrained
from srlib.resample import imresize, modcrop

hr = modcrop(sample_image("chelsea"), 4)
lr = imresize(hr, 1 / 4)
sr = upscale(load_pretrained("srresnet_x4"), lr)
images = {"bicubic x4": imresize(lr, 4), "srresnet_x4": sr, "original": hr}
figure = zoom_grid(images, (66, 100, 88, 120), reference="original", scale=4)
path = Path(__file__).resolve().parents[1] / "docs/before_after.jpg"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, pil_kwargs={"quality": 90})
print(path)
