"""`ubm-embed serve`: answers over HTTP from the live version of a store."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.answer_options import NoCounts, NoWords, PurchaseIntention, RemainingLength
from cli.console import say
from cli.device import device_option, usable_device
from cli.store_options import Store
from ubm_embed.wording import counted

if TYPE_CHECKING:
    from indexer.service.processes.server import Started
    from indexer.service.settings import ServiceSettings

_PROCESSES, _SESSIONS, _LIMITS, _RECORDS = "Processes", "Sessions", "Limits", "Experiments and records"
_MAX_PORT = 65_535


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def _option(name: str, panel: str | None = None, **settings: Any) -> Any:
    return typer.Option(name, rich_help_panel=panel, **settings)


def serve(
    store: Store,
    host: Annotated[
        str, _option("--host", help="Address to listen on. One that other machines reach needs keys.")
    ] = "127.0.0.1",
    port: Annotated[
        int, _option("--port", min=0, max=_MAX_PORT, help="0 takes a free one; the first message names it.")
    ] = 8080,
    unix_socket: Annotated[
        Path | None, _option("--unix-socket", metavar="FILE", help="Listen on this socket, not on host and port.")
    ] = None,
    keys: Annotated[
        Path | None,
        _option("--keys", metavar="FILE", help="Bearer keys, in TOML; UBM_EMBED_API_KEYS may hold more."),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _option("--log-level", help="The least that is logged.")
    ] = "info",
    purchase_intention: PurchaseIntention = None,
    remaining_length: RemainingLength = None,
    no_counts: NoCounts = False,
    no_words: NoWords = False,
    workers: Annotated[
        int, _option("--workers", _PROCESSES, min=1, max=256, help="Processes that answer; about one for each core.")
    ] = 1,
    threads: Annotated[int, _option("--threads", _PROCESSES, min=1, help="Threads of each worker's model.")] = 1,
    device: Annotated[str, device_option()] = "cpu",
    reload_seconds: Annotated[
        float | None,
        _option(
            "--reload-seconds",
            _PROCESSES,
            metavar="SECONDS",
            help="Between two looks for changes; by default 0.2, and 2 for an object store.",
        ),
    ] = None,
    grace: Annotated[
        float, _option("--grace", _PROCESSES, metavar="SECONDS", help="After SIGTERM, for requests that have begun.")
    ] = 30.0,
    sessions: Annotated[
        str,
        _option(
            "--sessions", _SESSIONS, metavar="memory|URL", help="Where sessions are kept: redis://HOST for replicas."
        ),
    ] = "memory",
    session_ttl: Annotated[
        float,
        _option(
            "--session-ttl",
            _SESSIONS,
            metavar="SECONDS",
            help="A session is forgotten after this long without an event or an answer.",
        ),
    ] = 1_800.0,
    max_kept_sessions: Annotated[
        int, _option("--max-kept-sessions", _SESSIONS, min=1, help="The most that are kept in memory.")
    ] = 200_000,
    kept_session_bytes: Annotated[
        int, _option("--kept-session-bytes", _SESSIONS, min=1, metavar="BYTES", help="The most memory for them.")
    ] = 256 << 20,
    max_k: Annotated[int, _option("--max-k", _LIMITS, min=1, help="The most matches of an answer.")] = 200,
    max_sessions: Annotated[
        int, _option("--max-sessions", _LIMITS, min=1, help="The most sessions of a request.")
    ] = 100,
    max_interactions: Annotated[
        int, _option("--max-interactions", _LIMITS, min=1, help="Of a longer session only the last are read.")
    ] = 1_000,
    max_body: Annotated[
        int, _option("--max-body", _LIMITS, min=1, metavar="BYTES", help="The largest body of a request.")
    ] = 1 << 20,
    max_waiting: Annotated[
        int,
        _option(
            "--max-waiting", _LIMITS, min=1, help="The most sessions that wait in a worker; more are refused with 429."
        ),
    ] = 512,
    max_batch: Annotated[int, _option("--max-batch", _LIMITS, min=1, help="The most sessions answered at once.")] = 32,
    timeout: Annotated[
        float,
        _option(
            "--timeout",
            _LIMITS,
            metavar="SECONDS",
            help="A request is refused if its body (408) or its turn (429) takes longer.",
        ),
    ] = 2.0,
    experiment: Annotated[
        Path | None, _option("--experiment", _RECORDS, metavar="FILE", help="TOML: the arms that are compared.")
    ] = None,
    outcome_window: Annotated[
        float,
        _option("--outcome-window", _RECORDS, metavar="SECONDS", help="How long an event counts for an answer."),
    ] = 1_800.0,
    event_log: Annotated[
        Path | None,
        _option("--event-log", _RECORDS, metavar="DIR", help="Write events and answers to this folder, as Parquet."),
    ] = None,
    event_log_seconds: Annotated[
        float, _option("--event-log-seconds", _RECORDS, metavar="SECONDS", help="After which a file is finished.")
    ] = 60.0,
) -> None:
    """Answer over HTTP from the live version of a store, and switch to each version as it is published.

    SIGTERM and Ctrl-C finish what has begun; SIGHUP looks for a new version and reads the keys again.
    """
    settings = _settings(locals())
    from indexer.service.processes.shared_libraries import without_threads
    from indexer.service.processes.standard_files import open_standard_files

    open_standard_files()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a version to be replaced
    without_threads(settings.threads)
    from indexer.service.processes.server import read_keys, run_service

    try:
        keys_read = read_keys(settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run_service(settings, keys_read, _announce)


def _settings(options: dict[str, Any]) -> ServiceSettings:
    """The settings that the options describe; a value out of range is a usage error."""
    from indexer.service.settings import ServiceSettings

    options["device"] = usable_device(options["device"])
    options["counts"], options["words"] = not options.pop("no_counts"), not options.pop("no_words")
    try:
        return ServiceSettings(**options)
    except ValueError as error:
        name, _, problem = str(error).partition(" ")
        raise typer.BadParameter(f"--{name.replace('_', '-')} {problem}") from None


def _announce(started: Started) -> None:
    """Tell a person who looks on; a program reads the line of JSON in the log."""
    if sys.stderr is not None and sys.stderr.isatty():
        workers = "" if started.workers == 1 else f", {started.workers} workers"
        keys = "with keys" if started.keys else "without keys"
        what = f"version {started.version}, {counted(started.products, 'product')}{workers}, {keys}"
        say(f"{started.address}: {what}; Ctrl-C ends it")
