"""Video files: read and write them frame by frame, so that one of any length fits into memory.

PyAV, the Python face of FFmpeg's libraries, decodes and encodes. Sound and subtitles are left out.
"""

import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from srlib._atomic import atomic_write
from srlib._files import check_file
from srlib.image import check_image

__all__ = ["read_frames", "write_frames"]

_CLOCK = Fraction(1, 90_000)  # s: the usual unit of time in video files, in which it is written
_MOST_BYTES = 2**50  # only pipes, devices and folders are refused: it is never read at once
_BT709, _LIMITED_RANGE = 1, 1  # FFmpeg's numbers; in limited range black is 16 and white 235


def read_frames(path: str | os.PathLike) -> Iterator[tuple[Fraction, np.ndarray]]:
    """Yield the frames of a video file one by one, each with its time in seconds.

    A frame is uint8 RGB of shape (H, W, 3), turned upright if the file says so. The times are as
    exact as the file's, and need not be evenly spaced, nor begin at 0. Only the frame that is being
    decoded is in memory, and a few that the decoder holds back.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    ValueError
        If it is no video, is damaged (the message says after which frame), or holds no frame.
    """
    check_file(path, _MOST_BYTES)
    number = 0
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise ValueError(
                    f"{path}: holds no pictures that can be read, got {container.format.long_name}"
                )
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = stream.average_rate or 25  # for the rare file without time stamps
            for frame in container.decode(stream):
                time = Fraction(number) / rate if frame.pts is None else frame.pts * frame.time_base
                picture = frame.to_ndarray(format="rgb24")
                number += 1
                yield time, np.rot90(picture, round(frame.rotation / 90)).copy()
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # no permission, a disk that fails: it says so itself
            raise
        where = f"damaged after frame {number}" if number else "not a video that can be read here"
        raise ValueError(f"{path}: {where} ({error.strerror})") from error
    if number == 0:
        raise ValueError(f"{path}: holds no frame")


def write_frames(
    path: str | os.PathLike, timed_frames: Iterable[tuple[Fraction | float, np.ndarray]]
) -> int:
    """Write frames one by one into an H.264 video file, mp4; return how many there were.

    The file replaces `path` only if all goes well. The first frame stands at time 0 in it, the
    others keep their distance to it, rounded to 1/90000 s; one that is not later than the frame
    before comes 1/90000 s after it. Colours are stored at half the resolution, as in nearly every
    video, with a quality that the eye takes for the original (crf 16).

    Parameters
    ----------
    path : path
    timed_frames : iterable of (time, frame)
        Time in seconds; frames uint8 RGB of one shape, (H, W, 3). An odd side gets its last row or
        column twice, because H.264 wants even ones.

    Raises
    ------
    ValueError
        If there is no frame, one differs in shape from the first, is no uint8 RGB image, or has a
        time that is no finite number.
    OSError
        If the file cannot be written.
    """
    path, number = Path(path), 0
    frames = iter(timed_frames)
    with atomic_write(path) as partial, av.open(os.fspath(partial), "w", format="mp4") as container:
        for time, picture in frames:
            check_image(picture, f"frame {number}")
            if not math.isfinite(time):
                raise ValueError(f"frame {number}: the time must be a finite number, got {time!r}")
            if number == 0:
                first, start, last = picture.shape, time, -1
                stream = _open_stream(container, *picture.shape[:2])
            if picture.shape != first:
                raise ValueError(
                    f"frame {number} must have the shape of the first, {first}, got {picture.shape}"
                )
            last = max(round((time - start) / _CLOCK), last + 1)
            container.mux(stream.encode(_to_video_frame(picture, last)))
            number += 1
        if number == 0:
            raise ValueError(f"{path}: there is no frame to write")
        container.mux(stream.encode())  # what the encoder still holds back
    return number


def _open_stream(container, height, width):
    """Add an H.264 stream of even size, marked as BT.709 colour."""
    stream = container.add_stream("libx264", rate=25, options={"crf": "16"})
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = _CLOCK
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _to_video_frame(picture, ticks):
    height, width = picture.shape[:2]
    even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
    frame.pts, frame.time_base = ticks, _CLOCK
    return frame
