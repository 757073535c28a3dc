"""Which weights a profile means."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from infinitetalk_cli.config.base import Settings

BUILTIN_PREFIX = "builtin:"
"""`weights: builtin:NAME` means weights that ship inside the package."""


class LoraFile(Settings):
    """Low-rank changes that are merged into the transformer: a file by catalogue name or path, and how strongly."""

    file: str = Field(min_length=1)
    weight: float = Field(default=1.0, ge=-10.0, le=10.0)


class ModelProfile(Settings):
    """Which weights.

    nano needs `weights`: "builtin:NAME", or a folder of trained parts. infinitetalk needs the other three, each the
    name of an entry in the catalogue (`infinitetalk models list`), or a path. `lora_alpha` "ignore" is for
    compatibility: the published merge leaves the files' alpha out. `max_people` is how many people who speak the audio
    parts were trained for: two voices need weights that know two. `uni3c` is the camera branch for `camera.method`
    uni3c and both; None: nano's own, the published one for infinitetalk.
    """

    family: Literal["nano", "infinitetalk"]
    weights: str | None = Field(default=None, min_length=1)
    base: str | None = Field(default=None, min_length=1)  # video transformer, VAE, image and text encoder
    audio_encoder: str | None = Field(default=None, min_length=1)
    audio_weights: str | None = Field(default=None, min_length=1)  # the transformer's audio parts
    loras: tuple[LoraFile, ...] = ()
    lora_alpha: Literal["honour", "ignore"] = "honour"
    max_people: int = Field(default=1, ge=1, le=2)
    uni3c: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _names_its_parts(self) -> ModelProfile:
        published = ("base", "audio_encoder", "audio_weights")
        needed, foreign = (("weights",), published) if self.family == "nano" else (published, ("weights",))
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"family {self.family} needs {' and '.join(missing)}")
        unused = [name for name in foreign if getattr(self, name) is not None]
        if self.family == "nano" and self.loras:
            unused.append("loras")
        if unused:
            raise ValueError(f"{' and '.join(unused)}: not for family {self.family}; remove")
        return self

    @property
    def reads_text(self) -> bool:
        """Whether the model has a text branch, so that prompts matter."""
        return self.family != "nano"

    @property
    def builtin_name(self) -> str | None:
        """Name of the weights inside the package, or `None` when they live elsewhere."""
        if self.weights is None or not self.weights.startswith(BUILTIN_PREFIX):
            return None
        return self.weights.removeprefix(BUILTIN_PREFIX)
