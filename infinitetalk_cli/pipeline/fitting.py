"""Whether a profile fits this machine's memory, said before the work starts, and what would fit instead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from infinitetalk_cli.config.load import list_profiles, load_profile
from infinitetalk_cli.config.profile import Profile
from infinitetalk_cli.errors import InfiniteTalkError, ResourceError
from infinitetalk_cli.machine import HostMemory
from infinitetalk_cli.pipeline.compute import Device, settle
from infinitetalk_cli.pipeline.footprint import Footprint, Picture, footprint
from infinitetalk_cli.pipeline.model_sizes import ModelSize, size_of
from infinitetalk_cli.pipeline.remaining import stages_to_do
from infinitetalk_cli.pipeline.work import operations_per_frame

if TYPE_CHECKING:
    from infinitetalk_cli.models.devices import DeviceFacts
    from infinitetalk_cli.pipeline.request import Prepared

CLOSE = 0.9
"""Share of the free memory above which it is said that little is left."""
NUM_SHOWN = 3

STAGES_WITH_NETWORKS = ("audio_embedding", "text_embedding", "generate")

PictureOf = Callable[[Profile], Picture]
"""What would be generated at once of the source at hand."""


@dataclass(frozen=True)
class Room:
    """The memory there is: of the device that computes, and of the computer, which `num_processes` share."""

    device: DeviceFacts
    host: HostMemory
    num_processes: int = 1


@dataclass(frozen=True)
class MemoryPlan:
    """What a profile needs, what there is, and whether that will do.

    `alternatives` are options or profiles that would fit where this one does not, those with most work first.
    """

    needed: Footprint
    room: Room
    alternatives: tuple[str, ...] = ()

    @property
    def state(self) -> Literal["fits", "close", "too much"]:
        """How it stands."""
        shares = list(self._shares())
        if max(shares) > 1:
            return "too much"
        return "close" if max(shares) > CLOSE else "fits"

    def _shares(self) -> Iterator[float]:
        yield self.needed.device_bytes / max(self.room.device.free_bytes, 1)
        if not self.needed.on_cpu:
            yield self.needed.host_bytes / max(self.room.host.available_bytes, 1)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for `--json`."""
        needed, device, host = self.needed, self.room.device, self.room.host
        return {
            "state": self.state,
            "device": device.name,
            "device_bytes": needed.device_bytes,
            "device_free_bytes": device.free_bytes,
            "host_bytes": needed.host_bytes,
            "host_free_bytes": host.available_bytes,
            "largest_phase": needed.largest.name,
            "phases": [asdict(phase) for phase in needed.phases],
            "alternatives": list(self.alternatives),
        }

    @property
    def sentence(self) -> str:
        """What is needed and what there is, for people."""
        needed, device, host = self.needed, self.room.device, self.room.host
        where = "main memory" if needed.on_cpu else f"memory on {device.name}"
        text = f"about {gigabytes(needed.device_bytes)} of {where}, {gigabytes(device.free_bytes)} free"
        if not needed.on_cpu:
            text += f"; {gigabytes(needed.host_bytes)} of main memory, {gigabytes(host.available_bytes)} free"
        return f"{text} (most while it does '{needed.largest.name}')"


def plan_memory(
    profile: Profile, size: ModelSize, picture_of: PictureOf, room: Room, stages: Collection[str] = STAGES_WITH_NETWORKS
) -> MemoryPlan | None:
    """Compare what the settled `profile` needs with what there is, and look for what fits if it does not.

    Only `stages` count, those that are still to do; None if none of them has networks.
    """
    needed = _needed(profile, size, picture_of, room).of_stages(stages)
    if needed is None:
        return None
    plan = MemoryPlan(needed, room)
    if plan.state != "too much":
        return plan
    return MemoryPlan(needed, room, tuple(_alternatives(profile, size, picture_of, room)))


def plan_of(prepared: Prepared, kept_bytes: int = 0) -> MemoryPlan | None:
    """The memory of a prepared job, for what is left to do; `kept_bytes` of main memory hold its networks already."""
    from infinitetalk_cli.machine import host_memory
    from infinitetalk_cli.media.probe import require_video
    from infinitetalk_cli.stages.source_pixels import model_size

    video = require_video(prepared.request.video, prepared.source)
    num_people = 1 if prepared.job.people is None else 2

    def picture_of(profile: Profile) -> Picture:
        height, width = model_size(video, profile.geometry)
        return Picture(width, height, profile.chunks.num_frames, num_people)

    host, device = host_memory(), prepared.device.facts
    host = replace(host, available_bytes=host.available_bytes + kept_bytes)
    if device.kind == "cpu":  # looked at before networks that are not needed any more were let go
        device = replace(device, free_bytes=host.available_bytes)
    room = Room(device, host, prepared.request.num_local)
    return plan_memory(prepared.job.profile, size_of(prepared.weights.files), picture_of, room, stages_to_do(prepared))


def require_room(plan: MemoryPlan, profile: Profile) -> str | None:
    """A note where it will be close; None where there is plenty.

    Raises:
        ResourceError: it will not fit; says what would.
    """
    if plan.state == "too much":
        shown = plan.alternatives[:NUM_SHOWN]
        advice = f"{' or '.join(shown)} would fit" if shown else "no shipped profile of this model would fit"
        raise ResourceError(f"{profile.name} needs {plan.sentence}; {advice} (--ignore-memory tries it all the same)")
    if plan.state == "close":
        return f"memory will be close: {profile.name} needs {plan.sentence}"
    return None


def gigabytes(num_bytes: float) -> str:
    """`12.3 GB`."""
    return f"{num_bytes / 1e9:.1f} GB"


def _needed(profile: Profile, size: ModelSize, picture_of: PictureOf, room: Room) -> Footprint:
    needed = footprint(profile, size, picture_of(profile), on_cpu=room.device.kind == "cpu")
    return needed.shared_by(room.num_processes)


def _alternatives(profile: Profile, size: ModelSize, picture_of: PictureOf, room: Room) -> Iterator[str]:
    for words, candidate in (*_with_offload(profile, room), *_shipped(profile, size, picture_of, room)):
        if MemoryPlan(_needed(candidate, size, picture_of, room), room).state != "too much":
            yield words


def _with_offload(profile: Profile, room: Room) -> Iterator[tuple[str, Profile]]:
    modes = ("none", "blocks", "all")
    if room.device.kind == "cpu" or profile.model.family == "nano":
        return
    for mode in modes[modes.index(profile.memory.offload) + 1 :]:
        memory = profile.memory.model_copy(update={"offload": mode})
        yield f"--offload {mode}", profile.model_copy(update={"memory": memory})


def _shipped(profile: Profile, size: ModelSize, picture_of: PictureOf, room: Room) -> Iterator[tuple[str, Profile]]:
    """Other shipped profiles of the same model that know as many people, those with most work first.

    The audio weights are of one size whoever they were trained for, so `size` holds for all of them.
    """
    candidates = []
    for name in list_profiles():
        shipped = load_profile(name).model_copy(update={"camera": profile.camera})  # as the command line asks for it
        same = shipped.model.family == profile.model.family and shipped.model.max_people == profile.model.max_people
        if not same or name == profile.name or shipped.geometry.fit != "keep":  # compatibility is not what is wanted
            continue
        try:
            settled = settle(shipped, Device(room.device.kind, room.device)).profile
        except InfiniteTalkError:
            continue
        work = operations_per_frame(settled, size, picture_of(settled))
        candidates.append((work, f"--profile {name}", settled))
    candidates.sort(key=lambda candidate: -candidate[0])
    return ((words, candidate) for _, words, candidate in candidates)
