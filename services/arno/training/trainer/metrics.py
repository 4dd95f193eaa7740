"""What a training run tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from arno.training.trainer.curve import LoggedStep


class TrainMetrics:
    """The metrics of a run. Any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self._step = Gauge("arno_train_step_count", "Steps done.", registry=registry)
        self._planned = Gauge("arno_train_planned_step_count", "Steps to do.", registry=registry)
        self._loss = Gauge(
            "arno_train_loss", "Mean cross-entropy of the last step's tokens.", registry=registry
        )
        self._validation = Gauge(
            "arno_train_validation_loss", "The same, on validation data.", registry=registry
        )
        self._rate = Gauge("arno_train_learning_rate", "Of the last step.", registry=registry)
        self._norm = Gauge(
            "arno_train_gradient_norm", "Of the last step, not shortened.", registry=registry
        )
        self._samples = Counter(
            "arno_train_samples_total", "Samples learned from since the start.", registry=registry
        )
        self._bad = Gauge(
            "arno_train_bad_sample_count", "Broken samples passed over.", registry=registry
        )

    def plan(self, steps: int, done: int) -> None:
        """Note how many steps there will be, and how many an earlier start did."""
        self._planned.set(steps)
        self._step.set(done)

    def observe(self, step: LoggedStep, *, samples: int, bad: int) -> None:
        """Note a step."""
        self._step.set(step.step)
        self._loss.set(step.loss)
        self._rate.set(step.learning_rate)
        self._norm.set(step.gradient_norm)
        self._samples.inc(samples)
        self._bad.set(bad)
        if step.validation_loss is not None:
            self._validation.set(step.validation_loss)
