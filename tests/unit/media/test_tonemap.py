"""High dynamic range to BT.709: known points of the standards."""

from __future__ import annotations

import numpy as np
import pytest

from infinitetalk_cli.media.tonemap import hlg_to_nits, nits_to_pq, pq_to_nits, rolled_off, to_sdr


@pytest.mark.parametrize(
    ("code", "nits"), [(0.0, 0.0), (0.5081, 100.0), (0.5807, 203.0), (0.7518, 1000.0), (1.0, 10_000.0)]
)
def test_pq_of_bt2408(code: float, nits: float):
    assert pq_to_nits(np.array(code)) == pytest.approx(nits, rel=2e-3, abs=1e-6)
    assert nits_to_pq(np.array(nits)) == pytest.approx(code, abs=1e-3)


@pytest.mark.parametrize(("code", "nits"), [(0.38, 26.0), (0.75, 203.0), (1.0, 1000.0)])
def test_hlg_of_bt2408(code: float, nits: float):
    np.testing.assert_allclose(hlg_to_nits(np.full(3, code)), nits, rtol=0.02)


def test_roll_off_keeps_the_dark_rises_and_ends_at_white():
    nits = np.linspace(0, 1000, 2001)
    mapped = rolled_off(nits)
    np.testing.assert_allclose(mapped[nits < 80], nits[nits < 80], rtol=1e-6)
    assert np.all(np.diff(mapped) >= 0)
    assert mapped[-1] == pytest.approx(203, rel=1e-3)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_grey_stays_grey(transfer: str):
    grey = np.repeat(np.linspace(0, 1, 21)[:, None], 3, axis=1)
    mapped = to_sdr(grey, transfer, "bt2020")
    assert np.ptp(mapped, axis=1).max() < 1e-3
    assert np.all(np.diff(mapped[:, 0]) >= 0)
