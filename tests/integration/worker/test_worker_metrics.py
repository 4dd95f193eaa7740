"""What a worker tells Prometheus after real jobs."""

from pathlib import Path

from arno.worker.settings import WorkerSettings
from prometheus_client import generate_latest
from support.builders import wire_task
from support.eventually import eventually
from support.job_client import JobClient, caption, job_record
from support.workers import RunningWorker


def test_series_say_what_became_of_jobs_and_tasks(
    worker_settings: WorkerSettings, client: JobClient, gate: Path
) -> None:
    with RunningWorker(worker_settings, gate) as running:
        record = job_record(caption(), wire_task("REGION_TO_OCR", id="1", input_from="0"))
        # A lane that is newer than this worker must not stop it.
        record.lane = 77  # type: ignore[assignment]  # a newer number
        client.outcome(client.submit(record))
        client.outcome(client.submit(job_record(image=b"broken")))
        eventually(lambda: sum(running.counts("arno_worker_jobs_total").values()) == 2)
        text = generate_latest(running.registry).decode()
    expected = [
        'arno_worker_jobs_total{state="SUCCEEDED"} 1.0',
        'arno_worker_jobs_total{state="FAILED"} 1.0',
        'arno_worker_tasks_total{outcome="answer",task="CAPTION"} 1.0',
        'arno_worker_tasks_total{outcome="error",task="REGION_TO_OCR"} 1.0',
        'arno_worker_faults_total{reason="INPUT_UNAVAILABLE"} 1.0',
        'arno_worker_faults_total{reason="INVALID_IMAGE"} 1.0',
        'arno_worker_job_seconds_count{lane="batch"} 1.0',
        'arno_worker_queue_seconds_count{lane="interactive"} 1.0',
        'arno_worker_partitions{lane="interactive"}',
        'arno_worker_rebalances_total{lane="interactive"}',
        "arno_worker_busy_seconds_total",
        'arno_worker_tenant_images_total{tenant="default"} 2.0',
        'arno_worker_tenant_tokens_total{tenant="default"}',
        "arno_worker_duplicates_total 0.0",
        # There from the start: an alert on its increase sees the first one.
        'arno_worker_dead_letters_total{reason="POISONED_JOB"} 0.0',
        'arno_worker_dead_letters_total{reason="STORED_JOB_INVALID"} 0.0',
        'arno_worker_dead_letters_total{reason="UNREADABLE_RECORD"} 0.0',
        'arno_worker_faults_total{reason="ENGINE_FAILED"} 0.0',
        'arno_worker_jobs_total{state="EXPIRED"} 0.0',
    ]
    assert [line for line in expected if line not in text] == []
