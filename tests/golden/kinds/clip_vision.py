"""`clip_vision`: the reference frame as tokens."""

from __future__ import annotations

from functools import partial

from transformers import CLIPVisionConfig, CLIPVisionModel

from infinitetalk_cli.models.image_encoder import (
    ClipImageEncoder,
    clip_pixels,
    clip_weights_from_published,
)

from ..harness import Case, Comparison, Golden


def cases(golden: Golden) -> list[Case]:
    """One image."""
    golden.check_tensors((r"w\..*", r"in\.image", r"mid\.pixel_values", r"out\.tokens"))
    return [Case("image", partial(_compare, golden))]


def _encoder(golden: Golden) -> ClipImageEncoder:
    config, published = golden.setting("config"), golden.tensors_under("w.")
    model = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=config["dim"],
            intermediate_size=published["transformer.0.mlp.0.weight"].shape[0],
            num_hidden_layers=config["layers"],
            num_attention_heads=config["heads"],
            image_size=config["image_size"],
            patch_size=config["patch"],
            hidden_act="gelu",
            layer_norm_eps=1e-5,
        )
    )
    tower = getattr(model, "vision_model", model)  # transformers 5 has no such level
    tower.load_state_dict(dict(clip_weights_from_published(published)), strict=True)
    return ClipImageEncoder(model)


def _compare(golden: Golden, comparison: Comparison) -> None:
    image, max_abs = golden.tensor("in.image"), golden.setting("tolerance")
    if "mid.pixel_values" in golden.tensors:
        values = clip_pixels(image, golden.setting("config", "image_size"))
        comparison.close("mid.pixel_values", values, golden.tensors["mid.pixel_values"], max_abs)
    comparison.close("out.tokens", _encoder(golden)(image), golden.tensor("out.tokens"), max_abs)
