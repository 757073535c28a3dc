"""`infinitetalk bench`: how fast the transformer runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from infinitetalk_cli.cli.options import Device, Json, Quiet
from infinitetalk_cli.cli.render import make_reporter, show_json, show_table

if TYPE_CHECKING:
    from infinitetalk_cli.bench.report import BenchReport
    from infinitetalk_cli.bench.settings import BenchSettings

_OVERRIDES = "Overrides"


def bench(
    size: Annotated[
        Literal["nano", "small", "mid", "14b"] | None,
        typer.Option(help="Transformer with random weights.", show_default="mid on the CPU, else 14b"),
    ] = None,
    resolution: Annotated[
        Literal["480p", "720p"] | None,
        typer.Option(
            help="Size of the chunk: 81 frames of 640x640 or 960x960.", show_default="480p; on the CPU 192x192"
        ),
    ] = None,
    people: Annotated[int, typer.Option(min=1, max=2, help="How many speak.")] = 1,
    device: Device = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Number format; auto: bfloat16 but on the CPU.")
    ] = "auto",
    quantization: Annotated[Literal["none", "int8", "fp8"], typer.Option(help="8-bit weights.")] = "none",
    attention: Annotated[
        Literal["auto", "sdpa", "flash", "flash-3", "sage"], typer.Option(help="Kernel of self attention.")
    ] = "auto",
    compile_blocks: Annotated[bool, typer.Option("--compile", help="Compile the blocks first.")] = False,
    offload: Annotated[Literal["none", "blocks"], typer.Option(help="Keep blocks in main memory.")] = "none",
    repeats: Annotated[int, typer.Option(min=1, help="Timed forwards.")] = 3,
    latent: Annotated[
        str | None,
        typer.Option(
            metavar="T,H,W", help="Latent frames, rows, columns, instead of a resolution.", rich_help_panel=_OVERRIDES
        ),
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Blocks.", rich_help_panel=_OVERRIDES)] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads.", rich_help_panel=_OVERRIDES)] = None,
    head_dim: Annotated[int | None, typer.Option(min=2, help="Channels of a head.", rich_help_panel=_OVERRIDES)] = None,
    ffn: Annotated[
        int | None, typer.Option(min=1, help="Width of the feed-forward.", rich_help_panel=_OVERRIDES)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time one forward of the transformer, with random weights: no download, nothing is written.

    Says seconds, operations per second beside those of a plain matrix product, peak memory, and where the time goes.
    A chunk takes as many forwards as there are steps, times 1 to 3 for guidance.
    """
    if resolution is not None and latent is not None:
        raise typer.BadParameter("use --resolution or --latent, not both")
    changes = {"num_layers": layers, "num_attention_heads": heads, "attention_head_dim": head_dim, "ffn_dim": ffn}
    from infinitetalk_cli.bench.measure import measure
    from infinitetalk_cli.models.attention_backend import AUTO
    from infinitetalk_cli.models.devices import resolve_device

    on_cpu = resolve_device(device).type == "cpu"
    settings = _settings(
        size=size or ("mid" if on_cpu else "14b"),
        changes={name: value for name, value in changes.items() if value is not None},
        latent=_latent(latent, resolution, on_cpu),
        people=people,
        dtype=("float32" if on_cpu else "bfloat16") if dtype == "auto" else dtype,
        quantization=quantization,
        attention=AUTO if attention == "auto" else attention,
        compile=compile_blocks,
        offload=offload,
        repeats=repeats,
    )
    with make_reporter(quiet) as reporter:
        report = measure(settings, device, reporter)
    if as_json:
        show_json({"status": "done", **_document(report)})
    else:
        show_table(("figure", "value", "beside it"), _rows(report))


def _settings(changes: dict[str, int], **values: object) -> BenchSettings:
    from pydantic import ValidationError

    from infinitetalk_cli.bench.settings import SIZES, BenchSettings, Dimensions

    try:
        dimensions = Dimensions(**{**SIZES[values["size"]].model_dump(), **changes})
        return BenchSettings(dimensions=dimensions, **values)
    except ValidationError as exc:
        problem = exc.errors()[0]
        where = " ".join(map(str, problem["loc"])) or "settings"
        raise typer.BadParameter(f"{where}: {problem['msg'].removeprefix('Value error, ')}") from exc


def _latent(text: str | None, resolution: str | None, on_cpu: bool) -> tuple[int, int, int]:
    from infinitetalk_cli.bench.settings import CPU_LATENT, LATENTS

    if text is None:
        return CPU_LATENT if on_cpu and resolution is None else LATENTS[resolution or "480p"]
    try:
        frames, rows, columns = (int(part) for part in text.split(","))
    except ValueError as exc:
        raise typer.BadParameter(f"--latent {text}: give three whole numbers, as in 21,80,80") from exc
    return frames, rows, columns


def _document(report: BenchReport) -> dict[str, object]:
    """The report with the figures that follow from it."""
    found = report.model_dump(mode="json")
    found["timing"]["median_s"] = report.timing.median_s
    found["flops"]["total"] = report.flops.total
    if report.parts is not None:
        found["parts"]["total"] = report.parts.total
    return found


def _rows(report: BenchReport) -> list[tuple[str, str, str]]:
    settings, machine, timing, used = report.settings, report.machine, report.timing, report.utilisation
    frames, rows, columns = settings.latent
    how = [settings.dtype, f"attention {settings.attention}"]
    if settings.quantization != "none":
        how.append(settings.quantization)
    how += ["compiled"] * settings.compile + [f"offload {settings.offload}"] * (settings.offload != "none")
    driver = "" if machine.driver is None else f", driver {machine.driver}"
    rows = [
        ("device", machine.device_name, f"torch {machine.torch}{driver}, {machine.num_threads} threads"),
        ("model", f"{settings.size}, {report.num_parameters / 1e9:.2f} G parameters", ", ".join(how)),
        (
            "chunk", f"{frames} x {rows} x {columns} latents, {report.num_tokens} tokens",
            f"{settings.people} {'person' if settings.people == 1 else 'people'}",
        ),
        (
            "one forward", f"{timing.median_s:.3f} s",
            f"{min(timing.seconds):.3f} to {max(timing.seconds):.3f} in {len(timing.seconds)}; "
            f"first {timing.first_s:.3f}",
        ),
        ("operations", f"{report.flops.total / 1e12:.2f} TFLOP", f"{used.flops_per_s / 1e12:.3g} TFLOP/s"),
        (
            "utilisation", f"{used.of_matmul:.0%}",
            f"of a matrix product: {used.matmul_flops_per_s / 1e12:.3g} TFLOP/s here",
        ),
    ]  # fmt: skip
    if used.of_peak is not None:
        rows.append(("", f"{used.of_peak:.0%}", f"of the maker's figure: {used.peak_flops_per_s / 1e12:.0f} TFLOP/s"))
    weights = f"weights {report.memory.weights_bytes / 1e9:.2f} GB"
    rows.append(("peak memory", f"{report.memory.peak_bytes / 1e9:.2f} GB", f"{report.memory.kind}; {weights}"))
    return rows + _part_rows(report)


def _part_rows(report: BenchReport) -> list[tuple[str, str, str]]:
    if report.parts is None:
        return [("parts", "not measured", "copies of weights would count to whatever waits for them")]
    operations = report.flops.model_dump()
    rows = []
    for name, seconds in report.parts.model_dump().items():
        share = f"{seconds:.3f} s, {seconds / report.parts.total:.0%}"
        pace = f"{operations[name] / seconds / 1e12:.3g} TFLOP/s" if name in operations and seconds else ""
        rows.append((f"  {name.replace('_', ' ')}", share, pace))
    return rows
