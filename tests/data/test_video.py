"""Video files that OpenCV writes itself, whole, broken and cut."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mnasnet.data.video import Video, VideoFileError, VideoWriter
from mnasnet.errors import DataError

FRAMES = 12


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    """Twelve frames whose red channel is ten times their number; blue is always 200."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), (200, 0, number * 10), np.uint8))
    writer.release()
    return path


def read_frames(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    with Video(path) as video:
        yield from video


def frame_spans(data: bytes) -> list[tuple[int, int]]:
    """Start and end of each frame's JPEG inside an AVI file."""
    spans, at = [], data.find(b"movi")
    while len(spans) < FRAMES:
        at = data.find(b"00dc", at + 1)
        spans.append((at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")))
    return spans


def test_frames_come_in_order_as_rgb(video_file: Path) -> None:
    with Video(video_file) as video:
        frames = list(video)

    assert [index for index, _ in frames] == list(range(FRAMES))
    red, _, blue = frames[9][1][24, 32].astype(int)
    assert abs(red - 90) <= 4  # JPEG loses a little
    assert abs(blue - 200) <= 4


def test_a_video_says_its_length_and_rate(video_file: Path) -> None:
    with Video(video_file) as video:
        assert (video.frame_count, video.frames_per_second) == (FRAMES, 10)


def test_a_name_outside_ascii_is_no_obstacle(video_file: Path) -> None:
    renamed = video_file.rename(video_file.with_name("фильм 猫.avi"))

    with Video(renamed) as video:
        assert len(list(video)) == FRAMES


def test_broken_frames_are_skipped_and_counted(video_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(video_file.read_bytes())
    for number in (4, 5, 10):
        start, end = frame_spans(bytes(data))[number]
        data[start:end] = bytes(end - start)
    video_file.write_bytes(data)

    with Video(video_file) as video, caplog.at_level(logging.WARNING):
        numbers = [index for index, _ in video]

    assert numbers == [0, 1, 2, 3, 6, 7, 8, 9, 11]
    assert video.skipped == 3
    assert "3 of 12 frames are broken" in caplog.text


def test_a_cut_video_gives_what_it_has_and_says_so(video_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = video_file.read_bytes()
    video_file.write_bytes(data[: frame_spans(data)[7][0] - 8])

    with Video(video_file) as video, caplog.at_level(logging.WARNING):
        frames = list(video)

    assert len(frames) == 7
    assert video.skipped == 0
    assert "ends after 7 of 12" in caplog.text


def test_an_unknown_codec_is_named_with_the_way_out(video_file: Path) -> None:
    video_file.write_bytes(video_file.read_bytes().replace(b"MJPG", b"XY12"))

    with pytest.raises(DataError, match=r"codec XY12.*ffmpeg -i"):
        list(Video(video_file))


def test_a_codec_that_is_named_at_the_end_of_a_long_file_is_found(tmp_path: Path) -> None:
    """Cameras write what an MP4 file holds behind its frames."""
    (tmp_path / "long.mp4").write_bytes(bytes(2**21) + b"vide" + bytes(40) + b"stsd" + bytes(12) + b"XY12" + bytes(99))

    with pytest.raises(DataError, match=r"codec XY12"):
        Video(tmp_path / "long.mp4")


def test_a_rate_that_no_film_has_is_not_believed(video_file: Path, tmp_path: Path) -> None:
    data = bytearray(video_file.read_bytes())
    at = data.find(b"vids") + 20
    data[at : at + 8] = (1).to_bytes(4, "little") + (90_000).to_bytes(4, "little")  # its rate as a fraction
    video_file.write_bytes(data)

    with Video(video_file) as video:
        assert video.frames_per_second is None
    with VideoWriter(tmp_path / "copy.mp4", like=video_file) as copy:
        copy.write(np.zeros((48, 64, 3), np.uint8))
    with Video(tmp_path / "copy.mp4") as video:
        assert video.frames_per_second == 25


def test_a_video_with_no_good_frame_is_an_error(video_file: Path) -> None:
    data = bytearray(video_file.read_bytes())
    for start, end in frame_spans(bytes(data)):
        data[start:end] = bytes(end - start)
    video_file.write_bytes(data)

    with Video(video_file) as video, pytest.raises(DataError, match="cannot decode its frames"):
        list(video)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty file"), (b"just text" * 50, "not a video")])
def test_what_is_no_video_is_an_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)

    with pytest.raises(DataError, match=reason):
        Video(path)


def test_a_video_without_frames_is_called_that(tmp_path: Path) -> None:
    cv2.VideoWriter(str(tmp_path / "none.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48)).release()

    with pytest.raises(VideoFileError, match="a video of 0 frames; its recording may have ended too early"):
        list(read_frames(tmp_path / "none.avi"))


def test_a_missing_video_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing.mp4: there is no such file"):
        Video(tmp_path / "nothing.mp4")
    with pytest.raises(DataError, match="a folder, not a video"):
        Video(tmp_path)


def test_closing_ends_the_iteration(video_file: Path) -> None:
    video = Video(video_file)
    frames = iter(video)
    next(frames)

    video.close()

    assert list(frames) == []


def test_a_written_video_has_the_frames_and_the_pace_of_its_model(video_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "копия.mp4"

    with VideoWriter(target, like=video_file) as writer:
        for _, frame in read_frames(video_file):
            writer.write(frame)

    with Video(target) as video:
        frames = [frame for _, frame in video]
        assert video.frames_per_second == 10
    assert len(frames) == FRAMES
    assert np.abs(frames[9][24, 32].astype(int) - (90, 0, 200)).max() <= 12  # MPEG-4 loses more than JPEG
    assert [path.name for path in target.parent.iterdir()] == ["копия.mp4"]


def test_a_frame_that_is_shown_for_longer_stays_in_the_copy(video_file: Path, tmp_path: Path) -> None:
    times_s = (0.0, 0.1, 0.2, 1.2, 1.3)

    with VideoWriter(tmp_path / "copy.mp4", like=video_file) as writer:
        for number, at_s in enumerate(times_s):
            writer.write(np.full((48, 64, 3), 50 * number, np.uint8), at_s)

    shades = [round(frame.mean() / 50) for _, frame in read_frames(tmp_path / "copy.mp4")]
    assert shades == [0, 1, *[2] * 10, 3, 4]


def test_times_that_jump_fill_the_copy_once_and_no_further_than_ten_minutes(video_file: Path, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "copy.mp4", like=video_file, every=10) as writer:  # one frame a second
        for at_s in (0.0, 5_000.0, 5_001.0, 5_002.0):
            writer.write(np.zeros((48, 64, 3), np.uint8), at_s)

    assert len(list(read_frames(tmp_path / "copy.mp4"))) == 600 + 3


def test_a_copy_lasts_as_long_as_a_film_with_broken_frames(video_file: Path, tmp_path: Path) -> None:
    data = bytearray(video_file.read_bytes())
    for number in (4, 5, 9):
        start, end = frame_spans(bytes(data))[number]
        data[start:end] = bytes(end - start)
    video_file.write_bytes(data)

    with Video(video_file) as video, VideoWriter(tmp_path / "copy.mp4", like=video_file) as writer:
        for _, frame in video:
            writer.write(frame, video.time_s)

    assert len(list(read_frames(tmp_path / "copy.mp4"))) == FRAMES


def test_a_copy_of_one_frame_in_many_thousands_is_written(video_file: Path, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "copy.mp4", like=video_file, every=100_000) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)

    assert len(list(read_frames(tmp_path / "copy.mp4"))) == 1


def test_a_video_of_odd_size_is_written(video_file: Path, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4", like=video_file) as writer:
        for _ in range(3):
            writer.write(np.full((47, 63, 3), 90, np.uint8))

    assert len(list(read_frames(tmp_path / "odd.mp4"))) == 3


def test_a_failed_writing_leaves_no_file(video_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "half.mp4", like=video_file) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        raise RuntimeError

    assert [path.name for path in tmp_path.iterdir()] == ["film.avi"]


def test_a_colon_in_a_name_is_no_protocol(video_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    video_file.rename("12:30:00.avi")

    with VideoWriter(Path("an:1/film.mp4"), like=Path("12:30:00.avi")) as writer:
        for _, frame in read_frames(Path("12:30:00.avi")):
            writer.write(frame)

    assert len(list(read_frames(Path("an:1/film.mp4")))) == FRAMES


def test_a_video_that_does_not_open_when_it_is_written_is_no_video(video_file: Path, tmp_path: Path) -> None:
    """OpenCV says nothing of a disk that was full."""
    with pytest.raises(DataError, match="could not be written to its end; is the disk full"):
        with VideoWriter(tmp_path / "out" / "film.mp4", like=video_file) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            (part,) = (tmp_path / "out").iterdir()
            part.unlink()
            part.write_bytes(b"what the disk still took")

    assert not list((tmp_path / "out").iterdir())
