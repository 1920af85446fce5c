"""`cloudlb`: finds a command's module by its name, and imports that one alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper

import click

from cloudlb._version import __version__

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "A deployment": {
        "init": "cloudlb.cli.init:init",
        "upgrade": "cloudlb.cli.upgrade:upgrade",
        "run": "cloudlb.cli.run:run",
        "demo": "cloudlb.cli.demo:demo",
        "agents": "cloudlb.cli.agents:agents",
    },
    "What there is, and what happens": {
        "top": "cloudlb.cli.top:top",
        "hosts": "cloudlb.cli.hosts:hosts",
        "host": "cloudlb.cli.host:host",
        "servers": "cloudlb.cli.servers:servers",
        "events": "cloudlb.cli.events:events",
        "alerts": "cloudlb.cli.alerts:alerts",
        "investigations": "cloudlb.cli.investigations:investigations",
        "states": "cloudlb.cli.states:states",
    },
    "Hosts": {
        "add-host": "cloudlb.cli.add_host:add_host",
        "maintenance": "cloudlb.cli.maintenance:maintenance",
        "send": "cloudlb.cli.send:send",
    },
    "Servers": {
        "plan": "cloudlb.cli.plan:plan",
        "rebalance": "cloudlb.cli.rebalance:rebalance",
        "drain": "cloudlb.cli.drain:drain",
        "undrain": "cloudlb.cli.drain:undrain",
        "remove-server": "cloudlb.cli.servers:remove_server",
    },
    "Settings and users": {
        "settings": "cloudlb.cli.settings:settings",
        "set": "cloudlb.cli.settings:set_value",
        "reset": "cloudlb.cli.settings:reset",
        "users": "cloudlb.cli.users:users",
        "password": "cloudlb.cli.passwords:password",
        "keys": "cloudlb.cli.keys:keys",
        "completion": "cloudlb.cli.completion:completion",
    },
}
COMMANDS: Mapping[str, str] = {name: where for section in SECTIONS.values() for name, where in section.items()}
"""Where each command is: module and function."""


_MARGIN = 6
"""Columns before and between names and texts of the help."""


class LazyGroup(click.Group):
    """Commands that are imported when they are called: `cloudlb hosts` needs neither Twisted nor a database."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which one meets the commands."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, by sections."""
        limit = formatter.width - max(map(len, COMMANDS)) - _MARGIN
        for title, names in SECTIONS.items():
            found = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl([(name, each.get_short_help_str(limit)) for name, each in found if each is not None])

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
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter of a name shows a question mark.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
