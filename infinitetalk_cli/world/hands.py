"""Hands with their sleeves, in front of everything else.

Hand coordinates: origin in the middle of the palm, fingers towards negative y, the thumb towards positive x;
quantities that change with time are (t, 1, 1) tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinitetalk_cli.world.characters import Character, Rgb
from infinitetalk_cli.world.drawing import Canvas, box, capsule, ellipse, length, union
from infinitetalk_cli.world.gestures import SIDES, HandMotion

_HOME_X, _HOME_Y = 0.80, 0.76
"""Where a raised hand is, from the middle of the picture in scene units."""
_BELOW = 0.66
"""How far under the lower edge a lowered hand waits."""
_SIZE = 1.06
_FINGERS = ((-0.112, 0.15, 0.031), (-0.040, 0.215, 0.035), (0.034, 0.235, 0.036), (0.104, 0.205, 0.034))
"""(x of the root, length, radius) from the little finger to the index finger."""
_FANNED = (-0.42, -0.14, 0.12, 0.36)
"""Angle of each finger of a wide open hand."""
_LINE_PX = 0.55


def hand_places(hands: tuple[HandMotion, HandMotion], height: int, width: int) -> Tensor:
    """(t, 2, 3): x and y of both palms in scene units, and their presence."""
    bottom = height / min(height, width)
    rows = []
    for side, hand in zip(SIDES, hands, strict=True):
        lowered = bottom + _BELOW
        y = lowered + (_HOME_Y + (bottom - 1) * 0.3 + hand.y - lowered) * hand.presence
        home_x = _HOME_X - 0.2 * min(bottom - 1, 0.6)  # a tall picture has room below the face
        rows.append(torch.stack((side * (home_x + hand.x), y, hand.presence), dim=1))
    return torch.stack(rows, dim=1)


def paint_hands(canvas: Canvas, who: Character, hands: tuple[HandMotion, HandMotion], height: int, width: int) -> None:
    """Both hands, if any of them is in sight."""
    places = hand_places(hands, height, width)
    bottom = height / min(height, width)
    for index, (side, hand) in enumerate(zip(SIDES, hands, strict=True)):
        if not hand.presence.any():
            continue
        x, y = places[:, index, 0], places[:, index, 1]
        _paint_sleeve(canvas, who, side, x, y, bottom)
        size = torch.full_like(x, _SIZE)
        turned = canvas.moved(x, y, side * (0.22 + hand.angle), size)
        _paint_hand(_mirrored(turned, side), who, hand, canvas.image.device)


def _mirrored(canvas: Canvas, side: int) -> Canvas:
    """The thumb of either hand is towards the face: x of the hand at the right is turned round."""
    if side < 0:
        return canvas
    # A box around x = 0 is its own mirror image, so `around` still finds it.
    return Canvas(**{**vars(canvas), "x": -canvas.x})


def _paint_sleeve(canvas: Canvas, who: Character, side: int, x: Tensor, y: Tensor, bottom: float) -> None:
    """Forearm from the wrist to an elbow outside the picture, with a cuff."""
    part = canvas.around(side * 0.95, bottom + 0.4, 0.75, 1.6)
    device = canvas.image.device
    x, y = (v[:, None, None].to(device) for v in (x, y))
    elbow_x, elbow_y = side * 1.06, bottom + 0.75
    along_x, along_y = elbow_x - x, (elbow_y - y).clamp(min=0.5)
    reach = torch.sqrt(along_x**2 + along_y**2)
    u, v = along_x / reach, along_y / reach
    wrist = (x + 0.13 * u, y + 0.13 * v)
    cuff = (x + 0.27 * u, y + 0.27 * v)
    arm = (x + 1.2 * u, y + 1.2 * v)
    part.paint(capsule(part.x, part.y, wrist, cuff, 0.088), _tone(who.skin, 0.80))
    across = (part.x - cuff[0]) * v - (part.y - cuff[1]) * u
    down = (part.x - cuff[0]) * u + (part.y - cuff[1]) * v
    sleeve = capsule(part.x, part.y, cuff, arm, 0.125 + 0.10 * down.clamp(0, 1))
    sleeve = torch.maximum(sleeve, -down)
    light = (1.02 - 0.9 * across**2 * 8 + 0.05 * torch.sin(down * 22 + across * 6))[:, None]
    part.paint(sleeve - 0.012, _tone(who.cloth, 0.62))
    part.paint(sleeve, (part.colour(who.cloth) * light).clamp_(0, 1))
    part.paint(torch.maximum(sleeve, (down - 0.028).abs() - 0.03), _tone(who.cloth, 0.72))


def _paint_hand(canvas: Canvas, who: Character, hand: HandMotion, device: torch.device) -> None:
    """Palm, four fingers and a thumb; each finger has its own outline, so that a closed hand is still one."""
    part = canvas.around(0, -0.05, 0.44, 0.46)
    spread, curl = (v[:, None, None].to(device) for v in (hand.spread, hand.curl))
    x, y = part.x, part.y
    line, light = _tone(who.skin, 0.60), part.colour(who.skin) * (1.03 - 0.30 * (y + 0.05) - 0.10 * x)[:, None]
    light = light.clamp_(0, 1)
    edge = max(0.011, _LINE_PX * part.pixel / _SIZE)
    palm = union(box(x, y, 0, 0.02, 0.142, 0.135, 0.085), box(x, y, 0, 0.13, 0.088, 0.10, 0.05), 0.06)
    thumb = _thumb(x, y, spread, curl)
    whole = union(palm, thumb, 0.03)
    fingers = [_finger(x, y, i, spread, curl) for i in range(len(_FINGERS))]
    for finger in fingers:
        part.paint(finger - edge, line)
        part.paint(finger, light)
    part.paint(whole - edge, line)
    part.paint(whole, light)
    for finger, (root_x, _, radius) in zip(fingers, _FINGERS, strict=True):  # no line where a finger meets the palm
        part.paint(torch.maximum(finger + 0.25 * radius, (y + 0.115).abs() - 0.045), light)
        crease = ellipse(x, y, root_x, -0.098, 0.024, 0.006)
        part.paint(crease, line, 0.25, softness=0.008)
    ball = ellipse(x, y, 0.075, 0.07, 0.06, 0.085)
    part.paint(ball, _tone(who.skin, 1.10), 0.35, softness=0.05)
    fold = (length(x - 0.115, y - 0.085) - 0.105).abs() - 0.004
    part.paint(torch.maximum(fold, palm + 0.02), line, 0.45, softness=0.008)
    heart = (length(x + 0.02, y + 0.16) - 0.125).abs() - 0.003
    part.paint(torch.maximum(heart, palm + 0.03), line, 0.35, softness=0.008)


def _finger(x: Tensor, y: Tensor, index: int, spread: Tensor, curl: Tensor) -> Tensor:
    """Distance to one finger; a curled one is shorter, and a little thicker."""
    root_x, reach, radius = _FINGERS[index]
    angle = _FANNED[index] * (0.25 + 0.75 * spread)
    reach = reach * (1 - 0.62 * curl)
    tip = (root_x + reach * torch.sin(angle), -0.095 - reach * torch.cos(angle))
    return capsule(x, y, (root_x * 0.94, -0.07), tip, radius * (1 + 0.15 * curl))


def _thumb(x: Tensor, y: Tensor, spread: Tensor, curl: Tensor) -> Tensor:
    """Distance to the thumb, in two joints."""
    out = 0.55 + 0.45 * spread - 0.5 * curl
    middle = (0.13 + 0.055 * out, 0.0 - 0.02 * curl)
    tip = (middle[0] + 0.075 * out, middle[1] - 0.105 + 0.02 * out)
    lower = capsule(x, y, (0.075, 0.085), middle, 0.050)
    return union(lower, capsule(x, y, middle, tip, 0.038), 0.03)


def _tone(colour: Rgb, factor: float) -> Rgb:
    return tuple(min(1.0, c * factor) for c in colour)
