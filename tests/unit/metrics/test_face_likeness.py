"""CSIM: alignment, the detector's outputs, and stand-ins of both ONNX files from frames to a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infinitetalk_cli.evaluate.metrics import metric
from infinitetalk_cli.evaluate.metrics.arcface import TEMPLATE, aligned, similarity
from infinitetalk_cli.evaluate.metrics.common import Missing
from infinitetalk_cli.evaluate.metrics.csim import FaceRows, compare
from infinitetalk_cli.evaluate.metrics.metric_weights import DETECTOR, RESNET_50
from infinitetalk_cli.evaluate.metrics.scrfd import decoded, fitted


def moved(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


@pytest.mark.parametrize("angle", [0, 0.4, -1.2, 3.0])
def test_a_turned_and_scaled_face_is_brought_back(angle: float) -> None:
    found = moved(TEMPLATE, angle, 2.5, (40, -7))
    forward = similarity(found)
    np.testing.assert_allclose(found @ forward[:, :2].T + forward[:, 2], TEMPLATE, atol=1e-9)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    forward = similarity(TEMPLATE * [-1, 1])
    assert np.linalg.det(forward[:, :2]) > 0


def test_alignment_is_the_best_of_its_kind() -> None:
    found = moved(TEMPLATE, 0.3, 1.7, (5, 9)) + np.random.default_rng(0).normal(size=(5, 2))

    def error(forward: np.ndarray) -> float:
        return float(np.square(found @ forward[:, :2].T + forward[:, 2] - TEMPLATE).sum())

    best = similarity(found)
    for change in np.random.default_rng(1).normal(scale=1e-3, size=(50, 4)):
        a, b, x, y = change
        assert error(best + np.array([[a, -b, x], [b, a, y]])) > error(best)


def test_pixels_land_on_the_template() -> None:
    points = moved(TEMPLATE, 0.2, 2.0, (30, 20)).round()
    frame = np.zeros((300, 320, 3), np.uint8)
    for x, y in points.astype(int):
        frame[y - 2 : y + 3, x - 2 : x + 3] = (250, 120, 30)
    face = aligned(frame, points)
    assert face.shape == (112, 112, 3) and face.dtype == np.uint8
    for x, y in TEMPLATE.round().astype(int):
        assert face[y, x, 0] > 200 and abs(int(face[y, x, 0]) - int(face[y, x, 1]) - 130) < 30
    assert (face > 100).any(axis=-1).mean() < 0.01


def test_beyond_the_frame_is_black() -> None:
    face = aligned(np.full((112, 112, 3), 255, np.uint8), TEMPLATE - (56, 0))
    assert (face[:, 58:] == 255).all() and (face[:, :54] == 0).all()


def outputs(stride: int, row: int, column: int, score: float) -> list[np.ndarray]:
    """What a network puts out that sees one face, 40 px wide and 60 px high around a place, with its points there."""
    found = []
    for each in (8, 16, 32):
        count = (640 // each) ** 2 * 2
        parts = [np.zeros((count, width), np.float32) for width in (1, 4, 10)]
        if each == stride:
            place = (row * (640 // each) + column) * 2 + 1
            parts[0][place], parts[1][place] = score, np.array([20, 30, 20, 30]) / each
            parts[2][place] = np.tile([4, -8], 5) / each
        found.append(parts)
    return [found[level][kind] for kind in range(3) for level in range(3)]


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_what_the_detector_puts_out(stride: int) -> None:
    (face,) = decoded(outputs(stride, row=5, column=9, score=0.8), scale=2.0)
    x, y = 9 * stride, 5 * stride
    np.testing.assert_allclose(face.box, np.array([x - 20, y - 30, x + 20, y + 30]) / 2, rtol=1e-6)
    np.testing.assert_allclose(face.points, np.tile([(x + 4) / 2, (y - 8) / 2], (5, 1)), rtol=1e-6)
    assert face.score == pytest.approx(0.8)
    assert decoded(outputs(stride, 5, 9, score=0.4), 2.0) == []


def test_the_picture_fits_without_being_stretched() -> None:
    frame = np.full((240, 480, 3), 255, np.uint8)
    fed, scale = fitted(frame)
    assert fed.shape == (1, 3, 640, 640) and scale == pytest.approx(640 / 480, abs=0.01)
    assert fed[0, :, :320].min() == pytest.approx(127.5 / 128) and fed[0, :, 320:].max() == pytest.approx(-127.5 / 128)


def rows(*angles: float | None) -> FaceRows:
    """Embeddings in a plane, at angles in degrees; None: no face."""
    found = np.array([angle is not None for angle in angles])
    radians = np.radians([angle or 0.0 for angle in angles])
    return FaceRows(np.stack((np.cos(radians), np.sin(radians)), axis=1) * found[:, None], found)


def test_both_forms_of_csim() -> None:
    found = compare(made=rows(0, 60, None, 90), source=rows(None, 60, 60, 30))
    assert found.coverage == 0.5 and found.num_frames == 4
    assert found.pair == pytest.approx((1 + 0.5) / 2)
    assert found.ref == pytest.approx((1 + np.cos(np.radians(30))) / 2)  # the first source face is at 60 degrees
    assert np.isnan(found.pair_of_frames).tolist() == [True, False, True, False]
    assert found.as_dict()["pair_of_frames"][0] is None


def test_a_copy_scores_one() -> None:
    source = rows(10, 50, 80)
    found = compare(source, source)
    assert (found.pair, found.coverage) == (pytest.approx(1), 1) and found.ref < 1


def test_nobody_to_compare() -> None:
    missing = compare(rows(None, 5), rows(5, None))
    assert isinstance(missing, Missing) and missing.reason == "no face"
    with pytest.raises(ValueError, match="3 frames to compare with 2"):
        compare(rows(1, 2, 3), rows(1, 2))


def detector_file(score_of_brightness: bool = True) -> bytes:
    """An ONNX file that always sees one face in the middle, as sure as the picture is bright."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    names, nodes, constants = [], [], []
    fixed = outputs(16, row=20, column=20, score=1.0)
    for place, values in enumerate(fixed):
        if values.shape[1] == 10:
            values[values.any(axis=1)] = ((TEMPLATE - 56) * 2).reshape(-1) / 16  # a face on the template's points
        constants.append(numpy_helper.from_array(values, f"fixed{place}"))
        names.append(f"out{place}")
        if values.shape[1] == 1:
            nodes.append(helper.make_node("Mul", [f"fixed{place}", "brightness"], [names[-1]]))
        else:
            nodes.append(helper.make_node("Identity", [f"fixed{place}"], [names[-1]]))
    constants.append(numpy_helper.from_array(np.array([0.5], np.float32), "half"))
    bright = [
        helper.make_node("ReduceMax", ["input"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["brightest", "half"], ["darker"]),
        helper.make_node("Add", ["darker", "half"], ["brightness"]),
    ]
    graph = helper.make_graph(
        [*bright, *nodes], "detector",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(v.shape)) for n, v in zip(names, fixed, strict=True)],
        constants,
    )  # fmt: skip
    return onnx_bytes(onnx, helper, graph)


def embedder_file() -> bytes:
    """An ONNX file whose 512 numbers are the first 512 values of the picture."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    constants = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in (("shape", [1, -1]), ("start", [0]), ("stop", [512]), ("axis", [1]))
    ]
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "stop", "axis"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes, "embedder",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 512])],
        constants,
    )  # fmt: skip
    return onnx_bytes(onnx, helper, graph)


def onnx_bytes(onnx, helper, graph) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_from_frames_to_a_number(publish, weights: Path) -> None:
    pytest.importorskip("onnxruntime")
    publish(DETECTOR, detector_file())
    publish(RESNET_50, embedder_file())
    assert metric("csim").available([weights]) is None
    measure = metric("csim", every=2).load([weights])
    assert measure.identity["every"] == 2 and set(measure.identity["files"]) == {DETECTOR, RESNET_50}
    noise = np.random.default_rng(0).integers(100, 256, (3, 640, 640, 3), dtype=np.uint8)
    dark = np.zeros((640, 640, 3), np.uint8)
    frames = [noise[0], noise[1], dark, noise[0], noise[2]]
    source = measure.embeddings(iter(frames))
    assert source.found.tolist() == [True, False, True]
    np.testing.assert_allclose(np.linalg.norm(source.rows, axis=1), [1, 0, 1], rtol=1e-5)
    face = aligned(noise[0], (TEMPLATE - 56) * 2 + 320)
    expected = (face.transpose(2, 0, 1).reshape(-1)[:512].astype(np.float32) - 127.5) / 127.5
    np.testing.assert_allclose(source.rows[0], expected / np.linalg.norm(expected), atol=1e-5)
    assert compare(source, source).pair == pytest.approx(1)
    other = compare(measure.embeddings(iter([noise[1]] * 5)), source)
    assert other.pair < 0.999 and other.coverage == pytest.approx(2 / 3)


def test_a_file_that_is_no_network(publish, weights: Path) -> None:
    pytest.importorskip("onnxruntime")
    from infinitetalk_cli.errors import DependencyError

    publish(DETECTOR, b"no network")
    publish(RESNET_50, b"no network")
    with pytest.raises(DependencyError, match="onnxruntime cannot open it"):
        metric("csim").load([weights])


def test_without_onnxruntime(publish, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    publish(DETECTOR, b"x")
    publish(RESNET_50, b"y")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    missing = metric("csim").available([weights])
    assert missing.reason == "unavailable" and "infinitetalk[eval]" in missing.remedy
