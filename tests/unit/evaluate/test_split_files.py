"""Split files, whose audio each clip gets, and the public lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infinitetalk_cli.errors import InputError, ProfileError
from infinitetalk_cli.evaluate.splits.donors import by_hash, donors, speaker_of
from infinitetalk_cli.evaluate.splits.make import from_folder, from_lists
from infinitetalk_cli.evaluate.splits.public_lists import read_lists, square_of, youtube_id
from infinitetalk_cli.evaluate.splits.split import Prepare, Split, read_split, split_text, write_split

_SPLIT = """\
schema: 1
name: two
dataset: own
seed: 1
items:
- {id: a, video: a.mp4, audio_from: b}
- id: b
  video: [b.mp4, b/b.mkv]
  crop: [1, 2, 30, 40]
  audio_from: a
  source: {youtube: abcdefghijk, start: "00:00:30"}
"""


def _written(folder: Path, text: str) -> Path:
    path = folder / "split.yaml"
    path.write_text(text)
    return path


def test_a_split_reads_back_as_it_was_written(tmp_path: Path) -> None:
    split = read_split(_written(tmp_path, _SPLIT))
    assert split.items[1].video == ("b.mp4", "b/b.mkv")
    assert split.items[0].end is None
    write_split(split, tmp_path / "again.yaml")
    assert read_split(tmp_path / "again.yaml") == split


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("audio_from: b}", "audio_from: c}", "split.yaml:6: items[0].audio_from: no item has the id 'c'"),
        ("audio_from: b}", "audio_from: a}", "split.yaml:6: items[0].audio_from: 'a' must not keep its own audio"),
        ("video: a.mp4", "video: ../a.mp4", "split.yaml:6: items[0].video: '../a.mp4' must be a path below"),
        ("crop:", "corp:", "split.yaml:9: items[1].corp: unknown key; did you mean 'crop'?"),
        ("seed: 1", "seed: one", "split.yaml:4: seed: must be a whole number"),
        ("- id: b", "- id: a", "the id 'a' is given twice"),
        ("id: a,", "id: x/a,", "split.yaml:6: items[0].id: must be fit for a file name"),
        ("schema: 1", "schema: 2", "split.yaml:1: schema: must be 1"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(tmp_path: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read_split(_written(tmp_path, _SPLIT.replace(before, after)))
    assert said in str(caught.value)


def test_order_and_donors_do_not_depend_on_anything_but_seed_and_ids() -> None:
    ids = [f"clip{number}" for number in range(20)]
    order = by_hash(ids, 2508)
    assert order == by_hash(reversed(ids), 2508) != by_hash(ids, 2509)
    # The order itself, so that it never changes: sha256 of "2508:clip0" and so on, worked out apart from our code.
    assert order[:3] == ["clip8", "clip18", "clip5"]
    given = donors(order, str)
    assert sorted(given.values()) == sorted(ids)
    seen, name = set(), order[0]
    while name not in seen:
        seen.add(name)
        name = given[name]
    assert len(seen) == len(ids), "one cycle"


def test_nobody_gets_the_voice_of_the_same_speaker() -> None:
    assert speaker_of("WDA_AdamSmith1_0") == speaker_of("WDA_AdamSmith_2") == "WDA_AdamSmith"
    order = ["Ann_0", "Ann_1", "Bob_0", "Ann_2", "Bob_1", "Cy_0"]
    given = donors(order)
    assert sorted(given.values()) == sorted(order)
    assert all(speaker_of(name) != speaker_of(donor) for name, donor in given.items())
    only_one = donors(["Ann_0", "Ann_1", "Ann_2"])
    assert all(name != donor for name, donor in only_one.items())


@pytest.fixture
def hdtf_lists(tmp_path: Path) -> Path:
    """HDTF's own layout: one video without times, one span without a crop, a BOM, three spellings of addresses."""
    texts = {
        "RD_video_url.txt": "\ufeffRadio1 https://www.youtube.com/watch?v=aaaaaaaaaaa\nRadio2 https://youtu.be/bbbbbbbbbbb?t=3\n"
        "Lost https://www.youtube.com/watch?list=x&v=ccccccccccc\n",
        "RD_annotion_time.txt": "Radio1.mp4 00:30-01:00 01:10-02:05\nRadio2.mp4 00:05-00:09\n",
        "RD_crop_wh.txt": "Radio1_0.mp4 100 512 20 512\nRadio2_0.mp4 1 300 2 300\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_hdtf_lists(hdtf_lists: Path) -> None:
    listed = read_lists("hdtf", [hdtf_lists])
    assert [clip.id for clip in listed.clips] == ["RD_Radio1_0", "RD_Radio2_0"]
    first = listed.clips[0]
    assert (first.youtube, float(first.start_s), float(first.end_s)) == ("aaaaaaaaaaa", 30, 60)
    assert first.crop == (100, 20, 512, 512), "the list's order is x, w, y, h"
    assert "RD_Radio1_000.mp4" in first.files
    assert listed.clips[1].youtube == "bbbbbbbbbbb"
    assert [note.partition(":")[0] for note in listed.notes] == ["RD_Radio1_1", "RD_Lost"]


def test_a_split_of_a_list_says_what_list_it_was(hdtf_lists: Path) -> None:
    split, _ = from_lists("hdtf", [hdtf_lists], clips=40, seed=1, prepare=Prepare(), revision="abc123")
    assert {item.id for item in split.items} == {"RD_Radio1_0", "RD_Radio2_0"}
    assert all(item.audio_from != item.id for item in split.items)
    assert {source.revision for source in split.lists} == {"abc123"}
    assert all(len(source.sha256) == 64 for source in split.lists)
    assert Split.model_validate(split.model_dump(by_alias=True)) == split
    assert "audio_from: RD_Radio" in split_text(split)


def test_celebv_hq_and_emtd_lists(tmp_path: Path) -> None:
    info = {
        "clips": {
            "vid_1_0": {
                "ytb_id": "vidvidvidvi", "duration": {"start_sec": 81.62, "end_sec": 86.17},
                "bbox": {"top": 0.1, "bottom": 0.9, "left": 0.4, "right": 0.8},
            },
            "vid_1_1": {"ytb_id": "vidvidvidvi"},
        }
    }  # fmt: skip
    (tmp_path / "celebvhq_info.json").write_text(json.dumps(info))
    celebs = read_lists("celebv-hq", [tmp_path / "celebvhq_info.json"])
    assert [clip.id for clip in celebs.clips] == ["vid_1_0"]
    assert len(celebs.notes) == 1
    # 0.42 to 0.78 wide of 1000 px, 0.08 to 0.92 high of 500: a square of 440 px around the middle, moved inside.
    assert square_of(celebs.clips[0].box, 1000, 500) == (380, 30, 440, 440)

    rows = "URL,Start Timecode,End Timecode\n" + "".join(
        f"{url},00:00:{start},00:00:{end}\n"
        for url, start, end in (
            ("https://www.youtube.com/watch?v=dddddddddd1", "01.500", "04.000"),
            ("https://www.youtube.com/watch?app=desktop&v=dddddddddd2", "05.000", "09.000"),
            ("https://youtube.com/watch?v=dddddddddd3&t=10s", "00.000", "02.200"),
        )
    )
    (tmp_path / "emtd.csv").write_text("\ufeff" + rows)
    split, listed = from_lists("emtd", [tmp_path / "emtd.csv"], clips=40, seed=1, prepare=Prepare())
    assert [clip.id for clip in listed.clips] == ["0_dddddddddd1", "1_dddddddddd2", "2_dddddddddd3"]
    assert split.item("0_dddddddddd1").end == 2.26, "three frames are trimmed at both ends"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://www.youtube.com/watch?v=abc-EF_1234", "abc-EF_1234"),
        ("youtu.be/abc-EF_1234?si=x", "abc-EF_1234"),
        ("https://www.youtube.com/shorts/abc-EF_1234", "abc-EF_1234"),
        ("abc-EF_1234", "abc-EF_1234"),
        ("https://example.org/film.mp4", None),
    ],
)
def test_addresses(text: str, found: str | None) -> None:
    assert youtube_id(text) == found


def test_a_bad_list_is_named_with_its_line(hdtf_lists: Path) -> None:
    (hdtf_lists / "RD_annotion_time.txt").write_text("Radio1.mp4 00:30-01:00\nRadio2.mp4 09:00-00:05\n")
    with pytest.raises(InputError, match=r"RD_annotion_time\.txt:2: '09:00-00:05' ends before it begins"):
        read_lists("hdtf", [hdtf_lists])
    (hdtf_lists / "RD_annotion_time.txt").unlink()
    with pytest.raises(InputError, match=r"RD_annotion_time\.txt is needed too"):
        read_lists("hdtf", [hdtf_lists])


def test_entries_that_no_split_can_hold_are_left_out_with_a_note(tmp_path: Path, hdtf_lists: Path) -> None:
    lines = ("a" * 11 + ",00:00:01,00:00:05", "b" * 11 + ",00:00:01,00:00:01.1", "c" * 11 + ",00:00:01,00:00:05")
    (tmp_path / "emtd.csv").write_bytes("\r".join(("URL,Start Timecode,End Timecode", *lines)).encode())
    for uncut in (None, tmp_path):
        split, listed = from_lists("emtd", [tmp_path / "emtd.csv"], clips=9, seed=1, prepare=Prepare(), uncut=uncut)
        assert {item.id for item in split.items} == {"0_aaaaaaaaaaa", "2_ccccccccccc"}
        assert any("1_bbbbbbbbbbb" in note for note in listed.notes)
    clip = {"ytb_id": "v" * 11, "duration": {"start_sec": 1, "end_sec": 4},
            "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1}}  # fmt: skip
    (tmp_path / "info.json").write_text(json.dumps({"clips": {"a": clip, "b": clip, "../c": clip}}))
    split, listed = from_lists("celebv-hq", [tmp_path / "info.json"], clips=9, seed=1, prepare=Prepare())
    assert {item.id for item in split.items} == {"a", "b"}
    assert listed.notes[0].startswith("../c: its entry cannot be used")


def test_no_file_of_a_folder_takes_anothers_id(tmp_path: Path) -> None:
    names = {"a b.mp4", "a+b.mp4", "a_b.mp4", "x" * 200 + ".mp4", "x" * 201 + ".mp4", "\u65e5" * 80 + ".mp4"}
    for name in names:
        (tmp_path / name).touch()
    split = from_folder(tmp_path, name="mine", clips=40, seed=1, prepare=Prepare())
    assert {item.video[0] for item in split.items} == names


def test_a_folder_of_videos(tmp_path: Path) -> None:
    for name in ("x y.mp4", "deep/z.mkv", "z.mov", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    split = from_folder(tmp_path, name="mine", clips=40, seed=1, prepare=Prepare())
    assert {item.id: item.video for item in split.items} == {
        "x_y": ("x y.mp4",), "deep_z": ("deep/z.mkv",), "z": ("z.mov",)
    }  # fmt: skip
    (tmp_path / "z.mov").unlink()
    (tmp_path / "deep" / "z.mkv").unlink()
    with pytest.raises(InputError, match="two at least"):
        from_folder(tmp_path, name="mine", clips=40, seed=1, prepare=Prepare())
