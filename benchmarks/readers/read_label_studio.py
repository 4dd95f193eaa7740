"""Read an export by Label Studio's own package; run by the Python that has it.

It checks each task and pre-annotation against the labelling configuration.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from label_studio_sdk.label_interface import LabelInterface


def main(folder: str) -> None:
    """Print what was read as JSON."""
    studio = Path(folder) / "label-studio"
    interface = LabelInterface((studio / "config.xml").read_text())
    found = []
    for task in json.loads((studio / "tasks.json").read_text()):
        (prediction,) = task["predictions"]
        valid = (
            interface.validate_task({"data": task["data"]})
            and interface.validate_prediction(prediction)
            and all(interface.validate_region(one) for one in prediction["result"])
        )
        if not valid:
            raise SystemExit(f"not valid: {task['data']['image_id']}")
        for one in prediction["result"]:
            sides = [round(one["value"][key] / 100, 2) for key in ("x", "y", "width", "height")]
            name = Path(task["data"]["image"]).name
            doubt = "overlooked" if one["id"].startswith("overlooked") else ""
            found.append([name, one["value"]["rectanglelabels"][0], sides, doubt])
    sys.stdout.write(json.dumps({"label-studio": sorted(found, key=json.dumps)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
