"""Video files: what is written comes back, and what is no video says so."""

import itertools
import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from srlib.assets import sample_image
from srlib.image import rgb_to_y
from srlib.metrics import psnr
from srlib.video import read_frames, write_frames


def clip(count=6, height=64, width=96):
    """Cut frames from a photograph over which a window moves."""
    photo = sample_image("coffee")
    places = [(60 + k, 200 + 2 * k) for k in range(count)]
    return [photo[top : top + height, left : left + width] for top, left in places]


def timed(frames, step=Fraction(1, 25)):
    return [(k * step, frame) for k, frame in enumerate(frames)]


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    assert write_frames(path, timed(clip())) == 6
    return path


def test_what_is_written_comes_back(video):
    found = list(read_frames(video))
    assert [time for time, _ in found] == [Fraction(k, 25) for k in range(6)]
    for (_, read), written in zip(found, clip(), strict=True):
        assert read.shape == written.shape and read.dtype == np.uint8
        assert psnr(rgb_to_y(read), rgb_to_y(written), data_range=255) > 38
        assert np.abs(read.mean((0, 1)) - written.mean((0, 1))).max() < 1.5  # the colours stay


def test_colours_are_marked_as_what_they_are(video):
    with av.open(str(video)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)


def test_uneven_times_are_kept_and_begin_at_zero(tmp_path):
    times = [Fraction(7, 10), Fraction(3, 4), Fraction(9, 10), Fraction(2)]
    write_frames(tmp_path / "a.mp4", zip(times, clip(4), strict=True))
    found = [time for time, _ in read_frames(tmp_path / "a.mp4")]
    assert found == [time - times[0] for time in times]


def test_times_may_be_floats_and_always_rise(tmp_path):
    write_frames(tmp_path / "a.mp4", zip([0.0, 0.04, 0.04, 0.08], clip(4), strict=True))
    found = [time for time, _ in read_frames(tmp_path / "a.mp4")]
    assert found == [0, Fraction(3600, 90_000), Fraction(3601, 90_000), Fraction(7200, 90_000)]


def test_odd_sides_get_their_last_row_and_column_twice(tmp_path):
    (frame,) = clip(1, 33, 47)
    write_frames(tmp_path / "a.mp4", [(0, frame)])
    ((_, found),) = read_frames(tmp_path / "a.mp4")
    assert found.shape == (34, 48, 3)
    assert psnr(rgb_to_y(found[:33, :47]), rgb_to_y(frame), data_range=255) > 36


def turn(path, matrix):
    """Say in an mp4 file how its picture lies, as telephones do: the matrix of its track."""
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = matrix
    turned = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    place = data.index(identity, data.index(b"tkhd"))
    path.write_bytes(data[:place] + turned + data[place + len(identity) :])


@pytest.mark.parametrize(
    ("matrix", "quarters"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_a_picture_that_lies_on_its_side_is_turned(video, matrix, quarters):
    lying = [frame for _, frame in read_frames(video)]
    turn(video, matrix)
    upright = [frame for _, frame in read_frames(video)]
    for before, after in zip(lying, upright, strict=True):
        np.testing.assert_array_equal(after, np.rot90(before, quarters))
        assert after.flags.c_contiguous


def test_frames_are_read_one_by_one(video):
    stream = read_frames(video)
    first = next(stream)
    stream.close()
    assert first[1].shape == (64, 96, 3)
    os.remove(video)  # Windows allows it only if the file is closed


def test_frames_are_taken_one_by_one(tmp_path):
    alive, most = [], 0

    def frames():
        nonlocal most
        for k, frame in enumerate(clip()):
            alive.append(k)
            yield Fraction(k, 25), frame
            most = max(most, len(alive))
            alive.pop()

    assert write_frames(tmp_path / "a.mp4", frames()) == 6
    assert most == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.mp4", b"this is a text", "not a video that can be read here"),
        ("empty.mp4", b"", "not a video that can be read here"),
    ],
)
def test_what_is_no_video_says_so(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        next(read_frames(tmp_path / name))


def test_a_file_that_is_cut_off_says_so(video):
    video.write_bytes(video.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"clip\.mp4: (not a video|damaged after frame \d)"):
        list(read_frames(video))


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(ValueError, match=r"sound\.wav: holds no pictures .* got WAV"):
        next(read_frames(path))


def test_what_is_no_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        next(read_frames(tmp_path / "missing.mp4"))
    with pytest.raises(IsADirectoryError, match="a folder"):
        next(read_frames(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="a pipe or a device"):
        next(read_frames(tmp_path / "pipe.mp4"))


def test_other_containers_and_codecs_are_read(tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for picture in clip(3):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuvj420p")))
        container.mux(stream.encode())
    found = list(read_frames(path))
    assert [float(time) for time, _ in found] == pytest.approx([0, 0.1, 0.2])


def bad(frames, place, value):
    return [*frames[:place], value, *frames[place + 1 :]]


FRAMES = timed(clip(3))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "there is no frame to write"),
        (
            bad(FRAMES, 2, (1, clip(1, 32, 32)[0])),
            r"frame 2 must have the shape of the first, \(64, 96, 3\), got \(32, 32, 3\)",
        ),
        (bad(FRAMES, 1, (float("nan"), clip(1)[0])), "frame 1: the time must be .* got nan"),
        (bad(FRAMES, 1, (1, clip(1)[0] / 255.0)), "frame 1 must .*float64"),
        (bad(FRAMES, 0, (1, clip(1)[0][..., 0])), "frame 0 must"),
    ],
)
def test_frames_that_cannot_be_written_are_refused(video, frames, message):
    before = video.read_bytes()
    with pytest.raises((ValueError, TypeError), match=message):
        write_frames(video, frames)
    assert video.read_bytes() == before  # the older file is still there
    assert os.listdir(video.parent) == [video.name]  # and nothing else


def test_an_error_of_the_frames_source_leaves_nothing_behind(tmp_path):
    def frames():
        yield from itertools.islice(FRAMES, 2)
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        write_frames(tmp_path / "a.mp4", frames())
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_frames(tmp_path / "nowhere" / "a.mp4", FRAMES)
