"""Build the page on which photographs are enlarged in the browser, without Python: ``try/``.

Run it from anywhere::

    python tools/build_try.py                # into build/try
    python tools/build_try.py --output DIR   # into another folder, which is replaced

`build_site.py` calls it too. The sources are in docs/try. The page must also work from a folder
(``file://``), where a browser fetches neither modules nor data. So everything large is a script
that hands over its content as text, gzipped and in base64, and is loaded when it is needed.
"""

import argparse
import base64
import copy
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from npm_packages import NO_NPM, SiteError, install_packages
from PIL import Image

import srlib
from srlib.assets import data_file, sample_image
from srlib.degradation import degrade
from srlib.measuring import receptive_field
from srlib.models import load_pretrained, pretrained
from srlib.onnx_files import export_onnx

ROOT = Path(__file__).resolve().parents[1]
# The runtimes, each with the glue that it loads itself, and its program.
RUNTIMES = {
    "wasm": ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": (
        "ort.webgpu.min.js",
        "ort-wasm-simd-threaded.asyncify.mjs",
        "ort-wasm-simd-threaded.asyncify.wasm",
    ),
}
# No network has seen these; see data/README.md for their terms.
PHOTOGRAPHS = {
    "coffee": ("A cup of coffee", "Rachel Michetti, CC0"),
    "chelsea": ("Chelsea the cat", "Stéfan van der Walt, CC0"),
    "camera": ("A cameraman", "Lav Varshney, CC0"),
    "coins": ("Greek coins", "Brooklyn Museum, no known restrictions"),
    "brick": ("A brick wall", "CC0"),
}
# What an old telephone made of Chelsea: there is no original to compare with.
DAMAGED = {"scale": 2, "blur": 1.0, "noise": 6.0, "quality": 50, "seed": 0}
# What the page calls networks of each kind, and says about them.
LABELS = {
    "faithful": "Network",
    "real": "Network for damaged photographs",
    "pleasing": "Network that pleases",
}
ABOUT = {
    "faithful": "Trained to come as near as it can to the original of a cleanly shrunk picture. "
    "It takes noise and the traces of JPEG for detail.",
    "real": "Trained on small pictures with blur, noise and JPEG: it takes these away, and some "
    "fine detail with them.",
    "pleasing": "Trained to look natural. It invents detail: what looks sharp need not be real. "
    "Not for evidence, reading or measuring.",
}


def script(place: str, content: bytes) -> str:
    """Return a script that hands a binary over to the page; the same content, the same script."""
    text = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    return f'receive({json.dumps(place)},"{text}");\n'


def with_header(header: dict, content: bytes) -> bytes:
    """Put a table about a binary in front of it, as networks.js takes it off again."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + text + content


def packed_weights(weights: dict[str, np.ndarray]) -> bytes:
    """Return float32 arrays one after the other, as float16 where that loses nothing."""
    return b"".join(
        (half if np.array_equal(half := array.astype("<f2"), array) else array).tobytes()
        for array in weights.values()
    )


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Return a network's parameters and buffers as float32 arrays by name."""
    return {key: value.numpy().astype("<f4") for key, value in network.state_dict().items()}


def onnx_parts(network: torch.nn.Module, data: bytes) -> tuple[bytes, list]:
    """Return an ONNX file without its weights, and where they belong.

    The table has a row (name, offset in the whole file, count of numbers) for each, in the file's
    order. SiteError if the file holds them in another way than torch's exporter writes them today.
    """
    weights = weights_of(network)
    rows, skeleton, end = [], b"", 0
    for tensor in onnx.load_from_string(data).graph.initializer:
        if tensor.name in weights:
            raw = weights[tensor.name].tobytes()
            start = data.find(raw, end)
            if tensor.raw_data != raw or start < 0:
                raise SiteError(f"{tensor.name!r} is not in ONNX as in the network")
            skeleton += data[end:start]
            rows.append((tensor.name, start, len(raw) // 4))
            end = start + len(raw)
    if missing := weights.keys() - {name for name, *_ in rows}:
        raise SiteError(f"torch's ONNX exporter left out {', '.join(sorted(missing))}")
    return skeleton + data[end:], rows


def kind_of(network: torch.nn.Module) -> str:
    """Return a text that is the same for networks that differ in their weights only."""
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    return json.dumps([str(network), network.scale, shapes])


def sources_stamp() -> str:
    """Return a text that changes when a network may be exported otherwise than before."""
    folder = Path(srlib.__file__).parent
    files = ("models.py", "layers.py", "onnx_files.py", "image.py")
    parts = [(folder / name).read_bytes() for name in files]
    parts += [torch.__version__.encode(), onnx.__version__.encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def exported(network: torch.nn.Module, cache: Path) -> dict:
    """Export a network without its weights, once for all networks of its kind."""
    key = hashlib.sha256((sources_stamp() + kind_of(network)).encode()).hexdigest()
    done = cache / f"{key}.json"
    if not done.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # With random weights: the exporter leaves out those that are nearly zero.
        filled, generator = copy.deepcopy(network), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in filled.parameters():
                parameter.uniform_(-1, 1, generator=generator)
        path = export_onnx(filled, cache / f"{key}.{os.getpid()}.onnx")
        skeleton, rows = onnx_parts(filled, path.read_bytes())
        radius, grid = receptive_field(network)
        state = {"radius": radius, "grid": grid, "rows": rows}
        state["skeleton"] = base64.b64encode(skeleton).decode()
        partial = done.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(state), "utf-8")
        partial.replace(done)
        path.unlink()
    return json.loads(done.read_text("utf-8"))


def network_content(network: torch.nn.Module, state: dict) -> bytes:
    """Return what the browser makes the ONNX file from: see docs/try/network_file.js."""
    weights = weights_of(network)
    rows = [
        [start, count, 2 if np.array_equal(weights[name].astype("<f2"), weights[name]) else 4]
        for name, start, count in state["rows"]
    ]
    skeleton = base64.b64decode(state["skeleton"])
    numbers = packed_weights({name: weights[name] for name, *_ in state["rows"]})
    return with_header({"skeleton": len(skeleton), "rows": rows}, skeleton + numbers)


def describe(name: str, record: dict) -> dict:
    """Return what the page says about a network."""
    if record.get("loss") == "adversarial":
        role = "pleasing"
    else:
        role = "real" if record.get("degrade") else "faithful"
    return {"name": name, "scale": record["scale"], "role": role, "about": ABOUT[role]}


def build_networks(output: Path, cache: Path) -> list[dict]:
    """Write every trained network of the course as a script; return what the page knows of them."""
    written, networks = {}, []

    def write(name, network):
        content = network_content(network, state := exported(network, cache))
        digest = hashlib.sha256(content).hexdigest()
        if digest not in written:
            written[digest] = name
            text = script(f"networks/{name}", content)
            (output / f"{name}.js").write_text(text, "utf-8")
        return written[digest], state

    for name in pretrained().index:
        record = json.loads(data_file(f"weights/{name}/record.json").read_text("utf-8"))
        network = load_pretrained(name)
        file, state = write(name, network)
        entry = describe(name, record) | {"file": file, "start": None}
        entry |= {key: state[key] for key in ("radius", "grid")}
        entry["parameters"] = sum(weight.numel() for weight in network.parameters())
        entry["work"] = record["multiply_adds_per_pixel"] * record["scale"] ** 2
        networks.append(entry)
    for entry in networks:
        try:
            start = load_pretrained(entry["name"], 0)
        except ValueError:  # it did not start from another one that is here and made alike
            continue
        entry["start"], _ = write(f"start-of-{entry['name']}", start)
    for entry in networks:
        alike = [n for n in networks if (n["scale"], n["role"]) == (entry["scale"], entry["role"])]
        alike.sort(key=lambda n: n["parameters"])
        size = ""
        if len(alike) > 1:
            size = {0: ", small", len(alike) - 1: ", large"}.get(alike.index(entry), ", medium")
        entry["label"] = LABELS[entry["role"]] + size
    return networks


def build_photographs(output: Path) -> list[dict]:
    """Write the course's photographs, losslessly, and their thumbnails."""
    photographs = []
    for name, (title, credit) in PHOTOGRAPHS.items():
        photographs.append(_write_photograph(output, name, sample_image(name), title, credit))
    damaged = degrade(sample_image("chelsea"), **DAMAGED)
    title = "A damaged photograph"
    credit = "Chelsea by Stéfan van der Walt, CC0; blurred, shrunk, noisy and compressed here"
    entry = _write_photograph(output, "damaged", damaged, title, credit)
    # So that it looks damaged at this size, too.
    blocks = Image.fromarray(damaged[45:81, 60:96]).resize((96, 96), Image.NEAREST)
    blocks.save(output / "damaged.jpg", quality=80)
    photographs.append(entry)
    photographs[-1]["damaged"] = True
    return photographs


def _write_photograph(output, name, image, title, credit):
    picture, file = Image.fromarray(image), io.BytesIO()
    picture.save(file, "WEBP", lossless=True, quality=100, method=4, exact=True)
    (output / f"{name}.js").write_text(script(f"photographs/{name}", file.getvalue()), "utf-8")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small = picture.crop((left, top, left + side, top + side)).resize((96, 96), Image.LANCZOS)
    small.save(output / f"{name}.jpg", quality=80)
    return {"name": name, "title": title, "credit": credit, "damaged": False}


def bundle(sources: Path, output: Path, packages: Path, manifest: dict) -> None:
    """Bundle the modules into page.js, which holds the worker's program as text."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "try"
        gather(sources, work, packages, manifest)
        esbuild(work, "worker.js", f"--outfile={work / 'worker.txt'}", "--minify")
        options = ["--loader:.txt=text", f"--outfile={output / 'page.js'}", "--minify"]
        esbuild(work, "page.js", *options)
    for name in ("index.html", "style.css"):
        shutil.copy(sources / name, output)


def gather(sources: Path, work: Path, packages: Path, manifest: dict) -> None:
    """Copy the modules to where they find the packages, and the manifest."""
    shutil.copytree(sources, work)
    (work / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False), "utf-8")
    (work / "node_modules").symlink_to(packages.resolve(), target_is_directory=True)


def esbuild(work: Path, entry: str, *options: str) -> None:
    """Bundle a module, with all that it imports, into a script that needs no modules."""
    node = shutil.which("node")
    if node is None:
        raise SiteError(NO_NPM)
    program = work / "node_modules/esbuild/bin/esbuild"
    command = [node, str(program), entry, "--bundle", "--format=iife", "--target=es2022"]
    if subprocess.run([*command, "--log-level=warning", *options], cwd=work).returncode:
        raise SiteError(f"esbuild could not bundle docs/try/{entry}")


def build(root: Path, output: Path, packages: Path) -> dict:
    """Build the page into `output`, which is replaced; raise SiteError on any fault.

    Returns the manifest: the networks and photographs that the page knows.
    """
    shutil.rmtree(output, ignore_errors=True)
    for name in ("networks", "photographs", "runtimes"):
        (output / name).mkdir(parents=True)
    manifest = {
        "networks": build_networks(output / "networks", root / "build" / "try-networks"),
        "photographs": build_photographs(output / "photographs"),
    }
    for name, files in RUNTIMES.items():
        library, glue, program = (
            (packages / "onnxruntime-web/dist" / file).read_bytes() for file in files
        )
        header = {"library": len(library), "glue": len(glue)}
        content = with_header(header, library + glue + program)
        (output / f"runtimes/{name}.js").write_text(script(f"runtimes/{name}", content), "utf-8")
    shutil.copy(root / "docs/_static/favicon.svg", output)
    bundle(root / "docs/try", output, packages, manifest)
    return manifest


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if the page cannot be built, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="the page's folder (default: build/try)")
    output = (parser.parse_args(arguments).output or ROOT / "build" / "try").resolve()
    try:
        build(ROOT, output, install_packages(ROOT))
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e6
    print(f"{output / 'index.html'}: {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
