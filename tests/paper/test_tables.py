"""Tables 1 to 8 and sections 4.3 to 4.7: what is typed agrees with itself and with the text."""

import pytest

from blitznet.model_info import FusionName
from blitznet.paper.catalogue import EXPERIMENTS, TABLES, find_table
from blitznet.paper.figure import COCO_AP, COCO_IOU, VOC07_AP, VOC12_AP, VOC12_IOU, Figure
from blitznet.paper.paper_table import Row
from blitznet.paper.table_7 import FPS, PROPOSALS

ROWS_WITH_CLASSES = [
    (number, row)
    for number in (1, 2)
    for row in find_table(number).block.rows
    if any(figure.of_one_class for figure in row.paper)
]


def printed(number: int, figure: Figure) -> list[float | None]:
    """A column of a table, from top to bottom."""
    return [row.paper.get(figure) for row in find_table(number).block.rows]


@pytest.mark.parametrize(
    ("number", "row"), ROWS_WITH_CLASSES, ids=lambda value: getattr(value, "labels", value)
)
def test_mean_over_the_classes_is_the_printed_map(number: int, row: Row) -> None:
    mean_ap = find_table(number).block.figures[0]
    classes = [value for figure, value in row.paper.items() if figure.of_one_class]
    assert len(classes) == 20
    # Each figure is rounded to 0.1: the printed mean and that of printed figures differ by 0.1 at
    # most. A mistyped digit in a class moves the mean by 0.05 or more, mostly beyond that.
    assert sum(classes) / 20 == pytest.approx(row.paper[mean_ap], abs=0.1)


def test_tables_have_the_rows_of_the_paper_and_yolo_of_table_1_has_no_classes() -> None:
    sizes = {number: len(table.block.rows) for number, table in TABLES.items()}
    assert sizes == {1: 11, 2: 9, 3: 3, 4: 3, 5: 3, 6: 2, 7: 7, 8: 4}
    assert len(ROWS_WITH_CLASSES) == 10 + 9


def test_sources_of_experiments_are_the_rows_they_stand_in() -> None:
    for number, table in TABLES.items():
        for place, row in enumerate(table.block.rows, start=1):
            if row.experiment is not None and number != 7:
                sources = row.experiment.source.lower().split("; ")
                assert f"table {number}, row {place}" in sources


def test_means_of_table_1() -> None:
    column = [77.6, 75.3, 78.5, 78.2, 79.1, 79.6, 80.7, 80.5, 76.4, 63.4, 81.5]
    assert printed(1, VOC07_AP) == column


def test_means_of_table_2() -> None:
    column = [75.8, 75.4, 80.2, 77.6, 73.8, 57.9, 78.5, 79.0, 83.8]
    assert printed(2, find_table(2).block.figures[0]) == column


@pytest.mark.parametrize(
    ("number", "mean_iou", "mean_ap", "iou_column", "ap_column"),
    [
        (3, VOC12_IOU, VOC12_AP, [None, 72.8, 72.4], [78.9, 80.0, None]),
        (4, VOC12_IOU, VOC12_AP, [None, 75.7, 72.4], [83.0, 83.6, None]),
        (5, COCO_IOU, COCO_AP, [None, 53.5, 48.3], [33.2, 34.1, None]),
        (8, VOC12_IOU, VOC07_AP, [75.6, 76.1, 75.3, 75.7], [78.7, 78.0, 78.4, 79.1]),
    ],
)
def test_figures_of_tables_3_4_5_and_8(
    number: int,
    mean_iou: Figure,
    mean_ap: Figure,
    iou_column: list[float | None],
    ap_column: list[float | None],
) -> None:
    assert printed(number, mean_iou) == iou_column
    assert printed(number, mean_ap) == ap_column


def test_figures_of_table_6() -> None:
    block = find_table(6).block
    rows = [[row.paper[figure] for figure in block.figures] for row in block.rows]
    assert rows == [[29.7, 49.4, 31.2, 29.8, 49.7, 31.1], [34.1, 55.1, 35.9, 34.2, 55.5, 35.8]]


def test_figures_of_table_7() -> None:
    assert printed(7, VOC07_AP) == [73.2, 80.5, 77.1, 80.6, 63.4, 79.1, 81.5]
    assert printed(7, FPS) == [7, 9, 46, 19, 46, 24, 19.5]
    assert printed(7, PROPOSALS) == [None, None, 8732, 24564, None, 45390, 32766]


def test_gains_are_those_that_section_4_4_states() -> None:
    """More than 1 % and 0.4 % of joint training, 3.3 % and 0.6 % of VOC07's boxes."""
    (det, both, seg), (det_07, both_07, seg_07) = (find_table(n).block.rows for n in (3, 4))
    assert both.paper[VOC12_AP] - det.paper[VOC12_AP] == pytest.approx(1.1)
    assert both.paper[VOC12_IOU] - seg.paper[VOC12_IOU] == pytest.approx(0.4)
    assert both_07.paper[VOC12_IOU] - seg_07.paper[VOC12_IOU] == pytest.approx(3.3)
    assert both_07.paper[VOC12_AP] - det_07.paper[VOC12_AP] == pytest.approx(0.6)


def test_where_the_paper_contradicts_itself_a_note_says_so() -> None:
    assert "81.2" in find_table(1).notes[0]  # section 4.3; the table prints 80.7
    assert "34.1" in find_table(5).notes[0]  # two captions, two training sets, one figure
    for ssd, (in_table_7, in_table_1) in {"SSD300*": (77.1, 77.6), "SSD512*": (80.6, 79.6)}.items():
        rows = [
            next(row for row in find_table(n).block.rows if row.labels[0] == f"{ssd} [16]")
            for n in (7, 1)
        ]
        assert [row.paper[VOC07_AP] for row in rows] == [in_table_7, in_table_1]
        assert f"{ssd} {'has ' * (ssd == 'SSD300*')}{in_table_7}" in find_table(7).notes[0]


@pytest.mark.parametrize(
    ("prefix", "steps", "lr_drops"),
    [
        ("voc07-blitznet300", 65_000, (35_000, 50_000)),  # section 4.3
        ("voc07-ssd300", 65_000, (35_000, 50_000)),
        ("voc07-blitznet512", 75_000, (45_000, 60_000)),
        ("voc12", 40_000, (25_000, 35_000)),  # section 4.4, and what is compared with it
        ("coco", 700_000, (400_000, 550_000)),  # section 4.5
    ],
)
def test_schedules_are_those_of_sections_4_3_to_4_5(
    prefix: str, steps: int, lr_drops: tuple[int, ...]
) -> None:
    chosen = [one.recipe for name, one in EXPERIMENTS.items() if name.startswith(prefix)]
    assert chosen
    for recipe in chosen:
        assert (recipe.steps, recipe.lr_drops) == (steps, lr_drops), recipe.name


def test_optimizer_of_every_experiment_of_the_paper_is_that_of_section_4_2() -> None:
    for experiment in EXPERIMENTS.values():
        recipe = experiment.recipe
        if not experiment.is_twin:
            assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-4)
            assert recipe.global_batch_size == (16 if recipe.model.image_size == 512 else 32)
            assert recipe.model.num_classes == (81 if recipe.name.startswith("coco") else 21)


def test_proposals_of_table_7_are_the_anchors_of_its_networks() -> None:
    for row in find_table(7).block.rows:
        if row.experiment is not None:
            sizes = row.experiment.recipe.model.level_sizes
            assert 6 * sum(size**2 for size in sizes) == row.paper[PROPOSALS]


def test_table_8_changes_nothing_but_the_block() -> None:
    recipes = [one.recipe for one in find_table(8).block.experiments]
    blocks: list[FusionName | None] = [recipe.model.fusion for recipe in recipes]
    assert blocks == ["hourglass", "refine", "resskip_without_residual", "resskip"]
    same = {"name": "", "model": recipes[0].model}
    assert len({recipe.model_copy(update=same).model_dump_json() for recipe in recipes}) == 1


def test_tables_3_4_and_5_change_nothing_but_the_tasks() -> None:
    for number in (3, 5):
        models = [one.recipe.model for one in find_table(number).block.experiments]
        tasks = [(model.segment, model.detect) for model in models]
        assert tasks == [(False, True), (True, True), (True, False)]
        both = {"detect": True, "segment": True}
        assert len({model.model_copy(update=both) for model in models}) == 1
