"""Make the questions of an evaluation from samples: grouped by image, each question once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from PIL.Image import Image

from arno.errors import InvalidFieldError, InvalidImageError
from arno.images.input import encode_image
from arno.training.data import Sample, SampleSource
from arno.vocabulary import AnswerValue, ImageSize, Region, Task, TaskSpec, TextAnswer


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, with all its right answers.

    Attributes:
        question_id: Id of the sample that it comes from; of several, the first.
        image_id: Equal for the questions of one image.
        open_image: Reads the image; see `Sample`.
        size: The image's size in pixels.
        spec: The task with its inputs.
        truths: The right answers, at least one; only texts, such as captions, have several.
        ignored: Regions in which a finding is neither right nor wrong; see `Sample`.
    """

    question_id: str
    image_id: str
    open_image: Callable[[], Image] = field(repr=False)
    size: ImageSize
    spec: TaskSpec
    truths: tuple[AnswerValue, ...]
    ignored: tuple[Region, ...] = ()

    def picture(self) -> bytes:
        """Return the image as a file; local and remote evaluations use the same bytes.

        Raises:
            InvalidImageError: The image cannot be read, or its size differs from the data's.
        """
        image = self.open_image()
        if image.size != (self.size.width_px, self.size.height_px):
            raise InvalidImageError(
                field=self.question_id,
                problem="the image is not of the size that the data says",
                limit=f"{self.size.width_px} x {self.size.height_px} px",
                sent=f"{image.width} x {image.height} px",
            )
        return encode_image(image)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of a data set.

    Attributes:
        questions: The questions; those about one image are adjacent.
        digest: Digest of the samples, as hex.
        broken: The errors of the samples that cannot be used.
    """

    questions: tuple[Question, ...]
    digest: str
    broken: tuple[InvalidFieldError, ...] = ()

    @property
    def image_count(self) -> int:
        """Number of images."""
        return len({question.image_id for question in self.questions})


def questions_of(
    source: SampleSource,
    *,
    tasks: Collection[Task] | None = None,
    images_max: int | None = None,
    broken_max: int = 100,
) -> QuestionSet:
    """Return the questions of a source.

    Samples that ask the same about the same image and have text answers become one question with
    several right answers.

    Args:
        source: The samples.
        tasks: Tasks whose questions are returned; None returns all.
        images_max: Limit on the images, in the order of the data; None takes all.
        broken_max: Number of broken samples that are left out; one more is raised.

    Raises:
        InvalidFieldError: More samples than `broken_max` are broken; the error is that of the last.
    """
    samples, broken = _readable(source, broken_max)
    images: dict[str, list[Sample]] = {}
    for sample in samples:
        if tasks is not None and sample.spec.task not in tasks:
            continue
        if sample.image_id not in images and len(images) == images_max:
            continue
        images.setdefault(sample.image_id, []).append(sample)
    found = tuple(question for group in images.values() for question in _merged(group))
    return QuestionSet(found, source.digest, broken)


def _readable(
    source: SampleSource, broken_max: int
) -> tuple[Iterable[Sample], tuple[InvalidFieldError, ...]]:
    samples: list[Sample] = []
    broken: list[InvalidFieldError] = []
    for index in range(len(source)):
        try:
            samples.append(source[index])
        except InvalidFieldError as error:
            broken.append(error)
            if len(broken) > broken_max:
                raise
    return samples, tuple(broken)


def _merged(samples: Sequence[Sample]) -> Iterator[Question]:
    """Yield the questions of one image."""
    groups: dict[TaskSpec | str, list[Sample]] = {}
    for sample in samples:
        # Two regions may both belong to one phrase; only of texts several can be right at once.
        shared = isinstance(sample.answer, TextAnswer)
        groups.setdefault(sample.spec if shared else sample.sample_id, []).append(sample)
    for group in groups.values():
        first = group[0]
        yield Question(
            question_id=first.sample_id,
            image_id=first.image_id,
            open_image=first.open_image,
            size=first.size,
            spec=first.spec,
            truths=tuple(sample.answer for sample in group),
            ignored=first.ignored,
        )
