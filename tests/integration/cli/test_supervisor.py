"""The supervisor with small children of its own: shell scripts that live, die and say things."""

import os
import signal
import threading

import pytest
from arno.cli.up.child import Child, ChildSpec
from arno.cli.up.supervisor import Announcements, ChildFailedError, Supervisor
from support.arno_up import alive
from support.eventually import eventually


class Ears:
    """Remembers what the supervisor said."""

    def __init__(self):
        self.ready, self.died, self.warned = [], [], []

    @property
    def announcements(self):
        return Announcements(
            lambda child: self.ready.append(child.spec.name),
            lambda child, pause_s: self.died.append(pause_s),
            lambda child, warning: self.warned.append(warning),
        )


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
def supervisor(ears):
    supervisor = Supervisor(ears.announcements)
    yield supervisor
    supervisor.stop(grace_s=5, hurry=lambda: False)


def child(folder, script, name="child", ready=lambda: True):
    return Child(ChildSpec(name, ["sh", "-c", script], ready, "nowhere"), folder)


def watch_until(supervisor, condition):
    """Watch, in the thread that owns the children, until the condition holds."""
    waiter = threading.Thread(target=lambda: (eventually(condition), supervisor.request_stop()))
    waiter.start()
    supervisor.watch()
    waiter.join()


def test_start_waits_until_the_child_is_ready(supervisor, ears, tmp_path):
    flag = tmp_path / "flag"
    supervisor.start(
        [child(tmp_path, f"sleep 0.2; touch {flag}; exec sleep 60", ready=flag.exists)],
        timeout_s=20,
    )
    assert flag.exists()
    assert ears.ready == ["child"]


def test_child_that_dies_is_started_again(supervisor, ears, tmp_path):
    sleeper = child(tmp_path, "exec sleep 60")
    supervisor.start([sleeper], timeout_s=20)
    first = sleeper.pid
    os.kill(first, signal.SIGKILL)
    watch_until(supervisor, lambda: len(ears.ready) == 2)
    assert sleeper.pid != first
    assert len(ears.died) == 1


def test_crash_loop_ends_with_the_last_lines_of_the_log(supervisor, ears, tmp_path):
    once = tmp_path / "once"
    script = f"if [ ! -e {once} ]; then touch {once}; exec sleep 60; fi; echo on fire; exit 3"
    crashing = child(tmp_path, script, ready=once.exists)
    supervisor.start([crashing], timeout_s=20)
    os.kill(crashing.pid, signal.SIGKILL)
    with pytest.raises(ChildFailedError, match=r"ended 5 times \(exit code 3\)[\s\S]*on fire"):
        supervisor.watch()
    assert ears.died == [0.2, 0.4, 0.8, 1.6]


def test_child_that_never_became_ready_is_given_up_soon(supervisor, tmp_path):
    broken = child(tmp_path, "echo no such library; exit 1", ready=lambda: False)
    with pytest.raises(ChildFailedError, match=r"ended 2 times[\s\S]*no such library"):
        supervisor.start([broken], timeout_s=20)


def test_wrong_settings_are_not_tried_again(supervisor, ears, tmp_path):
    broken = child(tmp_path, "echo --window: too small; exit 2", ready=lambda: False)
    with pytest.raises(ChildFailedError, match=r"cannot start with these settings[\s\S]*--window"):
        supervisor.start([broken], timeout_s=20)
    assert ears.died == []


def test_child_that_is_not_ready_in_time_is_a_failure(supervisor, tmp_path):
    slow = child(tmp_path, "exec sleep 60", ready=lambda: False)
    with pytest.raises(ChildFailedError, match=r"was not ready within 0\.2 s"):
        supervisor.start([slow], timeout_s=0.2)


def test_children_end_in_reverse_order_of_their_start(supervisor, tmp_path):
    order = tmp_path / "order"
    for name in ("store", "worker", "gateway"):
        script = f"trap 'echo {name} >> {order}; exit 0' TERM; touch {tmp_path}/{name}; "
        ready = (tmp_path / name).exists
        supervisor.start(
            [child(tmp_path, script + "while :; do sleep 0.05; done", name, ready)], timeout_s=20
        )
    assert supervisor.stop(grace_s=10, hurry=lambda: False) == []
    assert order.read_text().split() == ["gateway", "worker", "store"]


def test_child_that_ignores_the_request_is_killed_after_the_grace(supervisor, tmp_path):
    deaf = child(
        tmp_path,
        f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done",
        ready=(tmp_path / "ready").exists,
    )
    supervisor.start([deaf], timeout_s=20)
    pid = deaf.pid
    assert supervisor.stop(grace_s=0.2, hurry=lambda: False) == ["child"]
    assert not alive(pid)


def test_warnings_are_told_and_other_lines_are_not(supervisor, ears, tmp_path):
    lines = [
        '{"level": "INFO", "message": "fine"}',
        "plain words",
        '{"level": "WARNING", "message": "Redis is away"}',
    ]
    script = "; ".join(f"echo '{line}'" for line in lines) + "; exec sleep 60"
    supervisor.start([child(tmp_path, script)], timeout_s=20)
    watch_until(supervisor, lambda: ears.warned)
    assert ears.warned == ["Redis is away"]


def test_log_of_an_earlier_run_is_kept(tmp_path):
    (tmp_path / "child.log").write_text("before")
    child(tmp_path, "true")
    assert (tmp_path / "child.previous.log").read_text() == "before"
