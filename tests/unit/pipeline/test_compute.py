"""What "auto" becomes on which device, what is refused, and what an unfinished job keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from infinitetalk_cli.cache.store import Store
from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import ComputeProfile, Profile
from infinitetalk_cli.errors import DependencyError, ProfileError
from infinitetalk_cli.models.devices import DeviceFacts
from infinitetalk_cli.pipeline import choose, jobs
from infinitetalk_cli.pipeline.compute import Device, settle

CPU = DeviceFacts("cpu", "a processor", 16 << 30, 8 << 30, multiplies_bfloat16=True)
OLD_CPU = DeviceFacts("cpu", "an old processor", 16 << 30, 8 << 30, multiplies_bfloat16=False)
AMPERE = DeviceFacts("cuda", "A100", 40 << 30, 39 << 30, multiplies_bfloat16=True, capability=(8, 0))
HOPPER = DeviceFacts("cuda", "H100", 80 << 30, 79 << 30, multiplies_bfloat16=True, capability=(9, 0))
BEGUN_FP8 = ComputeProfile(attention="sdpa", quantization="fp8")


class KnownDevice(Device):
    """A device with given facts and attention kernels."""

    def __init__(self, facts: DeviceFacts, kernels: tuple[str, ...] = ("sdpa",)) -> None:
        super().__init__(facts.kind, facts)
        self._kernels = kernels

    def require_attention(self, compute: ComputeProfile) -> None:
        if compute.attention not in self._kernels:
            raise DependencyError(f"{compute.attention} attention is not installed")


class UnwatchedDevice(Device):
    """A device that must not be looked at."""

    @property
    def facts(self) -> DeviceFacts:
        raise AssertionError("nothing here depends on the device")


def profile(**compute: object) -> Profile:
    values = {f"compute.{key}": value for key, value in compute.items()}
    return load_profile("infinitetalk-480p", values)


@pytest.mark.parametrize(
    ("facts", "quantization", "note"),
    [
        (HOPPER, "fp8", "fp8: H100 multiplies it"),
        (AMPERE, "none", "no fp8 on A100: weights stay bfloat16"),
        (CPU, "none", "no fp8 on a processor: weights stay bfloat16"),
    ],
)
def test_auto_quantization_is_fp8_where_the_device_multiplies_it(facts: DeviceFacts, quantization: str, note: str):
    settled = settle(profile(quantization="auto"), KnownDevice(facts))
    assert settled.profile.compute.quantization == quantization
    assert settled.notes == (note,)


def test_nothing_is_left_to_the_device():
    settled = settle(profile(quantization="auto", attention="auto"), KnownDevice(CPU))
    assert "auto" not in settled.profile.compute.model_dump().values()


def test_a_concrete_profile_is_left_as_it_is():
    asked = profile(quantization="int8", attention="flash", compile=True)
    settled = settle(asked, KnownDevice(HOPPER, ("flash",)))
    assert settled == (asked, ())


def test_nano_needs_no_look_at_the_device():
    settled = settle(load_profile("nano"), UnwatchedDevice("cuda:7"))
    assert settled.notes == ()
    assert settled.profile.compute.attention == "sdpa"


@pytest.mark.parametrize(("facts", "said"), [(AMPERE, r"A100 \(compute capability 8.0\)"), (CPU, "a processor")])
def test_fp8_on_a_device_without_it_is_refused(facts: DeviceFacts, said: str):
    with pytest.raises(DependencyError, match=f"{said} does not multiply 8-bit floats.*use int8 or none"):
        settle(profile(quantization="fp8"), KnownDevice(facts))


def test_kernels_that_are_not_there_are_refused():
    with pytest.raises(DependencyError, match="sage attention is not installed"):
        settle(profile(attention="sage"), KnownDevice(HOPPER))


def test_nano_cannot_be_quantized():
    with pytest.raises(ProfileError, match="not for nano"):
        settle(load_profile("nano", {"compute.quantization": "int8"}), KnownDevice(CPU))


def test_slow_bfloat16_and_useless_offload_are_said():
    slow = settle(profile(), KnownDevice(OLD_CPU)).notes
    assert len(slow) == 1 and slow[0].startswith("bfloat16 is slow on an old processor")
    useless = settle(load_profile("infinitetalk-480p", {"memory.offload": "all"}), KnownDevice(CPU)).notes
    assert useless == ("--offload all has no effect: the networks run on the CPU, where the weights are",)


# a job that goes on


def test_a_job_keeps_what_it_began_with_on_a_machine_that_can():
    settled = settle(profile(quantization="auto"), KnownDevice(HOPPER), ComputeProfile(quantization="none"))
    assert settled.profile.compute.quantization == "none"
    assert settled.notes == ("quantization none: this unfinished job began with it",)


def test_a_job_begins_anew_where_its_numbers_are_not_possible_and_says_why():
    settled = settle(profile(quantization="auto"), KnownDevice(AMPERE), BEGUN_FP8)
    assert settled.profile.compute.quantization == "none"
    assert settled.notes == ("this job began with fp8, which A100 does not multiply: the picture is made anew",)


def test_what_the_command_line_asks_for_wins_over_what_the_job_began_with():
    settled = settle(profile(quantization="none"), KnownDevice(HOPPER), BEGUN_FP8)
    assert settled.profile.compute.quantization == "none"
    assert settled.notes == ()


def test_only_what_auto_became_is_remembered_of_an_unfinished_job(tmp_path: Path):
    store, key = Store(tmp_path), "a" * 8
    base = load_profile("fast")
    for number, (asked, remembered) in enumerate((("auto", "fp8"), ("int8", None))):
        wanted = load_profile("fast", {"compute.quantization": asked})
        settled = wanted.compute.model_copy(update={"quantization": "fp8" if asked == "auto" else asked})
        record = jobs.begin_job(
            store,
            job=f"{number:024x}",
            key=key,
            output=tmp_path / "out.mp4",
            base=base,
            asked=wanted,
            compute=settled,
            sources={},
            stages=(),
        )
        begun = choose.begun_compute(store, key)
        assert (begun and begun.quantization) == remembered
    jobs.finish_job(store, record)
    assert choose.begun_compute(store, key) is None
