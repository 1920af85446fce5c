"""`cloudlb`: finds a command's module by its name, and imports that one alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from cloudlb._version import __version__

COMMANDS: Mapping[str, str] = {
    "init": "cloudlb.cli.init:init",
    "upgrade": "cloudlb.cli.upgrade:upgrade",
    "run": "cloudlb.cli.run:run",
    "demo": "cloudlb.cli.demo:demo",
    "agents": "cloudlb.cli.agents:agents",
    "hosts": "cloudlb.cli.hosts:hosts",
    "add-host": "cloudlb.cli.add_host:add_host",
    "servers": "cloudlb.cli.servers:servers",
    "drain": "cloudlb.cli.drain:drain",
    "undrain": "cloudlb.cli.drain:undrain",
    "remove-server": "cloudlb.cli.servers:remove_server",
    "plan": "cloudlb.cli.plan:plan",
    "rebalance": "cloudlb.cli.rebalance:rebalance",
    "send": "cloudlb.cli.send:send",
    "maintenance": "cloudlb.cli.maintenance:maintenance",
    "events": "cloudlb.cli.events:events",
    "alerts": "cloudlb.cli.events:alerts",
    "states": "cloudlb.cli.states:states",
    "settings": "cloudlb.cli.settings:settings",
    "set": "cloudlb.cli.settings:set_value",
}
"""Where each command is: module and function."""


class LazyGroup(click.Group):
    """Commands that are imported when they are called: `cloudlb hosts` needs neither Twisted nor a database."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which one meets the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cloudlb")
def main() -> None:
    """The agent plane of a cloud: management servers, agents, no load balancer in front."""
