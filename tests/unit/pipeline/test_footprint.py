"""The memory forecast against the networks themselves, run on tensors that have shapes and no values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKLWan
from traced_memory import peak_bytes, shapes_only, traced

from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.models.color import match_color
from infinitetalk_cli.models.step_cache import BlockResiduals
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet
from infinitetalk_cli.models.vae import WanVideoCodec
from infinitetalk_cli.pipeline import footprint as memory
from infinitetalk_cli.pipeline.footprint import Picture, footprint
from infinitetalk_cli.pipeline.model_sizes import PUBLISHED, CodecSize, ControlSize, ModelSize, TransformerSize

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LATENTS = (5, 64, 64)  # frames, rows, columns: 5120 tokens
PICTURE = Picture(width=8 * 64, height=8 * 64, num_frames=17)


def small_transformer(dim: int = 512, ffn_dim: int = 1536) -> TransformerSize:
    return TransformerSize(
        num_attention_heads=dim // 64, attention_head_dim=64, ffn_dim=ffn_dim, num_layers=2,
        text_dim=64, text_len=128, image_dim=64, image_tokens=65,
        audio_layers=2, audio_channels=32, audio_hidden_dim=64, audio_token_dim=64, audio_tokens=8,
    )  # fmt: skip


def arguments_of(size: TransformerSize) -> dict[str, object]:
    return {key: value for key, value in vars(size).items() if key not in ("image_tokens", "block_matrices")}


def profile(**values: object) -> Profile:
    return load_profile("infinitetalk-480p", {key.replace("__", "."): value for key, value in values.items()})


def counted(settings: Profile, size: TransformerSize, picture: Picture = PICTURE) -> memory._Counted:
    return memory._Counted(settings, ModelSize("infinitetalk", size, CodecSize(0, 96), 0), picture, on_cpu=False)


# weights


@pytest.mark.parametrize(
    "size", [TransformerSize(), small_transformer(), TransformerSize(text_dim=None, image_dim=None)]
)
def test_weights_of_the_transformer_are_exact(size: TransformerSize):
    with torch.device("meta"):
        network = InfiniteTalkTransformer3DModel(**arguments_of(size))
    assert size.num_weights == sum(parameter.numel() for parameter in network.parameters())
    matrices = {m.weight for m in network.blocks[0].modules() if type(m) is torch.nn.Linear}
    assert size.block_matrix_weights == sum(weight.numel() for weight in matrices)
    narrow = InfiniteTalkTransformer3DModel._keep_in_fp32_modules
    outside = [(name, p) for name, p in network.named_parameters() if not name.startswith("blocks.")]
    kept = sum(p.numel() for name, p in outside if set(narrow) & set(name.split(".")))
    assert (size.float32_weights, size.float32_weights + size.embedder_weights) == (
        kept,
        sum(p.numel() for _, p in outside),
    )


def test_published_sizes_are_those_of_the_published_configurations():
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModel,
        UMT5Config,
        UMT5EncoderModel,
        Wav2Vec2Config,
        Wav2Vec2Model,
    )

    from infinitetalk_cli.models import expected

    with torch.device("meta"):
        networks = {
            "codec": AutoencoderKLWan(**expected.PUBLISHED_VAE),
            "image": CLIPVisionModel(CLIPVisionConfig(**expected.PUBLISHED_IMAGE_ENCODER)),
            "text": UMT5EncoderModel(UMT5Config(**expected.PUBLISHED_TEXT_ENCODER)),
            "speech": Wav2Vec2Model(Wav2Vec2Config()),
        }
    weights = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert PUBLISHED.text_encoder is not None
    assert weights == {
        "codec": PUBLISHED.codec.num_weights,
        "image": PUBLISHED.image_encoder_weights,
        "text": PUBLISHED.text_encoder.num_weights,
        "speech": PUBLISHED.audio_encoder_weights,
    }
    assert PUBLISHED.text_encoder.table_weights == networks["text"].shared.weight.numel()


# what is computed on the way


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "num_people", "values"),
    [
        (small_transformer(), 1, {"sampling__text_guidance_scale": 1.0, "sampling__audio_guidance_scale": 1.0}),
        (small_transformer(), 1, {}),
        (small_transformer(), 2, {}),
        (small_transformer(dim=256, ffn_dim=2048), 1, {"sampling__text_guidance_scale": 1.0}),
        (small_transformer(dim=1024, ffn_dim=2048), 2, {"sampling__step_cache": {"threshold": 0.2}}),
        (small_transformer(), 1, {"compute__batch_guidance": True}),
    ],
    ids=["one-branch", "three-branches", "two-people", "wide-ffn", "step-cache", "batched"],
)
def test_a_forward_needs_what_is_forecast(
    dtype: str, size: TransformerSize, num_people: int, values: dict[str, object]
):
    settings = profile(compute__dtype=dtype, **values)
    picture = Picture(PICTURE.width, PICTURE.height, PICTURE.num_frames, num_people)
    expected = counted(settings, size, picture)
    with shapes_only():
        forward = _forward(size, settings, DTYPES[dtype], num_people)
        first = traced(forward)
        again = traced(forward)
    cached = 0 if settings.sampling.step_cache is None else again.held_bytes  # in place of those from before
    assert first.held_bytes - cached == pytest.approx(expected._keys_bytes(), rel=0.02)
    assert cached + again.peak_bytes == pytest.approx(expected._forward_bytes(), rel=0.12)  # 0.06 unless batched


def control_for(size: TransformerSize, **changes: int) -> dict[str, int]:
    return {"conv_out_dim": size.dim, "dim": 256, "ffn_dim": 1024, "num_heads": 4, "num_layers": 2,
            "time_embed_dim": size.dim, "out_dim": size.dim, **changes}  # fmt: skip


def control_size(config: dict[str, int]) -> ControlSize:
    with torch.device("meta"):
        return ControlSize.of(config, Uni3CControlNet(**config).state_dict())


@pytest.mark.parametrize(
    ("dtype", "with_mask", "values"),
    [
        ("bfloat16", False, {"sampling__text_guidance_scale": 1.0, "sampling__audio_guidance_scale": 1.0}),
        ("float32", True, {}),
    ],
    ids=["one-branch", "three-branches-and-a-mask"],
)
def test_a_steered_forward_needs_what_is_forecast(dtype: str, with_mask: bool, values: dict[str, object]):
    """The branch adds one of its states, whatever the number of its blocks, and tokens of the mask if it is given."""
    size = small_transformer()
    settings = profile(compute__dtype=dtype, camera__method="uni3c", **values)
    config = control_for(size)
    plain = counted(settings, size)
    steered = replace(plain, size=replace(plain.size, control=control_size(config)))
    mask_bytes = 4 * config["conv_out_dim"] * steered.num_tokens
    forecast = plain._forward_bytes() + steered._control_bytes() - (0 if with_mask else mask_bytes)
    needed = {}
    for num_layers in (1, 2):
        with shapes_only():
            control = Uni3CControlNet(**{**config, "num_layers": num_layers}).eval()
            torch.set_default_dtype(DTYPES[dtype])
            control.controlnet = Uni3CControlNet(**{**config, "num_layers": num_layers}).eval().controlnet
            torch.set_default_dtype(torch.float32)
            forward = _forward(size, settings, DTYPES[dtype], 1, control, with_mask)
            traced(forward)
            needed[num_layers] = traced(forward).peak_bytes
    held = mask_bytes if with_mask else 0
    assert needed[2] + held == pytest.approx(forecast, rel=0.12)
    assert needed[1] == pytest.approx(needed[2], rel=0.01)


def test_the_published_camera_branch():
    with torch.device("meta"):
        size = ControlSize.of(dict(Uni3CControlNet().config), Uni3CControlNet().state_dict())
    assert size.float32_weights + size.other_weights == 997_887_744
    model = replace(PUBLISHED, control=size)
    plain, steered = (profile(camera__method=method) for method in ("sdedit", "uni3c"))
    picture = Picture(640, 640, 81)
    before, after = (footprint(settings, model, picture, on_cpu=False) for settings in (plain, steered))
    added = {
        phase.name: phase.device_bytes - old.device_bytes
        for phase, old in zip(after.phases, before.phases, strict=True)
    }
    weights = 2 * size.other_weights + 4 * size.float32_weights
    one_state = 33_600 * (1024 * 2 + 4 * 64 + 4 * 5120)
    assert added["denoise"] == weights + one_state and added["decode"] == weights and not added["sound"]
    offloaded = profile(camera__method="uni3c", memory__offload="blocks")
    waiting = footprint(offloaded, model, picture, on_cpu=False)
    free = footprint(profile(memory__offload="blocks"), model, picture, on_cpu=False)
    assert waiting.host_bytes - free.host_bytes == weights
    assert waiting.phases[-1].device_bytes - free.phases[-1].device_bytes == 2 * 5120 * 3072


def _forward(
    size: TransformerSize, settings: Profile, dtype: torch.dtype, num_people: int,
    control: Uni3CControlNet | None = None, with_mask: bool = False,
):  # fmt: skip
    """One step of the transformer, with all the branches that guidance compares."""
    torch.set_default_dtype(dtype)
    network = InfiniteTalkTransformer3DModel(**arguments_of(size)).eval()
    torch.set_default_dtype(torch.float32)
    frames, rows, columns = LATENTS
    windows = (1 + 4 * (frames - 1), size.audio_window, size.audio_layers, size.audio_channels)
    text, negative = (torch.empty(1, size.text_len, size.text_dim) for _ in range(2))
    image = torch.empty(1, size.image_tokens, size.image_dim)
    full = network.prepare_conditions(text, image, torch.empty(num_people, *windows), num_people)
    other = network.prepare_conditions(negative, image, torch.empty(1, *windows))
    by_text, by_sound = memory._guided(settings)
    branches = [full]
    if by_text:
        branches.append(full._replace(text=other.text))
    if by_sound:
        branches.append(branches[-1]._replace(audio=other.audio, num_people=1))
    latents, condition = torch.empty(1, 16, frames, rows, columns), torch.empty(1, 20, frames, rows, columns)
    residuals = None if settings.sampling.step_cache is None else BlockResiduals()
    return lambda: network(
        latents,
        torch.empty(1),
        condition=condition,
        person_masks=torch.empty(3, rows, columns),
        prepared=tuple(branches),
        batch_branches=settings.compute.batch_guidance,
        residuals=residuals,
        control=None if control is None else _steering(control, with_mask),
    )


def _steering(control: Uni3CControlNet, with_mask: bool):
    frames, rows, columns = LATENTS
    others = torch.empty(1, 20, frames, rows, columns)
    num_tokens = frames * rows * columns // 4
    tokens = torch.empty(1, num_tokens, control.config.conv_out_dim) if with_mask else None
    return lambda latents, time: control.begin(torch.cat((latents, others), dim=1), time, tokens)


@pytest.mark.parametrize(
    ("dtype", "tile_px", "width"), [("float32", None, 96), ("bfloat16", None, 96), ("float32", 48, 72)]
)
def test_the_vae_needs_what_is_forecast(dtype: str, tile_px: int | None, width: int, monkeypatch: pytest.MonkeyPatch):
    height, num_frames = 48, 9
    settings = profile(compute__vae_dtype=dtype, compute__vae_tiling=tile_px is not None)
    expected = counted(settings, TransformerSize(), Picture(width, height, num_frames))
    with shapes_only():
        torch.set_default_dtype(DTYPES[dtype])
        vae = AutoencoderKLWan()
        torch.set_default_dtype(torch.float32)
        if tile_px is not None:
            monkeypatch.setattr(memory, "TILE_PX", tile_px)
            monkeypatch.setattr(memory, "TILE_STRIDE_PX", tile_px)
            vae.enable_tiling(tile_px, tile_px, tile_px, tile_px)
        codec = WanVideoCodec(vae)
        pixels = torch.empty(1, 3, num_frames, height, width)
        latents = torch.empty(1, 16, 1 + (num_frames - 1) // 4, height // 8, width // 8)
        encoding = pixels.nbytes + peak_bytes(lambda: codec.encode(pixels))
        decoding = peak_bytes(lambda: codec.decode(latents))
    assert encoding == pytest.approx(expected._encode_bytes(), rel=0.05)
    assert decoding == pytest.approx(expected._decode_bytes(), rel=0.05)


def test_colour_matching_needs_what_is_forecast():
    pixels, reference = torch.zeros(1, 3, 9, 64, 64), torch.zeros(1, 3, 1, 64, 64)
    needed = pixels.nbytes + peak_bytes(lambda: match_color(pixels, reference, 1.0))
    assert needed == pytest.approx(memory.COLOR_COPIES * pixels.nbytes, rel=0.05)


def test_diffusers_tiles_are_those_we_reckon_with():
    with torch.device("meta"):
        vae = AutoencoderKLWan(base_dim=4)
    vae.enable_tiling()
    assert (vae.tile_sample_min_height, vae.tile_sample_stride_height) == (memory.TILE_PX, memory.TILE_STRIDE_PX)


# phases


def bytes_of(settings: Profile, picture: Picture | None = None) -> memory.Footprint:
    return footprint(settings, PUBLISHED, picture or Picture(640, 640, 81), on_cpu=False)


def test_text_encoder_and_transformer_are_never_there_together():
    phases = {phase.name: phase.device_bytes for phase in bytes_of(profile()).phases}
    both = PUBLISHED.text_encoder.num_weights * 2 + PUBLISHED.transformer.num_weights * 2
    assert list(phases) == ["sound", "text", "encode", "denoise", "decode"]
    assert phases["text"] < phases["encode"] < both + phases["sound"]


def test_offload_moves_weights_from_the_device_to_main_memory():
    plain, blocks, everything = (bytes_of(profile(memory__offload=mode)) for mode in ("none", "blocks", "all"))
    transformer = PUBLISHED.transformer.num_weights * 2
    assert plain.device_bytes - blocks.device_bytes > 0.9 * transformer
    assert everything.device_bytes < blocks.device_bytes
    assert blocks.host_bytes - plain.host_bytes > transformer
    assert everything.host_bytes > blocks.host_bytes


def test_quantized_weights_take_half():
    plain, narrow = (bytes_of(profile(compute__quantization=kind)).device_bytes for kind in ("none", "int8"))
    assert 0.45 < (plain - narrow) / (PUBLISHED.transformer.num_weights * 2) < 0.5


def test_a_smaller_picture_and_tiles_need_less():
    small = bytes_of(profile(), Picture(448, 448, 81))
    tiled = bytes_of(profile(compute__vae_tiling=True))
    whole = bytes_of(profile())
    assert small.device_bytes < whole.device_bytes
    assert {phase.name for phase in whole.phases if phase == whole.largest} == {"decode"}
    assert tiled.largest.name == "denoise"


def test_on_a_cpu_everything_is_main_memory_and_nothing_waits():
    on_cpu = footprint(profile(memory__offload="all"), PUBLISHED, Picture(640, 640, 81), on_cpu=True)
    assert on_cpu.device_bytes == on_cpu.host_bytes
    assert on_cpu.host_bytes > PUBLISHED.transformer.num_weights * 2
