"""Table 2: detection on VOC12 test, trained on VOC07 and VOC12 trainval with maps (section 4.4)."""

from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import VOC12_TEST_AP, VOC12_TEST_CLASS_APS, voc12_test
from blitznet.paper.paper_recipe import VOC12_300, VOC12_512
from blitznet.paper.paper_table import Block, PaperTable, Row

# What `blitznet train` leaves of the networks of table 6.
COCO_300_NETWORK = "runs/train/coco-trainval-blitznet300/model.safetensors"
COCO_512_NETWORK = "runs/train/coco-trainval-blitznet512/model.safetensors"

BLITZNET300_SEG = Experiment(
    source="Table 2, row 2",
    recipe=derive(VOC12_300, name="voc12test-blitznet300"),
    data="voc0712-seg",
    paper=voc12_test(
        75.4,
        "87.4 82.1 74.5 61.6 45.9 81.5 78.3 91.4 58.2 80.3 "
        "64.9 89.1 83.5 85.7 81.5 50.5 79.9 74.7 84.8 71.1",
    ),
)
BLITZNET300_SEG_COCO = Experiment(
    source="Table 2, row 3",
    recipe=derive(VOC12_300, name="voc12test-blitznet300-coco", start_from=COCO_300_NETWORK),
    data="voc0712-seg",
    paper=voc12_test(
        80.2,
        "91.0 86.5 80.0 70.1 54.7 84.4 84.1 92.5 65.1 83.5 "
        "69.2 91.2 88.1 88.5 85.7 55.8 85.4 79.3 89.8 78.2",
    ),
)
BLITZNET512_SEG = Experiment(
    source="Table 2, row 8",
    recipe=derive(VOC12_512, name="voc12test-blitznet512"),
    data="voc0712-seg",
    paper=voc12_test(
        79.0,
        "89.9 85.2 80.4 67.2 53.6 82.9 83.6 93.8 62.5 84.0 "
        "65.8 91.6 86.6 87.6 84.6 56.8 84.7 73.9 88.0 75.7",
    ),
)
BLITZNET512_SEG_COCO = Experiment(
    source="Table 2, row 9",
    recipe=derive(VOC12_512, name="voc12test-blitznet512-coco", start_from=COCO_512_NETWORK),
    data="voc0712-seg",
    paper=voc12_test(
        83.8,
        "93.1 89.4 84.7 75.5 65.0 86.6 87.4 94.5 69.9 88.8 "
        "71.7 92.5 91.6 91.1 88.9 61.2 90.4 79.2 91.8 83.0",
    ),
)

TABLE_2 = PaperTable(
    number=2,
    caption="detection on VOC12 test, trained on VOC07 trainval and VOC12 trainval with maps",
    block=Block(
        title="VOC12 test",
        labels=("network", "backbone"),
        figures=(VOC12_TEST_AP, *VOC12_TEST_CLASS_APS),
        rows=(
            Row(
                ("SSD300* [16]", "VGG-16"),
                voc12_test(
                    75.8,
                    "88.1 82.9 74.4 61.9 47.6 82.7 78.8 91.5 58.1 80.0 "
                    "64.1 89.4 85.7 85.5 82.6 50.2 79.8 73.6 86.6 72.1",
                ),
            ),
            Row(("BlitzNet300", "ResNet50"), experiment=BLITZNET300_SEG),
            Row(("BlitzNet300 + COCO", "ResNet50"), experiment=BLITZNET300_SEG_COCO),
            Row(
                ("R-FCN [13]", "ResNet-101"),
                voc12_test(
                    77.6,
                    "86.9 83.4 81.5 63.8 62.4 81.6 81.1 93.1 58.0 83.8 "
                    "60.8 92.7 86.0 84.6 84.4 59.0 80.8 68.6 86.1 72.9",
                ),
            ),
            Row(
                ("Faster RCNN", "ResNet-101"),
                voc12_test(
                    73.8,
                    "86.5 81.6 77.2 58.0 51.0 78.6 76.6 93.2 48.6 80.4 "
                    "59.0 92.1 85.3 84.8 80.7 48.1 77.3 66.5 84.7 65.6",
                ),
            ),
            Row(
                ("YOLO [23]", "YOLOnet"),
                voc12_test(
                    57.9,
                    "77.0 67.2 57.7 38.3 22.7 68.3 55.9 81.4 36.2 60.8 "
                    "48.5 77.2 72.3 71.3 63.5 28.9 52.2 54.8 73.9 50.8",
                ),
            ),
            Row(
                ("SSD512* [16]", "VGG-16"),
                voc12_test(
                    78.5,
                    "90.0 85.3 77.7 64.3 58.5 85.1 84.3 92.6 61.3 83.4 "
                    "65.1 89.9 88.5 88.2 85.5 54.4 82.4 70.7 87.1 75.6",
                ),
            ),
            Row(("BlitzNet512", "ResNet50"), experiment=BLITZNET512_SEG),
            Row(("BlitzNet512 + COCO", "ResNet50"), experiment=BLITZNET512_SEG_COCO),
        ),
    ),
    notes=(
        "Trained as its caption says; section 4.4 speaks of the networks of tables 3 and 4.",
        "The stride is not stated: 4 at 300 pixels and 8 at 512, the best of table 1.",
        "VOC12 test has no public labels: blitznet eval --split voc12_test --submission voc writes "
        "what the evaluation server takes.",
    ),
)
