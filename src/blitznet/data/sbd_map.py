"""Segmentation maps of the Semantic Boundaries Dataset: MATLAB files."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blitznet.classes import VOC_CLASSES
from blitznet.data.class_table import ClassTable
from blitznet.data.seg_map import require_size
from blitznet.errors import LabelError
from blitznet.extras import require


@dataclass(frozen=True)
class SbdMapFile:
    """`cls/ID.mat`: a struct GTcls whose Segmentation holds VOC's class ids.

    Attributes:
        path: of the file.
    """

    path: Path

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`.

        Raises:
            InputError: if scipy is not installed.
        """
        ids = read_mat(self.path)
        values = np.full(256, -1)
        values[: len(VOC_CLASSES)] = table.map_ids(VOC_CLASSES)
        seg_map = values[ids]
        if (seg_map < 0).any():
            unknown = sorted(set(ids[seg_map < 0].tolist()))
            raise LabelError(
                f"{self.path} holds the ids {unknown}, which no class of the network stands for"
            )
        return require_size(self.path, seg_map.astype(np.uint8), size)


def read_mat(path: Path) -> np.ndarray:
    """(H, W) uint8 class ids of VOC.

    Raises:
        LabelError: if the file is missing, damaged, or holds something else.
        InputError: if scipy is not installed.
    """
    require("scipy", "sbd", "a map of SBD")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        with path.open("rb") as stream:
            ids = loadmat(stream, variable_names=["GTcls"])["GTcls"]["Segmentation"].item()
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist") from None
    except KeyError:
        raise LabelError(f"{path} has no GTcls; maps are the files in the folder cls") from None
    except (
        OSError,
        ValueError,
        TypeError,
        IndexError,
        NotImplementedError,  # MATLAB 7.3, which is HDF5
        MatReadError,
        zlib.error,
    ) as error:
        text = " ".join(str(error).split())
        raise LabelError(f"{path} cannot be read as SBD's .mat file: {text}") from None
    if not isinstance(ids, np.ndarray) or ids.ndim != 2 or ids.dtype != np.uint8:
        raise LabelError(f"{path}: GTcls.Segmentation is no (height, width) of bytes")
    return ids
