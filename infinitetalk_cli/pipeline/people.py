"""What a job of two people needs to be checked and planned; one person needs nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.checkpoints.diarizer import locate_diarizer, require_diarization
from infinitetalk_cli.checkpoints.files import DIARIZER
from infinitetalk_cli.config.job import OutputSettings
from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.config.people import BoxText, PeopleSettings, SpeakerBox, Turns
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import InputError, ProfileError
from infinitetalk_cli.media.containers import container_of
from infinitetalk_cli.media.info import MediaInfo, VideoInfo
from infinitetalk_cli.media.mixing import describe_mix
from infinitetalk_cli.media.probe import probe_audio, require_audio
from infinitetalk_cli.pipeline.weights import Weights, add_network
from infinitetalk_cli.stages.regions import check_regions
from infinitetalk_cli.stages.source_pixels import model_size

if TYPE_CHECKING:
    from infinitetalk_cli.pipeline.request import DubRequest

MAX_PEOPLE = 2


def settle_people(request: DubRequest, video: VideoInfo) -> PeopleSettings | None:
    """The people of a request, None for one person alone.

    Raises:
        InputError: too many voices, or a box that does not fit the picture.
        DependencyError: `--diarize` without pyannote.audio.
    """
    num_voices = len(request.audio)
    if num_voices > MAX_PEOPLE:
        raise InputError(f"{num_voices} voices; the models know at most two people: give --audio once or twice")
    if num_voices < MAX_PEOPLE and not request.diarize:
        return None
    if request.diarize:
        require_diarization()
    turns = None if request.diarize else Turns(request.turns or Turns.PARALLEL)
    return PeopleSettings(turns=turns, boxes=_boxes(request.video, request.speaker_boxes, video))


def _boxes(path: Path, texts: tuple[BoxText, ...], video: VideoInfo) -> tuple[SpeakerBox, SpeakerBox] | None:
    boxes = []
    for person, text in enumerate(texts, start=1):
        try:
            boxes.append(text.in_pixels(*video.display_size))
        except ValueError as exc:
            raise InputError(f"{path}: the --speaker-box of person {person} {exc}") from exc
    if not boxes:
        return None
    if len(boxes) != MAX_PEOPLE:
        raise InputError(f"{len(boxes)} --speaker-box for two people; give one for each, or none")
    if boxes[0] == boxes[1]:
        raise InputError(f"{path}: both people have the same --speaker-box {boxes[0]}; give each their own")
    return boxes[0], boxes[1]


def check_people(profile: Profile, people: PeopleSettings | None, video: VideoInfo) -> None:
    """Whether the model of `profile` can dub `people` in `video`.

    Raises:
        ProfileError: it does not know two people; the message names the profiles that do.
        InputError: a person's box is too small to be seen by it.
    """
    if people is None:
        return
    if profile.model.max_people >= MAX_PEOPLE:
        check_regions(video, people.boxes, profile.geometry, model_size(video, profile.geometry))
        return
    able = [name for name in list_profiles() if load_profile(name).model.max_people >= MAX_PEOPLE]
    raise ProfileError(
        f"profile {profile.name} knows one person only, and there are two voices; "
        f"choose --profile {' or '.join(able)}, or give one --audio"
    )


def heard_track(request: DubRequest, people: PeopleSettings | None) -> MediaInfo:
    """What will be heard: the given track, or the mix that the stage `voices` makes of two.

    Raises:
        InputError: a file has no sound.
    """
    infos = [probe_audio(path) for path in request.audio]
    streams = [require_audio(path, info) for path, info in zip(request.audio, infos, strict=True)]
    for path in request.speech:
        require_audio(path, probe_audio(path))
    if people is None or people.turns is None:
        return infos[0]
    return describe_mix(infos, streams, people.turns is Turns.SEQUENCE)


def source_paths(request: DubRequest, people: PeopleSettings | None) -> Mapping[str, Path]:
    """The artefacts that come from the user, by name; `--speech` drives in place of the `--audio` it stands for."""
    speech = request.speech or request.audio
    if people is None:
        voices = {"dub_audio": request.audio[0], "speech": speech[0]}
    elif people.turns is None:
        voices = {"dub_audio": request.audio[0], "all_speech": speech[0]}
    else:
        voices = {f"voice_{person}": path for person, path in enumerate(request.audio, start=1)}
        voices |= {f"speech_{person}": path for person, path in enumerate(speech, start=1)}
    return {"source_video": request.video, **voices}


def heard_encoding(encode: OutputSettings, people: PeopleSettings | None, output: Path) -> OutputSettings:
    """`encode` for the track that is heard: a mix of two is no file of the user's to copy, so "auto" encodes it."""
    if people is None or people.turns is None or encode.audio_codec != "auto":
        return encode
    usual = container_of(encode.container, output).audio_encodes[0]
    return encode.model_copy(update={"audio_codec": usual})


def add_diarizer(weights: Weights, request: DubRequest, weights_root: Path, store: Store) -> Weights:
    """`weights`, with those of the diarization pipeline if the request needs them.

    Raises:
        DependencyError: they are missing; the message says how to get them.
    """
    if not request.diarize:
        return weights
    return add_network(weights, DIARIZER, locate_diarizer(request.diarizer, weights_root), store)
