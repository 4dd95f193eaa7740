"""The worker: takes jobs from the bus, runs them on its engine, and stores their results.

A job is one `Job`, which the threads hand on. Each thread has one duty, and none waits for another
one's device or network:

    poll-LANE        owns a consumer: polls, pauses, commits
    prepare-N        begins a job and prepares its image, or ends it at once
    table            owns the running jobs: plans their sequences, turns ends into results
    engine           submits sequences, steps, cancels
    store-N          writes progress and outcomes; only then is a delivery done
    cancellations    asks the store which running jobs are cancelled
    pace             reports to the gateways how much work is completed in a second
    dead-letters     publishes records that are given up
    heartbeat        gives signs of life, so that only a death counts against a job; ends last
"""
