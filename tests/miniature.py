"""Published checkpoints in miniature: the same folders, files, names and formats, with tiny random tensors.

Sizes are as small as a real forward allows; what the published classes fix stays as published (512 text tokens,
windows of 5 audio rows, image heads of 80 channels, codec strides 4 / 8 / 8). Equal arguments give equal
bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

if TYPE_CHECKING:
    from infinitetalk_cli.config.model import ModelProfile

BASE = "Wan2.1-I2V-14B-480P"
DIFFUSERS_BASE = f"{BASE}-Diffusers"
AUDIO_ENCODER = "chinese-wav2vec2-base"
VAE_FILE = "Wan2.1_VAE.pth"
CLIP_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
T5_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
UNI3C_FILE, REPACKAGED_UNI3C_FILE = "controlnet.pth", "Wan21_Uni3C_controlnet_fp16.safetensors"

TEXT_DIM, IMAGE_DIM = 32, 160  # two image heads of 80 channels
WAV2VEC = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    "codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4,
}  # fmt: skip
VAE = {"base_dim": 3, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
CLIP = {
    "hidden_size": IMAGE_DIM, "intermediate_size": 2 * IMAGE_DIM, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
T5 = {
    "d_model": TEXT_DIM, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2,
    "relative_attention_num_buckets": 32, "feed_forward_proj": "gated-gelu",
}  # fmt: skip
TRANSFORMER = {
    "num_attention_heads": 2, "attention_head_dim": 16, "ffn_dim": 64, "num_layers": 2, "freq_dim": 32,
    "text_dim": TEXT_DIM, "image_dim": IMAGE_DIM,
    "audio_layers": WAV2VEC["num_hidden_layers"], "audio_channels": WAV2VEC["hidden_size"],
    "audio_hidden_dim": 16, "audio_token_dim": 16, "audio_tokens": 4,
}  # fmt: skip
"""Arguments of our transformer class; the others keep their published defaults."""
UNI3C = {
    "conv_out_dim": 24, "dim": 64, "ffn_dim": 96, "num_heads": 1, "num_layers": 1, "time_embed_dim": 32, "out_dim": 32,
    "mid_channels": 16,
}  # fmt: skip
"""Arguments of our camera branch for that transformer: one head of the published 64 channels."""

_WORDS = ("a", "person", "is", "talking", "speaking", "the", "woman", "man", "bright", "blur", "low", "quality")


def model_profile(**changes: Any) -> ModelProfile:
    """The model of the shipped 480p profile, which `write_weights` makes files for."""
    from infinitetalk_cli.config.model import ModelProfile

    names = {"base": BASE, "audio_encoder": AUDIO_ENCODER, "audio_weights": "InfiniteTalk-single"}
    return ModelProfile(family="infinitetalk", **{**names, **changes})


def write_weights(
    folder: Path,
    *,
    layout: Literal["original", "diffusers"] = "original",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    num_shards: int = 3,
    override_base: bool = False,
) -> Path:
    """All that the infinitetalk profiles need below the weights folder `folder`; returns `folder`.

    `dtype` is that of the transformer, the text and the image encoder. `override_base` adds a base tensor of another
    value to the audio weights, as published files may.
    """
    if layout == "original":
        write_original_base(folder / BASE, dtype=dtype, seed=seed, num_shards=num_shards)
    else:
        write_diffusers_base(folder / DIFFUSERS_BASE, dtype=dtype, seed=seed, num_shards=num_shards)
    write_audio_encoder(folder / AUDIO_ENCODER, seed=seed)
    for place, name in enumerate(("single", "multi")):
        path = folder / "InfiniteTalk" / name / "infinitetalk.safetensors"
        write_audio_weights(path, dtype=dtype, seed=seed + place, override_base=override_base)
    return folder


def write_original_base(
    folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, num_shards: int = 3
) -> Path:
    """The base repository in its original layout: shards under published names, the other parts as .pth files."""
    folder.mkdir(parents=True, exist_ok=True)
    dim = TRANSFORMER["num_attention_heads"] * TRANSFORMER["attention_head_dim"]
    config = {
        "_class_name": "WanModel", "_diffusers_version": "0.30.0", "model_type": "i2v", "dim": dim, "eps": 1e-6,
        "ffn_dim": TRANSFORMER["ffn_dim"], "freq_dim": TRANSFORMER["freq_dim"], "in_dim": 36, "out_dim": 16,
        "num_heads": TRANSFORMER["num_attention_heads"], "num_layers": TRANSFORMER["num_layers"], "text_len": 512,
    }  # fmt: skip
    _write_json(folder / "config.json", config)
    base, _audio = transformer_weights(seed, dtype)
    _write_shards(folder, "diffusion_pytorch_model", base, num_shards)
    torch.save(vae_weights(seed), folder / VAE_FILE)
    torch.save(clip_weights(seed, dtype), folder / CLIP_FILE)
    tokenizer = folder / "google" / "umt5-xxl"
    torch.save(t5_weights(write_tokenizer(tokenizer), seed, dtype), folder / T5_FILE)
    return folder


def write_diffusers_base(
    folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, num_shards: int = 3
) -> Path:
    """The same base, to the last bit, as the diffusers repository has it."""
    from infinitetalk_cli.models.image_encoder import clip_weights_from_published
    from infinitetalk_cli.models.keys import state_dict_from_published
    from infinitetalk_cli.models.text_encoder import umt5_weights_from_published
    from infinitetalk_cli.models.vae import vae_weights_from_published

    base, _audio = transformer_weights(seed, dtype)
    _write_json(_new(folder / "transformer") / "config.json", _diffusers_transformer_config())
    _write_shards(folder / "transformer", "diffusion_pytorch_model", state_dict_from_published(base), num_shards)

    vae = {"_class_name": "AutoencoderKLWan", **VAE, "temperal_downsample": [False, True, True]}
    _write_json(_new(folder / "vae") / "config.json", vae)
    _save(dict(vae_weights_from_published(vae_weights(seed))), folder / "vae" / "diffusion_pytorch_model.safetensors")

    visual = {key.removeprefix("visual."): tensor for key, tensor in clip_weights(seed, dtype).items()
              if key.startswith("visual.")}  # fmt: skip
    tower = {f"vision_model.{key}": tensor for key, tensor in clip_weights_from_published(visual)}
    clip = {"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model", "projection_dim": 24, **CLIP}
    _write_json(_new(folder / "image_encoder") / "config.json", clip)
    _save(tower, folder / "image_encoder" / "model.safetensors")

    vocab_size = write_tokenizer(folder / "tokenizer")
    encoder = dict(umt5_weights_from_published(t5_weights(vocab_size, seed, dtype)))
    del encoder["encoder.embed_tokens.weight"]  # shared: written once
    t5 = {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", "vocab_size": vocab_size, **T5}
    _write_json(_new(folder / "text_encoder") / "config.json", t5)
    _write_shards(folder / "text_encoder", "model", encoder, 2)
    _write_json(folder / "model_index.json", {"_class_name": "WanImageToVideoPipeline"})
    return folder


def write_audio_encoder(
    folder: Path, *, seed: int = 0, file_format: Literal["safetensors", "bin"] = "safetensors"
) -> Path:
    """The speech encoder as published: a pre-training checkpoint, with the older names of weight normalisation."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    config = Wav2Vec2Config(architectures=["Wav2Vec2ForPreTraining"], **WAV2VEC)
    _write_json(_new(folder) / "config.json", config.to_diff_dict() | {"model_type": "wav2vec2"})
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "sampling_rate": 16000,
        "do_normalize": True, "padding_side": "right", "padding_value": 0, "return_attention_mask": False,
    }  # fmt: skip
    _write_json(folder / "preprocessor_config.json", extractor)
    with torch.device("meta"):
        shapes = Wav2Vec2ForPreTraining(config).state_dict()
    weights = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for key, tensor in _random_like(shapes, seed, torch.float32).items()
    }
    if file_format == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        _save(weights, folder / "model.safetensors")
    return folder


def write_audio_weights(
    path: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, override_base: bool = False
) -> Path:
    """The transformer's audio parts, `infinitetalk.safetensors`."""
    base, audio = transformer_weights(seed, dtype)
    if override_base:
        key = "blocks.0.norm3.bias"
        audio[key] = base[key] + 1.0
    path.parent.mkdir(parents=True, exist_ok=True)
    return _save(audio, path)


def write_uni3c(folder: Path, *, repackaged: bool = False, seed: int = 0) -> Path:
    """The camera branch as its authors publish it, or as others repackaged it; returns the file."""
    weights = uni3c_weights(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if not repackaged:
        torch.save(weights, folder / UNI3C_FILE)
        return folder / UNI3C_FILE
    shortened = {
        key.removeprefix("controlnet."): tensor if key.startswith("controlnet_patch") else tensor.half()
        for key, tensor in weights.items()
    }
    return _save(shortened, folder / REPACKAGED_UNI3C_FILE)


def write_lora(
    path: Path, *, seed: int = 0, rank: int = 4, alpha: float | None = 2.0, dtype: torch.dtype = torch.float32,
    modules: Iterable[str] = ("self_attn.q", "self_attn.o", "cross_attn.k_img", "ffn.0"), with_diffs: bool = True,
    prefix: str = "diffusion_model",
) -> Path:  # fmt: skip
    """Low-rank changes in the kohya layout for these modules of every block; with_diffs adds a `.diff` and `.diff_b`.

    A `prefix` that no model has, or modules that it lacks, make a file that matches nothing.
    """
    base, _audio = transformer_weights(0, dtype)
    generator, weights = torch.Generator().manual_seed(seed), {}
    for block in range(TRANSFORMER["num_layers"]):
        for module in modules:
            out_dim, in_dim = base.get(f"blocks.{block}.{module}.weight", torch.empty(32, 32)).shape
            name = f"{prefix}.blocks.{block}.{module}"
            weights[f"{name}.lora_down.weight"] = torch.randn(rank, in_dim, generator=generator) / in_dim**0.5
            weights[f"{name}.lora_up.weight"] = torch.randn(out_dim, rank, generator=generator) / rank**0.5
            if alpha is not None:
                weights[f"{name}.alpha"] = torch.tensor(alpha)
    if with_diffs:
        dim = TRANSFORMER["num_attention_heads"] * TRANSFORMER["attention_head_dim"]
        weights[f"{prefix}.blocks.0.norm3.diff"] = 0.1 * torch.randn(dim, generator=generator)
        weights[f"{prefix}.blocks.1.ffn.2.diff_b"] = 0.1 * torch.randn(dim, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _save({key: tensor.to(dtype) for key, tensor in weights.items()}, path)


# State dicts under published names


def transformer_weights(
    seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The plain video model's tensors, and those of the audio parts."""
    from infinitetalk_cli.models.keys import AUDIO_KEY, key_to_published
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

    with torch.device("meta"):
        shapes = InfiniteTalkTransformer3DModel(**TRANSFORMER).state_dict()
    weights = _random_like({key_to_published(key): tensor for key, tensor in shapes.items()}, seed, dtype)
    audio = {key: tensor for key, tensor in weights.items() if AUDIO_KEY.match(key)}
    return {key: tensor for key, tensor in weights.items() if key not in audio}, audio


def uni3c_weights(seed: int = 0) -> dict[str, Tensor]:
    """The camera branch under its published names, float32."""
    from infinitetalk_cli.models.uni3c import Uni3CControlNet

    with torch.device("meta"):
        shapes = Uni3CControlNet(**UNI3C).state_dict()
    return _random_like(shapes, seed, torch.float32)


def vae_weights(seed: int = 0) -> dict[str, Tensor]:
    """The video VAE, float32 as published."""
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        shapes = AutoencoderKLWan(**VAE).state_dict()
    return _random_like({_published_vae_key(key): tensor for key, tensor in shapes.items()}, seed, torch.float32)


def clip_weights(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Both halves of the image and text model; only `visual.` is of use."""
    dim, mlp, patch = CLIP["hidden_size"], CLIP["intermediate_size"], CLIP["patch_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "cls_embedding": (1, 1, dim), "pos_embedding": (1, 1 + (CLIP["image_size"] // patch) ** 2, dim),
        "patch_embedding.weight": (dim, 3, patch, patch), "head": (dim, 24),
    }  # fmt: skip
    linears = {"attn.to_qkv": (3 * dim, dim), "attn.proj": (dim, dim), "mlp.0": (mlp, dim), "mlp.2": (dim, mlp)}
    for layer in range(CLIP["num_hidden_layers"]):
        for name, shape in linears.items():
            shapes[f"transformer.{layer}.{name}.weight"], shapes[f"transformer.{layer}.{name}.bias"] = shape, shape[:1]
        for name in ("norm1", "norm2"):
            shapes[f"transformer.{layer}.{name}.weight"] = shapes[f"transformer.{layer}.{name}.bias"] = (dim,)
    for name in ("pre_norm", "post_norm"):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (dim,)
    named = {f"visual.{key}": torch.empty(shape, device="meta") for key, shape in shapes.items()}
    named["textual.token_embedding.weight"] = torch.empty(11, 8, device="meta")
    named["log_scale"] = torch.empty((), device="meta")
    return _random_like(named, seed, dtype)


def t5_weights(vocab_size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The text encoder."""
    dim, ffn, inner = T5["d_model"], T5["d_ff"], T5["d_kv"] * T5["num_heads"]
    shapes = {"token_embedding.weight": (vocab_size, dim), "norm.weight": (dim,)}
    for layer in range(T5["num_layers"]):
        inside = {
            "attn.q": (inner, dim), "attn.k": (inner, dim), "attn.v": (inner, dim), "attn.o": (dim, inner),
            "pos_embedding.embedding": (T5["relative_attention_num_buckets"], T5["num_heads"]),
            "norm1": (dim,), "norm2": (dim,), "ffn.gate.0": (ffn, dim), "ffn.fc1": (ffn, dim), "ffn.fc2": (dim, ffn),
        }  # fmt: skip
        shapes |= {f"blocks.{layer}.{name}.weight": shape for name, shape in inside.items()}
    return _random_like({key: torch.empty(shape, device="meta") for key, shape in shapes.items()}, seed, dtype)


def write_tokenizer(folder: Path) -> int:
    """A unigram tokenizer with umT5's special tokens, as files; returns the number of its tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'-"
    pieces = ["▁", *(f"▁{word}" for word in _WORDS), *letters]
    scores = [(piece, -float(len(pieces)) if len(piece) == 1 else -2.0) for piece in pieces]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<s>", 0.0), ("<unk>", 0.0), *scores]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **special).save_pretrained(_new(folder))
    return len(vocab)


# Helpers


def _random_like(shapes: Mapping[str, Tensor], seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Random tensors of these shapes, scaled so that activations stay near 1."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    for key, like in shapes.items():
        values = torch.randn(like.shape, generator=generator)
        if like.dim() >= 2 and not key.endswith(("gamma", "weight_g")):
            values /= math.prod(like.shape[1:]) ** 0.5
        else:
            values = 0.1 * values + (1.0 if key.endswith(("weight", "gamma", "weight_g")) else 0.0)
        weights[key] = values.to(dtype)
    return weights


def _diffusers_transformer_config() -> dict[str, Any]:
    dim = TRANSFORMER["num_attention_heads"] * TRANSFORMER["attention_head_dim"]
    taken = ("num_attention_heads", "attention_head_dim", "ffn_dim", "num_layers", "freq_dim", "text_dim", "image_dim")
    return {
        "_class_name": "WanTransformer3DModel", "_diffusers_version": "0.33.0.dev0", "added_kv_proj_dim": dim,
        "cross_attn_norm": True, "eps": 1e-6, "in_channels": 36, "out_channels": 16, "patch_size": [1, 2, 2],
        "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024,
        **{name: TRANSFORMER[name] for name in taken},
    }  # fmt: skip


def _published_vae_key(key: str) -> str:
    """The published name of a tensor of diffusers' `AutoencoderKLWan`."""
    fixed = {
        "quant_conv": "conv1", "post_quant_conv": "conv2", "encoder.conv_in": "encoder.conv1",
        "decoder.conv_in": "decoder.conv1", "encoder.norm_out": "encoder.head.0", "decoder.norm_out": "decoder.head.0",
        "encoder.conv_out": "encoder.head.2", "decoder.conv_out": "decoder.head.2",
    }  # fmt: skip
    resnet = {
        "norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6",
        "conv_shortcut": "shortcut",
    }  # fmt: skip
    module, _, leaf = key.rpartition(".")
    if module in fixed:
        return f"{fixed[module]}.{leaf}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", module):
        place = 1 if match[2] == "attentions" else 2 * int(match[3])
        inside = match[4] if match[2] == "attentions" else resnet[match[4]]
        return f"{match[1]}.middle.{place}.{inside}.{leaf}"
    if match := re.fullmatch(r"encoder\.down_blocks\.(\d+)\.(.+)", module):
        return f"encoder.downsamples.{match[1]}.{resnet.get(match[2], match[2])}.{leaf}"
    match = re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.(.+)", module)
    assert match is not None, key
    blocks_per_level = VAE["num_res_blocks"] + 2
    place = int(match[3]) if match[2] == "resnets" else blocks_per_level - 1
    index = int(match[1]) * blocks_per_level + place
    return f"decoder.upsamples.{index}.{resnet.get(match[4], match[4])}.{leaf}"


def _write_shards(folder: Path, stem: str, weights: Mapping[str, Tensor], num_shards: int) -> None:
    names, weight_map = list(weights), {}
    for shard in range(num_shards):
        file = f"{stem}-{shard + 1:05d}-of-{num_shards:05d}.safetensors"
        part = names[len(names) * shard // num_shards : len(names) * (shard + 1) // num_shards]
        _save({name: weights[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    _write_json(
        folder / f"{stem}.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map}
    )


def _save(weights: Mapping[str, Tensor], path: Path) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, metadata={"format": "pt"})
    return path


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
