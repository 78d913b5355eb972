"""`lutmac serve`: a model over HTTP, or several."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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

    from lutmac.server.served_models import ServedModels
    from lutmac.server.settings import Settings

DEFAULT_KEEP_ALIVE = "5m"
SHOWN = 5  # names of models, in the line that says where the server is
NEEDED = ("fastapi", "uvicorn", "httptools", "prometheus_client", "llguidance")


class Log(StrEnum):
    """How the lines on the error stream look."""

    text = "text"
    json = "json"
    off = "off"


Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="GGUF files, Hugging Face directories, or names that `lutmac pull` takes; "
        f"default: {options.DEFAULT_MODEL}. Several are loaded when they are asked for.",
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option("--models", metavar="DIR", help="Serve all models in a directory, and what comes into it later."),
]
KeepAlive = Annotated[
    str | None,
    typer.Option(help="Time without a request after which one of several models is unloaded; -1: never. Default: 5m."),
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", metavar="BYTES", help="For several models, as in 8G; default: 80% of what is free."),
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        help="What clients call the model, in place of its own name; of several models ALIAS=MODEL. Repeatable.",
    ),
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
    models: Directory = None
    keep_alive: KeepAlive = None
    memory: Memory = None
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
    model: Models = None,
    *,
    server: ServeOptions,
    loading: ServedLoading,
    cluster: ray_options.ScalingOptions,
) -> None:
    """Serve models to the clients of OpenAI, Anthropic, Ollama and llama.cpp, and a page to talk to them.

    One model is loaded at once and answers to any name. Several are loaded when a request names them, and unloaded
    when they are idle. With --ray, replicas of one model on the nodes of a Ray cluster.

    Example: lutmac serve smollm2 --port 8080
    """
    check_installed()
    cluster.check()
    served = _served(model or [], server, cluster, loading.arguments())
    _run(served, server.settings(), server.log)


def _served(
    models: list[str], server: ServeOptions, cluster: ray_options.ScalingOptions, loading: dict[str, Any]
) -> Opening:
    """What is to be served, checked as far as it can be before anything is loaded. Raises InvalidRequestError."""
    if server.models is None and len(models) < 2:
        for option, given in (("--keep-alive", server.keep_alive), ("--memory", server.memory)):
            if given is not None:
                raise InvalidRequestError(f"{option} goes with several models, or with --models DIR: an only one stays")
        model = models[0] if models else options.DEFAULT_MODEL
        names = _own_names(server.name or [], model)
        return _replicated(model, names, cluster, loading) if cluster.ray else _one(model, names, loading)
    if cluster.ray:
        raise InvalidRequestError("--ray serves one model for now: give one, without --models")
    return _several(models, server, loading)


def _check_reach(settings: Settings, *, no_api_key: bool) -> None:
    """Raises InvalidRequestError where strangers could use the model and nobody said that they may."""
    if not (settings.is_local or settings.api_keys or no_api_key):
        raise InvalidRequestError(
            f"whoever reaches {settings.host} could use the model: name API keys with --api-key-file FILE or "
            "$LUTMAC_API_KEY, or say --no-api-key"
        )


@dataclass(frozen=True)
class Opening:
    """What the server is around. label: for the line that says where it is. open: makes the application."""

    label: str
    open: Callable[[Settings], AbstractContextManager[tuple[FastAPI, Settings]]]


def _run(served: Opening, settings: Settings, log: Log) -> None:
    """Serves until somebody ends it."""
    from lutmac.server.logs import LogFormat, set_up_logging  # noqa: PLC0415
    from lutmac.server.run import listen, url_of  # noqa: PLC0415
    from lutmac.server.run import serve as run_server  # noqa: PLC0415

    listener = listen(settings)  # before the model is loaded: a mistake shows at once
    set_up_logging(LogFormat(log.value))
    with served.open(settings) as (app, used):
        print(f"lutmac serves {served.label} at {url_of(listener)} (stop it with Ctrl-C)", file=sys.stderr, flush=True)
        if not settings.api_keys and not settings.is_local:
            print(f"lutmac: warning: anybody who reaches {settings.host} can use it", file=sys.stderr, flush=True)
        run_server(app, used, listener)


def check_installed() -> None:
    """Raises InvalidRequestError where the extra `server` is missing."""
    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        raise InvalidRequestError(f"serving needs {', '.join(missing)}: pip install 'lutmac[server]'")


def _own_names(given: list[str], model: str) -> tuple[str, ...]:
    """What clients call an only model. ALIAS=MODEL, as several want it, is the alias."""
    from lutmac.server.model_names import default_name  # noqa: PLC0415

    own = {model, default_name(model)}
    return tuple(name.rpartition("=")[0] if name.rpartition("=")[2] in own and "=" in name else name for name in given)


def _replicated(
    model: str, names: tuple[str, ...], cluster: ray_options.ScalingOptions, loading: dict[str, Any]
) -> Opening:
    @contextmanager
    def opened(settings: Settings) -> Iterator[tuple[FastAPI, Settings]]:
        used = replace(settings, names=names)
        with ray_options.replicated(model, used, cluster, loading) as app:
            yield app, used

    return Opening(names[0] if names else model, opened)


def _one(model: str, names: tuple[str, ...], loading: dict[str, Any]) -> Opening:
    @contextmanager
    def opened(settings: Settings) -> Iterator[tuple[FastAPI, Settings]]:
        import lutmac  # noqa: PLC0415
        from lutmac.server.app import default_names  # noqa: PLC0415
        from lutmac.server.served_models import OneModel  # noqa: PLC0415

        with ProgressBar(shown=True) as bar:
            obtain_default(model, bar)
            loaded = lutmac.load(model, progress=bar, **loading)
        used = replace(settings, names=names or default_names(loaded, model))
        yield _application(OneModel(loaded, used)), used

    return Opening(names[0] if names else model, opened)


def _several(models: list[str], server: ServeOptions, loading: dict[str, Any]) -> Opening:
    """Raises InvalidRequestError and CheckpointError for what is wrong on the command line."""
    from lutmac.engine.loading.resolve import resolve  # noqa: PLC0415
    from lutmac.server.keep_alive import parse_keep_alive  # noqa: PLC0415
    from lutmac.server.model_loading import ModelLoader  # noqa: PLC0415
    from lutmac.server.model_names import Roster, parse_alias  # noqa: PLC0415
    from lutmac.server.several_models import SeveralModels  # noqa: PLC0415

    memory = None if server.memory is None else options.parse_bytes(server.memory, "--memory")
    keep_alive = parse_keep_alive(server.keep_alive or DEFAULT_KEEP_ALIVE, "--keep-alive")
    roster = Roster(models, server.models, [parse_alias(text) for text in server.name or ()])
    with ProgressBar(shown=True) as bar:
        for model in models:
            obtain_default(model, bar)
            resolve(model)

    @contextmanager
    def opened(settings: Settings) -> Iterator[tuple[FastAPI, Settings]]:
        served = SeveralModels(roster, ModelLoader(memory, loading), settings, keep_alive)
        yield _application(served), settings

    names = [source.names[0] for source in roster.sources()]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return Opening(shown or f"what comes into {server.models}", opened)


def _application(models: ServedModels) -> FastAPI:
    from lutmac.batch import endpoints as batches  # noqa: PLC0415
    from lutmac.server.app import app_of  # noqa: PLC0415

    app = app_of(models, (batches.router,))
    batches.install(app, models.settings.limits.file_bytes)
    return app
