"""The benchmark of post-processing: its cases are what they are called, its report says it all."""

import json
from pathlib import Path

import pytest
import torch

from blitznet.bench.raw_outputs import fine_anchors, refine, worst_cases
from blitznet.cli import main
from blitznet.detection import box_coder
from blitznet.detection.limits import IOU_THRESHOLD, SCORE_THRESHOLD
from blitznet.structures import RawPredictions

ANCHORS = torch.tensor([[0.0, 0, 30, 30], [100, 100, 140, 140]]).repeat(50, 1)


def test_every_anchor_of_a_worst_case_is_a_candidate_of_every_class() -> None:
    for raw in worst_cases(2, ANCHORS, 21).values():
        assert raw.class_logits is not None
        assert (raw.class_logits.softmax(dim=-1) >= SCORE_THRESHOLD).float().mean() > 0.99


def test_boxes_of_worst_cases_are_one_box_and_boxes_apart() -> None:
    cases = worst_cases(1, ANCHORS, 21)
    one = box_coder.decode(cases["worst: one box"].box_deltas[0], ANCHORS)
    torch.testing.assert_close(one, one[:1].expand_as(one), rtol=1e-5, atol=1e-3)
    apart = box_coder.decode(cases["worst: boxes apart"].box_deltas[0], ANCHORS)
    from blitznet.boxes import pairwise_iou

    overlap = pairwise_iou(apart, apart).fill_diagonal_(0)
    assert overlap.max() < IOU_THRESHOLD
    assert len(apart.unique(dim=0)) == len(apart)


def test_refined_outputs_fit_the_fine_anchors_and_say_the_same_at_the_same_place() -> None:
    cells = torch.arange(38 * 38).repeat_interleave(6).float()
    values = torch.cat((cells, torch.full((11640 - len(cells),), -1.0)))[None, :, None]
    refined = refine(RawPredictions(values, values.expand(-1, -1, 4), None)).class_logits
    assert refined is not None
    assert refined.shape == (1, len(fine_anchors()), 1)
    finest = refined[0, : 75 * 75 * 6, 0].reshape(75, 75, 6)
    assert (finest == finest[..., :1]).all()
    assert finest[0, 0, 0] == 0
    assert finest[74, 74, 0] == 38 * 38 - 1
    assert torch.equal(refined[0, 75 * 75 * 6 :], values[0])


@pytest.mark.slow
def test_the_report_is_a_table_and_a_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    options = ["--batch", "1", "--rounds", "1", "--json", str(file)]
    assert main(["bench", "postprocess", *options]) == 0
    assert "batched_nms" in capsys.readouterr().out
    result = json.loads(file.read_text())
    assert [part["anchors"] for part in result["anchors"]] == [11_640, 45_390]
    for part in result["anchors"]:
        rows = {(row["case"], row["name"], row["clock"]): row for row in part["timings"]}
        ours = rows["pictures", "blitznet", "raw"]["cpu_ms"]
        theirs = rows["pictures", "torchvision", "raw"]["cpu_ms"]
        assert part["times_as_fast"]["raw"] == pytest.approx(theirs / ours)
        assert part["worst_to_average"] >= 1
        assert rows["worst: one score", "blitznet", "raw"]["candidates"] == part["anchors"] * 20
