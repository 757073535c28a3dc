"""Verdicts and the choice of a strength follow from the figures of the clips, by rules."""

import numpy as np
import pytest

from infinitetalk_cli.evaluate.intervals import estimate
from infinitetalk_cli.evaluate.synthetic.claims import ablation, camera
from infinitetalk_cli.evaluate.synthetic.claims.result import Row, at_most, judged, less
from infinitetalk_cli.evaluate.synthetic.measure import _measurable
from infinitetalk_cli.evaluate.synthetic.plots import Bar, Bars, Curve, Plot, draw, ticks
from infinitetalk_cli.evaluate.synthetic.settings import EvalSettings


def row(name, **clips):
    figures = {figure: estimate(values) for figure, values in clips.items()}
    return Row(
        method=name, said=name, situation="gentle", num_chunks=10, num_clips=3, is_bound=False, figures=figures,
        curves={}, num_redrawn=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("differences", "judgement"),
    [([0.2, 0.3, 0.1, 0.2, 0.2], "holds"), ([-0.2, -0.3, -0.1, -0.2, -0.2], "does not hold"),
     ([0.4, -0.3, 0.1, 0.2, 0.3], "undecided"), ([0.2, 0.3, 0.1], "undecided"), ([0.4], "undecided")],
)  # fmt: skip
def test_a_statement_holds_only_beyond_chance(differences, judgement):
    verdict = judged("so it is", "more less less", estimate(differences))
    assert verdict.judgement == judgement
    assert ("too few" in verdict.found) == (len(differences) < 5)


def test_what_may_not_exceed_a_limit():
    assert at_most("steady", "slope", estimate([0.05, 0.1, 0.0, 0.1, 0.05]), 0.2).judgement == "holds"
    assert at_most("steady", "slope", estimate([0.5, 0.4, 0.3, 0.5, 0.4]), 0.2).judgement == "does not hold"


def test_the_strength_is_the_best_camera_that_lips_can_afford():
    rows = [
        row("free", pan_px=[3.0, 4.0, 5.0], lip=[0.8, 0.8, 0.8]),
        row("lock-0.20", pan_px=[2.0, 3.0, 4.0], lip=[0.79, 0.78, 0.8]),
        row("lock-0.50", pan_px=[1.0, 2.0, 3.0], lip=[0.77, 0.76, 0.77]),
        row("lock-0.90", pan_px=[0.1, 0.1, 0.1], lip=[0.1, 0.0, 0.2]),
    ]
    assert camera.pick([0, 0.2, 0.5, 0.9], rows) == 0.5
    assert less(rows[0], rows[3], "pan_px").value == pytest.approx(3.9)
    deaf = [row("free", pan_px=[3.0] * 3, lip=[0.1] * 3), row("lock-0.50", pan_px=[1.0] * 3, lip=[0.1] * 3)]
    assert camera.pick([0, 0.5], deaf) is None


def test_the_branch_is_measured_where_there_is_one_alone_and_beside_sdedit():
    settings = EvalSettings(strengths=(0.3,), uni3c_strengths=(1.0, 0.5), both_strengths=(0.3,))
    without, with_branch = (
        [take.method for take in camera.takes(settings, [], has_branch)] for has_branch in (False, True)
    )
    assert [method.name for method in without] == ["sparse", "lock-0.30", "sparse-refresh"]
    assert [method.name for method in with_branch if method not in without] == [
        "uni3c-0.50", "uni3c-1.00", "uni3c-1.00-lock-0.30",
    ]  # fmt: skip
    profiles = {method.name: settings.load_profile(dict(method.changes)) for method in with_branch}
    assert [name for name, profile in profiles.items() if profile.steers_camera] == [
        "uni3c-0.50", "uni3c-1.00", "uni3c-1.00-lock-0.30",
    ]  # fmt: skip
    both = profiles["uni3c-1.00-lock-0.30"]
    assert (both.camera.uni3c.strength, both.sampling.sdedit_t0) == (1.0, 0.7)
    assert profiles["uni3c-0.50"].sampling.sdedit_t0 == 1.0


def test_what_the_paper_says_of_uni3c_is_judged_clip_by_clip():
    free = row("sparse", pan_px=[3.0, 4.0, 5.0, 4.0, 3.0], lip=[0.8] * 5, background_off=[4.0, 5.0, 6.0, 5.0, 4.0],
               background_likeness=[0.99] * 5)  # fmt: skip
    led = row("uni3c-1.00", pan_px=[1.0, 1.5, 1.0, 1.0, 0.5], lip=[0.79, 0.8, 0.78, 0.8, 0.79],
              background_off=[2.0, 3.0, 2.0, 2.0, 2.0], background_likeness=[0.9, 0.95, 0.9, 0.94, 0.92])  # fmt: skip
    follows, lips_stay, off, unlike = camera.verdicts(free, led)
    assert [verdict.judgement for verdict in (follows, lips_stay, off, unlike)] == [
        "holds", "holds", "does not hold", "holds",
    ]  # fmt: skip
    deaf = led.model_copy(update={"figures": {**led.figures, "lip": estimate([0.6, 0.7, 0.6, 0.6, 0.5])}})
    assert camera.verdicts(free, deaf)[1].judgement == "does not hold"


def test_statements_are_judged_by_the_models_at_hand():
    figures = {"at_reference": [0.2] * 5, "end_over_middle": [1.0] * 5, "background_slope": [0.0, 0.1, 0.0, 0.1, 0.0]}
    shuffled, colors = [0.1, 0.1, 0.0, 0.1, 0.0], np.array([0.1, 0.0, 0.1, 0.05, 0.0])
    lip = np.array([0.6, 0.7, 0.5, 0.6, 0.7])
    m3 = row("m3-trained", lip=lip, lip_shuffled=shuffled, color_slope=colors, **figures)
    m2 = row("m2-trained", lip=lip - 0.1, lip_shuffled=shuffled, color_slope=colors + 0.5, **figures)
    rows = {row.method: row for row in (m2, m3)}
    verdicts = {statement: ablation._verdict(statement, rows) for statement in ablation.STATEMENTS}
    by_pair = {(s.figure, s.larger, s.smaller): verdict.judgement for s, verdict in verdicts.items()}
    assert by_pair["lip", "m3", "m2"] == "holds"
    assert by_pair["color_slope", "m2", "m3"] == "holds"
    assert by_pair["background_slope", "m2", "m3"] == "does not hold"  # not larger by anything
    assert by_pair["lip", "m3", "m1"] == "not measurable"
    found = next(verdict.found for s, verdict in verdicts.items() if s.smaller == "m1" or s.larger == "m1")
    assert "infinitetalk train ablation-m1" in found


def test_models_that_follow_no_voice_say_nothing_about_lips():
    m3 = row("m3-trained", lip=[0.1, -0.1, 0.1], lip_shuffled=[0.1, 0.0, 0.0])
    m2 = row("m2-trained", lip=[0.0, -0.2, 0.0], lip_shuffled=[0.1, 0.0, 0.0])
    statement = next(s for s in ablation.STATEMENTS if s.figure == "lip" and s.smaller == "m2")
    verdict = ablation._verdict(statement, {"m3-trained": m3, "m2-trained": m2})
    assert verdict.judgement == "not measurable"
    assert "neither follows the voice" in verdict.found


def test_what_cannot_be_measured_is_listed_by_name():
    wanted, missing = _measurable(["ablation", "lips", "drift"], ["m3"], has_branch=False)
    assert wanted == ["lips", "drift", "ablation"]
    assert [entry.what for entry in missing if entry.claim == "ablation"] == [
        f"strategy {n}" for n in ("m0", "m1", "m2")
    ]
    wanted, missing = _measurable(["ablation"], [], has_branch=False)
    assert wanted == []
    assert len(missing) == 4


def test_lengths_are_those_of_the_claims_unless_asked_for():
    assert EvalSettings().chunks_of("drift") == 10
    assert EvalSettings(num_chunks=2).chunks_of("drift") == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (-3.0, 12.0, [-5.0, 0.0, 5.0, 10.0, 15.0]), (2.0, 2.0, [2.0])],
)
def test_axes_have_round_numbers(low, high, expected):
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high
    assert set(expected) <= set(found) or low == high


def test_a_line_is_drawn_where_its_values_are():
    flat = Curve("flat", [1, 2, 3], [0.0, 0.0, 0.0])
    steep = Curve("steep", [1, 2, 3], [0.0, 5.0, 10.0], [(0.0, 1.0), (4.0, 6.0), (9.0, 10.0)])
    picture = draw(Plot("Title", "x", "y", [flat, steep]))
    colors = [picture.getpixel((639, y)) for y in range(40, 420)]
    first, second = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    places = [[y for y, color in enumerate(colors) if _near(color, wanted)] for wanted in (first, second)]
    assert min(places[0]) > 360 and max(places[1]) < 20  # the flat line below, the end of the steep one above
    bars = draw(Bars("Title", [Bar("one", 1.0, (0.5, 1.5)), Bar("two", -2.0)]))
    assert bars.height == 84 + 2 * 30


def _near(color, wanted):
    return all(abs(a - b) < 40 for a, b in zip(color, wanted, strict=True))


def test_a_trend_needs_chunks(tmp_path):
    from infinitetalk_cli.checkpoints.locate import builtin_folder
    from infinitetalk_cli.errors import InputError
    from infinitetalk_cli.evaluate.synthetic.measure import measure
    from infinitetalk_cli.evaluate.synthetic.settings import EvalSettings
    from infinitetalk_cli.progress import SilentProgress

    with pytest.raises(InputError, match=r"--chunks 2: seams .* at least 3"):
        measure(builtin_folder("nano"), {}, ["lips", "seams"], EvalSettings(num_chunks=2), SilentProgress(), tmp_path)
    assert not any(tmp_path.iterdir())
