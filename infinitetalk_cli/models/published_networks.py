"""The published networks, built empty from their configurations and filled from the checkpoints.

Both layouts take the same way: names are translated to those of our classes, everything is compared with what the
network needs before any weight is read, and nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    UMT5Config,
    UMT5EncoderModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
)

from infinitetalk_cli.checkpoints.files import NetworkFiles
from infinitetalk_cli.errors import DependencyError
from infinitetalk_cli.models import published_sizes as sizes
from infinitetalk_cli.models.audio_encoder import wav2vec2_weights_from_published
from infinitetalk_cli.models.filling import Placement, check_fit, fill, without_memory
from infinitetalk_cli.models.image_encoder import clip_weights_from_published
from infinitetalk_cli.models.keys import our_key, uni3c_key
from infinitetalk_cli.models.lora import LoraChanges
from infinitetalk_cli.models.tensor_files import TensorFiles, first_line
from infinitetalk_cli.models.text_encoder import umt5_weights_from_published
from infinitetalk_cli.models.transformer import InfiniteTalkTransformer3DModel
from infinitetalk_cli.models.uni3c import Uni3CControlNet
from infinitetalk_cli.models.vae import vae_weights_from_published

Rename = Callable[[Mapping[str, Tensor]], Iterable[tuple[str, Tensor]]]
"""A checkpoint's tensors under the names of our class, one at a time; also used on shapes alone."""

REMEDY = "`infinitetalk models verify` lists what is wrong; download these files again"


def load_transformer(
    network: NetworkFiles,
    audio_config: Path,
    placement: Placement,
    where: str,
    quantize: Callable[[str, nn.Module], None] | None = None,
) -> InfiniteTalkTransformer3DModel:
    """Base weights of either layout and published audio weights in one transformer; the later file wins.

    LoRA files are merged, and `quantize` called, weight by weight on the way.
    """
    files = TensorFiles(network.weights, rename=our_key)
    if any(name.endswith("._data") for name in files):
        raise DependencyError(
            f"{where}: holds weights quantized by quanto, which are not read; name the unquantized files and set "
            "compute.quantization, which makes them as small while loading"
        )
    config = sizes.transformer_config(network.config, files.layout, audio_config, where)
    with without_memory(), settings_of(where):
        transformer = InfiniteTalkTransformer3DModel(**config)
    check_fit(transformer, files.layout, where, REMEDY)
    changes = LoraChanges(network.loras, files.layout)
    fill(transformer, files.items(), placement, changes.merged if changes else None, quantize)
    return transformer.eval()


@dataclass(frozen=True, eq=False)
class EmptyNetwork:
    """A network without memory, the part of it that files fill, and how their tensors are renamed to that part's.

    `tied`: weights that are the same as another one, and need not be in the files.
    """

    model: nn.Module
    filled: nn.Module
    rename: Rename
    tied: tuple[str, ...] = ()


Config = Mapping[str, Any]
Layout = Mapping[str, Tensor]


def empty_vae(network: NetworkFiles, layout: Layout, where: str, config: Config | None = None) -> EmptyNetwork:
    """The VAE of either layout; without a config.json its sizes are `config`, or those of the files."""
    rename: Rename = unchanged
    if network.config is not None:
        config = sizes.read_json(network.config)
    else:
        config = config or sizes.vae_config(layout, where)
        rename = partial(vae_weights_from_published, num_res_blocks=config["num_res_blocks"])
    with without_memory(), settings_of(where):
        vae = AutoencoderKLWan.from_config(config)
    return EmptyNetwork(vae, vae, rename)


def empty_image_encoder(
    network: NetworkFiles, layout: Layout, where: str, config: Config | None = None
) -> EmptyNetwork:
    """The image encoder of either layout; sizes as in `empty_vae`."""
    rename: Rename = _clip_tower
    if network.config is not None:
        config = sizes.read_json(network.config)
    else:
        config, rename = config or sizes.image_encoder_config(layout, where), clip_weights_from_published
    with without_memory(), settings_of(where):
        model = CLIPVisionModel(CLIPVisionConfig.from_dict(config))
    return EmptyNetwork(model, getattr(model, "vision_model", model), rename)  # transformers 5 has no such level


def empty_text_encoder(network: NetworkFiles, layout: Layout, where: str, config: Config | None = None) -> EmptyNetwork:
    """The text encoder of either layout; sizes as in `empty_vae`."""
    rename: Rename = unchanged
    if network.config is not None:
        config = sizes.read_json(network.config)
    else:
        config, rename = config or sizes.text_encoder_config(layout, where), umt5_weights_from_published
    with without_memory(), settings_of(where):
        model = UMT5EncoderModel(UMT5Config.from_dict(config))
    return EmptyNetwork(model, model, rename, tied=("encoder.embed_tokens.weight",))


def empty_audio_encoder(
    network: NetworkFiles, layout: Layout, where: str, config: Config | None = None
) -> EmptyNetwork:
    """The speech encoder, of a checkpoint of the bare model or of its pre-training; its sizes are always stated."""
    # What masks speech belongs to training.
    stated = sizes.read_json(network.config) | {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    with without_memory(), settings_of(where):
        model = Wav2Vec2Model(Wav2Vec2Config.from_dict(stated))
    return EmptyNetwork(model, model, wav2vec2_weights_from_published)


def empty_uni3c(network: NetworkFiles, layout: Layout, where: str, config: Config | None = None) -> EmptyNetwork:
    """The camera branch, exported by us (sizes in its config.json) or published (sizes as in `empty_vae`)."""
    if network.config is not None:
        stated = sizes.read_json(network.config)
    else:
        stated = config or sizes.uni3c_config({uni3c_key(name): tensor for name, tensor in layout.items()}, where)
    with without_memory(), settings_of(where):
        model = Uni3CControlNet.from_config(stated)
    return EmptyNetwork(model, model, _uni3c_names)


def load_vae(network: NetworkFiles, placement: Placement, where: str) -> AutoencoderKLWan:
    """The VAE of either layout."""
    return _loaded(empty_vae, network, placement, where)


def load_image_encoder(network: NetworkFiles, placement: Placement, where: str) -> CLIPVisionModel:
    """The image encoder of either layout."""
    return _loaded(empty_image_encoder, network, placement, where)


def load_text_encoder(network: NetworkFiles, placement: Placement, where: str) -> UMT5EncoderModel:
    """The text encoder of either layout."""
    model = _loaded(empty_text_encoder, network, placement, where)
    model.encoder.embed_tokens.weight = model.shared.weight
    return model


def load_audio_encoder(network: NetworkFiles, placement: Placement, where: str) -> Wav2Vec2Model:
    """The speech encoder."""
    return _loaded(empty_audio_encoder, network, placement, where)


def load_uni3c(
    network: NetworkFiles, placement: Placement, where: str, transformer: InfiniteTalkTransformer3DModel
) -> Uni3CControlNet:
    """The camera branch for `transformer`.

    Raises:
        DependencyError: its files are damaged or incomplete, or it was made for another model.
    """
    model = _loaded(empty_uni3c, network, placement, where)
    main, own = transformer.config, model.config
    dim = main.num_attention_heads * main.attention_head_dim
    needed = {
        "in_channels": main.in_channels,
        "out_dim": dim,
        "time_embed_dim": dim,
        "patch_size": tuple(main.patch_size),
    }
    found = {name: tuple(own[name]) if name == "patch_size" else own[name] for name in needed}
    differing = [f"{name} {found[name]}, not {value}" for name, value in needed.items() if found[name] != value]
    if own.num_layers > main.num_layers:
        differing.append(f"{own.num_layers} blocks beside {main.num_layers}")
    if differing:
        raise DependencyError(
            f"{where}: this camera branch was made for another model ({'; '.join(differing)}); name the branch of this "
            "one in model.uni3c, or leave out --camera-method"
        )
    return model


@contextmanager
def settings_of(where: str) -> Iterator[None]:
    """A network that cannot be built from its settings is a `DependencyError`."""
    try:
        yield
    except Exception as exc:  # transformers and diffusers raise whatever they stumble over, also a NameError
        raise DependencyError(f"{where}: its settings make no network ({first_line(exc)}); {REMEDY}") from exc


def _loaded(
    make_empty: Callable[[NetworkFiles, Layout, str], EmptyNetwork],
    network: NetworkFiles,
    placement: Placement,
    where: str,
) -> Any:
    """The network that `make_empty` builds, filled from its files."""
    files = TensorFiles(network.weights)
    empty = make_empty(network, files.layout, where)

    def kept(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        return (pair for pair in empty.rename(weights) if pair[0] not in empty.tied)

    try:
        layout = dict(kept(files.layout))
    except KeyError as exc:
        raise DependencyError(f"{where}: {exc.args[0]}; {REMEDY}") from exc
    check_fit(empty.filled, layout, where, REMEDY, empty.tied)
    fill(empty.filled, kept(files), placement)
    return empty.model.eval()


def _uni3c_names(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((uni3c_key(name), weights[name]) for name in weights)


def unchanged(weights: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor]]:
    """Names that are those of our class already."""
    return weights.items()


def _clip_tower(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Weights of transformers' CLIP vision model, as older and newer versions of it name them."""
    for key in weights:
        name = key.removeprefix("vision_model.")
        if name not in ("embeddings.position_ids", "visual_projection.weight"):
            yield name, weights[key]
