"""Table 7: speed (section 4.6)."""

from blitznet.paper.figure import BENCH, VOC07_AP, Figure
from blitznet.paper.paper_table import Block, PaperTable, Row
from blitznet.paper.table_1 import BLITZNET300_S4_SEG, BLITZNET512_S8_SEG

# Speed comes from `blitznet bench`; proposals are the network's anchors.
FPS = Figure("FPS", BENCH, ("fps",), scale=1)
PROPOSALS = Figure("# proposals", BENCH, ("anchors",), scale=1, decimals=0)

WIDE = "~1000x600"

TABLE_7 = PaperTable(
    number=7,
    caption="accuracy on VOC07 test and speed, the paper's on a Titan X (Maxwell)",
    block=Block(
        title="VOC07 test",
        labels=("network", "backbone", "input"),
        figures=(VOC07_AP, FPS, PROPOSALS),
        rows=(
            Row(("Faster-RCNN [25]", "VGG-16", WIDE), {VOC07_AP: 73.2, FPS: 7}),
            Row(("R-FCN [13]", "ResNet-101", WIDE), {VOC07_AP: 80.5, FPS: 9}),
            Row(("SSD300* [16]", "VGG-16", "300x300"), {VOC07_AP: 77.1, FPS: 46, PROPOSALS: 8732}),
            Row(("SSD512* [16]", "VGG-16", "512x512"), {VOC07_AP: 80.6, FPS: 19, PROPOSALS: 24564}),
            Row(("YOLO [23]", "YOLO net", "-"), {VOC07_AP: 63.4, FPS: 46}),
            Row(
                ("BlitzNet300 (s4)", "ResNet-50", "300x300"),
                {VOC07_AP: 79.1, FPS: 24, PROPOSALS: 45390},
                BLITZNET300_S4_SEG,
            ),
            Row(
                ("BlitzNet512 (s8)", "ResNet-50", "512x512"),
                {VOC07_AP: 81.5, FPS: 19.5, PROPOSALS: 32766},
                BLITZNET512_S8_SEG,
            ),
        ),
    ),
    notes=(
        "SSD300* has 77.1 here and 77.6 in table 1, SSD512* 80.6 here and 79.6 there.",
        "Our FPS are pictures a second from the decoded picture to boxes and map, one picture at a "
        "time, as blitznet bench measures them; proposals are counted.",
    ),
)
