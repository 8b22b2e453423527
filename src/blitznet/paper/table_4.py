"""Table 4: what pictures with boxes only do for segmentation (section 4.4)."""

from dataclasses import replace

from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import VOC07_AP, VOC12_AP, VOC12_IOU
from blitznet.paper.paper_recipe import DETECT_ONLY, SEGMENT_ONLY, VOC12_300
from blitznet.paper.paper_table import Block, PaperTable, Row
from blitznet.paper.table_3 import SEGMENT
from blitznet.paper.twin import TITLE, VAL_AP, VAL_IOU, twin

DATA = "voc12-seg-aug-voc07"
DATA_APART = f"{DATA}-apart"

DETECT = Experiment(
    source="Table 4, row 1",
    recipe=derive(VOC12_300, name="voc12-voc07-blitznet300-det", model=DETECT_ONLY),
    data=DATA,
    paper={VOC12_AP: 83.0},
)
BOTH = Experiment(
    source="Table 4, row 2; table 8, row 4",
    recipe=derive(VOC12_300, name="voc12-voc07-blitznet300-both"),
    data=DATA,
    paper={VOC12_IOU: 75.7, VOC12_AP: 83.6, VOC07_AP: 79.1},
)


def apart(experiment: Experiment) -> Experiment:
    """The same without pictures that are trained on and tested on under two names."""
    recipe = derive(experiment.recipe, name=f"{experiment.name}-apart")
    figures = tuple(experiment.paper)
    return replace(experiment, recipe=recipe, data=DATA_APART, paper={}, figures=figures)


DETECT_APART = apart(DETECT)
BOTH_APART = apart(BOTH)

_FIGURES = (VAL_IOU, VAL_AP)
TWIN_MAPS_SEG = twin(
    "subset-table4-maps-seg", "row 3", SEGMENT_ONLY, (VAL_IOU,), "voc-subset-few-maps"
)
TWIN_MAPS = twin("subset-table4-maps", "row 2", {}, _FIGURES, "voc-subset-few-maps")
TWIN_BOXES12 = twin("subset-table4-boxes12", "row 2", {}, _FIGURES, "voc-subset-few-maps-boxes12")
TWIN_BOXES12_07 = twin(
    "subset-table4-boxes12-07", "row 2", {}, _FIGURES, "voc-subset-few-maps-boxes12-07"
)

_LABELS = ("network", "seg", "det")

TABLE_4 = PaperTable(
    number=4,
    caption="the effect of extra data with boxes only on segmentation",
    block=Block(
        title="trained on VOC12 train-seg-aug and VOC07 trainval, tested on VOC12 val-seg",
        labels=_LABELS,
        figures=(VOC12_IOU, VOC12_AP),
        rows=(
            Row(("BlitzNet300", "", "x"), experiment=DETECT),
            Row(("BlitzNet300", "x", "x"), experiment=BOTH),
            Row(("BlitzNet300", "x", ""), experiment=SEGMENT),
        ),
    ),
    more=(
        Block(
            title="the same without pictures that are also tested on",
            labels=_LABELS,
            figures=(VOC12_IOU, VOC12_AP),
            rows=(
                Row(("BlitzNet300", "", "x"), experiment=DETECT_APART),
                Row(("BlitzNet300", "x", "x"), experiment=BOTH_APART),
            ),
        ),
        Block(
            title=f"{TITLE}; VOC12 val, nine classes; where boxes are added, "
            "two thirds of the pictures drawn have maps, as in the paper",
            labels=("trained on", "seg", "det"),
            figures=_FIGURES,
            rows=(
                Row(("453 pictures with maps", "x", ""), experiment=TWIN_MAPS_SEG),
                Row(("453 with maps and boxes", "x", "x"), experiment=TWIN_MAPS),
                Row(("+ 2 726 of VOC12 with boxes", "x", "x"), experiment=TWIN_BOXES12),
                Row(("+ 960 of VOC07 with boxes", "x", "x"), experiment=TWIN_BOXES12_07),
            ),
        ),
    ),
    notes=(
        "Trained as section 4.4 says; the caption says VOC12 trainval, which holds the test set.",
        "VOC07 trainval and VOC12 val-seg share pictures: 2007_ID of VOC12 is ID of VOC07.",
        "Row 3 is that of table 3: a network without boxes learns nothing from VOC07.",
    ),
)
