"""Tables 1 to 8: our copies are consistent, and agree with sections 4.3 to 4.7."""

import pytest

from blitznet.classes import VOC_CLASSES
from blitznet.model_info import FusionName
from blitznet.paper.tables import Experiment, TableRow, find_table, read_experiments, read_tables

ROWS_WITH_CLASSES = [
    (number, row)
    for number in (1, 2)
    for row in find_table(number).blocks[0].rows
    if any(column.of_one_class for column in row.printed)
]


def printed(number: int, column: int) -> list[float | None]:
    """A column of a table, from top to bottom."""
    block = find_table(number).blocks[0]
    return [row.printed.get(block.columns[column]) for row in block.rows]


def own_experiments(number: int) -> list[Experiment]:
    """The experiments of the paper's own rows."""
    return [row.experiment for row in find_table(number).blocks[0].rows if row.experiment]


@pytest.mark.parametrize(
    ("number", "row"), ROWS_WITH_CLASSES, ids=lambda value: getattr(value, "labels", value)
)
def test_mean_over_the_classes_is_the_printed_map(number: int, row: TableRow) -> None:
    mean_ap = find_table(number).blocks[0].columns[0]
    classes = {one.title: value for one, value in row.printed.items() if one.of_one_class}
    assert tuple(classes) == VOC_CLASSES[1:]
    # Each figure is rounded to 0.1: the printed mean and that of printed figures differ by 0.1 at
    # most. A mistyped digit in a class moves the mean by 0.05 or more, mostly beyond that.
    assert sum(classes.values()) / 20 == pytest.approx(row.printed[mean_ap], abs=0.1)


def test_tables_have_the_rows_of_the_paper_and_yolo_of_table_1_has_no_classes() -> None:
    sizes = {number: len(table.blocks[0].rows) for number, table in read_tables().items()}
    assert sizes == {1: 11, 2: 9, 3: 3, 4: 3, 5: 3, 6: 2, 7: 7, 8: 4}
    assert len(ROWS_WITH_CLASSES) == 10 + 9


def test_sources_of_experiments_are_the_rows_they_stand_in() -> None:
    for number, table in read_tables().items():
        for place, row in enumerate(table.blocks[0].rows, start=1):
            if row.experiment is not None and number != 7:
                sources = row.experiment.source.lower().split("; ")
                assert f"table {number}, row {place}" in sources


@pytest.mark.parametrize(
    ("number", "columns"),
    [
        (1, [[77.6, 75.3, 78.5, 78.2, 79.1, 79.6, 80.7, 80.5, 76.4, 63.4, 81.5]]),
        (2, [[75.8, 75.4, 80.2, 77.6, 73.8, 57.9, 78.5, 79.0, 83.8]]),
        (3, [[None, 72.8, 72.4], [78.9, 80.0, None]]),
        (4, [[None, 75.7, 72.4], [83.0, 83.6, None]]),
        (5, [[None, 53.5, 48.3], [33.2, 34.1, None]]),
        (6, [[29.7, 34.1], [49.4, 55.1], [31.2, 35.9], [29.8, 34.2], [49.7, 55.5], [31.1, 35.8]]),
        (
            7,
            [
                [73.2, 80.5, 77.1, 80.6, 63.4, 79.1, 81.5],
                [7, 9, 46, 19, 46, 24, 19.5],
                [None, None, 8732, 24564, None, 45390, 32766],
            ],
        ),
        (8, [[78.7, 78.0, 78.4, 79.1], [75.6, 76.1, 75.3, 75.7]]),
    ],
)
def test_columns_are_those_of_the_paper(number: int, columns: list[list[float | None]]) -> None:
    assert [printed(number, index) for index in range(len(columns))] == columns


def test_gains_are_those_that_section_4_4_states() -> None:
    """More than 1 % and 0.4 % of joint training, 3.3 % and 0.6 % of VOC07's boxes."""
    for number, iou_gain, ap_gain in ((3, 0.4, 1.1), (4, 3.3, 0.6)):
        mean_iou, mean_ap = find_table(number).blocks[0].columns
        det, both, seg = (row.printed for row in find_table(number).blocks[0].rows)
        assert both[mean_iou] - seg[mean_iou] == pytest.approx(iou_gain)
        assert both[mean_ap] - det[mean_ap] == pytest.approx(ap_gain)


def test_where_the_paper_contradicts_itself_a_note_says_so() -> None:
    assert "81.2" in find_table(1).notes[0]  # section 4.3; the table prints 80.7
    assert "34.1" in find_table(5).notes[0]  # two captions, two training sets, one figure
    for ssd, (in_table_7, in_table_1) in {"SSD300*": (77.1, 77.6), "SSD512*": (80.6, 79.6)}.items():
        rows = [
            next(row for row in find_table(n).blocks[0].rows if row.labels[0] == f"{ssd} [16]")
            for n in (7, 1)
        ]
        mean_ap = find_table(7).blocks[0].columns[0]
        assert [row.printed[mean_ap] for row in rows] == [in_table_7, in_table_1]
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
    chosen = [one.recipe for name, one in read_experiments().items() if name.startswith(prefix)]
    assert chosen
    for recipe in chosen:
        assert (recipe.steps, recipe.lr_drops) == (steps, lr_drops), recipe.name


def test_optimizer_of_every_experiment_of_the_paper_is_that_of_section_4_2() -> None:
    for experiment in read_experiments().values():
        recipe = experiment.recipe
        if not experiment.is_twin:
            assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adam", 1e-4, 5e-4)
            assert recipe.global_batch_size == (16 if recipe.model.image_size == 512 else 32)
            assert recipe.model.num_classes == (81 if recipe.name.startswith("coco") else 21)


def test_proposals_of_table_7_are_the_anchors_of_its_networks() -> None:
    sizes = [one.recipe.model.level_sizes for one in own_experiments(7)]
    assert [6 * sum(size**2 for size in of) for of in sizes] == printed(7, 2)[-2:]


def test_table_8_changes_nothing_but_the_block() -> None:
    recipes = [one.recipe for one in own_experiments(8)]
    blocks: list[FusionName | None] = [recipe.model.fusion for recipe in recipes]
    assert blocks == ["hourglass", "refine", "resskip_without_residual", "resskip"]
    same = {"name": "", "model": recipes[0].model}
    assert len({recipe.model_copy(update=same).model_dump_json() for recipe in recipes}) == 1


def test_tables_3_4_and_5_change_nothing_but_the_tasks() -> None:
    for number in (3, 5):
        models = [one.recipe.model for one in own_experiments(number)]
        tasks = [(model.segment, model.detect) for model in models]
        assert tasks == [(False, True), (True, True), (True, False)]
        both = {"detect": True, "segment": True}
        assert len({model.model_copy(update=both) for model in models}) == 1
