"""What a job does with a file, as functions that a trial process calls: they return plain data."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

_MOST_FRAMES = 200


def read_video(path: str, voice: str, folder: str) -> dict[str, Any]:
    """Read the file as the video of a job: the stages that look at it, its frames, and a result made from it."""
    return _outcome(lambda: _read_video(Path(path), Path(voice), Path(folder)))


def read_sound(path: str, video: str, folder: str) -> dict[str, Any]:
    """Read the file as the new voice of a job."""
    return _outcome(lambda: _read_sound(Path(path), Path(video), Path(folder)))


def command(arguments: list[str], cache: str) -> dict[str, Any]:
    """`infinitetalk ARGUMENTS`: its exit code, the last line it said, all of it, and the log."""
    from infinitetalk_cli.cli.app import main

    os.environ["INFINITETALK_CACHE"] = cache
    sys.argv = ["infinitetalk", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 0
    said = err.getvalue()
    log = "".join(file.read_text() for file in Path(cache).glob("logs/*")) if code == 1 else ""
    return {"code": int(code), "message": said.strip(), "stdout": out.getvalue(), "log": log}


def check_job(path: str, voice: str, profile: str, folder: str, options: list[str]) -> dict[str, Any]:
    """`infinitetalk dub` of the file; where it succeeds, the result is looked at."""
    result = Path(folder) / "out.mp4"
    arguments = ["dub", path, "--audio", voice, "--profile", profile, "--json", "-o", str(result), *options]
    outcome = command(arguments, str(Path(folder) / "cache"))
    if outcome["code"] == 0 and "--dry-run" not in options:
        document = json.loads(outcome["stdout"])
        _check_result(result, document["model_frames"])
        assert abs(document["model_frames"] / 25 - document["duration_s"]) <= 1 / 25
    return outcome


def _outcome(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Exit code and sentence as the command would end with; anything but our errors is a bug with its traceback."""
    import logging
    import traceback

    from infinitetalk_cli.errors import InfiniteTalkError

    logging.getLogger().addHandler(logging.NullHandler())
    try:
        return {"code": 0, "message": "", **run()}
    except InfiniteTalkError as exc:
        return {"code": int(exc.exit_code), "message": str(exc)}
    except MemoryError:
        return {"code": 6, "message": "out of memory", "log": traceback.format_exc()}
    except Exception:
        return {"code": 1, "message": "a bug", "log": traceback.format_exc()}


def _read_video(path: Path, voice: Path, folder: Path) -> dict[str, Any]:
    import numpy as np

    from infinitetalk_cli.config.load import load_profile
    from infinitetalk_cli.media.containers import EncodeSettings
    from infinitetalk_cli.media.info import MediaInfo
    from infinitetalk_cli.media.probe import probe, probe_audio, require_audio, require_video
    from infinitetalk_cli.media.reader import FrameReader
    from infinitetalk_cli.media.rehearsal import rehearse_output
    from infinitetalk_cli.media.scan import scan_timeline
    from infinitetalk_cli.media.timeline import SourceTimeline
    from infinitetalk_cli.media.writer import write_output
    from infinitetalk_cli.stages.source_pixels import model_size

    info = probe(path)
    video = require_video(path, info)
    rate = Fraction(25)
    settings = EncodeSettings(keep_original_audio=True, preset="ultrafast")
    sound = require_audio(voice, probe_audio(voice))
    out = folder / "out.mp4"
    rehearse_output(out, settings, info, sound, rate, starts_at_zero=True)
    assert MediaInfo.model_validate_json(info.model_dump_json()) == info
    model_size(video, load_profile("nano").geometry)
    timeline = scan_timeline(path, info)
    timeline.save(folder / "timeline.npz")
    timeline = SourceTimeline.load(folder / "timeline.npz")
    count = min(timeline.num_frames, _MOST_FRAMES)
    with FrameReader(path, info, timeline, (32, 18)) as reader:
        for pixels in reader.read(range(count)):
            assert pixels.shape in ((18, 32, 3), (32, 18, 3))
    places = sorted({0, count // 3, count // 2, count - 1})
    with FrameReader(path, info, timeline) as reader:
        frames = [next(reader.read([place])) for place in places]
    for place, pixels in zip(places, frames, strict=True):
        assert (pixels.shape[1], pixels.shape[0]) == video.upright_size
        with FrameReader(path, info, timeline) as reader:
            assert np.array_equal(next(reader.read([place])), pixels), f"frame {place} depends on what was read before"
    number = 15
    write_output(
        out,
        (frames[i % len(frames)] for i in range(number)),
        number,
        rate,
        source=path,
        source_info=info,
        dub_audio=voice,
        audio_stop_s=number / rate,
        settings=settings,
    )
    _check_result(out, number)
    return {"frames": timeline.num_frames}


def _read_sound(path: Path, video: Path, folder: Path) -> dict[str, Any]:
    import numpy as np

    from infinitetalk_cli.media.audio import decode_mono
    from infinitetalk_cli.media.containers import EncodeSettings
    from infinitetalk_cli.media.mixing import mix_voices
    from infinitetalk_cli.media.probe import probe, probe_audio, require_audio
    from infinitetalk_cli.media.rehearsal import rehearse_output
    from infinitetalk_cli.media.writer import write_output

    voice_info = probe_audio(path)
    voice = require_audio(path, voice_info)
    source = probe(video)
    out, rate = folder / "out.mp4", Fraction(25)
    settings = EncodeSettings(preset="ultrafast")
    rehearse_output(out, settings, source, voice, rate, starts_at_zero=True)
    track = decode_mono(path, folder / "speech.f32")
    samples = np.memmap(folder / "speech.f32", "<f4", mode="r") if track.num_samples else np.zeros(0)
    assert len(samples) == track.num_samples > 0 and np.isfinite(samples[:1_000_000]).all()
    mix_voices([path, path], folder / "mix.flac", in_turn=False)
    number = max(1, min(30, -int(-track.duration_s * rate // 1)))
    pixels = np.zeros((64, 96, 3), np.uint8)
    write_output(
        out,
        (pixels for _ in range(number)),
        number,
        rate,
        source=video,
        source_info=source,
        dub_audio=path,
        audio_stop_s=min(track.duration_s, number / rate),
        settings=settings,
    )
    _check_result(out, number)
    return {"seconds": float(track.duration_s)}


def _check_result(path: Path, num_frames: int) -> None:
    """The file decodes, and has as many frames as it should."""
    import av

    with av.open(f"file:{path}") as container:
        count = sum(1 for _ in container.decode(video=0))
    assert count == num_frames, f"the result has {count} frames, not {num_frames}"
    with av.open(f"file:{path}") as container:
        sound = container.streams.audio[0]
        num_samples = sum(frame.samples for frame in container.decode(sound))
    assert num_samples > 0, "the result has no sound"
    assert num_samples / sound.rate <= num_frames / 25 + 0.2, "the sound of the result is too long"
