"""The command line: ``python -m srlib info | fetch | upscale | evaluate``."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from srlib import assets
from srlib.data import load_images, make_pairs
from srlib.environment import describe
from srlib.evaluation import evaluate, published_results
from srlib.image import MAX_PIXELS, read_image, write_image
from srlib.resample import KERNELS, imresize

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process where not given.

    Returns
    -------
    int
        0 if all went well, 1 if something could not be done; the reason is on standard error.
        Wrong usage ends in SystemExit(2), Ctrl-C returns 130.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *rest: print(f"note: {message}", file=sys.stderr)
            options.run(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srlib", description="Image super-resolution: the library of the course."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser(
        "info", help="show this machine, the datasets and the methods", description=_info.__doc__
    )
    info.set_defaults(run=_info)

    fetch = commands.add_parser(
        "fetch", help="download and verify datasets", description=_fetch.__doc__
    )
    fetch.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help=f"{', '.join(assets.datasets())}, or a part such as Set5/x4",
    )
    fetch.set_defaults(run=_fetch)

    upscale = commands.add_parser(
        "upscale", help="enlarge a photograph", description=_upscale.__doc__
    )
    upscale.add_argument("photo", type=Path, help="the file to enlarge")
    upscale.add_argument(
        "out", type=Path, help="the file to write: .png, .tif, .webp, .bmp (lossless) or .jpg"
    )
    upscale.add_argument(
        "--scale", type=float, default=4.0, help="factor per side, at least 1 (default: 4)"
    )
    upscale.add_argument("--force", action="store_true", help="replace OUT where it exists")
    upscale.set_defaults(run=_upscale)

    evaluation = commands.add_parser(
        "evaluate", help="score a method on a benchmark", description=_evaluate.__doc__
    )
    evaluation.add_argument(
        "--data",
        default="Set5",
        help="a benchmark (Set5, Set14, BSD100, Urban100), 'bundled/test', or a folder of "
        "originals (default: Set5)",
    )
    evaluation.add_argument("--scale", type=int, default=4, help="2, 3, 4, ... (default: 4)")
    evaluation.add_argument(
        "--grey",
        choices=("as_rgb", "as_grey"),
        default="as_rgb",
        help="how grey files count; papers differ (default: as_rgb)",
    )
    evaluation.add_argument("--csv", type=Path, help="also write the table to this file")
    evaluation.set_defaults(run=_evaluate)

    for command in (upscale, evaluation):
        command.add_argument(
            "--method",
            choices=sorted(KERNELS),
            default="bicubic",
            help="the interpolation (default: bicubic)",
        )
    return parser


def _info(options) -> None:
    """Show what this machine offers to the course, which datasets are here, and the methods."""
    print("This machine")
    for name, value in describe().items():
        print(f"  {name:14} {value}")
    print("\nDatasets (python -m srlib fetch NAME)")
    for name, info in assets.datasets().items():
        print(
            f"  {name:14} {info.files:5} files {info.bytes / 1e6:8.1f} MB  "
            f"{info.use:9}  {info.licence}"
        )
    print(f"\nPhotographs without a network\n  {', '.join(assets.sample_names())}")
    print(f"\nMethods (python -m srlib upscale --method NAME)\n  {', '.join(KERNELS)}")


def _fetch(options) -> None:
    """Download datasets into the cache and verify every file by its SHA-256.

    What is there already is verified and not loaded again. The folder is SRLIB_DATA where that
    variable is set.
    """
    for name in options.names:
        print(f"{name}: {assets.fetch(name)}")


def _upscale(options) -> None:
    """Enlarge a photograph and write it to a new file."""
    scale = options.scale
    if not 1 <= scale <= 100:
        raise ValueError(f"--scale must be from 1 to 100, got {scale:g}")
    if options.out.exists() and not options.force:
        raise ValueError(f"{options.out} exists; choose another name or add --force")
    if not options.out.resolve().parent.is_dir():
        raise ValueError(f"the folder {options.out.parent} does not exist")
    image = read_image(options.photo)
    height, width = image.shape[:2]
    if height * width * scale**2 > MAX_PIXELS:
        raise ValueError(
            f"{width} x {height} pixels times {scale:g} squared are more than {MAX_PIXELS}; "
            "choose a smaller --scale"
        )
    print(f"{options.photo}: {width} x {height}, enlarging by {scale:g} ({options.method})")
    result = imresize(image, scale, kernel=options.method)
    write_image(options.out, result)
    print(f"{options.out}: {result.shape[1]} x {result.shape[0]}")


def _evaluate(options) -> None:
    """Score a method: low-resolution images by MATLAB's bicubic, PSNR and SSIM on luma.

    The border of as many pixels as the scale does not count. The table has a row per image.
    """
    images = load_images(options.data, options.scale, grey=options.grey)
    table = evaluate(
        lambda lr: imresize(lr, options.scale, kernel=options.method),
        make_pairs(images, options.scale),
        options.scale,
    )
    print(f"{options.method} x{options.scale} on {options.data}, grey images {options.grey}")
    print(table.to_string(formatters={"psnr_db": "{:.2f}".format, "ssim": "{:.4f}".format}))
    published = published_results()
    published = published[
        (published["network"] == options.method)
        & (published["scale"] == options.scale)
        & (published["dataset"] == options.data)
    ]
    for row in published.itertuples():
        print(f"published: {row.psnr_db:.2f} dB")
    if options.csv:
        table.to_csv(options.csv)
        print(f"{options.csv}: written")


if __name__ == "__main__":
    sys.exit(main())
