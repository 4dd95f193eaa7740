"""The worker: takes jobs from the bus, runs them on its engine, and stores what came out.

Threads, each with one duty and none waiting for another's device or network:

    poll (main)      the consumer: poll, pause, commit
    prepare-N        a delivery becomes a begun job with a prepared image, or ends at once
    engine           submits sequences, steps, cancels
    desk             owns the jobs in hand: what may run next, what each finished sequence means
    store-N          writes progress and outcomes; only then is a delivery done
    cancellations    asks the store which jobs nobody wants any more
    pace             tells the gateways how much gets done in a second
    presence         gives signs of life, so that only a death counts against a job; ends last
"""
