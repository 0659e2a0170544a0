"""The command line: ``python -m srlib info | fetch | upscale | evaluate | train``."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (said before anything that an older one cannot read)
    sys.exit(f"error: the course needs Python 3.11 or newer, this is {sys.version.split()[0]}")

from srlib._own_files import in_the_way

try:
    import argparse
    import math
    import os
    import re
    import textwrap
    import warnings
    from collections.abc import Sequence
    from pathlib import Path

    from srlib import assets, doctor
except (Exception, SystemExit) as error:  # hidden by a file of the learner's, which may do anything
    if not (said := in_the_way(error)):
        raise
    sys.exit(f"error: {said[0]}: {said[1]}")

try:
    import numpy as np
    import pandas as pd
    import torch
    from tqdm.auto import tqdm

    from srlib._atomic import atomic_write
    from srlib._files import in_words
    from srlib._train_command import add_parser
    from srlib._upscale_command import ending_of_result, upscale_folder, upscale_photo
    from srlib.data import image_readers, make_pairs
    from srlib.environment import gpu_failure_is_said
    from srlib.evaluation import evaluate, published_results, upscale_bands
    from srlib.image import SAVE_OPTIONS
    from srlib.models import load_pretrained, pretrained
    from srlib.resample import KERNELS, imresize, imresize_bands
except (Exception, SystemExit) as error:  # a package is missing, broken or hidden: the doctor says
    _broken: BaseException | None = error
else:
    _broken = None

__all__ = ["main"]

_FORMATS = {
    "psnr_db": "{:.2f}".format,
    "ssim": lambda value: "" if math.isnan(value) else f"{value:.4f}",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with `arguments`, by default those of the process.

    Returns 0 if all went well, 1 if something could not be done, with the reason on standard
    error, and 130 after Ctrl-C. Wrong usage ends in SystemExit(2). "info" returns 1 if this machine
    cannot do the course; where the library cannot even be imported, every command does what "info"
    does.
    """
    if said := in_the_way(_broken):
        print(f"error: {said[0]}: {said[1]}", file=sys.stderr)
        return 1
    if _broken:
        print(f"error: {type(_broken).__name__}: {_broken}", file=sys.stderr)
        return _examine()
    options = _parser().parse_args(arguments)
    said = set()

    def note(message, *rest):
        if found := re.search(
            r"NVIDIA driver .*too old(?: \(found version (\d+)\))?", str(message)
        ):
            message = (
                f"the NVIDIA driver is too old for this torch (it found version {found[1]}), so "
                "the processor computes: `python -m srlib info` says what to do"
            )
        if str(message) not in said:  # a command may look at a file twice
            said.add(str(message))
            tqdm.write(f"note: {message}", file=sys.stderr)  # above the bar, if there is one

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = note
            with gpu_failure_is_said("Give the same command again"):
                return options.run(options) or 0
    except (OSError, ValueError, FloatingPointError, MemoryError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if "the GPU has failed" not in str(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m srlib", description="Image super-resolution: the library of the course."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add_command(run, name, text):
        command = commands.add_parser(name, help=text, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    add_command(_info, "info", "show this machine, the datasets and the methods")
    fetch = add_command(_fetch, "fetch", "download and verify datasets")
    names = f"{', '.join(assets.datasets())}, or a part such as Set5/x4"
    fetch.add_argument("names", nargs="+", metavar="NAME", help=names)

    enlarge = add_command(_upscale, "upscale", "enlarge a photograph, or a folder of them")
    enlarge.add_argument("photo", type=Path, help="the file to enlarge, or a folder of such files")
    enlarge.add_argument(
        "out",
        type=Path,
        help="the file to write: .png, .tif, .webp, .bmp (lossless), .jpg; or a folder to write to",
    )
    enlarge.add_argument(
        "--scale", type=float, help="factor per side, at least 1 (default: the network's, else 4)"
    )
    enlarge.add_argument(
        "--tile",
        type=int,
        help="longest side of the tiles that a network works on, in pixels of the photograph; "
        "the picture is the same (default: as large as fits into 1 GiB)",
    )
    enlarge.add_argument("--force", action="store_true", help="replace results that exist")
    enlarge.add_argument(
        "--recursive", action="store_true", help="of a folder, also what is in folders within"
    )
    enlarge.add_argument(
        "--format",
        choices=[suffix[1:] for suffix in SAVE_OPTIONS],
        help="of a folder's results (default: that of each file if it can be written, else png)",
    )
    enlarge.add_argument(
        "--half",
        action="store_true",
        help="half precision: up to twice as fast where the processor or GPU has it; a tenth of "
        "the samples differ, by up to 3 levels of 255",
    )
    score = add_command(_evaluate, "evaluate", "score a method on a benchmark")
    score.add_argument(
        "--data",
        default="Set5",
        help="a benchmark (Set5, Set14, BSD100, Urban100), 'bundled/test', or a folder of "
        "originals (default: Set5)",
    )
    score.add_argument("--scale", type=int, help="2, 3, 4, ... (default: the network's, else 4)")
    score.add_argument(
        "--grey",
        choices=("as_rgb", "as_grey"),
        default="as_rgb",
        help="how grey files count; papers differ (default: as_rgb)",
    )
    score.add_argument("--csv", type=Path, help="also write the table to this file")
    score.set_defaults(tile=None, half=False)
    for command in (enlarge, score):
        command.add_argument(
            "--method",
            metavar="NAME",
            help="a network or an interpolation, as 'info' lists them, or a file that 'train' "
            "wrote (default: the network srresnet_xSCALE)",
        )
        command.add_argument(
            "--strength",
            type=float,
            default=1,
            help="of a network that was trained on from another one, such as srresnet_real_x4: "
            "from 0, that other one, to 1 (default: 1)",
        )
        command.add_argument(
            "--ensemble",
            action="store_true",
            help="self-ensemble: the mean over the image turned and mirrored in 8 ways, 8 times "
            "as slow; scores with it must say so",
        )
    add_parser(commands)
    return parser


def _info(options) -> int:
    """Show datasets, methods, and what on this machine stops the course (exit code 1), if any."""
    print("Datasets (python -m srlib fetch NAME)")
    for name, info in assets.datasets().items():
        line = f"  {name:9} {info.files:4} files {info.bytes / 1e6:7.1f} MB  {info.use:9}  "
        print(line + textwrap.shorten(info.licence, 98 - len(line), placeholder=" ..."))
    print("Photographs without a network")
    names = ", ".join(assets.sample_names())
    print(textwrap.fill(names, 98, initial_indent="  ", subsequent_indent="  "))
    print("Networks and interpolations (python -m srlib upscale --method NAME)")
    print(textwrap.indent(pretrained().reset_index().to_string(index=False), "  "))
    print(f"  {', '.join(KERNELS)}")
    return _examine()


def _examine() -> int:
    checks = doctor.examine()
    print("This machine")
    print(doctor.report(checks, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    return int(any(check.stops for check in checks))


def _fetch(options) -> None:
    """Download datasets, verify every file by its SHA-256; the folder is SRLIB_DATA where set."""
    for name in options.names:
        assets.check_name(name)  # before anything is downloaded
    for name in options.names:
        print(f"{name}: {assets.fetch(name)}")


def _method(options):
    """Return the method's name, an `srlib._upscale_command.Enlarge`, and the scale."""
    scale = 4 if options.scale is None else options.scale
    name = options.method or f"srresnet_x{scale:g}"
    if name in KERNELS:
        ignored = {"ensemble": options.ensemble, "strength": options.strength != 1}
        ignored |= {"tile": options.tile is not None, "half": options.half}
        for option, given in ignored.items():
            if given:
                raise ValueError(f"--{option} is for networks, got --method {name}")
        return name, lambda pixels, _: imresize_bands(pixels, scale, kernel=name), scale
    if not name.endswith(".safetensors"):
        scales = pretrained()["scale"]
        if options.method and name not in scales:
            known = ", ".join([*scales.index, *KERNELS])
            raise ValueError(
                f"--method must be one of {known} or a .safetensors file, got {name!r}"
            )
        if name not in scales or options.scale not in (None, scales[name]):
            none = "no network of the course enlarges"
            said = f"{name} cannot enlarge" if options.method else none
            raise ValueError(
                f"{said} by {scale:g}; the networks are "
                f"{', '.join(f'{network} (by {factor})' for network, factor in scales.items())}; "
                f"for any --scale there is --method {', '.join(KERNELS)}"
            )
    network = load_pretrained(name, options.strength)
    if options.scale not in (None, network.scale):
        raise ValueError(f"{name} enlarges by {network.scale}, got --scale {scale:g}")
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    settings = {key: getattr(options, key) for key in ("tile", "ensemble", "half")}
    return name, lambda x, bar: upscale_bands(network, x, progress=bar, **settings), network.scale


def _check_scale(options):
    if options.scale is not None and not 1 <= options.scale <= 100:
        raise ValueError(f"--scale must be from 1 to 100, got {options.scale:g}")


def _upscale(options) -> int:
    """Enlarge a photograph, or all of a folder, and write the result to a new file or folder.

    Grey stays grey; transparency, 16 bits per channel, the colour profile, EXIF and the print size
    are kept where the format of OUT can hold them, and what is lost is said. In a folder, results
    that exist are skipped, and a file that fails stops no other.
    """
    _check_scale(options)
    if options.tile is not None and options.tile < 1:
        raise ValueError(f"--tile must be at least 1, got {options.tile}")
    is_folder = options.photo.is_dir()
    if not is_folder and (options.recursive or options.format):
        raise ValueError(f"--recursive and --format are for folders, got {options.photo}")
    out = options.out
    if not is_folder and out.is_dir():  # as cp does
        out = out / f"{options.photo.stem}{ending_of_result(options.photo)}"
    if not is_folder and out.exists() and not options.force:
        raise ValueError(f"{out} exists; choose another name or add --force")
    name, enlarge, scale = _method(options)
    if not options.photo.exists():
        raise ValueError(f"{options.photo}: there is no such file or folder")
    at_strength = f", strength {options.strength:g}" if options.strength != 1 else ""
    print(f"{options.photo}: enlarging by {scale:g} ({name}{at_strength})")
    blind = f"srresnet_real_x{scale:g}"
    advised = blind if blind in pretrained().index and name != blind else None
    if not is_folder:
        upscale_photo(options.photo, out, enlarge, scale, advised)
        return 0
    failed = upscale_folder(
        options.photo,
        options.out,
        enlarge,
        scale,
        advised,
        suffix=options.format and f".{options.format}",
        recursive=options.recursive,
        force=options.force,
    )
    return int(failed > 0)


def _evaluate(options) -> int:
    """Score a method on LR images made by MATLAB's bicubic: PSNR and SSIM on luma, per image.

    A border of as many pixels as the scale does not count. Below stand the results that papers
    report for the benchmark, with this method and bicubic interpolation among them. An image that
    cannot be read or scored is named, and the others are scored.
    """
    _check_scale(options)
    if options.csv and options.csv.is_dir():
        raise ValueError(f"--csv: {options.csv} is a folder, name a file")
    if options.csv and not options.csv.parent.is_dir():
        raise ValueError(f"--csv: the folder {options.csv.parent} does not exist")
    name, enlarge, scale = _method(options)
    readers = image_readers(options.data, scale, grey=options.grey)
    unread = {}

    def pairs():
        for image, read in readers.items():
            try:
                yield from make_pairs({image: read()}, scale)
            except (OSError, ValueError) as error:
                unread[image] = error

    try:
        table = evaluate(lambda lr: np.concatenate(list(enlarge(lr, False))), pairs(), scale)
    except ValueError:
        if len(unread) < len(readers):
            raise
        _print_unread(unread)  # there was nothing to score
        return 1
    title = name if options.strength == 1 else f"{name} at strength {options.strength:g}"
    title += " with self-ensemble" if options.ensemble else ""
    print(f"{title}, x{scale} on {options.data}, grey images {options.grey}")
    print(table.to_string(formatters=_FORMATS))
    if options.csv:
        with atomic_write(options.csv) as partial:
            table.to_csv(partial)
        print(f"{options.csv}: written")
    here = {title: table.loc["mean"]}
    if name != "bicubic":
        bicubic = evaluate(lambda lr: imresize(lr, scale), pairs(), scale, progress=False)
        here["bicubic"] = bicubic.loc["mean"]
    _print_published(here, None if Path(options.data).is_dir() else options.data, scale)
    _print_unread(unread)
    return int(bool(unread) or table["psnr_db"].isna().any())


def _print_unread(unread):
    for error in unread.values():
        print(f"error: {in_words(error)}", file=sys.stderr)


def _print_published(here, data, scale):
    """Print means of this run among the published ones for `data`, a benchmark, by PSNR."""
    rows = [{"network": name, **mean, "source": "this run"} for name, mean in here.items()]
    published = published_results()
    published = published[(published["scale"] == scale) & (published["dataset"] == data)]
    print("\nAmong published results" if len(published) else "\nBeside bicubic interpolation")
    for row in published.assign(note=published["note"].fillna("")).to_dict("records"):
        rows.append({**row, "source": "; ".join(filter(None, (row["source"], row["note"])))})
    table = pd.DataFrame(rows).sort_values("psnr_db", ignore_index=True)
    print(
        table[["network", "psnr_db", "ssim", "source"]].to_string(index=False, formatters=_FORMATS)
    )


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a folder's name may hold what a terminal cannot show
        stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
