"""The memory forecast against real memory: random weights on the CPU, one subprocess per case.

    python tests/bench/memory_forecast.py

Prints, for every case and phase, the forecast and the peak of the resident memory, program and libraries included.
Linux only (the kernel resets the peak between phases).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CASES: tuple[dict[str, Any], ...] = (
    {"name": "small, float32", "heads": 4, "layers": 4, "dtype": "float32", "side": 192, "base_dim": 32},
    {"name": "mid, float32", "heads": 8, "layers": 6, "dtype": "float32", "side": 256, "base_dim": 48},
    {"name": "mid, bfloat16", "heads": 8, "layers": 6, "dtype": "bfloat16", "side": 256, "base_dim": 48},
    {"name": "mid, two people", "heads": 8, "layers": 6, "dtype": "bfloat16", "side": 256, "people": 2},
    {"name": "mid, batched", "heads": 8, "layers": 6, "dtype": "bfloat16", "side": 256, "batched": True},
    {"name": "wide, bfloat16", "heads": 16, "layers": 8, "dtype": "bfloat16", "side": 192, "base_dim": 96},
    {"name": "tiled, bfloat16", "heads": 4, "layers": 2, "dtype": "bfloat16", "side": 384, "tiled": True},
)
FRAMES = 17


def main() -> None:
    """Run every case in a process of its own and print the table."""
    print(f"{'case':18} {'phase':8} {'forecast':>9} {'measured':>9} {'error':>6}")
    for case in CASES:
        done = subprocess.run([sys.executable, __file__, json.dumps(case)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        print(done.stderr.splitlines()[-1])
        for phase, forecast, measured in json.loads(done.stdout.splitlines()[-1]):
            error = f"{100 * (forecast / measured - 1):+.0f} %"
            print(
                f"{case['name']:18} {phase:8} {forecast / 1e9:6.2f} GB {measured / 1e9:6.2f} GB {error:>6}", flush=True
            )


def measure(case: dict[str, Any]) -> list[tuple[str, int, int]]:
    """(phase, forecast bytes, measured bytes) of one chunk."""
    import torch
    from diffusers import AutoencoderKLWan

    from infinitetalk_cli.config.load import load_profile
    from infinitetalk_cli.models.color import match_color
    from infinitetalk_cli.models.devices import DTYPES
    from infinitetalk_cli.models.dubbing_model import ChunkConditions, DubbingModel
    from infinitetalk_cli.models.sampling_settings import SamplingSettings
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
    from infinitetalk_cli.models.vae import WanVideoCodec
    from infinitetalk_cli.models.velocity import bind_conditions
    from infinitetalk_cli.pipeline import footprint as memory
    from infinitetalk_cli.pipeline.model_sizes import CodecSize, ModelSize, TransformerSize
    from infinitetalk_cli.stages.generate import GENERATE  # what a run imports

    assert GENERATE.name == "generate"
    torch.manual_seed(0)
    print(f"after the imports: {_status('VmRSS') / 1e6:.0f} MB", file=sys.stderr)
    dtype, side, frames, people = DTYPES[case["dtype"]], case["side"], FRAMES, case.get("people", 1)
    base_dim = case.get("base_dim", 48)
    arguments = {
        "num_attention_heads": case["heads"], "ffn_dim": 352 * case["heads"], "num_layers": case["layers"],
        "text_dim": 512, "image_dim": 512, "audio_hidden_dim": 128, "audio_token_dim": 256,
    }  # fmt: skip
    torch.set_default_dtype(dtype)
    transformer = InfiniteTalkTransformer3DModel(**arguments).eval().requires_grad_(False)
    vae = AutoencoderKLWan(base_dim=base_dim).eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    if case.get("tiled"):
        vae.enable_tiling()
    profile = load_profile(
        "infinitetalk-480p",
        {
            "compute.dtype": case["dtype"],
            "compute.vae_dtype": case["dtype"],
            "compute.vae_tiling": bool(case.get("tiled")),
            "compute.batch_guidance": bool(case.get("batched")),
        },
    )
    image_tokens = 257
    codec = CodecSize(sum(weight.numel() for weight in vae.parameters()), base_dim)
    size = ModelSize("infinitetalk", TransformerSize.of(arguments, image_tokens), codec, audio_encoder_weights=0)
    picture = memory.Picture(side, side, frames, people)
    expected = {phase.name: phase for phase in memory.footprint(profile, size, picture, on_cpu=True).phases}
    model = DubbingModel(
        transformer=transformer,
        codec=WanVideoCodec(vae),
        image_encoder=lambda pixels: torch.zeros(1, image_tokens, 512),
        text=torch.zeros(1, 40, 512),
        negative_text=torch.zeros(1, 60, 512),
    )
    latent = (1 + (frames - 1) // 4, side // 8, side // 8)
    conditions = ChunkConditions(
        reference=torch.zeros(1, 3, 1, side, side),
        audio=torch.zeros(people, frames, 5, 12, 768),
        noise=torch.randn(1, 16, *latent),
        person_masks=_halves(*latent[1:]) if people == 2 else None,
    )
    settings = SamplingSettings(
        num_steps=2,
        timestep_shift=7.0,
        text_guidance_scale=5.0,
        audio_guidance_scale=4.0,
        batch_guidance=profile.compute.batch_guidance,
    )
    forwards = settings.forwards(has_text=True)
    with torch.no_grad():
        (velocity, _), encoding = _peak(lambda: bind_conditions(model, conditions, settings, forwards))
        latents = conditions.noise
        _, denoising = _peak(lambda: [velocity(latents, sigma) for sigma in (1.0, 0.5)])
        _, decoding = _peak(lambda: match_color(model.codec.decode(latents), conditions.reference, 1.0))
    peaks = {"encode": encoding, "denoise": denoising, "decode": decoding}
    return [(name, expected[name].host_bytes, peak) for name, peak in peaks.items()]


def _halves(rows: int, columns: int) -> Any:
    import torch

    masks = torch.zeros(3, rows, columns)
    masks[0, :, : columns // 2] = masks[1, :, columns // 2 :] = 1
    return masks


def _peak(run: Any) -> tuple[Any, int]:
    """What `run` returns, and the most resident memory while it ran."""
    Path("/proc/self/clear_refs").write_text("5")
    result = run()
    return result, _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not tell {name}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(json.loads(sys.argv[1]))))
    else:
        main()
