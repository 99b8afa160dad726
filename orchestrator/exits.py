"""What a command that can't go on says, and its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from trainer.errors import UserError, harmless
from trainer.full_disk import is_full

from .signals import unstoppable


class Commands(click.Group):
    """Turns errors into one line on stderr and an exit code: a user's mistake 2, an interruption 130, a full disk 1."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """Read the options that stand before the command."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if isinstance(error, click.exceptions.NoArgsIsHelpError):
                raise
            click.echo(_unusable("ablate", error), err=True)
            raise SystemExit(2) from None
        except OSError as error:
            # of the help text, which is printed here
            if not is_full(error):
                raise
            click.echo("ablate: no space left for the output", err=True)
            raise SystemExit(1) from None

    def invoke(self, ctx: click.Context) -> object:
        """Call the command."""
        try:
            _check_working_folder()
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"ablate: {harmless(_discreet(str(error)))}", err=True)
            ctx.exit(2)
        except click.UsageError as error:
            command = " ".join(error.ctx.command_path.split()[1:]) if error.ctx else ctx.invoked_subcommand or ""
            click.echo(_unusable(f"ablate {command}".rstrip(), error), err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            with unstoppable():
                click.echo("ablate: interrupted", err=True)
                ctx.exit(130)
        except Exception as error:
            if not is_full(error):
                if line := _plugin_line(error):
                    said = " ".join(_discreet(str(error)).split())[:300]
                    click.echo(f"ablate: {line}: {type(error).__name__}: {harmless(said)}", err=True)
                    ctx.exit(2)
                raise
            place = getattr(error, "filename", None) or Path.cwd()
            click.echo(f"ablate: no space left for {place}; make room, and the same command goes on", err=True)
            ctx.exit(1)


def _unusable(asked: str, error: click.UsageError) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"{asked}: {harmless(message)}; `{asked} --help` says what it takes"


def _check_working_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been deleted; expected one that is there, so `cd` to it") from None


def _discreet(text: str) -> str:
    # imported here, as only what has failed says anything; a plugin's own error may quote the record's address
    from experiments.training.log import discreet

    return discreet(text)


def _plugin_line(error: Exception) -> str:
    """The file and line of the plugin that an error comes from; empty if it comes from none."""
    if "experiments.catalog" not in sys.modules:
        return ""
    from experiments.catalog import plugin_line

    return plugin_line(error)
