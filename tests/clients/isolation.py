"""A network of this process's own: loopback, and a way out that leads nowhere and counts what is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

_MARK = "LUTMAC_CLIENTS_ISOLATED"
_TRAP = "trap"
# A pair of devices, of which nobody listens at the other end. Without ARP, packets leave at once and are counted.
_SETUP = f"""
ip link set lo up &&
ip link add {_TRAP} type veth peer name {_TRAP}-end &&
ip link set {_TRAP} arp off &&
ip address add 198.51.100.1/24 dev {_TRAP} &&
for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $file; done &&
echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6 &&
ip link set {_TRAP} up && ip link set {_TRAP}-end up &&
ip route add default dev {_TRAP} && exec "$@"
"""


def is_isolated() -> bool:
    """Whether this process runs in a network of its own."""
    return os.environ.get(_MARK) == str(os.stat("/proc/self/ns/net").st_ino)


def enter_isolation(command: list[str]) -> NoReturn:
    """Becomes the command, in a network of its own. Ends the process where the kernel refuses that."""
    mark = f"export {_MARK}=$(stat -Lc %i /proc/self/ns/net);"
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False).returncode:
        sys.exit("clients: this machine allows no network namespace (unshare --net), and the check needs one")
    os.execvp(unshare[0], [*unshare, "sh", "-c", mark + _SETUP, "sh", *command])


def packets_sent_out() -> int:
    """How many packets were sent to other machines so far."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == _TRAP:
            return int(figures.split()[9])
    raise RuntimeError(f"there is no device {_TRAP}: not in a network of our own")
