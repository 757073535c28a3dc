"""Contact sheets: frames of the source, the true dub and every method, one above the other."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from infinitetalk_cli.evaluate.synthetic.settings import Take
from infinitetalk_cli.evaluate.synthetic.units import COPY, TRUTH, Runner

CLIPS_SHOWN = 3
_LABEL_PX, _GAP_PX, _BETWEEN_CLIPS_PX = 150, 2, 14


def contact_sheet(runner: Runner, takes: Sequence[Take]) -> Image.Image:
    """A block per clip (the first few), a row for its source, its true dub, and each of `takes` of that situation."""
    situation, num_chunks = takes[0].situation, takes[0].num_chunks
    alike = [take for take in takes if (take.situation, take.num_chunks) == (situation, num_chunks)]
    methods = [COPY, TRUTH, *(take.method for take in alike)]
    blocks = []
    for index in range(min(CLIPS_SHOWN, runner.settings.num_clips)):
        rows = []
        for method in methods:
            with Image.open(runner.strip(Take(method, situation, num_chunks), index)) as strip:
                name = "source" if method is COPY else "true dub" if method is TRUTH else method.name
                rows.append(_labelled(name, strip.convert("RGB")))
        blocks.append(_stacked(rows, _GAP_PX))
    return _stacked(blocks, _BETWEEN_CLIPS_PX)


def _labelled(name: str, strip: Image.Image) -> Image.Image:
    row = Image.new("RGB", (_LABEL_PX + strip.width, strip.height), "white")
    row.paste(strip, (_LABEL_PX, 0))
    ImageDraw.Draw(row).text((8, strip.height / 2), name, fill="black", font=ImageFont.load_default(15), anchor="lm")
    return row


def _stacked(pictures: Sequence[Image.Image], gap_px: int) -> Image.Image:
    height = sum(picture.height for picture in pictures) + gap_px * (len(pictures) - 1)
    whole = Image.new("RGB", (max(picture.width for picture in pictures), height), "white")
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height + gap_px
    return whole
