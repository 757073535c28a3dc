"""What fits which machine: refused before the work starts, with what would fit instead."""

from __future__ import annotations

import pytest

from infinitetalk_cli.config.load import load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import ResourceError
from infinitetalk_cli.machine import HostMemory
from infinitetalk_cli.models.devices import DeviceFacts
from infinitetalk_cli.pipeline.compute import Device, settle
from infinitetalk_cli.pipeline.fitting import MemoryPlan, Room, plan_memory, require_room
from infinitetalk_cli.pipeline.footprint import Picture
from infinitetalk_cli.pipeline.model_sizes import PUBLISHED
from infinitetalk_cli.pipeline.work import operations_per_frame, square_picture

BIG_HOST = HostMemory(256_000_000_000, 200_000_000_000)


def card(gigabytes: float, capability: tuple[int, int] = (8, 9)) -> DeviceFacts:
    free_bytes = int(gigabytes * 1e9)
    return DeviceFacts("cuda", "the card", free_bytes, free_bytes, multiplies_bfloat16=True, capability=capability)


def plan(name: str, device: DeviceFacts, host: HostMemory = BIG_HOST, **overrides: object) -> MemoryPlan:
    profile = load_profile(name, {key.replace("__", "."): value for key, value in overrides.items()})
    settled = settle(profile, Device(device.kind, device)).profile
    found = plan_memory(settled, PUBLISHED, square_picture, Room(device, host))
    assert found is not None
    return found


def test_a_large_card_takes_the_published_profile_without_a_word():
    roomy = plan("infinitetalk-480p", card(80))
    assert (roomy.state, roomy.alternatives) == ("fits", ())
    assert require_room(roomy, load_profile("infinitetalk-480p")) is None


def test_a_card_that_is_nearly_full_is_noted():
    needed = plan("infinitetalk-480p", card(80)).needed.device_bytes
    note = require_room(plan("infinitetalk-480p", card(needed / 1e9 / 0.95)), load_profile("infinitetalk-480p"))
    assert note is not None and "memory will be close" in note


def test_a_small_card_is_refused_with_what_would_fit():
    small = plan("infinitetalk-480p", card(24))
    assert small.state == "too much"
    assert small.alternatives[:2] == ("--offload blocks", "--offload all")
    assert "--profile infinitetalk-480p-lowmem" in small.alternatives
    with pytest.raises(ResourceError) as caught:
        require_room(small, load_profile("infinitetalk-480p"))
    text = str(caught.value)
    assert "infinitetalk-480p needs about" in text and "on the card, 24.0 GB free" in text
    assert "--offload blocks" in text and "--ignore-memory" in text


def test_what_is_offered_is_what_the_same_forecast_lets_fit():
    device = card(24)
    for words in plan("best", device).alternatives:
        option, _, value = words.partition(" ")
        other = plan(value, device) if option == "--profile" else plan("best", device, memory__offload=value)
        assert other.state != "too much", words


def test_fp8_presets_are_offered_only_where_the_card_has_it():
    def offered(device: DeviceFacts) -> tuple[str, ...]:
        return plan("infinitetalk-480p", device).alternatives

    assert "--profile fast" in offered(card(36, (8, 9)))
    assert "--profile fast" not in offered(card(36, (8, 0)))


def test_two_people_are_not_offered_what_knows_one():
    assert plan("infinitetalk-480p-multi", card(24)).alternatives == ("--offload blocks", "--offload all")


def test_offload_into_a_computer_without_room_for_it_is_refused_too():
    tight = plan("infinitetalk-480p", card(24), HostMemory(32_000_000_000, 30_000_000_000), memory__offload="blocks")
    assert tight.state == "too much"
    assert tight.needed.device_bytes < tight.room.device.free_bytes
    assert "--profile infinitetalk-480p-lowmem" in tight.alternatives


def test_nothing_fits_a_tiny_card_and_that_is_said():
    with pytest.raises(ResourceError, match="no shipped profile of this model would fit"):
        require_room(plan("infinitetalk-480p", card(4)), load_profile("infinitetalk-480p"))


def test_only_what_is_left_to_do_counts():
    profile, room = load_profile("infinitetalk-480p"), Room(card(14), BIG_HOST)
    everything = plan_memory(profile, PUBLISHED, square_picture, room)
    text_only = plan_memory(profile, PUBLISHED, square_picture, room, ("text_embedding",))
    assert everything is not None and everything.state == "too much"
    assert text_only is not None and text_only.state == "fits"
    assert plan_memory(profile, PUBLISHED, square_picture, room, ("remux",)) is None


def test_a_cpu_counts_main_memory_once():
    host = HostMemory(128_000_000_000, 100_000_000_000)
    cpu = DeviceFacts("cpu", "a processor", host.total_bytes, host.available_bytes, multiplies_bfloat16=True)
    on_cpu = plan("infinitetalk-480p", cpu, host)
    assert on_cpu.state == "fits"
    assert "main memory" in on_cpu.sentence and "the card" not in on_cpu.sentence


def test_plain_data_holds_what_the_table_shows():
    document = plan("infinitetalk-480p", card(24)).as_dict()
    assert document["state"] == "too much"
    assert document["device_bytes"] == max(phase["device_bytes"] for phase in document["phases"])
    assert {phase["stage"] for phase in document["phases"]} == {"audio_embedding", "text_embedding", "generate"}


# work


def work(profile: Profile) -> float:
    return operations_per_frame(profile, PUBLISHED, square_picture(profile))


def test_work_counts_steps_branches_and_tokens():
    full, fast, large = (load_profile(name) for name in ("infinitetalk-480p", "infinitetalk-480p-4step", "best"))
    assert work(fast) / work(full) == pytest.approx(4 * 2 / (40 * 3))
    tokens = 960**2 / 640**2
    assert tokens < work(large) / work(full) < tokens**2
    assert square_picture(full) == Picture(640, 640, 81)
