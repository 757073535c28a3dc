"""Intervals, tests, and methods side by side."""

from __future__ import annotations

from typing import Any

import pytest

from infinitetalk_cli.errors import InputError
from infinitetalk_cli.evaluate.run.summary import summarise
from infinitetalk_cli.evaluate.significance import holm, paired
from infinitetalk_cli.evaluate.tables import paper
from infinitetalk_cli.evaluate.tables.columns import BY_KEY, COLUMNS, METRICS, goodness, written
from infinitetalk_cli.evaluate.tables.compare import compare_reports
from infinitetalk_cli.evaluate.tables.compared import as_csv, as_html, as_json_text, as_markdown
from infinitetalk_cli.evaluate.tables.results import ClipResult, Measured, MetricState, Report, SetValue, read_report
from infinitetalk_cli.evaluate.tables.text import clips_csv, markdown


def _report(name: str, values: dict[str, float], missing: tuple[str, ...] = (), dataset: str = "EMTD") -> Report:
    clips = [
        ClipResult(id=clip, status="scored", num_frames=100, metrics={
            "camera": Measured(values={"ate_px": value, "rpe_px": 2 * value}),
            "sync": Measured(values={"confidence": 9 - value, "distance": value}),
        })
        for clip, value in values.items()
    ]  # fmt: skip
    clips += [ClipResult(id=clip, status="missing", reason="its video is not there") for clip in missing]
    return Report(
        made_by="test", finished_at="2026-01-01T00:00:00+00:00",
        split={"name": "emtd-8", "dataset": dataset, "sha256": "0" * 64, "seed": 1,
               "prepare": {"size": 480, "fps": 25}},
        method={"name": name, "kind": "outputs"}, num_items=len(clips), num_scored=len(values),
        metrics={"camera": MetricState(), "sync": MetricState(about={"preset": "joonson"}),
                 "fid": MetricState(missing="no weights", remedy="infinitetalk models pull metrics")},
        clips=tuple(clips), summary=summarise(clips), sets={"fid.fid": SetValue(missing="no weights")}, seconds={},
    )  # fmt: skip


IDS = [f"c{number}" for number in range(8)]
OURS = _report("ours", {name: 1.0 + 0.1 * k for k, name in enumerate(IDS)})
OTHER = _report("other", {name: 2.0 + 0.2 * k for k, name in enumerate(IDS[:7])}, missing=("c7",))


def test_paired_differences() -> None:
    one = {name: float(k) for k, name in enumerate(IDS)}
    found = paired({name: value + 1 + 0.01 * value for name, value in one.items()}, one)
    assert found.n == 8
    assert found.low > 0.9
    assert found.p == pytest.approx(2 / 2**8)
    assert paired(one, dict(list(one.items())[:3])).p is None
    assert paired(one, {"z": 1.0}) is None
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_methods_are_compared_on_the_clips_that_all_have() -> None:
    comparison = compare_reports([OURS, OTHER], with_paper=False, against=None)
    block = comparison.blocks[0]
    assert (block.num_common, block.num_items) == (7, 8)
    ours, other = block.cells["camera.ate_px"]["ours"], block.cells["camera.ate_px"]["other"]
    assert ours.value == pytest.approx(1.3)
    assert (ours.is_best, other.is_best) == (True, False)
    assert block.cells["sync.confidence"]["ours"].is_best
    assert other.test.difference == pytest.approx(1.3)
    assert other.p_holm == pytest.approx(2 / 2**7)
    text = as_markdown(comparison)
    assert "EMTD: 7 of 8 clips of emtd-8" in text
    assert "no weights" in text
    assert "| ours | no weights | no weights | " in text
    assert "c7" not in text
    assert as_csv(comparison).count("\n") == 1 + 2 * len(comparison.columns)
    assert '"camera.ate_px"' in as_json_text(comparison)
    assert "https:" not in as_html(comparison)


def test_the_papers_numbers_stand_beside_ours_with_what_they_are_worth() -> None:
    comparison = compare_reports([OURS], with_paper=True, against=None)
    block = comparison.blocks[0]
    assert "paper: MuseTalk (Table 1)" in block.methods
    assert block.cells["sync.confidence"]["paper: Ours (Table 1)"].value == 8.60
    assert block.cells["sync.confidence"]["paper: Ours (Table 2)"].value == 8.34
    assert not block.cells["sync.confidence"]["ours"].is_best, "never marked against the paper"
    assert any("do not compare" in note for note in comparison.notes)
    strange = compare_reports([_report("ours", {"a": 1.0}, dataset="mine")], with_paper=True, against=None)
    assert any("no numbers for mine" in note for note in strange.notes)


def test_the_papers_tables_are_complete() -> None:
    tables = paper.tables()
    assert {len(rows) for rows in tables["table_1"]["rows"].values()} == {3}
    assert {len(rows) for rows in tables["table_2"]["rows"].values()} == {5}
    assert paper.rows_of("HDTF", 1)["MuseTalk"]["csim.pair"] == 0.933
    assert tables["table_4"]["rows"]["Ours"] == [1.11, 1.09]


def test_two_reports_of_one_method_are_refused() -> None:
    with pytest.raises(InputError, match="two reports are of 'ours'"):
        compare_reports([OURS, OURS], with_paper=False, against=None)
    with pytest.raises(InputError, match="none of the reports"):
        compare_reports([OURS], with_paper=False, against="theirs")


def test_other_presets_are_noted() -> None:
    changed = OTHER.model_copy(
        update={"metrics": {**OTHER.metrics, "sync": MetricState(about={"preset": "latentsync"})}}
    )
    notes = compare_reports([OURS, changed], with_paper=False, against=None).notes
    assert any(note.startswith("sync: the reports were made with different presets") for note in notes)


def test_a_method_that_loses_its_hard_clips_does_not_look_better_for_it() -> None:
    clips = list(OURS.clips)
    clips[7] = clips[7].model_copy(update={"metrics": {**clips[7].metrics, "sync": Measured(missing="no face")}})
    lossy = OURS.model_copy(update={"clips": tuple(clips), "method": {"name": "lossy", "kind": "outputs"}})
    comparison = compare_reports([OURS, lossy], with_paper=False, against=None)
    row = comparison.blocks[0].cells["sync.distance"]
    assert row["ours"].value == row["lossy"].value == pytest.approx(1.3), "without the clip that lossy lost"
    assert row["ours"].n == 7
    assert "(7 clips)" in as_markdown(comparison)
    assert "7 clips</small>" in as_html(comparison)
    assert not comparison.blocks[0].cells["camera.ate_px"]["ours"].is_part


def test_what_does_not_compare_is_neither_marked_nor_tested() -> None:
    other = OTHER.model_copy(update={"metrics": {**OTHER.metrics, "sync": MetricState(about={"preset": "latentsync"})}})
    cells = compare_reports([OURS, other], with_paper=False, against=None).blocks[0].cells
    assert not any(cell.is_best or cell.test for cell in cells["sync.distance"].values())
    assert cells["camera.ate_px"]["ours"].is_best
    one, two = (
        report.model_copy(
            update={
                "metrics": {**report.metrics, "fid": MetricState()},
                "sets": {"fid.fid": SetValue(value=value, n=n, samples=100 * n)},
            }
        )
        for report, value, n in ((OURS, 5.0, 8), (OTHER, 9.0, 7))
    )
    assert not any(c.is_best for c in compare_reports([one, two], False, None).blocks[0].cells["fid.fid"].values())


def test_the_paper_is_shown_for_metrics_that_were_not_asked_for() -> None:
    cells = compare_reports([OURS], with_paper=True, against=None).blocks[0].cells
    assert cells["csim.pair"]["ours"].reason == "not asked for"
    assert cells["csim.pair"]["paper: MuseTalk (Table 1)"].value > 0


def test_splits_of_one_name_that_differ_are_noted() -> None:
    changed = OTHER.model_copy(update={"split": {**OTHER.split, "sha256": "1" * 64}})
    comparison = compare_reports([OURS, changed], with_paper=False, against=None)
    assert len(comparison.blocks) == 2
    assert any("different split files" in note for note in comparison.notes)


def test_a_report_says_what_it_covers(tmp_path) -> None:
    text = markdown(OTHER)
    assert "Covers 7 of 8 clips of emtd-8. Method: results made elsewhere. Clips: 480x480, 25 fps" in text
    assert "not covered: `c7`, missing: its video is not there" in text
    assert "| FID | no weights |" in text
    assert "infinitetalk models pull metrics" in text
    lines = clips_csv(OTHER).splitlines()
    assert len(lines) == 9
    assert lines[-1].startswith("c7,missing,")
    (tmp_path / "report.json").write_text(OTHER.model_dump_json(by_alias=True))
    assert read_report(tmp_path) == OTHER
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(InputError, match="is not a report"):
        read_report(tmp_path / "report.json")


def test_every_column_belongs_to_a_metric() -> None:
    assert {column.key.partition(".")[0] for column in COLUMNS} == set(METRICS)
    assert len(BY_KEY) == len(COLUMNS)
    zero: Any = BY_KEY["lag.lag_frames"]
    assert goodness(zero, -1.0) > goodness(zero, 2.0)
    assert written(zero, -0.01) == "0.0"
