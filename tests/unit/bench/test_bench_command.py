from __future__ import annotations

from typing import Any

import pytest

NANO = ("bench", "--size", "nano", "--latent", "3,4,4", "--repeats", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix product of milliseconds."""
    from infinitetalk_cli.bench import measure

    monkeypatch.setitem(measure._MATMUL_SIDE, "cpu", 64)


def test_json_holds_all_figures(run_command: Any) -> None:
    outcome = run_command(*NANO, "--people", 2, "--json")
    assert outcome.exit_code == 0
    found = outcome.document
    assert (found["schema"], found["status"]) == (1, "done")
    assert found["settings"]["latent"] == [3, 4, 4]
    assert found["settings"]["dtype"] == "float32"
    assert found["machine"]["device"] == "cpu"
    assert found["timing"]["median_s"] > 0
    assert found["utilisation"]["of_matmul"] > 0
    assert found["memory"]["peak_bytes"] > found["memory"]["weights_bytes"]
    parts = found["parts"]
    assert parts.pop("total") == pytest.approx(sum(parts.values()))
    operations = found["flops"]
    assert operations.pop("total") == sum(operations.values())


def test_table_names_every_part(run_command: Any) -> None:
    outcome = run_command(*NANO, "--layers", 2)
    assert outcome.exit_code == 0
    for word in ("one forward", "utilisation", "peak memory", "self attention", "audio", "elementwise", "torch"):
        assert word in outcome.stdout, word


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--device", "cuda"), 5, "CUDA"),
        (("--attention", "flash", "--device", "cpu"), 5, "flash-attn"),
        (("--device", "cpu", "--size", "14b", "--latent", "21,800,800"), 6, "needs more than"),
        (("--device", "cpu", "--latent", "3,4,5"), 2, "whole patches"),
        (("--device", "cpu", "--latent", "3,4"), 2, "three whole numbers"),
        (("--device", "cpu", "--latent", "3,4,4", "--resolution", "480p"), 2, "not both"),
        (("--size", "large"), 2, "large"),
    ],
)
def test_what_cannot_be_measured(
    run_command: Any, arguments: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    outcome = run_command("bench", *arguments)
    assert outcome.exit_code == code
    assert message in " ".join(outcome.stderr.split())
    assert "Traceback" not in outcome.stderr
