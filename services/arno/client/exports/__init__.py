"""Results in the forms of other programs: the methods `to_...` of an `InferResult`.

Each function takes a result, and a task of it by position, id or name; None takes the regions of
all tasks that have an answer. `arno.vocabulary.results` finds them here by name when they are first
called, so that a server never loads them.
"""

from arno.client.exports.coco import to_coco
from arno.client.exports.fiftyone import to_fiftyone
from arno.client.exports.florence import to_florence_dict
from arno.client.exports.label_studio import to_label_studio
from arno.client.exports.notebook import draw_result, to_html, to_png
from arno.client.exports.tables import to_pandas
from arno.client.exports.to_supervision import to_supervision
from arno.client.exports.yolo import YoloLabels, to_yolo

__all__ = [
    "YoloLabels",
    "draw_result",
    "to_coco",
    "to_fiftyone",
    "to_florence_dict",
    "to_html",
    "to_label_studio",
    "to_pandas",
    "to_png",
    "to_supervision",
    "to_yolo",
]
