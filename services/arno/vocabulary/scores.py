"""Turn what the model computed for each token into scores.

Florence-2 has no detection score. A region's score is the product of two:

- of the label, the geometric mean of the probabilities of its tokens, so that long labels are not
  worse than short ones;
- of the place, the overlap (IoU) with the true place that the model itself expects. The probability
  of the one bin of a thousand that was written does not say that: a well-known edge spreads over
  the bins beside it.

The published processors score a place by the geometric mean of its bins' probabilities; that is
kept as `Region.official_location_score`. How the two compare: docs/scores.md.

Tokens that the decoder forced carry a log-probability of 0, that is certainty: they never lower a
score. They look like tokens of which the model was certain, so they are not left out.
"""

import math
from collections.abc import Sequence
from statistics import fmean


def geometric_mean(logprobs: Sequence[float]) -> float | None:
    """Return the geometric mean of the probabilities, 0..1.

    None when there are none, or when one is not a number, which is how missing ones are marked.
    """
    total = log_likelihood(logprobs)
    return None if total is None else math.exp(total / len(logprobs))


def log_likelihood(logprobs: Sequence[float]) -> float | None:
    """Return the logarithm of the probability of all tokens together, at most 0.

    None when there are none, or when one is not a number, which is how missing ones are marked.
    """
    if not logprobs:
        return None
    # Rounding in the engine may leave a hair above 0, which would be a probability above 1.
    total = sum(min(logprob, 0.0) for logprob in logprobs)
    return None if math.isnan(total) else total


def expected_overlap(bins: Sequence[int], deviations: Sequence[float]) -> float | None:
    """Return the overlap (IoU) of a place with the true one that the model expects, 0..1.

    To first order, an edge of a box that is off by d bins costs d / side of the overlap, where side
    is the length of the box across that edge. So the expected cost is the mean absolute deviation
    of each edge over that side, summed over the four. Of quad boxes and polygons, the corners'
    mean deviation along an axis stands for both edges of the bounding box across that axis.

    A side below one bin counts as one bin, the resolution of places.

    Args:
        bins: Location tokens of the place, x and y in turn: whole points.
        deviations: The mean absolute deviation of each, in bins.

    Returns:
        The overlap; None for no place, or where a deviation is not a number, which is how missing
        ones are marked.
    """
    if not bins:
        return None
    cost = 0.0
    for axis in (0, 1):
        places = bins[axis::2]
        side = max(max(places) - min(places), 1)
        cost += 2 * fmean(deviations[axis::2]) / side
    return None if math.isnan(cost) else max(0.0, 1.0 - cost)


def combine(label: float | None, location: float | None) -> float | None:
    """Return the score of a region from those of its label and its place.

    With only one of the two, it is that one.
    """
    if label is None or location is None:
        return location if label is None else label
    return label * location
