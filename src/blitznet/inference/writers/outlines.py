"""Convert objects' pixels to polygons that a person can edit."""

from collections.abc import Iterator

import numpy as np

from blitznet.scene import Scene

Polygon = list[float]  # x1, y1, x2, y2, ... in pixels of the image

# Maximum distance of a polygon from the outline: a share of the size of the part, up to a pixel.
# Small parts keep their shape, and large ones get few points.
TOLERANCE_SHARE = 0.02  # of the square root of the part's area
MAX_TOLERANCE = 1.0  # pixels
MIN_PART = 0.01  # minimum share of the area of the object's largest part


def object_outlines(scene: Scene) -> Iterator[list[Polygon]]:
    """Find polygons around the pixels of every object, see `Scene.instances`.

    Args:
        scene: a scene with a segmentation map.

    Yields:
        For every row of `boxes`, the polygons of its parts, largest first; an empty list if no
        pixel in the box has its class. Holes are filled, because neither COCO nor labelling tools
        support them.
    """
    owners = scene.instance_map()
    for index, box in enumerate(scene.boxes):
        left, top = np.floor(box[:2]).astype(int).clip(0).tolist()
        right, bottom = np.ceil(box[2:]).astype(int).tolist()
        yield mask_polygons(owners[top:bottom, left:right] == index, left, top)


def mask_polygons(mask: np.ndarray, left: int = 0, top: int = 0) -> list[Polygon]:
    """Trace the outlines of a mask along pixel edges, cutting corners.

    Args:
        mask: (h, w) bool.
        left: column of the mask's first column in the image.
        top: row of the mask's first row in the image.

    Returns:
        A polygon of at least three points for every connected part, largest first, rounded to 0.01.
    """
    from skimage.measure import approximate_polygon, find_contours

    parts: list[tuple[float, Polygon]] = []
    # Closed contours of (row, column) between pixel centres of the padded mask.
    lines = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    for line in lines:
        corners = line[:, ::-1] - 0.5 + (left, top)
        area = signed_area(corners.ravel())
        if area <= 0:  # contours of holes run in the opposite direction to those of parts
            continue
        tolerance = min(TOLERANCE_SHARE * np.sqrt(area), MAX_TOLERANCE)
        polygon = approximate_polygon(corners, tolerance)[:-1]  # type: ignore[no-untyped-call]
        parts.append((area, polygon.round(2).ravel().tolist()))
    parts.sort(reverse=True)
    return [polygon for area, polygon in parts if area >= MIN_PART * parts[0][0]]


def signed_area(polygon: Polygon | np.ndarray) -> float:
    """Area in square pixels; positive if the polygon runs clockwise on a screen."""
    x, y = polygon[::2], polygon[1::2]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
