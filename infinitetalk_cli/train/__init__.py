"""Training: rendered clips or videos as data, the recipe of nano, and LoRAs of the large model."""

import infinitetalk_cli.models  # noqa: F401  # keeps diffusers quiet, which some of us import first
