"""Write predictions as labels, in formats that labelling tools import."""

from collections.abc import Callable

from blitznet.scene import Scene

# Adds a scene to the labels of a run. Arguments: the scene, a name that is unique in the run, and
# the image's path relative to the common folder of all images, with forward slashes.
AddScene = Callable[[Scene, str, str], None]

# Name and path of an image that an earlier part of the run added.
Added = tuple[str, str]
