"""Table 6: detection on COCO (section 4.5)."""

from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import COCO_AP, Figure
from blitznet.paper.paper_recipe import COCO_300, COCO_512
from blitznet.paper.paper_table import Block, PaperTable, Row

AP = Figure("minival AP", COCO_AP.split, COCO_AP.keys)
AP_50 = Figure("minival AP50", COCO_AP.split, ("mean_ap", "coco_50"))
AP_75 = Figure("minival AP75", COCO_AP.split, ("mean_ap", "coco_75"))
# test-dev has no public labels.
DEV_AP = Figure("test-dev AP", "coco2015_test_dev")
DEV_AP_50 = Figure("test-dev AP50", "coco2015_test_dev")
DEV_AP_75 = Figure("test-dev AP75", "coco2015_test_dev")

BLITZNET300_COCO = Experiment(
    source="Table 6, row 1",
    recipe=derive(COCO_300, name="coco-trainval-blitznet300"),
    data="coco2014",
    paper={AP: 29.7, AP_50: 49.4, AP_75: 31.2, DEV_AP: 29.8, DEV_AP_50: 49.7, DEV_AP_75: 31.1},
)
BLITZNET512_COCO = Experiment(
    source="Table 6, row 2",
    recipe=derive(COCO_512, name="coco-trainval-blitznet512"),
    data="coco2014",
    paper={AP: 34.1, AP_50: 55.1, AP_75: 35.9, DEV_AP: 34.2, DEV_AP_50: 55.5, DEV_AP_75: 35.8},
)

TABLE_6 = PaperTable(
    number=6,
    caption="detection on COCO",
    block=Block(
        title="trained on COCO train2014 and val2014 without minival2014",
        labels=("method",),
        figures=(AP, AP_50, AP_75, DEV_AP, DEV_AP_50, DEV_AP_75),
        rows=(
            Row(("BlitzNet300",), experiment=BLITZNET300_COCO),
            Row(("BlitzNet512",), experiment=BLITZNET512_COCO),
        ),
    ),
    notes=(
        "The stride is not stated: 4 at 300 pixels and 8 at 512, the best of table 1.",
        "test-dev has no public labels: blitznet eval --split coco2015_test_dev --submission coco "
        "writes what the evaluation server takes.",
    ),
)
