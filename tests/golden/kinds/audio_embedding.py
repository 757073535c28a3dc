"""`audio_embedding`: waveform -> loudness -> wav2vec 2.0 rows at the rate of the video -> windows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from infinitetalk_cli.models.audio_encoder import Wav2Vec2AudioEncoder, resample_rows, waveform_statistics
from infinitetalk_cli.models.chunking import (
    MIRROR_MARGIN_FRAMES,
    mirrored_rows,
    published_num_frames,
    window_rows,
)
from infinitetalk_cli.models.conditioning import audio_windows
from infinitetalk_cli.models.loudness import gain_to, integrated_loudness

from ..harness import Case, Comparison, Golden, GoldenError

_KNOWN = (
    r"w\..*",
    r"in\.waveform",
    r"mid\.(waveform_loudness_normalised|input_values|conv_features|conv_features_interpolated)",
    r"out\.embedding",
    r"win\.(idx_first_chunk|first_chunk|tail_extended|last_chunk_after_extension)",
    r"win\.(idx_)?last_frames_without_extension",
)
_PAST_THE_END = 4
"""Windows of "last frames" begin so that this many frames lie past the last row (frames N-8 .. N+3)."""

_SILENCE_LUFS = 100
"""Levels further from 0 than this are left alone."""

_LOUDNESS_LU = 1e-3
"""The recorded loudness was accumulated in float32; the gain it leads to has its own, stricter tolerance."""


def cases(golden: Golden) -> list[Case]:
    """The embedding, and the windows cut from it."""
    golden.check_tensors(_KNOWN)
    golden.tensor("out.embedding")
    found = [Case("embedding", partial(_embed, golden))]
    if any(name.startswith("win.") for name in golden.tensors):
        found.append(Case("windows", partial(_windows, golden)))
    return found


def _encoder(golden: Golden) -> Wav2Vec2AudioEncoder:
    model = Wav2Vec2Model(Wav2Vec2Config(**golden.setting("wav2vec2_config")))
    weights = golden.tensors_under("w.")
    result = model.load_state_dict(weights, strict=False)
    # Masking is for training only.
    missing = set(result.missing_keys) - {"masked_spec_embed"}
    if missing or set(result.unexpected_keys) - {"masked_spec_embed"}:
        raise GoldenError(f"{golden.path}: weights do not fit: {missing or result.unexpected_keys}")
    return Wav2Vec2AudioEncoder(model)


def _embed(golden: Golden, comparison: Comparison) -> None:
    facts = golden.setting("facts")
    waveform = golden.tensor("in.waveform").numpy()
    num_frames = published_num_frames(len(waveform), facts["sample_rate"])
    comparison.equal("frames", num_frames, facts["frames"])
    loudness = integrated_loudness(waveform, facts["sample_rate"])
    recorded = facts["integrated_loudness_before"]
    if loudness is None:
        comparison.equal("measured as silence", True, abs(recorded) > _SILENCE_LUFS)
    else:
        comparison.close("loudness", torch.tensor(loudness), torch.tensor(recorded), _LOUDNESS_LU)
    levelled = (waveform * gain_to(facts["loudness_target_lufs"], loudness)).astype("float32")
    mean, deviation = waveform_statistics(levelled)
    encoder = _encoder(golden)
    features = encoder.conv_features(torch.from_numpy((levelled - mean) / deviation))
    _if_recorded(golden, comparison, "waveform_loudness_normalised", torch.from_numpy(levelled))
    _if_recorded(golden, comparison, "input_values", torch.from_numpy((levelled - mean) / deviation))
    _if_recorded(golden, comparison, "conv_features", features)
    _if_recorded(golden, comparison, "conv_features_interpolated", resample_rows(features, num_frames), "conv_features")
    embedding = torch.cat(list(encoder.encode(levelled, num_frames)))
    max_abs = golden.setting("tolerance", "embedding_max_abs")
    comparison.close("out.embedding", embedding, golden.tensor("out.embedding"), max_abs)


def _if_recorded(golden: Golden, comparison: Comparison, name: str, ours: Tensor, tolerance: str | None = None) -> None:
    if f"mid.{name}" in golden.tensors:
        max_abs = golden.setting("tolerance", tolerance or name)
        comparison.close(f"mid.{name}", ours, golden.tensors[f"mid.{name}"], max_abs)


def _windows(golden: Golden, comparison: Comparison) -> None:
    embedding = golden.tensor("out.embedding")
    num_rows = len(embedding)

    def compare(name: str, rows: Tensor, index_name: str | None = None) -> None:
        if index_name in golden.tensors:
            comparison.close(index_name, rows, golden.tensors[index_name], max_abs=0)
        if name in golden.tensors:
            windows = audio_windows([embedding.numpy()], [rows.numpy()])[0]
            comparison.close(name, windows, golden.tensors[name], max_abs=0)

    def shape_of(*names: str) -> torch.Size | None:
        return next((golden.tensors[name].shape for name in names if name in golden.tensors), None)

    if shape := shape_of("win.idx_first_chunk", "win.first_chunk"):
        rows = window_rows(0, shape[0], num_rows, shape[1] // 2)
        compare("win.first_chunk", torch.from_numpy(rows), "win.idx_first_chunk")
    if shape := shape_of("win.idx_last_frames_without_extension", "win.last_frames_without_extension"):
        rows = window_rows(num_rows + _PAST_THE_END - shape[0], shape[0], num_rows, shape[1] // 2)
        names = "win.last_frames_without_extension", "win.idx_last_frames_without_extension"
        compare(names[0], torch.from_numpy(rows), names[1])
    if "win.tail_extended" not in golden.tensors:
        return
    end = len(golden.tensors["win.tail_extended"]) - MIRROR_MARGIN_FRAMES
    mirrored = mirrored_rows(num_rows, end)
    comparison.close("win.tail_extended", embedding[mirrored], golden.tensors["win.tail_extended"], max_abs=0)
    if shape := shape_of("win.last_chunk_after_extension"):
        rows = window_rows(end - shape[0], shape[0], mirrored, shape[1] // 2)
        compare("win.last_chunk_after_extension", torch.from_numpy(rows))
