"""Torchvision's detectors around a backbone of one convolution."""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.ops import MultiScaleRoIAlign

from blitznet.bench.peers import NUM_CLASSES


class TinyBackbone(nn.Module):
    """One level of 16 cells of 4 pixels."""

    out_channels = 16

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=4, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict({"0": self.layers(images)})


def tiny_ssd() -> nn.Module:
    generator = DefaultBoxGenerator([[2]], scales=[0.2, 0.4])
    head = detection.ssd.SSDHead([16], generator.num_anchors_per_location(), NUM_CLASSES)
    return detection.ssd.SSD(TinyBackbone(), generator, (64, 64), NUM_CLASSES, head=head)


def tiny_retinanet() -> nn.Module:
    generator = AnchorGenerator(((8,),), ((1.0,),))
    return detection.RetinaNet(
        TinyBackbone(), NUM_CLASSES, fixed_size=(64, 64), anchor_generator=generator
    )


def tiny_faster_rcnn() -> nn.Module:
    return detection.FasterRCNN(
        TinyBackbone(),
        min_size=64,
        rpn_anchor_generator=AnchorGenerator(((8, 16),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 2, 1),
        box_head=detection.faster_rcnn.TwoMLPHead(16 * 4, 32),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(32, NUM_CLASSES),
    )
