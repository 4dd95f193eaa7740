"""A real RTSP server (GStreamer's) that a test may kill and start again on the same port.

It runs with the system's Python, whose bindings are Debian's. Its picture moves.
"""

from __future__ import annotations

from pathlib import Path

from support import tied_process
from support.server import Server

_PYTHON = "/usr/bin/python3"
_BINDINGS = "/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib"

WAYS_TO_GET_IT = "no RTSP server: needs what scripts/install_test_tools installs (GstRtspServer)"

_PROGRAM = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 "
    "! rtph264pay name=pay0 pt=96 )"
)
factory.set_shared(True)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
GLib.MainLoop().run()
"""


def rtsp_available() -> bool:
    """Whether this machine has the server."""
    return any(Path("/").glob(_BINDINGS.removeprefix("/")))


class RtspServer(Server):
    """One camera at ``url``."""

    def __init__(self, folder: Path) -> None:
        """Choose a port; nothing runs yet."""
        super().__init__(folder, log="rtsp.log")
        self.url = f"rtsp://127.0.0.1:{self.port}/camera"

    def launch(self) -> None:
        """Start the process without waiting for it."""
        command = [_PYTHON, "-c", _PROGRAM, str(self.port)]
        self._process = tied_process.start_tied(command, log=self._log)

    def await_ready(self) -> None:
        """Return once it accepts."""
        self._await_port(timeout_s=30)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            tied_process.stop(self._process, timeout_s=5)
