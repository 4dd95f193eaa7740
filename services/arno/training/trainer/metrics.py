"""The Prometheus metrics of a training run; apart, so that they can be listed without torch."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from arno.training.trainer.log import VALIDATION_LOSS, LoggedStep


class TrainMetrics:
    """The metrics of a run. Any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self._step = Gauge("arno_train_step_count", "Training steps done.", registry=registry)
        self._planned = Gauge(
            "arno_train_planned_step_count", "Training steps of the whole run.", registry=registry
        )
        self._loss = Gauge(
            "arno_train_loss",
            "Loss of the last step: mean cross-entropy of the answer tokens, or that of a head.",
            registry=registry,
        )
        self._validation = Gauge(
            "arno_train_validation_loss",
            "Mean cross-entropy of the answer tokens of the validation data.",
            registry=registry,
        )
        self._rate = Gauge(
            "arno_train_learning_rate", "Learning rate used in the last step.", registry=registry
        )
        self._norm = Gauge(
            "arno_train_gradient_norm",
            "Norm of the gradient in the last step, before clipping.",
            registry=registry,
        )
        self._samples = Counter(
            "arno_train_samples_total",
            "Samples trained on since the process started.",
            registry=registry,
        )
        self._broken = Gauge(
            "arno_train_bad_sample_count", "Broken samples skipped.", registry=registry
        )

    def plan(self, steps: int, done: int) -> None:
        """Set the number of steps of the run, and of those done in earlier starts."""
        self._planned.set(steps)
        self._step.set(done)

    def observe(self, step: LoggedStep, *, samples: int, broken: int) -> None:
        """Record a finished step."""
        self._step.set(step.step)
        self._loss.set(step.loss)
        self._rate.set(step.learning_rate)
        self._norm.set(step.gradient_norm)
        self._samples.inc(samples)
        self._broken.set(broken)
        if VALIDATION_LOSS in step.measured:
            self._validation.set(step.measured[VALIDATION_LOSS])
