"""What comes along from the source: subtitles, chapters, tags, cover art, attachments."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from media_clips import MakeClip
from synthetic import Clip, draw, make_audio, tone

from infinitetalk_cli.media.extras import output_chapters, output_metadata
from infinitetalk_cli.media.info import Chapter, MediaInfo
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.writer import write_output

TEXTS = ((Fraction(1, 2), Fraction(1), "Hallo <i>du</i>"), (Fraction(3, 2), Fraction(2), "Welt"))
CHAPTERS = ((Fraction(0), Fraction(1), "one"), (Fraction(1), Fraction(2), "two"))
SOURCES = {
    "s.mkv": Clip(
        subtitles=TEXTS, chapters=CHAPTERS, cover=True, attachment=True, metadata={"title": "Ä", "custom": "9"}
    ),
    "s.mp4": Clip(subtitles=TEXTS, chapters=CHAPTERS, metadata={"title": "Ä", "comment": "old"}),
    "cover.mp4": Clip(num_frames=5, cover=True, metadata={"title": "Ä"}),
}

Dub = Callable[..., MediaInfo]


@pytest.fixture
def dub(tmp_path: Path, clip_file: MakeClip) -> Dub:
    def write(source_name: str, name: str, num_frames: int = 50, **options: object) -> MediaInfo:
        source = clip_file(source_name, SOURCES[source_name])
        sound = make_audio(tmp_path / "dub.wav", tone(1.0))
        write_output(
            tmp_path / name, (draw(n, 48, 32) for n in range(num_frames)), num_frames, Fraction(25),
            source=source, source_info=probe(source), dub_audio=sound, **options,
        )  # fmt: skip
        return probe(tmp_path / name)

    return write


def subtitles_of(path: Path) -> list[tuple[float, float, bytes]]:
    """(start, duration, payload) of every shown text."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.subtitles[0]) if p.size > 2]
        return [(float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)) for p in packets]


@pytest.mark.parametrize("source", ["s.mkv", "s.mp4"])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "mov_text"), (".mov", "mov_text"), (".mkv", "subrip"), (".webm", "webvtt")]
)
def test_subtitles_come_along_in_the_containers_own_codec(
    tmp_path: Path, dub: Dub, source: str, suffix: str, codec: str
):
    info = dub(source, f"a{suffix}")
    (stream,) = [s for s in info.other if s.kind == "subtitle"]
    assert (stream.codec, stream.language) == (codec, "ger" if suffix == ".mov" else "deu")
    first, second = subtitles_of(tmp_path / f"a{suffix}")
    assert first[:2] == pytest.approx((0.5, 0.5))
    assert second[:2] == pytest.approx((1.5, 0.5))
    assert b"Hallo" in first[2]
    assert b"Welt" in second[2]


def test_subtitles_move_with_the_stretch(tmp_path: Path, dub: Dub):
    dub("s.mkv", "a.mkv", num_frames=25, source_start_s=Fraction(3, 4))
    assert [text[:2] for text in subtitles_of(tmp_path / "a.mkv")] == [
        pytest.approx((0, 0.25)),
        pytest.approx((0.75, 0.25)),
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_chapters_and_tags(dub: Dub, suffix: str):
    info = dub("s.mp4", f"a{suffix}", metadata={"comment": "synthetic", "Seed": "7"})
    assert [(c.start_s, c.stop_s, c.metadata["title"]) for c in info.chapters] == [(0, 1, "one"), (1, 2, "two")]
    tags = {key.lower(): value for key, value in info.metadata.items()}
    assert (tags["title"], tags["comment"], tags["seed"]) == ("Ä", "synthetic", "7")


def test_well_known_tags_are_written_where_players_look(tmp_path: Path, dub: Dub):
    dub("s.mp4", "a.mp4", metadata={"comment": "synthetic"})
    assert "\N{COPYRIGHT SIGN}cmt".encode("latin-1") in (tmp_path / "a.mp4").read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_cover_art(dub: Dub, suffix: str):
    assert [s.kind for s in dub("cover.mp4", f"a{suffix}", num_frames=5).other] == ["cover"]


def test_attachments_and_cover_between_matroska_files(dub: Dub):
    assert [s.kind for s in dub("s.mkv", "a.mkv").other] == ["subtitle", "cover", "attachment"]


def test_what_a_container_refuses_is_dropped_aloud(dub: Dub, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        info = dub("s.mkv", "a.webm")
    assert [s.kind for s in info.other] == ["subtitle"]
    assert "attachment stream 3 (font.ttf) cannot be kept" in caplog.text
    assert "cover art cannot be kept" in caplog.text


def test_index_stands_first(tmp_path: Path, dub: Dub):
    dub("s.mp4", "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_added_tags_replace_the_sources_and_the_old_containers_go():
    source = {"title": "T", "COMMENT": "old", "major_brand": "isom", "encoder": "Lavf", "creation_time": "2020"}
    assert output_metadata(source, {"comment": "new"}) == {"title": "T", "creation_time": "2020", "comment": "new"}


def test_chapters_are_cut_to_the_stretch():
    chapters = [Chapter(start_s=Fraction(a), stop_s=Fraction(a + 2), metadata={"title": str(a)}) for a in (0, 2, 4)]
    cut = output_chapters(chapters, Fraction(1), Fraction(3))
    assert [(c["start"], c["end"], c["metadata"]["title"]) for c in cut] == [(0, 1000, "0"), (1000, 2000, "2")]
