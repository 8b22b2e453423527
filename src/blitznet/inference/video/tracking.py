"""The same object in frame after frame: ByteTrack, as the package `trackers` implements it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from blitznet.extras import require
from blitznet.scene import Scene

# Boxes from this score on keep an identity alive through frames in which the object is hard to
# see (ByteTrack, section 3); they are not reported themselves.
WEAK_SCORE = 0.1


class Tracker:
    """Gives the objects of one video identities.

    An object gets its identity in the second frame that shows it, and keeps it through a second
    in which it is not seen. It has one class: a cat is never taken for the dog that it replaces.

    Args:
        score: minimum score of an object that is reported or begins an identity.
        rate: frames a second.
    """

    def __init__(self, score: float, rate: Fraction):
        require("trackers", "track", "tracking")
        from trackers import ByteTrackTracker

        self._score = score
        self._tracker = ByteTrackTracker(
            frame_rate=float(rate), track_activation_threshold=score, high_conf_det_threshold=score
        )

    def follow(self, scene: Scene, time: float) -> Scene:
        """The scene with the identities of its objects, without the weak ones.

        Args:
            scene: of the next frame, with boxes from WEAK_SCORE on.
            time: of the frame, seconds, later than the one before.
        """
        from supervision import Detections

        # ByteTrack compares boxes alone; those of different classes are moved out of each other's
        # reach, as torchvision's batched_nms does.
        apart = scene.labels[:, None] * 2.0 * max(scene.size)
        found = Detections(
            xyxy=scene.boxes + apart,
            confidence=scene.scores,
            class_id=scene.labels,
            data={"row": np.arange(len(scene.boxes))},
        )
        tracked = self._tracker.update(found, timestamp=time)
        ids = np.zeros(len(scene.boxes), dtype=np.int64)
        if tracked.tracker_id is not None and len(tracked):
            ids[tracked.data["row"]] = tracked.tracker_id + 1  # it counts from 0, and -1 is none
        strong = scene.scores >= self._score
        return replace(
            scene,
            boxes=scene.boxes[strong],
            labels=scene.labels[strong],
            scores=scene.scores[strong],
            ids=ids[strong],
        )
