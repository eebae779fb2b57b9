"""What a service manager such as systemd is told: the protocol of `sd_notify`."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Tell the service manager, if there is one, a state such as `READY=1`. A manager that is gone is no error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            manager.send(state.encode())
        except OSError:
            return
