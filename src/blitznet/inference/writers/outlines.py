"""From the pixels of an object to polygons that a person can correct."""

from collections.abc import Iterator

import numpy as np

from blitznet.scene import Scene

Polygon = list[float]  # x1, y1, x2, y2, ... in pixels of the image

# How far a polygon may be from the outline: a share of the size of the part, at most a pixel;
# so small things keep their shape and large ones have few points.
TOLERANCE_SHARE = 0.02  # of the square root of its area
MAX_TOLERANCE = 1.0  # pixels
MIN_PART = 0.01  # of the area of an object's largest part; smaller ones are specks


def object_outlines(scene: Scene) -> Iterator[list[Polygon]]:
    """Polygons around the pixels of every object, see `Scene.instances`.

    Args:
        scene: with a segmentation map.

    Yields:
        For every row of `boxes` the polygons of its parts, largest first; none where no pixel in
        the box is of its class. Holes are filled: neither COCO nor the tools have polygons with
        holes.
    """
    owners = scene.instance_map()
    for index, box in enumerate(scene.boxes):
        left, top = np.floor(box[:2]).astype(int).clip(0).tolist()
        right, bottom = np.ceil(box[2:]).astype(int).tolist()
        yield mask_polygons(owners[top:bottom, left:right] == index, left, top)


def mask_polygons(mask: np.ndarray, left: int = 0, top: int = 0) -> list[Polygon]:
    """The outlines of a mask, which follow the edges of its pixels and cut their corners.

    Args:
        mask: (h, w) bool.
        left: column of the image in which the mask begins.
        top: row.

    Returns:
        A polygon of at least three points, to 0.01 pixel, for every connected part; largest first.
    """
    from skimage.measure import approximate_polygon, find_contours

    parts: list[tuple[float, Polygon]] = []
    # Closed lines of (row, column) between pixel centres of the padded mask.
    lines = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    for line in lines:
        corners = line[:, ::-1] - 0.5 + (left, top)
        area = signed_area(corners.ravel())
        if area <= 0:  # contours turn one way around parts and the other way around holes
            continue
        tolerance = min(TOLERANCE_SHARE * np.sqrt(area), MAX_TOLERANCE)
        polygon = approximate_polygon(corners, tolerance)[:-1]  # type: ignore[no-untyped-call]
        parts.append((area, polygon.round(2).ravel().tolist()))
    parts.sort(reverse=True)
    return [polygon for area, polygon in parts if area >= MIN_PART * parts[0][0]]


def signed_area(polygon: Polygon | np.ndarray) -> float:
    """In square pixels; positive if it runs clockwise as seen on a screen."""
    x, y = polygon[::2], polygon[1::2]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
