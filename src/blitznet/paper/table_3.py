"""Table 3: what learning both tasks jointly does for each (section 4.4)."""

from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import VOC12_AP, VOC12_IOU
from blitznet.paper.paper_recipe import DETECT_ONLY, SEGMENT_ONLY, VOC12_300
from blitznet.paper.paper_table import Block, PaperTable, Row
from blitznet.paper.twin import TITLE, VAL_AP, VAL_IOU, twin

DETECT = Experiment(
    source="Table 3, row 1",
    recipe=derive(VOC12_300, name="voc12-blitznet300-det", model=DETECT_ONLY),
    data="voc12-seg-aug",
    paper={VOC12_AP: 78.9},
)
BOTH = Experiment(
    source="Table 3, row 2",
    recipe=derive(VOC12_300, name="voc12-blitznet300-both"),
    data="voc12-seg-aug",
    paper={VOC12_IOU: 72.8, VOC12_AP: 80.0},
)
SEGMENT = Experiment(
    source="Table 3, row 3; table 4, row 3",
    recipe=derive(VOC12_300, name="voc12-blitznet300-seg", model=SEGMENT_ONLY),
    data="voc12-seg-aug",
    paper={VOC12_IOU: 72.4},
)

_DATA, _FIGURES = "voc-subset-aug", (VAL_IOU, VAL_AP)
TWIN_DETECT = twin("subset-table3-det", "row 1", DETECT_ONLY, (VAL_AP,), _DATA)
TWIN_BOTH = twin("subset-table3-both", "row 2", {}, _FIGURES, _DATA)
TWIN_SEGMENT = twin("subset-table3-seg", "row 3", SEGMENT_ONLY, (VAL_IOU,), _DATA)

_LABELS = ("network", "seg", "det")

TABLE_3 = PaperTable(
    number=3,
    caption="the effect of joint learning on both tasks",
    block=Block(
        title="trained on VOC12 train-seg-aug, tested on VOC12 val-seg",
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
            title=f"{TITLE}; VOC12 train_aug, tested on VOC12 val, nine classes",
            labels=_LABELS,
            figures=_FIGURES,
            rows=(
                Row(("blitznet300-mobile", "", "x"), experiment=TWIN_DETECT),
                Row(("blitznet300-mobile", "x", "x"), experiment=TWIN_BOTH),
                Row(("blitznet300-mobile", "x", ""), experiment=TWIN_SEGMENT),
            ),
        ),
    ),
    notes=("The stride is not stated: 4, as in the best of table 1.",),
)
