"""`cloudlb completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_CLOUDLB_COMPLETE"
"""Where the shell's script asks for completions, by click's rule from the name of the program."""


@click.command(short_help="What makes a shell complete commands and names.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what has SHELL complete commands, options, and names of hosts, servers, settings and users.

    \b
    bash: cloudlb completion bash > ~/.local/share/bash-completion/completions/cloudlb
    zsh:  cloudlb completion zsh > DIR/_cloudlb, with DIR one of $fpath
    fish: cloudlb completion fish > ~/.config/fish/completions/cloudlb.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "cloudlb", _VARIABLE).source())
