"""The networks of the last job, kept for the next one if it has the same."""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING

from infinitetalk_cli.pipeline.dubbing import load_models

if TYPE_CHECKING:
    from infinitetalk_cli.models.load import LoadedModels
    from infinitetalk_cli.pipeline.request import Prepared

logger = logging.getLogger(__name__)


class Shelf:
    """Holds the networks of one model with one way to run it: files and their content, device, formats, offload."""

    def __init__(self) -> None:
        self._settings: object = None
        self._models: LoadedModels | None = None
        self.num_loaded = 0
        """How many models there were."""

    def models_of(self, prepared: Prepared) -> LoadedModels:
        """The networks of `prepared`; others are let go first, so that two models never take memory at once."""
        settings = _settings(prepared)
        if self._models is None or settings != self._settings:
            self.clear()
            self._settings, self._models = settings, load_models(prepared)
            self.num_loaded += 1
        return self._models

    def clear(self) -> None:
        """Let go of everything, the device's memory included."""
        if self._models is None:
            return
        logger.info("letting the loaded networks go")
        self._settings = self._models = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _settings(prepared: Prepared) -> object:
    """All that decides what `load_models` makes."""
    weights, profile = prepared.weights, prepared.job.profile
    return weights.files, dict(weights.revisions), prepared.request.device, profile.compute, profile.memory
