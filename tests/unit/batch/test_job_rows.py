"""Lists of jobs: what they may look like, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinitetalk_cli.batch.pairs import find_pairs
from infinitetalk_cli.batch.rows import JobTable, read_table
from infinitetalk_cli.errors import InputError

COLUMNS = ("video", "audio", "output", "seed", "prompt", "lora", "camera-lock")
REPEATED = ("audio", "lora")


def table_of(path: Path, content: str | bytes) -> JobTable:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, COLUMNS, REPEATED)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, delimiter: str, mark: bytes):
    lines = ("Video,Audio,--camera_lock,seed", "a.mp4,a.wav,on,", "", "b.mp4,b1.wav | b2.wav,,7")
    table = table_of(tmp_path / "jobs.csv", mark + "\r\n".join(lines).replace(",", delimiter).encode())
    assert table.problems == []
    assert [(row.number, row.place) for row in table.rows] == [(2, "row 2"), (4, "row 4")]
    assert table.rows[0].values == {"video": ("a.mp4",), "audio": ("a.wav",), "camera-lock": ("on",)}
    assert table.rows[1].values == {"video": ("b.mp4",), "audio": ("b1.wav", "b2.wav"), "seed": ("7",)}


def test_texts_with_commas_quotes_and_bars_stay_whole(tmp_path: Path):
    table = table_of(tmp_path / "jobs.csv", 'video,audio,prompt\n"a, b.mp4",a.wav,"say ""x | y"""\n')
    assert table.rows[0].values["video"] == ("a, b.mp4",)
    assert table.rows[0].values["prompt"] == ('say "x | y"',)


def test_yaml_means_what_it_looks_like(tmp_path: Path):
    text = "- {video: a.mp4, audio: [a.wav, b.wav], seed: 010, prompt: no}\n- video: b.mp4\n  audio: 1:30\n  lora: ~\n"
    table = table_of(tmp_path / "jobs.yaml", text)
    assert table.problems == []
    assert table.rows[0].values == {
        "video": ("a.mp4",), "audio": ("a.wav", "b.wav"), "seed": ("010",), "prompt": ("no",),
    }  # fmt: skip
    assert table.rows[1].values == {"video": ("b.mp4",), "audio": ("1:30",)}
    assert table.rows[1].place == "entry 2 (line 2)"


def test_all_problems_of_a_list_are_told_at_once(tmp_path: Path):
    text = "video,audio,sead,audio,\na.mp4,a.wav,1,2,3,4\nb.mp4,b.wav\n"
    table = table_of(tmp_path / "jobs.csv", text)
    with pytest.raises(InputError) as caught:
        table.require_sound()
    lines = str(caught.value).splitlines()
    assert len(lines) == 4 and all(line.startswith(f"{tmp_path}/jobs.csv, row ") for line in lines)
    assert "'sead'; did you mean 'seed'?" in lines[0]
    assert "a column has no name" in lines[1] and "'audio' is there 2 times" in lines[2]
    assert "row 2: has 6 cells, but there are 5 columns" in lines[3]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jobs.csv", b"", "has no jobs"),
        ("jobs.csv", b"video,audio\n\n", "has no jobs"),
        ("jobs.yaml", b"# nothing\n", "has no jobs"),
        ("jobs.csv", "video,audio\na.mp4,a.wav\n".encode("utf-16"), "UTF-16"),
        ("jobs.csv", b"video,audio\na.mp4,\xe4.wav\n", "row 2: is not UTF-8"),
        ("jobs.csv", b"video,audio\na.mp4,\0\n", "row 2: is not text"),
        ("jobs.yaml", b"video: a.mp4\naudio: a.wav\n", "should be a list"),
        ("jobs.yaml", b"- video: [\n", "is not valid YAML"),
        ("jobs.xlsx", b"PK", "should end in .csv"),
    ],
)
def test_what_is_no_list_is_one_sentence(tmp_path: Path, name: str, content: bytes, said: str):
    with pytest.raises(InputError, match=said) as caught:
        table_of(tmp_path / name, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("jobs.csv", 'video,audio\na.mp4,"a.wav\n', "is not valid CSV"),
        ("jobs.csv", "video,output\na.mp4,b.mp4\n", "no column 'audio'"),
        ("jobs.yaml", "- video: a.mp4\n  audio: a.wav\n  seed: 1\n  seed: 2\n", "'seed' is given twice"),
        ("jobs.yaml", "- a.mp4\n", "should have 'video: ...'"),
        ("jobs.yaml", "- {video: a.mp4, audio: a.wav, seed: [1, 2]}\n", "2 values, but takes one"),
        ("jobs.yaml", "- {video: a.mp4, audio: {a: b}}\n", "one value, or a list"),
    ],
)
def test_problems_of_rows(tmp_path: Path, name: str, text: str, said: str):
    assert any(said in problem for problem in table_of(tmp_path / name, text).problems)


def test_pairs_of_a_folder_and_what_is_left_over(tmp_path: Path):
    for name in ("a.mp4", "a.fr.wav", "a.es.wav", "b.MKV", "c.fr.wav", "a.fr.dubbed.mp4", ".hidden.mp4", "d.txt"):
        (tmp_path / name).touch()
    pairs = find_pairs(tmp_path, ".fr.wav", tmp_path / "out")
    [row] = pairs.table.rows
    assert row.values["video"] == ("a.mp4",) and row.values["audio"] == ("a.fr.wav",)
    assert row.values["output"] == (str(tmp_path / "out" / "a.fr.dubbed.mp4"),)
    assert [path.name for path in pairs.lone_videos] == ["b.MKV"]
    assert [path.name for path in pairs.lone_voices] == ["c.fr.wav"]


def test_two_videos_of_one_voice_are_a_problem(tmp_path: Path):
    for name in ("a.mp4", "a.mov", "a.wav"):
        (tmp_path / name).touch()
    assert "same voice as a.mov" in find_pairs(tmp_path, ".wav").table.problems[0]


def test_a_folder_without_pairs_says_what_is_there(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="1 videos and 0 such voices"):
        find_pairs(tmp_path, ".fr.wav")
    with pytest.raises(InputError, match="wants a folder"):
        find_pairs(tmp_path / "none", ".fr.wav")
