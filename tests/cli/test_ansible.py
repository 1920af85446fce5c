"""Ansible's collection for CloudStack, as it is, with a running server.

What a playbook asks for is there after its first run, and its second run changes nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import yaml

from tests.cli.client_cluster import ClientTestCase

_COLLECTION = Path(sysconfig.get_path("purelib"), "ansible_collections", "ngine_io", "cloudstack", "MANIFEST.json")

NETWORK = {"dns1": "192.0.2.1", "dns2": "192.0.2.2", "network_type": "Advanced", "local_storage_enabled": True}
RANGE = {"start_ip": "10.0.0.10", "end_ip": "10.0.0.20", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}
HOST = {"zone": "zone", "pod": "pod", "cluster": "cluster", "hypervisor": "Simulator", "username": "u", "password": "p"}
BUILT = (
    ("zone", {"name": "zone", **NETWORK}),
    ("pod", {"name": "pod", "zone": "zone", **RANGE}),
    (
        "cluster",
        {"name": "cluster", "zone": "zone", "pod": "pod", "hypervisor": "Simulator", "cluster_type": "CloudManaged"},
    ),
    ("host", {"name": "direct-1", "host_tags": ["ssd", "rack-7"], "allocation_state": "enabled", **HOST}),
    ("configuration", {"name": "indirect.agent.lb.algorithm", "value": "rendezvous"}),
    ("configuration", {"name": "indirect.agent.lb.check.interval", "value": "7", "cluster": "cluster"}),
)
CHANGED = (
    ("zone", {"name": "zone", **NETWORK, "dns1": "192.0.2.3", "state": "disabled"}),
    ("host", {"name": "direct-1", "host_tags": ["hdd"], "allocation_state": "maintenance", **HOST}),
)
GONE = (
    ("host", {"name": "direct-1", "zone": "zone", "state": "absent"}),
    ("cluster", {"name": "cluster", "zone": "zone", "state": "absent"}),
    ("pod", {"name": "pod", "zone": "zone", "state": "absent"}),
    ("zone", {"name": "zone", "state": "absent"}),
)


class AnsibleTests(ClientTestCase):
    """The modules zone, pod, cluster, host, configuration and api_request."""

    if not _COLLECTION.exists():
        skip = "Ansible's collection ngine_io.cloudstack is not there: .ci/install-cloudstack-collection"

    def test_playbooks(self) -> None:
        """From nothing to a host, from there into maintenance, and back to nothing."""
        (client,) = self.clients
        before = [client.listZones(), client.listPods(), client.listClusters()]
        self.assertEqual(len(BUILT), self.play(BUILT))
        self.wait_for(lambda: client.listHosts()["host"][0]["state"], lambda state: state == "Up")
        self.assertEqual(0, self.play(BUILT))
        (zone,) = client.listZones(name="zone")["zone"]
        self.assertEqual(("192.0.2.1", True), (zone["dns1"], zone["localstorageenabled"]))
        self.assertEqual(len(CHANGED), self.play(CHANGED, method="post"))
        self.assertEqual("Disabled", client.listZones(name="zone")["zone"][0]["allocationstate"])
        (host,) = client.listHosts()["host"]
        self.assertEqual(("Maintenance", "hdd"), (host["resourcestate"], host["hosttags"]))
        cancel = ("api_request", {"command": "cancelHostMaintenance", "params": {"id": host["id"]}})
        self.assertEqual(1 + len(GONE), self.play((cancel, *GONE)))
        self.assertEqual(before, [client.listZones(), client.listPods(), client.listClusters()])

    def play(self, tasks: tuple[tuple[str, dict[str, Any]], ...], method: str = "get") -> int:
        """Run a playbook that must not fail; how many tasks have changed something."""
        playbook = self.folder / "playbook.yml"
        plays = [
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "tasks": [{f"ngine_io.cloudstack.{module}": arguments} for module, arguments in tasks],
            }
        ]
        playbook.write_text(yaml.safe_dump(plays), encoding="utf-8")
        (server,) = self.addresses
        ended = subprocess.run(
            [Path(sysconfig.get_path("scripts"), "ansible-playbook"), "-i", "localhost,", playbook],
            env={
                **os.environ,
                "ANSIBLE_HOME": str(self.folder / "ansible"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "CLOUDSTACK_ENDPOINT": self.endpoint(server),
                "CLOUDSTACK_KEY": self.inventory.api_key,
                "CLOUDSTACK_SECRET": self.inventory.secret,
                "CLOUDSTACK_METHOD": method,
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        recap = re.search(r"changed=(\d+) +unreachable=0 +failed=0", ended.stdout)
        assert recap is not None, ended.stdout + ended.stderr
        return int(recap[1])
