"""BlitzNet: object detection and semantic segmentation with one network."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blitznet.cluster.batch_predictor import BatchPredictor as BatchPredictor
    from blitznet.cluster.batch_report import BatchReport as BatchReport
    from blitznet.cluster.predict_batch import predict_batch as predict_batch
    from blitznet.detection.postprocess import decode_detections as decode_detections
    from blitznet.detections import Detections as Detections
    from blitznet.errors import BlitzNetError as BlitzNetError
    from blitznet.errors import CheckpointError as CheckpointError
    from blitznet.errors import DivergenceError as DivergenceError
    from blitznet.errors import ImageError as ImageError
    from blitznet.errors import InputError as InputError
    from blitznet.errors import LabelError as LabelError
    from blitznet.errors import RecipeError as RecipeError
    from blitznet.errors import WorkerError as WorkerError
    from blitznet.evaluation.evaluate import Metrics as Metrics
    from blitznet.evaluation.evaluate import evaluate as evaluate
    from blitznet.exporting.export import Exported as Exported
    from blitznet.exporting.export import export as export
    from blitznet.inference.predictor import Predictor as Predictor
    from blitznet.inference.predictor import load as load
    from blitznet.losses.joint import LossTerms as LossTerms
    from blitznet.losses.joint import joint_loss as joint_loss
    from blitznet.model.blitznet import BlitzNet as BlitzNet
    from blitznet.model.blitznet import build as build
    from blitznet.model.blitznet import normalize_images as normalize_images
    from blitznet.model.checkpoint import load_checkpoint as load_checkpoint
    from blitznet.model_files import find_checkpoint as find_checkpoint
    from blitznet.scene import Scene as Scene
    from blitznet.structures import Batch as Batch
    from blitznet.structures import RawPredictions as RawPredictions
    from blitznet.training.refine_masks import RefinedMasks as RefinedMasks
    from blitznet.training.refine_masks import refine_masks as refine_masks
    from blitznet.training.train import TrainingRun as TrainingRun
    from blitznet.training.train import train as train

__version__ = "0.1.0"

# Public names by module. They are imported lazily, because prediction does not need PyTorch.
_NAMES = {
    "cluster.batch_predictor": ("BatchPredictor",),
    "cluster.batch_report": ("BatchReport",),
    "cluster.predict_batch": ("predict_batch",),
    "detection.postprocess": ("decode_detections",),
    "detections": ("Detections",),
    "errors": (
        "BlitzNetError", "CheckpointError", "DivergenceError", "ImageError", "InputError",
        "LabelError", "RecipeError", "WorkerError",
    ),
    "evaluation.evaluate": ("Metrics", "evaluate"),
    "exporting.export": ("Exported", "export"),
    "inference.predictor": ("Predictor", "load"),
    "losses.joint": ("LossTerms", "joint_loss"),
    "model.blitznet": ("BlitzNet", "build", "normalize_images"),
    "model.checkpoint": ("load_checkpoint",),
    "model_files": ("find_checkpoint",),
    "scene": ("Scene",),
    "structures": ("Batch", "RawPredictions"),
    "training.refine_masks": ("RefinedMasks", "refine_masks"),
    "training.train": ("TrainingRun", "train"),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_HOMES)

# Modules that are missing without an extra.
_EXTRAS = {
    "train": ("torch", "torchvision", "timm", "lightning_fabric", "safetensors"),
    "ray": ("pyarrow", "ray"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'blitznet' has no attribute {name!r}")
    try:
        return getattr(import_module(f"blitznet.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        extra = next((one for one, modules in _EXTRAS.items() if error.name in modules), None)
        if extra is None:
            raise
        raise ModuleNotFoundError(
            f"blitznet.{name} needs {error.name}; run: pip install 'blitznet[{extra}]'",
            name=error.name,
        ) from None


def __dir__() -> list[str]:
    return __all__
