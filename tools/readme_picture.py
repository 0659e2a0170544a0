"""Draw the README's pictures: ``python tools/readme_picture.py``."""

from pathlib import Path

from srlib.assets import sample_image
from srlib.degradation import jpeg
from srlib.evaluation import upscale
from srlib.figures import compare, zoom_grid
from srlib.figures.ladder import draw_ladder
from srlib.models import load_pretrained
from srlib.resample import imresize, modcrop
from srlib.training.experiments import SmallTask

DOCS = Path(__file__).resolve().parents[1] / "docs"

hr = modcrop(sample_image("chelsea"), 4)
lr = imresize(hr, 1 / 4)
sr = upscale(load_pretrained("srresnet_x4"), lr)
images = {"bicubic x4": imresize(lr, 4), "srresnet_x4": sr, "original": hr}
figure = zoom_grid(images, (66, 100, 88, 120), reference="original", scale=4)
figure.savefig(DOCS / "before_after.jpg", pil_kwargs={"quality": 90})

# As a messenger sends it: at its own size, as a JPEG. Nobody has anything larger.
photo = jpeg(sample_image("chelsea")[60:135, 110:210], 40)
images = {"bicubic x4": imresize(photo, 4)}
for name in ("srresnet_x4", "srresnet_real_x4"):
    images[name] = upscale(load_pretrained(name), photo)
compare(images).savefig(DOCS / "real_photograph.jpg", dpi=150, pil_kwargs={"quality": 90})

task = SmallTask()
figure = draw_ladder(task.bicubic_db, shipped_db=task.score(load_pretrained("srresnet_small_x4")))
figure.savefig(DOCS / "ladder.png", dpi=110)
