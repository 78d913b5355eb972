"""`lutmac serve`: the model over HTTP."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutmac.cli import options, ray_options
from lutmac.cli.obtain import obtain_default
from lutmac.cli.option_groups import OptionGroup
from lutmac.cli.output import ProgressBar
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from lutmac.server.settings import Settings

NEEDED = ("fastapi", "uvicorn", "httptools", "prometheus_client", "llguidance")


class Log(StrEnum):
    """How the lines on the error stream look."""

    text = "text"
    json = "json"
    off = "off"


Names = Annotated[
    list[str] | None, typer.Option("--name", help="What clients call the model; repeatable. Default: as given here.")
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one, and wants a key.")]
Port = Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes any free one.")]
KeyFile = Annotated[
    Path | None, typer.Option("--api-key-file", help="A file of API keys, one a line; also: $LUTMAC_API_KEY.")
]
NoKey = Annotated[bool, typer.Option("--no-api-key", help="Let anybody in who reaches the address.")]
MaxQueue = Annotated[int, typer.Option("--max-queue", min=0, help="Requests that may wait; more are told 429.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Longest reply; default: the context.")]
MaxBody = Annotated[int, typer.Option("--max-body", min=1024, help="Bytes of a request's body.")]
KVMemory = Annotated[
    str | None, typer.Option("--kv-cache-memory", metavar="BYTES", help="For keys, values and other states, as in 4G.")
]
StoredResponses = Annotated[
    str, typer.Option(metavar="BYTES", help="For responses to go on from (/v1/responses), kept for an hour; 0: none.")
]
Origins = Annotated[
    list[str] | None, typer.Option("--allow-origin", help="Other web origin that may call this server; repeatable.")
]
Hosts = Annotated[
    list[str] | None, typer.Option("--allow-host", help="Name of this server, where it has no key; repeatable.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse names, fields and schema keywords that the server does not know.")
]
SendTimeout = Annotated[
    float, typer.Option(min=1, help="Seconds for a client to take what it is sent; one that does not is dropped.")
]
Drain = Annotated[float, typer.Option("--drain", min=0, help="Seconds that replies may go on after SIGTERM.")]
LogOption = Annotated[Log, typer.Option("--log", help="text, json or off; a line for each request, without its text.")]


@dataclass(frozen=True)
class ServeOptions(OptionGroup):
    """What the command line says about the server."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    api_key_file: KeyFile = None
    no_api_key: NoKey = False
    name: Names = None
    max_queue: MaxQueue = 64
    max_tokens: MaxTokens = None
    max_body: MaxBody = 4 << 20
    stored_responses: StoredResponses = "64M"
    allow_origin: Origins = None
    allow_host: Hosts = None
    strict: Strict = False
    send_timeout: SendTimeout = 60.0
    drain: Drain = 30.0
    log: LogOption = Log.text

    def settings(self) -> Settings:
        """What the server is made with.

        Raises InvalidRequestError where a value cannot be read, and where strangers could use the model and nobody said
        that they may.
        """
        from lutmac.server.auth import read_keys  # noqa: PLC0415 - and all of FastAPI with it
        from lutmac.server.settings import Limits, Settings, Timeouts  # noqa: PLC0415

        stored_bytes = options.parse_bytes(self.stored_responses, "--stored-responses")
        settings = Settings(
            host=self.host,
            port=self.port,
            api_keys=read_keys(self.api_key_file),
            hosts=tuple(self.allow_host or ()),
            origins=tuple(self.allow_origin or ()),
            names=tuple(self.name or ()),
            strict=self.strict,
            limits=Limits(
                body_bytes=self.max_body, max_tokens=self.max_tokens, queue=self.max_queue, stored_bytes=stored_bytes
            ),
            timeouts=Timeouts(send=self.send_timeout, drain=self.drain),
        )
        _check_reach(settings, no_api_key=self.no_api_key)
        return settings


@dataclass(frozen=True)
class ServedLoading(options.Loading):
    """How the model is loaded, and what its cache may take."""

    kv_cache_memory: KVMemory = None

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``lutmac.load``."""
        memory = self.kv_cache_memory
        limit = None if memory is None else options.parse_bytes(memory, "--kv-cache-memory")
        return {**super().arguments(), "kv_cache_memory": limit}


def serve(
    model: options.OptionalModel = options.DEFAULT_MODEL,
    *,
    server: ServeOptions,
    loading: ServedLoading,
    cluster: ray_options.ScalingOptions,
) -> None:
    """Serve a model to the clients of OpenAI, Anthropic, Ollama and llama.cpp, and a page to talk to it.

    With --ray, replicas of it on the nodes of a Ray cluster.

    Example: lutmac serve smollm2 --port 8080
    """
    check_installed()
    cluster.check()
    _run(model, server.settings(), server.log, cluster, loading.arguments())


def _check_reach(settings: Settings, *, no_api_key: bool) -> None:
    """Raises InvalidRequestError where strangers could use the model and nobody said that they may."""
    if not (settings.is_local or settings.api_keys or no_api_key):
        raise InvalidRequestError(
            f"whoever reaches {settings.host} could use the model: name API keys with --api-key-file FILE or "
            "$LUTMAC_API_KEY, or say --no-api-key"
        )


def _run(
    model: str, settings: Settings, log: Log, cluster: ray_options.ScalingOptions, loading: dict[str, Any]
) -> None:
    """Serves until somebody ends it. loading: for ``lutmac.load``."""
    from lutmac.server.logs import LogFormat, set_up_logging  # noqa: PLC0415
    from lutmac.server.run import listen, url_of  # noqa: PLC0415
    from lutmac.server.run import serve as run_server  # noqa: PLC0415

    listener = listen(settings)  # before the model is loaded: a mistake shows at once
    set_up_logging(LogFormat(log.value))
    with ExitStack() as stack:
        if cluster.ray:
            app = stack.enter_context(ray_options.replicated(model, settings, cluster, loading))
        else:
            app, settings = _load(model, settings, **loading)
        served = settings.names[0] if settings.names else model
        print(f"lutmac serves {served} at {url_of(listener)} (stop it with Ctrl-C)", file=sys.stderr, flush=True)
        if not settings.api_keys and not settings.is_local:
            print(f"lutmac: warning: anybody who reaches {settings.host} can use it", file=sys.stderr, flush=True)
        run_server(app, settings, listener)


def check_installed() -> None:
    """Raises InvalidRequestError where the extra `server` is missing."""
    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        raise InvalidRequestError(f"serving needs {', '.join(missing)}: pip install 'lutmac[server]'")


def _load(path_or_name: str, settings: Settings, **arguments: Any) -> tuple[FastAPI, Settings]:
    """The application around the model, and the settings with its name."""
    import lutmac  # noqa: PLC0415
    from lutmac.batch import endpoints as batches  # noqa: PLC0415
    from lutmac.server.app import create_app, default_names  # noqa: PLC0415

    with ProgressBar(shown=True) as bar:
        obtain_default(path_or_name, bar)
        model = lutmac.load(path_or_name, progress=bar, **arguments)
    settings = replace(settings, names=settings.names or default_names(model, path_or_name))
    app = create_app(model, settings, (batches.router,))
    batches.install(app, settings.limits.file_bytes)
    return app, settings
