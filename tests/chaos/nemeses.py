"""Does to an installation what the schedule says, and undoes it when its time is over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import redis
from chaos import skewed
from chaos.history import History
from chaos.machine import Kept, Machine
from chaos.parts import ProcessPart
from chaos.schedule import Disruption, Nemesis, Part
from support.tcp_proxy import ThreadedProxy

_JUMP_S: Final = 30.0
_PREPARE_S: Final = 2.0
_NEARLY_NOTHING_BYTES: Final = 1


class Nemeses:
    """Disturbs parts of a machine. Main thread only.

    At most one lasting nemesis of a kind is upon a part at a time; a second one replaces the first.
    A kill ends what was upon the part.
    """

    def __init__(self, machine: Machine, history: History) -> None:
        """Take what is disturbed, and where losses of the store are noted."""
        self._machine = machine
        self._history = history
        self._undo: dict[tuple[int, Nemesis], tuple[float, Callable[[], None]]] = {}
        self.done: Counter[tuple[Part, Nemesis]] = Counter()

    def begin(self, disruption: Disruption) -> None:
        """Disturb a part."""
        kept = self._machine.kept[disruption.part][disruption.index]
        self.done[disruption.part, disruption.nemesis] += 1
        match disruption.nemesis:
            case Nemesis.KILL:
                kept.part.kill()
                self._forget(kept, Nemesis.FREEZE)
                kept.launch_at_s = time.monotonic() + disruption.lasts_s
            case Nemesis.FLUSH:
                self._flush()
            case Nemesis.RESTORE:
                self._machine.redis.restore_from_its_file()
            case _:
                undo = self._disturb(kept, disruption)
                if undo is not None:
                    until_s = time.monotonic() + disruption.lasts_s
                    self._undo[id(kept), disruption.nemesis] = until_s, undo

    def end_due(self) -> None:
        """Undo everything whose time is over."""
        now_s = time.monotonic()
        for key, (until_s, undo) in list(self._undo.items()):
            if now_s >= until_s:
                # A store that is down cannot be given its memory back yet.
                try:
                    undo()
                except redis.RedisError:
                    continue
                del self._undo[key]

    def heal(self) -> None:
        """Undo everything, and let every part start."""
        for kept_parts in self._machine.kept.values():
            for kept in kept_parts:
                kept.launch_at_s = 0.0
        self._machine.keep()
        self._machine.redis.await_ready()
        self._undo = {key: (0.0, undo) for key, (_, undo) in self._undo.items()}
        self.end_due()

    def _disturb(self, kept: Kept, disruption: Disruption) -> Callable[[], None] | None:
        """Do something that lasts; return how to undo it, None where it cannot be done now."""
        undo: Callable[[], None] | None = None
        match disruption.nemesis, kept:
            case Nemesis.FREEZE, Kept(part=ProcessPart(running=True) as process):
                process.freeze()
                undo = process.thaw
            case Nemesis.CLOCK, Kept(clock=Path() as clock):
                skewed.set_ahead(clock, _JUMP_S if disruption.index % 2 else -_JUMP_S)
                undo = partial(skewed.set_ahead, clock, 0.0)
            case (Nemesis.DEAF | Nemesis.MUTE) as nemesis, Kept(network=ThreadedProxy() as network):
                network.hold(requests=nemesis is Nemesis.MUTE, replies=nemesis is Nemesis.DEAF)
                undo = network.hold
            case Nemesis.SLOW, Kept(slow=Path() as slow):
                slow.write_text(str(_PREPARE_S))
                undo = partial(slow.unlink, missing_ok=True)
            case Nemesis.FULL, _:
                undo = self._fill()
        return undo

    def _fill(self) -> Callable[[], None] | None:
        try:
            self._set_memory(_NEARLY_NOTHING_BYTES)
        except redis.RedisError:
            return None
        return lambda: self._set_memory(0)

    def _set_memory(self, size_bytes: int) -> None:
        with redis.Redis.from_url(self._machine.redis.url, socket_timeout=2) as client:
            client.config_set("maxmemory", size_bytes)

    def _flush(self) -> None:
        # Noted on both sides: what overlaps the loss belongs to neither era.
        self._history.store_lost()
        try:
            with redis.Redis.from_url(self._machine.redis.url, socket_timeout=5) as client:
                client.flushall()
        except redis.RedisError:
            return
        self._history.store_lost()

    def _forget(self, kept: Kept, nemesis: Nemesis) -> None:
        self._undo.pop((id(kept), nemesis), None)
