"""Track objects across frames with ByteTrack from the package `trackers`."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from blitznet.extras import require
from blitznet.scene import Scene

# Minimum score of boxes that continue a track while the object is hard to see (ByteTrack, section
# 3); they are not reported.
WEAK_SCORE = 0.1


class Tracker:
    """Gives the objects of one video track ids.

    An object gets its id in the second frame that shows it, and keeps it if it is hidden for up to
    a second. A track has one class: a cat never takes over the id of a dog in the same place.

    Args:
        score: minimum score for an object to be reported or to start a track.
        rate: frames per second.
    """

    def __init__(self, score: float, rate: Fraction):
        require("trackers", "track", "tracking")
        from trackers import ByteTrackTracker

        self._score = score
        self._tracker = ByteTrackTracker(
            frame_rate=float(rate), track_activation_threshold=score, high_conf_det_threshold=score
        )

    def follow(self, scene: Scene, time: float) -> Scene:
        """Add ids to the objects of a scene, and drop those below the minimum score.

        Args:
            scene: scene of the next frame, with boxes from WEAK_SCORE on.
            time: timestamp of the frame in seconds, increasing.
        """
        from supervision import Detections

        # ByteTrack ignores classes, so boxes of different classes are offset to not overlap, as in
        # torchvision's batched_nms.
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
