"""Table 5: joint training on COCO (section 4.5)."""

from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import COCO_AP, COCO_IOU
from blitznet.paper.paper_recipe import COCO_512, DETECT_ONLY, SEGMENT_ONLY
from blitznet.paper.paper_table import Block, PaperTable, Row

DETECT = Experiment(
    source="Table 5, row 1",
    recipe=derive(COCO_512, name="coco-blitznet512-det", model=DETECT_ONLY),
    data="coco2014-train",
    paper={COCO_AP: 33.2},
)
BOTH = Experiment(
    source="Table 5, row 2",
    recipe=derive(COCO_512, name="coco-blitznet512-both"),
    data="coco2014-train",
    paper={COCO_IOU: 53.5, COCO_AP: 34.1},
)
SEGMENT = Experiment(
    source="Table 5, row 3",
    recipe=derive(COCO_512, name="coco-blitznet512-seg", model=SEGMENT_ONLY),
    data="coco2014-train",
    paper={COCO_IOU: 48.3},
)

TABLE_5 = PaperTable(
    number=5,
    caption="the effect of joint training on COCO",
    block=Block(
        title="trained on COCO train2014, tested on minival2014",
        labels=("network", "seg", "det"),
        figures=(COCO_IOU, COCO_AP),
        rows=(
            Row(("BlitzNet512", "", "x"), experiment=DETECT),
            Row(("BlitzNet512", "x", "x"), experiment=BOTH),
            Row(("BlitzNet512", "x", ""), experiment=SEGMENT),
        ),
    ),
    notes=(
        "Table 6 prints the same 34.1 for BlitzNet512, whose caption says COCO trainval instead of "
        "COCO train.",
    ),
)
