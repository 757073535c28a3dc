"""From high dynamic range to BT.709: the transfer of PQ and HLG, a roll-off of highlights, narrower primaries.

Formulas of ITU-R BT.2100 (transfers), BT.2390 section 5.4.1 (roll-off) and BT.2087 (primaries).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

REFERENCE_WHITE_NITS = 203.0
"""Brightness of diffuse white in graded HDR (BT.2408), which becomes the white of the result."""
PEAK_NITS = 1000.0
"""Brightest highlight that is still told apart: what most material is graded for, and HLG's nominal peak."""

_PQ_MAX_NITS = 10_000.0
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2  # of a 1000 nit display
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])
_BT2020_TO_BT709 = np.array([
    [1.660491, -0.587641, -0.072850],
    [-0.124551, 1.132900, -0.008349],
    [-0.018151, -0.100579, 1.118730],
])  # fmt: skip
_DISPLAY_GAMMA = 2.4  # BT.1886

_CUBE_SIZE = 33


def to_sdr(rgb: np.ndarray, transfer: str, primaries: str | None) -> np.ndarray:
    """BT.709 RGB in [0, 1] as shown, from `(..., 3)` coded RGB in [0, 1] of `smpte2084` or `arib-std-b67`."""
    nits = pq_to_nits(rgb) if transfer == "smpte2084" else hlg_to_nits(rgb)
    brightest = nits.max(axis=-1, keepdims=True)
    # One factor for all three channels: highlights keep their hue.
    nits = nits * (rolled_off(brightest) / np.maximum(brightest, 1e-6))
    if primaries in (None, "bt2020"):
        nits = nits @ _BT2020_TO_BT709.T
    return np.clip(nits / REFERENCE_WHITE_NITS, 0, 1) ** (1 / _DISPLAY_GAMMA)


def pq_to_nits(code: np.ndarray) -> np.ndarray:
    """Brightness of PQ codes in [0, 1]."""
    root = np.clip(code, 0, 1) ** (1 / _M2)
    return _PQ_MAX_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """PQ codes of brightnesses."""
    power = (np.clip(nits, 0, _PQ_MAX_NITS) / _PQ_MAX_NITS) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def hlg_to_nits(code: np.ndarray) -> np.ndarray:
    """Brightness on a 1000 nit display of HLG RGB `(..., 3)` in [0, 1]."""
    code = np.clip(code, 0, 1)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - _HLG_C) / _HLG_A) + _HLG_B) / 12)
    luma = (scene @ _BT2020_LUMA)[..., None]
    return PEAK_NITS * scene * np.maximum(luma, 1e-9) ** (_HLG_GAMMA - 1)


def rolled_off(nits: np.ndarray) -> np.ndarray:
    """Brightness squeezed from `PEAK_NITS` into `REFERENCE_WHITE_NITS`; the darker part stays as it is."""
    peak = nits_to_pq(np.array(PEAK_NITS))
    top = nits_to_pq(np.array(REFERENCE_WHITE_NITS)) / peak
    knee = 1.5 * top - 0.5
    code = np.minimum(nits_to_pq(nits) / peak, 1)
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * top
    return pq_to_nits(np.where(code < knee, code, spline) * peak)


def write_cube(path: Path, transfer: str, primaries: str | None) -> None:
    """Write `to_sdr` as a .cube table, which libavfilter's `lut3d` reads: red runs fastest."""
    steps = np.linspace(0, 1, _CUBE_SIZE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    table = to_sdr(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer, primaries)
    lines = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in table)
    path.write_text(f"LUT_3D_SIZE {_CUBE_SIZE}\n{lines}\n", encoding="ascii")
