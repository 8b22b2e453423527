"""Predictions as labels in the formats that labelling tools import."""

from collections.abc import Callable

from blitznet.scene import Scene

# Adds a scene to the labels of a run: the scene, a name that no other image of the run has, and the
# image's path in the folder that all images of the run share, with forward slashes.
AddScene = Callable[[Scene, str, str], None]

# Of an image that was added in an earlier part of the run: its name and its path.
Added = tuple[str, str]
