"""Turn token probabilities into scores.

Florence-2 has no detection score; what it has is the probability of every token that it wrote. The
scores are geometric means of those, so that long labels are not worse than short ones. They are
uncalibrated: 0.9 does not mean right nine times in ten. They do order the regions of a model and
task, which is what mAP and a threshold need.

Tokens that the decoder forced carry a log-probability of 0, that is certainty: they never lower a
score. They cannot be told from tokens of which the model was certain, so they are not left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegionScores:
    """The scores of one region, each 0..1, or None where there are no tokens or log-probs."""

    label: float | None
    location: float | None
    combined: float | None


def geometric_mean(logprobs: Sequence[float]) -> float | None:
    """Return the geometric mean of the probabilities, 0..1.

    None when there are none, or when one is not a number, which is how missing ones are marked.
    """
    if not logprobs:
        return None
    # Rounding in the engine may leave a hair above 0, which would be a probability above 1.
    mean = sum(min(logprob, 0.0) for logprob in logprobs) / len(logprobs)
    return None if math.isnan(mean) else math.exp(mean)


def score_region(
    label_logprobs: Sequence[float], location_logprobs: Sequence[float]
) -> RegionScores:
    """Return the scores of a region from the tokens of its label and of its place.

    The combined score is the geometric mean of the two, so that one label token weighs as much as
    four location tokens; with only one of the two, it is that one.
    """
    label = geometric_mean(label_logprobs)
    location = geometric_mean(location_logprobs)
    if label is None or location is None:
        return RegionScores(label, location, location if label is None else label)
    return RegionScores(label, location, math.sqrt(label * location))
