"""The command line: one file per command; here an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from cli.commands import Commands, name_environment_variables
from cli.console import complain, discard_output, printable, warn
from cli.extras import missing_library
from cli.renamed import new_name, renamed_variables
from ubm_embed.errors import NotFound, UbmError

UNEXPECTED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="ubm-embed",
    cls=Commands,
    help="Embed products and live sessions of a shop with one User Behavior Model, and answer next-item queries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every option is also UBM_EMBED_<OPTION> in the environment. Data goes to stdout, messages to stderr.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ubm-embed {version('ubm-embed')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options given before the name of a command."""
    context.obj = {"debug": debug}


def main() -> None:
    """Entry point of `ubm-embed`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    # Otherwise a first build warns that there is no table yet. Read once, when lance is imported.
    os.environ.setdefault("LANCE_LOG", "error")
    # ONNX Runtime reports its use to Microsoft unless it is told not to; also, that thread would not survive a fork.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Looking for plug-ins reads the metadata of every installed package, a tenth of what loading pydantic takes.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    command = typer.main.get_command(app)
    name_environment_variables(command)
    for renamed in renamed_variables(os.environ):
        warn(renamed)
    try:
        result = command.main(arguments, prog_name="ubm-embed", standalone_mode=False)
    except typer.TyperException as error:  # a wrong option or argument
        _describe(error)
        show: Callable[..., None] = getattr(error, "show", partial(complain, str(error)))
        show()
        return USAGE
    except UbmError as error:
        complain(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return INTERRUPTED
    except SystemExit as end:
        # Typer and rich end so if the reader of our output has closed the pipe, as `| head` does.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        discard_output()
        return 0
    except Exception as error:
        if isinstance(error, ImportError) and (missing := missing_library(error)):
            complain(missing)
            return NotFound.exit_code
        return _unexpected(
            error, debug="--debug" in arguments or os.environ.get("UBM_EMBED_DEBUG", "") not in ("", "0")
        )
    if result == INTERRUPTED:  # Typer makes this of Ctrl-C, without a word
        complain("interrupted")
    return result if isinstance(result, int) else 0


def _describe(error: Any) -> None:
    """Make a usage error fit for a terminal, and name the new name of an option that was renamed."""
    error.message = printable(error.message)
    old = getattr(error, "option_name", "")
    known = (name for parameter in getattr(getattr(error, "cmd", None), "params", ()) for name in parameter.opts)
    if new := new_name(old, known):
        error.message, error.possibilities = f"{old} was renamed to {new}", None


def _unexpected(error: Exception, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    elif isinstance(error, OSError) and error.errno is not None:
        # The operating system refused, as for a full disk. Only the writer of an output knows whether it changed: a
        # note says so (see `ubm_embed.outputs`).
        notes = getattr(error, "__notes__", [])
        complain("; ".join([f"{error.strerror}: {error.filename or 'output'}", *notes[-1:]]))
    else:
        complain(f"unexpected {type(error).__name__}: {error}; run again with --debug for the traceback")
    return UNEXPECTED
