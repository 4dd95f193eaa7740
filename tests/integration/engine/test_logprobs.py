"""Every token carries its own probability."""

from __future__ import annotations

import pytest
import torch
from arno.engine.checkpoints.tokenizer import END_ID
from support.engine_runs import BEAMS, GREEDY, picture, request, run_all, submit_all

pytestmark = pytest.mark.model


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_log_probabilities_are_those_of_the_search_itself(engine, reference, options):
    requests = [request(f"s{i}", engine.prepare(picture(i)), options=options) for i in range(4)]
    submit_all(engine, requests)
    ends = run_all(engine)
    for asked in requests:
        end = ends[asked.sequence_id]
        out = reference.generate(asked, output_scores=True, output_logits=True)
        steps = [logits.log_softmax(dim=-1) for logits in out.logits]
        # `beam_indices` says in which row of its step each token of the best beam was chosen.
        rows = out.beam_indices[0].tolist() if options.num_beams > 1 else [0] * len(steps)
        expected = [
            steps[place][rows[place], token].item() for place, token in enumerate(end.token_ids)
        ]
        expected[0] = 0.0
        if len(end.token_ids) == options.max_new_tokens:
            expected[-1] = 0.0
        assert end.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_deviations_are_those_of_the_location_tokens_of_the_search_itself(
    engine, reference, options
):
    ids = engine.token_table.location_ids
    requests = [request(f"s{i}", engine.prepare(picture(i)), options=options) for i in range(4)]
    submit_all(engine, requests)
    ends = run_all(engine)
    for asked in requests:
        end = ends[asked.sequence_id]
        out = reference.generate(asked, output_scores=True, output_logits=True)
        rows = out.beam_indices[0].tolist() if options.num_beams > 1 else [0] * len(out.logits)
        for place, token in enumerate(end.token_ids):
            expected = 0.0
            if token in ids:
                logits = out.logits[place][rows[place], ids.start : ids.stop]
                bins = torch.arange(len(ids))
                expected = (logits.softmax(-1) * (bins - ids.index(token)).abs()).sum().item()
            assert end.deviations[place] == pytest.approx(expected, abs=1e-2)
        assert len(end.deviations) == len(end.token_ids)


@pytest.mark.parametrize("options", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_end_chances_are_those_of_the_steps_of_the_search_itself(engine, reference, options):
    requests = [request(f"s{i}", engine.prepare(picture(i)), options=options) for i in range(4)]
    submit_all(engine, requests)
    ends = run_all(engine)
    for asked in requests:
        end = ends[asked.sequence_id]
        out = reference.generate(asked, output_scores=True, output_logits=True)
        rows = out.beam_indices[0].tolist() if options.num_beams > 1 else [0] * len(out.logits)
        expected = [
            out.logits[place][rows[place]].softmax(-1)[END_ID].item()
            for place in range(len(end.token_ids))
        ]
        expected[0] = 0.0
        assert end.end_chances == pytest.approx(expected, abs=1e-4)


def test_forced_tokens_are_certain_and_no_other_token_is(engine):
    submit_all(engine, [request(f"s{i}", engine.prepare(picture(i))) for i in range(4)])
    for end in run_all(engine).values():
        assert len(end.logprobs) == len(end.token_ids)
        assert end.logprobs[0] == 0.0
        assert (end.logprobs[-1] == 0.0) == (len(end.token_ids) == BEAMS.max_new_tokens)
        assert all(logprob < 0.0 for logprob in end.logprobs[1:-1])
