"""Following the camera by the camera branch, through the whole command: what it is shown, and what it changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import miniature
import numpy as np
import pytest
import synthetic
import torch
from footage import Shot, join, write_film
from torch import Tensor

from infinitetalk_cli.cache.files import commit_file
from infinitetalk_cli.media.probe import probe
from infinitetalk_cli.media.reader import FrameReader
from infinitetalk_cli.media.scan import scan_timeline
from infinitetalk_cli.models import streaming
from infinitetalk_cli.models.geometry import pixels_from_frames, resize_frame
from infinitetalk_cli.models.uni3c import Uni3CControlNet

RATE = Fraction(30)
STARTS = Fraction(1, 10)
ON = ["--camera-lock", "on", "--camera-method", "uni3c"]
NANO = {"in_channels": 97, "conv_out_dim": 24, "dim": 16, "ffn_dim": 24, "num_heads": 1, "num_layers": 2,
        "time_embed_dim": 192, "out_dim": 192, "mid_channels": 8}  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still camera, one that shakes, one that drifts, at 30 frames per second."""
    shots = [
        Shot(1, 1.0, detail=16),
        Shot(2, 1.0, detail=16, shake=0.01),
        Shot(3, 1.0, detail=16, drift=(0.1, 0.0)),
    ]
    return write_film(tmp_path_factory.mktemp("film") / "cameras.mp4", join(shots, RATE), RATE)


def write_branch(folder: Path, **config: object) -> Path:
    """A branch for nano with random weights, in our own form."""
    torch.manual_seed(0)
    branch = Uni3CControlNet(**{**NANO, **config})
    with torch.no_grad():
        for name, parameter in branch.named_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            if "proj_out" in name:
                parameter.mul_(0.3)
    branch.save_pretrained(folder)
    return folder


@pytest.fixture
def profile(tmp_path: Path, small_profile: Path) -> Path:
    """The small profile with a camera branch, and cuts where the film has them."""
    write_branch(tmp_path / "branch")
    path = tmp_path / "steered.yaml"
    path.write_text(f"extends: {small_profile}\nmodel: {{uni3c: {tmp_path / 'branch'}}}\n")
    return path


@pytest.fixture
def job(film: Path, tmp_path: Path, profile: Path) -> list[object]:
    voice = synthetic.make_audio(tmp_path / "voice.wav", synthetic.speech(2.4))
    (tmp_path / "cuts.txt").write_text("1.0\n2.0\n")
    return ["dub", film, "--audio", voice, "--profile", profile, "--scenes", tmp_path / "cuts.txt",
            "--start", "0.1", "-o", tmp_path / "out.mkv", "--json", "--no-report", "--force"]  # fmt: skip


@pytest.fixture
def short_job(job: list[object]) -> list[object]:
    """Its first chunk alone."""
    return [*job, "--end", "0.7"]


@dataclass
class Seen:
    """What every chunk's sampler was given."""

    conditions: list[streaming.ChunkConditions] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found, real = Seen(), streaming.generate_chunk

    def watched(model, conditions, *args, **kwargs) -> Tensor:
        found.conditions.append(conditions)
        return real(model, conditions, *args, **kwargs)

    monkeypatch.setattr(streaming, "generate_chunk", watched)
    return found


def entry(cache: Path, outcome, stage: str) -> Path:
    (digest,) = [each["fingerprint"] for each in outcome.document["stages"] if each["name"] == stage]
    (folder,) = [path for path in cache.rglob(f"{stage}/*") if digest.startswith(path.name)]
    return folder


def chunks(cache: Path, outcome) -> list[np.ndarray]:
    assert outcome.exit_code == 0, outcome.stderr
    folder = entry(cache, outcome, "generate") / "chunks"
    return [np.stack(synthetic.read_all_frames(path)) for path in sorted(folder.glob("*.mkv"))]


def pictures_of(path: Path) -> list[np.ndarray]:
    info = probe(path)
    timeline = scan_timeline(path, info)
    with FrameReader(path, info, timeline) as reader:
        return list(reader.read(range(timeline.num_frames)))


def stands_at(film: Path, plan: dict, size: tuple[int, int]) -> list[Tensor]:
    """Of every chunk, the source frame on screen at each of its model frames (1, 3, t, h, w), by hand."""
    frames, found = pictures_of(film), []
    for chunk in plan["chunks"]:
        places = [min(chunk["start_frame"] + k, chunk["new_stop"] - 1) for k in range(chunk["num_frames"])]
        indices = [min(int((STARTS + Fraction(place, 25)) * RATE), len(frames) - 1) for place in places]
        found.append(pixels_from_frames(np.stack([resize_frame(frames[index], size) for index in indices])))
    return found


def test_control_frame_k_is_the_source_frame_of_model_frame_k(
    job: list[object], film: Path, tmp_path: Path, run_command, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every chunk, context frames included, in every scene; and again in a run that goes on in the middle."""
    outcome = run_command(*job, *ON)
    assert outcome.exit_code == 0, outcome.stderr
    cache = tmp_path / "cache"
    plan = json.loads((entry(cache, outcome, "keyframes") / "plan.json").read_text())
    whole = list(seen.conditions)
    assert len(whole) == len(plan["chunks"]) >= 5 and len(plan["scenes"]) == 3
    expected = stands_at(film, plan, tuple(whole[0].control.render.shape[-2:]))
    context_frames = [chunk["new_start"] - chunk["start_frame"] for chunk in plan["chunks"]]
    assert set(context_frames) == {0, 5}
    for number, (given, frames) in enumerate(zip(whole, expected, strict=True)):
        assert torch.equal(given.control.render, frames), f"chunk {number}"
        assert given.control.mask is None and given.source is None
        if context_frames[number]:
            before = whole[number - 1].control.render
            shown = plan["chunks"][number - 1]
            stop = shown["new_stop"] - shown["start_frame"]
            assert torch.equal(given.control.render[:, :, :5], before[:, :, stop - 5 : stop])
        else:
            assert torch.equal(given.control.render[:, :, :1], given.reference) or number

    seen.conditions.clear()
    committed: list[Path] = []

    def stops_at_the_third(temporary: Path, final: Path) -> None:
        if final.suffix == ".mkv" and final.parent.name == "chunks":
            if len(committed) == 2:
                raise KeyboardInterrupt
            committed.append(final)
        commit_file(temporary, final)

    again = [*job, *ON, "--cache-dir", tmp_path / "broken", "-o", tmp_path / "again.mkv"]
    with monkeypatch.context() as patch:
        patch.setattr("infinitetalk_cli.stages.generate.commit_file", stops_at_the_third)
        assert run_command(*again).exit_code == 130
    seen.conditions.clear()
    assert run_command(*again).exit_code == 0
    assert len(seen.conditions) == len(whole) - 2
    for one, other in zip(whole[2:], seen.conditions, strict=True):
        assert torch.equal(one.control.render, other.control.render)
    assert (tmp_path / "again.mkv").read_bytes() == (tmp_path / "out.mkv").read_bytes()


def test_methods_differ_and_change_the_picture_only(short_job: list[object], tmp_path: Path, run_command) -> None:
    job, cache, made = short_job, tmp_path / "cache", {}
    free = run_command(*job)
    for method in ("sdedit", "uni3c", "both"):
        outcome = run_command(*job, "--camera-lock", "on", "--camera-method", method)
        redone = {stage["name"] for stage in outcome.document["stages"] if not stage["reused"]}
        assert redone == {"generate", "remux"}
        made[method] = chunks(cache, outcome)
    made["off"] = chunks(cache, free)
    names = list(made)
    assert not any(np.array_equal(made[a][0], made[b][0]) for place, a in enumerate(names) for b in names[:place])
    stronger = chunks(cache, run_command(*job, *ON, "--camera-lock-strength", "2.5"))
    assert not np.array_equal(stronger[0], made["uni3c"][0])
    plain = run_command(*job, "--camera-lock", "off")
    assert all(stage["reused"] for stage in plain.document["stages"])


def test_the_report_has_the_cameras_error_with_and_without(
    short_job: list[object], profile: Path, tmp_path: Path, run_command
) -> None:
    """Of locked jobs always; of free ones where the profile asks for it."""
    job = [argument for argument in short_job if argument != "--no-report"]

    def scenes_of(*options: str) -> list[dict]:
        outcome = run_command(*job, *options)
        assert outcome.exit_code == 0, outcome.stderr
        return json.loads((tmp_path / "out.report.json").read_text())["camera"]["scenes"]

    assert scenes_of() == []
    locked = scenes_of("--camera-lock", "on", "--camera-method", "both", "--camera-lock-strength", "1")
    profile.write_text(profile.read_text() + "camera: {compare: always}\n")
    (with_lock,), (free,) = locked, scenes_of()
    assert (with_lock["sdedit_strength"], with_lock["uni3c_strength"]) == (1.0, 1.0)
    assert free["sdedit_strength"] is None and free["uni3c_strength"] is None
    assert with_lock["source_px"] == free["source_px"] and with_lock["num_steps"] == free["num_steps"] == 7
    assert with_lock["error_px"] < 0.5, "SDEdit at strength 1 is the source itself"
    assert "<h2>Camera</h2>" in (tmp_path / "out.report.html").read_text()


def test_auto_steers_the_scenes_in_which_the_camera_moves(
    job: list[object], profile: Path, tmp_path: Path, run_command, seen: Seen
) -> None:
    profile.write_text(
        profile.read_text() + "camera: {uni3c_strength_by_motion: [[0.02, 0.5], [0.1, 1.5]],"
        " sdedit_strength_by_motion: [[0.02, 0.1], [0.1, 0.4]]}\n"
    )
    auto = ["--camera-lock", "auto", "--camera-method", "both"]
    plan = run_command(*job, *auto, "--dry-run").document
    cameras = [scene["camera"] for scene in plan["scenes"]]
    assert [camera["locked"] for camera in cameras] == [False, True, True]
    assert cameras[0]["uni3c_strength"] is None and cameras[2]["uni3c_strength"] > cameras[1]["uni3c_strength"] >= 0.5
    assert cameras[2]["sdedit_strength"] > 0.1
    outcome = run_command(*job, *auto)
    assert outcome.exit_code == 0, outcome.stderr
    plan = json.loads((entry(tmp_path / "cache", outcome, "keyframes") / "plan.json").read_text())
    follows = [chunk["follows_source"] for chunk in plan["chunks"]]
    assert True in follows and False in follows
    assert [given.control is not None for given in seen.conditions] == follows
    assert [given.source is not None for given in seen.conditions] == follows
    fixed = run_command(*job, *auto, "--camera-lock-strength", "0.25", "--dry-run").document
    strengths = [(scene["camera"]["sdedit_strength"], scene["camera"]["uni3c_strength"]) for scene in fixed["scenes"]]
    assert strengths == [(None, None), (0.25, 0.25), (0.25, 0.25)]


def test_behind_the_end_of_the_source_the_camera_stands_still(
    job: list[object], tmp_path: Path, run_command, seen: Seen
) -> None:
    """Every chunk is steered; unsteered ones would jump back to the view of their reference."""
    shot = Shot(2, 0.8, detail=16, shake=0.01)
    job[1] = write_film(tmp_path / "short.mp4", join([shot], RATE), RATE)
    outcome = run_command(*job, *ON)
    assert outcome.exit_code == 0, outcome.stderr
    assert "behind that its last frame is held" in outcome.stderr
    first, last = seen.conditions[0].control.render, seen.conditions[-1].control.render
    assert not torch.equal(first[:, :, 0], first[:, :, -1])
    assert torch.equal(last, last[:, :, :1].expand_as(last)), "the last frame, held"
    assert all(given.control is not None for given in seen.conditions)


def write_render(folder: Path, num_frames: int = 70, **changes: object) -> Path:
    """A render of 2.8 s that drifts, with a hole at its right edge, and its camera."""
    folder.mkdir()
    rate = Fraction(changes.pop("rate", 25))
    size = changes.pop("size", (160, 96))
    shot = Shot(7, num_frames / rate, detail=16, drift=(0.05, 0.0))
    write_film(folder / "render.mp4", join([shot], rate), rate)
    width, height = size
    mask = np.zeros((num_frames, height, width, 3), np.float32)
    mask[:, :, width * 3 // 4 :] = 255
    write_film(folder / "mask.mkv", _film_of(mask, rate), rate)
    w2c = np.repeat(np.eye(4)[None], num_frames, axis=0)
    w2c[:, 0, 3] = -0.02 * np.arange(num_frames)
    path = {
        "width": 160, "height": 96, "intrinsic": [[150.0, 0.0, 80.0], [0.0, 150.0, 48.0], [0.0, 0.0, 1.0]],
        "w2c": w2c.tolist(), **changes,
    }  # fmt: skip
    (folder / "camera.json").write_text(json.dumps(path))
    return folder


def _film_of(frames: np.ndarray, rate: Fraction):
    from footage import Film

    return Film(list(frames), [index / rate for index in range(len(frames))], [])


def test_a_render_instead_of_the_source(job: list[object], tmp_path: Path, run_command, seen: Seen) -> None:
    job = [*job, "--end", "1.2"]
    render = write_render(tmp_path / "render")
    outcome = run_command(*job, *ON, "--camera-render", render)
    frames = chunks(tmp_path / "cache", outcome)
    plan = json.loads((entry(tmp_path / "cache", outcome, "keyframes") / "plan.json").read_text())
    height, width = seen.conditions[0].noise.shape[-2] * 8, seen.conditions[0].noise.shape[-1] * 8
    pictures = pictures_of(render / "render.mp4")
    for chunk, given in zip(plan["chunks"], seen.conditions, strict=True):
        places = [min(chunk["start_frame"] + k, chunk["new_stop"] - 1) for k in range(chunk["num_frames"])]
        expected = pixels_from_frames(np.stack([resize_frame(pictures[k], (height, width)) for k in places]))
        assert torch.equal(given.control.render[:, :, 1:], expected[:, :, 1:])
        assert given.control.mask.shape == (1, 1, chunk["num_frames"], height, width)
        assert not given.control.mask[:, :, 0].any()
        right = given.control.mask[0, 0, 1:].mean(dim=(0, 1))
        assert right[: width * 3 // 4 - 1].eq(0).all() and right[width * 3 // 4 + 1 :].eq(1).all()
        camera = given.control.camera
        assert camera.shape == (1, 6, chunk["num_frames"], height, width) and camera[:, 3:, 0].any()
    (render / "camera.json").write_text((render / "camera.json").read_text().replace("150.0", "140.0"))
    other = run_command(*job, *ON, "--camera-render", render)
    assert {stage["name"] for stage in other.document["stages"] if not stage["reused"]} == {"generate", "remux"}
    assert not np.array_equal(chunks(tmp_path / "cache", other)[0], frames[0])


def without(folder: Path, name: str) -> None:
    (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "code", "complaint"),
    [
        (lambda folder: without(folder, "mask.mkv"), 4, "has no mask.mp4"),
        (lambda folder: without(folder, "camera.json"), 4, "camera.json: missing"),
        (lambda folder: (folder / "render.mkv").write_bytes(b"x"), 4, "leave one of them"),
        (lambda folder: (folder / "camera.json").write_text("{"), 4, "camera.json"),
        (lambda folder: (folder / "camera.json").write_text('{"width": 160}'), 4, "height"),
    ],
    ids=["no mask", "no path", "two renders", "damaged path", "half a path"],
)
def test_a_render_that_is_not_whole(damage, code: int, complaint: str, job, tmp_path: Path, run_command) -> None:
    render = write_render(tmp_path / "render", num_frames=10)
    damage(render)
    outcome = run_command(*job, *ON, "--camera-render", render)
    assert outcome.exit_code == code and complaint in outcome.stderr, outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_frames": 30}, "30 frames, and the result has 58"),
        ({"w2c": [np.eye(4).tolist()] * 3}, "not equally many frames"),
        ({"rate": 16}, "16 frames per second, the result 25"),
        ({"size": (96, 96)}, "another shape"),
        ({"height": 300}, "another shape"),
        ({"w2c": [np.zeros((4, 4)).tolist()]}, "frame 0 is no rotation"),
        ({"w2c": [np.eye(4)[[0, 0, 2, 3]].tolist()]}, "frame 0 is no rotation"),
        ({"w2c": [np.diag([-1.0, 1.0, 1.0, 1.0]).tolist()]}, "frame 0 is no rotation"),
        ({"intrinsic": [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]}, "fx and fy above 0"),
        ({"w2c": []}, "no frame"),
        ({"fov": 3}, "fov"),
    ],
    ids="short,short path,rate,shape,path's shape,no rotation,flat,mirror,no focal length,empty,unknown".split(","),
)
def test_a_render_that_does_not_fit(changes: dict, complaint: str, job, tmp_path: Path, run_command) -> None:
    render = write_render(tmp_path / "render", **changes)
    outcome = run_command(*job, *ON, "--camera-render", render)
    assert outcome.exit_code == 4 and complaint in outcome.stderr, outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_branch_that_reads_no_masks(short_job: list[object], tmp_path: Path, run_command) -> None:
    write_branch(tmp_path / "branch", add_channels=None)
    outcome = run_command(*short_job, *ON, "--camera-render", write_render(tmp_path / "render"))
    assert outcome.exit_code == 5 and "reads no mask" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["--camera-method", "uni3c"], 2, "--camera-method has no effect without --camera-lock"),
        (["--camera-lock", "off", "--camera-method", "both"], 2, "--camera-method has no effect"),
        (["--camera-lock", "on", "--camera-method", "both", "--camera-lock-strength", "1.5"], 2, "between 0 and 1"),
        ([*ON, "--camera-lock-strength", "11"], 2, "between 0 and 10"),
        (["--camera-lock", "on", "--camera-render", "{folder}"], 4, "camera.json"),
        ([*ON, "--camera-render", "{folder}/none"], 4, "no such folder"),
    ],
)
def test_options_that_do_not_go_together(options, code: int, complaint: str, job, tmp_path: Path, run_command) -> None:
    outcome = run_command(*job, *(option.replace("{folder}", str(tmp_path)) for option in options))
    assert outcome.exit_code == code and complaint in " ".join(outcome.stderr.split()), outcome.stderr


def test_what_cannot_be_followed(job: list[object], tmp_path: Path, run_command) -> None:
    """A still image, a render without the branch, nano without one, and a profile that contradicts itself."""
    image = synthetic.make_image(tmp_path / "still.png")
    still = run_command("dub", image, *job[2:6], *ON)
    assert still.exit_code == 4 and "a still image has no camera to follow" in still.stderr
    render = write_render(tmp_path / "render", num_frames=5)
    outcome = run_command(*job, "--camera-lock", "on", "--camera-render", render)
    assert outcome.exit_code == 3 and "add --camera-lock on --camera-method uni3c" in outcome.stderr
    bare = ["nano" if argument == job[5] else argument for argument in job]
    outcome = run_command(*bare, *ON)
    assert outcome.exit_code == 5 and "train nano-uni3c" in outcome.stderr
    contradiction = tmp_path / "contradiction.yaml"
    contradiction.write_text("extends: nano\ncamera: {method: uni3c}\nsampling: {sdedit_t0: 0.5}\n")
    outcome = run_command("dub", *job[1:4], "--profile", contradiction)
    assert outcome.exit_code == 3 and "no effect with camera.method uni3c" in outcome.stderr


def test_the_published_model_in_miniature(film: Path, tmp_path: Path, run_command) -> None:
    """The published files of both, with guidance by text and sound, step caching and two people."""
    weights = miniature.write_weights(tmp_path / "weights")
    profile = tmp_path / "published.yaml"
    profile.write_text(
        "extends: infinitetalk-480p-multi\ngeometry: {area_px: 4096}\nchunks: {num_frames: 17, context_frames: 5}\n"
        "sampling: {num_steps: 4, step_cache: {threshold: 0.5, warmup_steps: 1}}\ncompute: {dtype: float32}\n"
        "quality: {gates: false}\n"
    )
    voices = [synthetic.make_audio(tmp_path / f"{k}.wav", synthetic.speech(0.6, seed=k)) for k in range(2)]
    job = ["dub", film, "--audio", voices[0], "--audio", voices[1], "--profile", profile, "--weights-dir", weights,
           "-o", tmp_path / "out.mkv", "--scenes", "off", "--json", "--no-report", "--force"]  # fmt: skip
    missing = run_command(*job, *ON)
    assert missing.exit_code == 5 and "models pull uni3c" in missing.stderr
    miniature.write_uni3c(weights / "Uni3C")
    free = chunks(tmp_path / "cache", run_command(*job))
    steered = run_command(*job, *ON)
    frames = chunks(tmp_path / "cache", steered)
    assert all(not np.array_equal(one, other) for one, other in zip(free, frames, strict=True))
