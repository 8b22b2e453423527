"""Table 8: the block that fuses both streams (section 4.7)."""

from blitznet.model_info import FusionName
from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import VOC07_AP, VOC12_IOU
from blitznet.paper.paper_recipe import VOC12_300
from blitznet.paper.paper_table import Block, PaperTable, Row
from blitznet.paper.table_4 import BOTH, BOTH_APART, DATA, apart
from blitznet.paper.twin import TEST07_AP, TITLE, VAL_IOU, twin


def _with_block(fusion: FusionName, row: int, mean_ap: float, mean_iou: float) -> Experiment:
    return Experiment(
        source=f"Table 8, row {row}",
        recipe=derive(
            VOC12_300,
            name=f"voc12-voc07-blitznet300-{fusion.replace('_', '-')}",
            model={"fusion": fusion},
        ),
        data=DATA,
        paper={VOC07_AP: mean_ap, VOC12_IOU: mean_iou},
    )


HOURGLASS = _with_block("hourglass", 1, 78.7, 75.6)
REFINE = _with_block("refine", 2, 78.0, 76.1)
WITHOUT_RESIDUAL = _with_block("resskip_without_residual", 3, 78.4, 75.3)
RESSKIP = BOTH  # row 2 of table 4, tested on VOC07, too

_TWIN_FIGURES = (TEST07_AP, VAL_IOU)
TWIN_HOURGLASS = twin("subset-table8-hourglass", "row 1", {"fusion": "hourglass"}, _TWIN_FIGURES)
TWIN_REFINE = twin("subset-table8-refine", "row 2", {"fusion": "refine"}, _TWIN_FIGURES)
TWIN_WITHOUT_RESIDUAL = twin(
    "subset-table8-resskip-without-residual",
    "row 3",
    {"fusion": "resskip_without_residual"},
    _TWIN_FIGURES,
)
TWIN_RESSKIP = twin("subset-table8-resskip", "row 4", {"fusion": "resskip"}, _TWIN_FIGURES)


def _rows(*experiments: Experiment) -> tuple[Row, ...]:
    titles = ("Hourglass-style [19]", "Refine-style [22]", "ResSkip (no res)", "ResSkip (ours)")
    return tuple(
        Row((title,), experiment=experiment)
        for title, experiment in zip(titles, experiments, strict=True)
    )


TABLE_8 = PaperTable(
    number=8,
    caption="the effect of the fusion block",
    block=Block(
        title="trained on VOC12 train-seg-aug and VOC07 trainval; mAP on VOC07 test, mIoU on VOC12 "
        "val-seg",
        labels=("block",),
        figures=(VOC07_AP, VOC12_IOU),
        rows=_rows(HOURGLASS, REFINE, WITHOUT_RESIDUAL, RESSKIP),
    ),
    more=(
        Block(
            title="the same without pictures that are also tested on",
            labels=("block",),
            figures=(VOC07_AP, VOC12_IOU),
            rows=_rows(apart(HOURGLASS), apart(REFINE), apart(WITHOUT_RESIDUAL), BOTH_APART),
        ),
        Block(
            title=f"{TITLE}; mAP on VOC07 test (five classes), mIoU on VOC12 val (nine)",
            labels=("block",),
            figures=_TWIN_FIGURES,
            rows=_rows(TWIN_HOURGLASS, TWIN_REFINE, TWIN_WITHOUT_RESIDUAL, TWIN_RESSKIP),
        ),
    ),
    notes=(
        "ResSkip has 79.1 here, as in table 1, where the training set is a larger one.",
        "VOC12 train-seg-aug and VOC07 test share pictures: 2007_ID of VOC12 is ID of VOC07.",
        "Steps are not stated; those of section 4.4. What the rivals are exactly: D6.",
    ),
)
