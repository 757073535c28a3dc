"""How long the transformer takes to load, and how much memory: `python tests/bench/load_checkpoint.py --folder DIR`.

Writes a checkpoint in the published layout at the real width with fewer layers (about 4 GB with the defaults; kept in
DIR for the next run), loads it in a process of its own and prints one JSON document. `peak_rss` counts pages of the
files that are mapped at that moment; the system takes those back when it needs them. `peak_anonymous` is memory that
is really ours. Before the second is read off, every page of every weight is touched once, so that what stays mapped
counts as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WAV2VEC2 = {"num_hidden_layers": 12, "hidden_size": 768}


def write_checkpoint(folder: Path, num_layers: int, dtype: torch.dtype) -> None:
    """Base shards, one per layer, and audio weights, of random numbers under published names."""
    from safetensors.torch import save_file

    from infinitetalk_cli.models.keys import AUDIO_KEY, key_to_published
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

    with torch.device("meta"):
        layout = InfiniteTalkTransformer3DModel(num_layers=num_layers).state_dict()
    groups: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in layout.items():
        block = name.split(".")[1] if name.startswith("blocks.") else "rest"
        groups["audio" if AUDIO_KEY.match(name) else block][key_to_published(name)] = tensor
    folder.mkdir(parents=True)
    for group, tensors in groups.items():
        filled = {key: torch.empty(tensor.shape, dtype=dtype).normal_(std=0.02) for key, tensor in tensors.items()}
        save_file(filled, folder / (f"{group}.safetensors" if group == "audio" else f"base-{group}.safetensors"))
    config = {
        "dim": 5120, "ffn_dim": 13824, "freq_dim": 256, "in_dim": 36, "out_dim": 16, "num_heads": 40,
        "num_layers": num_layers, "text_len": 512, "eps": 1e-6,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "wav2vec2.json").write_text(json.dumps(WAV2VEC2))


def measure(folder: Path, dtype: str, quantization: str, device: str) -> dict[str, object]:
    """Load the checkpoint in `folder` here and now."""
    from infinitetalk_cli.checkpoints.files import NetworkFiles
    from infinitetalk_cli.models.filling import Placement
    from infinitetalk_cli.models.published_networks import load_transformer
    from infinitetalk_cli.models.quantize import make_quantizer
    from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel

    where, own_dtype = torch.device(device), DTYPES[dtype]
    quantize = None if quantization == "none" else make_quantizer(quantization, where, own_dtype)
    placement = Placement(where, own_dtype, tuple(InfiniteTalkTransformer3DModel._keep_in_fp32_modules))
    files = (*sorted(folder.glob("base-*.safetensors")), folder / "audio.safetensors")
    network = NetworkFiles("original", files, folder / "config.json")
    start, peaks, done = memory(), defaultdict(int), threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for name, value in memory().items():
                peaks[name] = max(peaks[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began_s = time.monotonic()
    transformer = load_transformer(network, folder / "wav2vec2.json", placement, str(folder), quantize)
    seconds = time.monotonic() - began_s
    touched = sum(float(parameter.view(-1)[::1024].sum()) for parameter in transformer.parameters() if quantize is None)
    done.set()
    watcher.join()
    assert touched == touched, "the numbers are finite"
    model_bytes = sum(parameter.numel() * parameter.element_size() for parameter in transformer.parameters())
    return {
        "files_gb": sum(file.stat().st_size for file in files) / 1e9,
        "model_gb": model_bytes / 1e9 if quantize is None else None,
        "dtype": dtype,
        "quantization": quantization,
        "device": device,
        "seconds": round(seconds, 2),
        "peak_rss_gb": (peaks["VmRSS"] - start["VmRSS"]) / 1e9,
        "peak_anonymous_gb": (peaks["RssAnon"] - start["RssAnon"]) / 1e9,
        "kept_anonymous_gb": (memory()["RssAnon"] - start["RssAnon"]) / 1e9,
    }


def memory() -> dict[str, int]:
    """This process's memory in bytes, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: 1024 * int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)
            if name in ("VmRSS", "RssAnon", "RssFile")}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--file-dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--quantization", choices=("none", "int8", "fp8"), default="none")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--here", action="store_true", help="load in this process")
    options = parser.parse_args()
    folder = options.folder / f"{options.layers}-layers-{options.file_dtype}"
    if not folder.is_dir():
        write_checkpoint(folder, options.layers, DTYPES[options.file_dtype])
    if options.here:
        print(json.dumps(measure(folder, options.dtype, options.quantization, options.device), indent=1))
    else:
        subprocess.run([sys.executable, *sys.argv, "--here"], check=True)


if __name__ == "__main__":
    main()
