"""One run: start everything, ask and strike, heal, wait for what is owed, judge."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.ledger import Ledger
from chaos.load import Load
from chaos.machine import CLAIM_TIMEOUT_S, Machine, MachineOptions
from chaos.schedule import Strike, plan
from chaos.verdict import Verdict, count_in_store, judge

_TICK_S = 0.05
_PROGRESS_S = 5.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run.

    Attributes:
        seconds: How long it is asked and struck.
        seed: Of the schedule.
        rate_per_s: Questions a second.
        every_s: Mean time between blows.
        settle_s: How long everything that is owed may take when all is well again.
        machine: What is run.
    """

    seconds: float
    seed: int = 1
    rate_per_s: float = 15.0
    every_s: float = 10.0
    settle_s: float = 90.0
    machine: MachineOptions = field(default_factory=MachineOptions)


def run_chaos(folder: Path, options: RunOptions, say: Callable[[str], None]) -> Verdict:
    """Run it, telling how it goes; everything that was started has ended when this returns."""
    machine = Machine(folder, options.machine)
    ledger = Ledger(folder / "ledger.jsonl")
    load = Load(machine.addresses, ledger, run=secrets.token_hex(4), rate_per_s=options.rate_per_s)
    strikes = plan(
        options.seed,
        counts=machine.counts,
        seconds=options.seconds,
        every_s=options.every_s,
        freeze_s=2 * CLAIM_TIMEOUT_S,
    )
    try:
        machine.start()
        load.start()
        _await_first_answer(machine, ledger, options.settle_s)
        began_s = ledger.now_s()
        _strike(machine, ledger, strikes, options, say)
        load.stop_asking()
        machine.heal()
        _settle(machine, load, options.settle_s)
        load.close()
        store = count_in_store(machine.redis.url)
    finally:
        load.stop_asking()
        machine.stop()
        ledger.close()
    return judge(ledger, strikes, blows=machine.blows, store=store, began_s=began_s)


def _await_first_answer(machine: Machine, ledger: Ledger, timeout_s: float) -> None:
    end_s = ledger.now_s() + timeout_s
    while not ledger.answered_at_s:
        if ledger.now_s() > end_s:
            raise AssertionError(f"no answer within {timeout_s:g} s; told: {ledger.refusals}")
        machine.keep()
        time.sleep(_TICK_S)


def _strike(
    machine: Machine,
    ledger: Ledger,
    strikes: list[Strike],
    options: RunOptions,
    say: Callable[[str], None],
) -> None:
    began_s = ledger.now_s()
    due = list(strikes)
    told_s = 0.0
    while (now_s := ledger.now_s() - began_s) < options.seconds:
        while due and due[0].at_s <= now_s:
            strike = due.pop(0)
            machine.strike(strike)
            say(f"{now_s:6.1f} s  {strike.blow} {strike.kind} {strike.index}")
        machine.keep()
        if now_s - told_s >= _PROGRESS_S:
            told_s = now_s
            accepted, answered = ledger.counts()
            say(
                f"{now_s:6.1f} s  asked {len(ledger.entries)}, accepted {accepted}, "
                f"answered {answered}, refusals {sum(ledger.refusals.values())}"
            )
        time.sleep(_TICK_S)


def _settle(machine: Machine, load: Load, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while load.open_count and time.monotonic() < end_s:
        machine.keep()
        time.sleep(_TICK_S)
