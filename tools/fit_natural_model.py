"""Fit the model of natural photographs that srlib.perception.niqe compares with.

python tools/fit_natural_model.py

Writes data/natural_model/model.safetensors and its README.md. The photographs are those of
BSDS500/train and BSDS500/test, without every twentieth, which the shipped networks hold out, and
without those of the benchmarks.
"""

from pathlib import Path

from tqdm.auto import tqdm

from srlib._atomic import atomic_write
from srlib.data import content_hash
from srlib.perception import fit_natural_model
from srlib.training.recipes import photographs

FOLDER = Path(__file__).resolve().parents[1] / "data" / "natural_model"
RECIPE = {"data": ["BSDS500/train", "BSDS500/test"], "holdout": 20}


def main():
    pairs, _ = photographs(RECIPE, 4)
    model = fit_natural_model(tqdm([pair.hr for pair in pairs], desc="fit", unit="image"))
    FOLDER.mkdir(exist_ok=True)
    model.save(FOLDER / "model.safetensors")
    text = f"""# What natural photographs are like

`model.safetensors`: mean (36,) and covariance (36, 36), float64, of the features of sharp patches,
for `srlib.perception.niqe`. Made by

```sh
python tools/fit_natural_model.py
```

from {len(pairs)} photographs of {" and ".join(RECIPE["data"])} (content
{content_hash(pairs)}), without every twentieth, which the shipped networks hold out. No image
of Set5, Set14, BSD100 or Urban100 is among them. The numbers differ from those of the authors'
model, which was fitted on other photographs: compare scores of one model only.

Licence: as the code, MIT. BSDS500 is for non-commercial research and education.
"""
    with atomic_write(FOLDER / "README.md") as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
