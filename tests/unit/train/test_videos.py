"""A folder of videos as training data: what is taken, what is refused and why, and that nothing is encoded twice."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from footage import Film, Shot, join
from safetensors.torch import load_file
from synthetic import Clip, ClipAudio, make_clip, read_frame_number, silence, truncate
from talking import speech_samples, write_talk

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.models.nano_audio import NanoAudioEncoder
from infinitetalk_cli.models.nano_codec import NanoCodec
from infinitetalk_cli.progress import SilentProgress
from infinitetalk_cli.train.faces import Box, mouth_of
from infinitetalk_cli.train.settings import VideoSettings
from infinitetalk_cli.train.video_cache import cache_folder, nano_encoder, prepare_videos
from infinitetalk_cli.train.videos import SourceFile, clips_of, find_videos, held_out_files, reason

SMALL = (96, 64)
SETTINGS = VideoSettings(area_px=6144, clip_frames=29, crop="whole", min_speech_share=0.3)


class Notes(SilentProgress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def voice():
    return (ClipAudio(speech_samples()[:, None], 16_000),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two films that can be used (one with a cut, one at 30 frames per second), and six that cannot."""
    folder = tmp_path_factory.mktemp("talks")
    rate = Fraction(25)
    film = join([Shot(1, 2.6), Shot(2, 2.6)], rate)
    small = Film([frame[::2, ::2] for frame in film.frames], film.times_s, film.cuts)
    write_talk(folder / "cut.mkv", small, rate)
    make_clip(folder / "thirty.mp4", Clip(150, SMALL, Fraction(30), audio=voice(), options={"crf": "10"}))
    make_clip(folder / "mute.mp4", Clip(60, SMALL))
    make_clip(folder / "silent.mp4", Clip(60, SMALL, audio=(ClipAudio(silence(2.4)),)))
    make_clip(folder / "short.mp4", Clip(12, SMALL, audio=voice()))
    truncate(folder / "thirty.mp4", 0.5, folder / "torn.mp4")
    (folder / "noise.mov").write_bytes(b"not a film at all" * 100)
    (folder / "copy.mp4").write_bytes((folder / "thirty.mp4").read_bytes())
    (folder / "notes.txt").write_text("not looked at")
    return folder


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    codec = NanoCodec(latent_channels=4, hidden_channels=8, num_blocks=1)
    codec.basis.copy_(torch.randn_like(codec.basis) / codec.basis.shape[0] ** 0.5)
    return codec.eval(), NanoAudioEncoder(channels=8, hidden_channels=16, num_blocks=1).eval()


def source(path):
    return SourceFile(path, "0" * 64)


def test_clips_show_what_is_on_screen_at_their_times(folder):
    """Model frame k of a 30 fps film shows its frame floor(k * 30 / 25), in every clip, with the sound of that time."""
    clips = list(clips_of(source(folder / "thirty.mp4"), SETTINGS, None, SilentProgress()))
    assert [clip.start_s for clip in clips] == [Fraction(29 * i, 25) for i in range(4)]
    speech = speech_samples()
    for number, clip in enumerate(clips):
        shown = [read_frame_number(frame) for frame in clip.frames_u8]
        assert shown == [(29 * number + k) * 30 // 25 for k in range(29)]
        first = 29 * number * 640
        cut = speech[first : first + 29 * 640]
        assert np.corrcoef(clip.waveform[: len(cut)], cut)[0, 1] > 0.98  # through AAC
        around = clip.surroundings[clip.lead_frames * 640 :][: len(clip.waveform)]
        assert np.array_equal(around, clip.waveform[: len(around)])


def test_no_clip_crosses_a_cut(folder):
    clips = list(clips_of(source(folder / "cut.mkv"), SETTINGS, None, SilentProgress()))
    stretches = [(clip.start_s, clip.start_s + Fraction(29, 25)) for clip in clips]
    assert len(stretches) == 4
    assert not [s for s in stretches if s[0] < Fraction(13, 5) < s[1]]
    for clip in clips:
        assert np.abs(np.diff(clip.frames_u8.astype(float), axis=0)).mean((1, 2, 3)).max() < 15


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mute.mp4", "no audio stream"),
        ("silent.mp4", "its sound is silence"),
        ("short.mp4", r"lasts 0\.5 s, less than a clip \(1\.2 s\)"),
        ("torn.mp4", r"."),
        ("noise.mov", r"."),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(folder, name, why):
    file = source(folder / name)
    with pytest.raises(InputError, match=why) as raised:
        list(clips_of(file, SETTINGS, None, SilentProgress()))
    assert str(folder) not in reason(raised.value, file)


def test_clips_without_speech_are_left_out(folder, tmp_path):
    """The voice falls silent in the middle of the second of four clips."""
    samples = speech_samples().copy()
    samples[round(1.7 * 16_000) :] = 0
    path = make_clip(
        tmp_path / "half.mp4", Clip(150, SMALL, Fraction(30), audio=(ClipAudio(samples[:, None], 16_000),))
    )
    clips = list(clips_of(source(path), SETTINGS, None, SilentProgress()))
    assert [float(clip.start_s) for clip in clips] == [0.0, 1.16]


def test_a_folder_is_encoded_once_and_says_what_it_skips(folder, networks, tmp_path):
    progress, calls = Notes(), []
    files = find_videos(folder, tmp_path / "hashes")
    assert len(files) == 7  # a copy counts once
    encode = nano_encoder(SETTINGS, *networks, None, progress)

    def counted(file, where):
        calls.append(file.path.name)
        return encode(file, where)

    first = prepare_videos(files, tmp_path / "cache", counted, 0.5, progress)
    skipped = {record.name for record in first.records if record.skipped}
    assert skipped == {"mute.mp4", "silent.mp4", "short.mp4", "torn.mp4", "noise.mov"}
    assert len(progress.notes) == 5
    assert all(note.count("skipped: ") == 1 and str(folder) not in note for note in progress.notes)
    assert len(first.shards) == len(first.held_out) == 1
    shard = load_file(first.shards[0])
    assert shard["latents"].shape == (4, 8, 4, 8, 12)
    assert shard["audio"].shape == (4, 2, 29, 8)
    again = prepare_videos(files, tmp_path / "cache", counted, 0.5, Notes())
    assert again == first
    assert len(calls) == 7
    first.shards[0].unlink()  # only that file is made again, and the same
    before = dict(shard)
    prepare_videos(files, tmp_path / "cache", counted, 0.5, Notes())
    assert len(calls) == 8
    after = load_file(first.shards[0])
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nothing_usable_is_an_error(folder, networks, tmp_path):
    files = [SourceFile(folder / "mute.mp4", "ab" * 32)]
    encode = nano_encoder(SETTINGS, *networks, None, SilentProgress())
    with pytest.raises(InputError, match=r"none of 1 videos .* mute.mp4: has no audio"):
        prepare_videos(files, tmp_path, encode, 0.1, SilentProgress())
    with pytest.raises(InputError, match="holds no videos"):
        find_videos(tmp_path)


def test_files_keep_their_side_of_the_split():
    files = [SourceFile(None, f"{value:013x}" + "0" * 51) for value in range(0, 16**13, 16**13 // 40)]
    held_out = held_out_files(files, 0.2)
    assert len(held_out) == 9  # 0 to 8 fortieths
    assert held_out_files(files[:20], 0.2) <= held_out
    assert held_out_files(files[20:], 0.2) == {files[20].digest}  # one of two or more, if chance gives none
    assert held_out_files(files[:1], 0.2) == set()


def test_the_cache_knows_what_it_was_made_by(tmp_path):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"one")
    names = {cache_folder(tmp_path, SETTINGS, [weights], faces=faces) for faces in (True, False)}
    names.add(cache_folder(tmp_path, SETTINGS.model_copy(update={"clip_frames": 33}), [weights], faces=True))
    weights.write_bytes(b"two")
    names.add(cache_folder(tmp_path, SETTINGS, [weights], faces=True))
    assert len(names) == 4
    other_split = SETTINGS.model_copy(update={"held_out_share": 0.5})
    assert cache_folder(tmp_path, other_split, [weights], faces=True) in names


def test_a_face_gives_a_crop_and_a_mouth():
    class OneFace:
        @staticmethod
        def steady_face(frames):
            return Box(16, 40, 32, 56)

        @staticmethod
        def around(face, size):
            from infinitetalk_cli.train.faces import FaceFinder

            return FaceFinder.around(face, size)

    area = OneFace.around(OneFace.steady_face([]), (64, 96))
    assert area == Box(4, 26, 54, 70)
    inside = Box(16, 40, 32, 56).within(area, (100, 88))
    assert inside == Box(24, 28, 56, 60)
    middle, half = mouth_of(inside)
    assert middle == (44.0, pytest.approx(49.28))
    assert half == (pytest.approx(6.4), pytest.approx(3.84))
