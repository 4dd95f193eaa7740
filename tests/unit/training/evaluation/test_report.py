"""The report says what was judged, on what, how, and with which result."""

from __future__ import annotations

import json

from arno.errors import EngineError
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.report import Setup, report
from arno.training.evaluation.run import evaluate
from support.judging import MODEL, ScriptedAnswerer, answered, captions


def test_report_holds_all_that_is_needed_to_ask_again():
    asked = captions(3)

    def script(question):
        broken = question.question_id == "q2"
        return EngineError("broke") if broken else answered(question.truths[0])

    choice = DecodingChoice(num_beams=2, max_new_tokens=9)
    evaluation = evaluate(ScriptedAnswerer(script), asked, decoding=choice, nouns={})
    written = json.loads(json.dumps(report(evaluation, Setup("x.jsonl", asked, choice, 2))))
    assert written["model"] == {
        "name": MODEL.name,
        "fingerprint": MODEL.fingerprint,
        "dtype": "float32",
        "where": "nowhere",
    }
    assert written["data"] == {
        "name": "x.jsonl",
        "digest": "d",
        "images": 2,
        "images_max": 2,
        "broken_samples": 0,
    }
    assert written["decoding"] == {"num_beams": 2, "max_new_tokens": 9}
    assert written["questions"] == {
        "asked": 3,
        "from_earlier_run": 0,
        "failed": 1,
        "not_asked": 0,
        "ends": {"STOP": 2},
    }
    assert written["figures"]["CAPTION"]["questions"] == 3
    assert written["figures"]["CAPTION"]["exact"] == 0.6667
    assert {"version", "commit"} <= written["arno"].keys()
    assert written["machine"]["cores"] >= 1
