"""`t5_encoder`: tokenised prompts as embeddings."""

from __future__ import annotations

from functools import partial

from transformers import UMT5Config, UMT5EncoderModel

from infinitetalk_cli.models.text_encoder import Umt5TextEncoder, umt5_weights_from_published

from ..harness import Case, Comparison, Golden


def cases(golden: Golden) -> list[Case]:
    """One padded batch."""
    golden.check_tensors((r"w\..*", r"in\.(ids|mask)", r"out\.text\d+"))
    return [Case("batch", partial(_compare, golden))]


def _encoder(golden: Golden) -> Umt5TextEncoder:
    config, published = golden.setting("config"), golden.tensors_under("w.")
    model = UMT5EncoderModel(
        UMT5Config(
            vocab_size=config["vocab"],
            d_model=config["dim"],
            d_kv=config["dim_attn"] // config["heads"],
            d_ff=config["dim_ffn"],
            num_layers=config["layers"],
            num_heads=config["heads"],
            relative_attention_num_buckets=published["blocks.0.pos_embedding.embedding.weight"].shape[0],
            feed_forward_proj="gated-gelu",
        )
    )
    model.load_state_dict(dict(umt5_weights_from_published(published)))
    return Umt5TextEncoder(model)


def _compare(golden: Golden, comparison: Comparison) -> None:
    texts = _encoder(golden).encode(golden.tensor("in.ids").long(), golden.tensor("in.mask").long())
    for index, text in enumerate(texts):
        name = f"out.text{index}"
        comparison.close(name, text, golden.tensor(name), golden.setting("tolerance"))
    beyond = [name for name in golden.tensors if name.startswith("out.") and name not in comparison.errors]
    assert not beyond, f"{golden.path}: outputs without a row in the batch: {beyond}"
