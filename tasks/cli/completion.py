"""The command `stt-batch completion`, which prints the completion script of a shell."""

from __future__ import annotations

import re

import click
from click.shell_completion import get_completion_class

from tasks.cli.terminal_output import echo_text

PROGRAM = "stt-batch"
VARIABLE = "_STT_BATCH_COMPLETE"
"""Environment variable in which the script asks the program for completions; click derives this name."""
_FISH_SPLIT = re.compile(r"\b(string split)\b")
"""Matches the call by which click's script for fish cuts a description at its first comma."""


@click.command(short_help="Print the completion script for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, /, shell: str) -> None:
    """Print a script with which the shell completes commands, options and file names of stt-batch.

    \b
    Examples:
      stt-batch completion bash > ~/.local/share/bash-completion/completions/stt-batch
      stt-batch completion zsh > ~/.zfunc/_stt-batch       with fpath+=~/.zfunc before compinit
      stt-batch completion fish > ~/.config/fish/completions/stt-batch.fish
    """
    script = get_completion_class(shell)
    if script is None:  # click knows the three shells
        raise click.UsageError(f"{shell}: click has no completion for this shell")
    root = ctx.find_root().command
    # `source` is used instead of click's own command, which starts bash only to check its version.
    complete = script(root, {}, PROGRAM, VARIABLE)
    echo_text(_FISH_SPLIT.sub(r"\1 --max 1", complete.source_template) % complete.source_vars())
