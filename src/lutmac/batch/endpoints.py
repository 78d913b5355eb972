"""/v1/files and /v1/batches: OpenAI's interface to batches, over the server that runs anyway."""

from __future__ import annotations

from typing import Annotated, Protocol, TypeVar, cast

from fastapi import FastAPI, Query, Request
from starlette.responses import FileResponse

from lutmac.batch import schemas as schema
from lutmac.batch.files import FileStore, StoredFile
from lutmac.batch.jobs import BatchJobs, new_batch
from lutmac.batch.multipart import read_form
from lutmac.batch.requests import ENDPOINTS
from lutmac.server.documents import error_responses, models_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError, missing_parameter

router = new_router("OpenAI")
Limit = Annotated[int, Query(ge=1, le=10_000)]
_FORM = {"multipart/form-data": {"schema": {
    "type": "object", "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string"}},
}}}  # fmt: skip
_OWN_HEADERS = frozenset({b"authorization", b"x-api-key"})


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_HasId)


def install(app: FastAPI, most_bytes: int) -> None:
    """Gives an application that has these endpoints a place for files. most_bytes: of all of them."""
    app.state.files = FileStore(most_bytes)
    app.state.batches = BatchJobs(app.state.files)


@router.post(
    "/v1/files", responses=error_responses(), openapi_extra={"requestBody": {"content": _FORM, "required": True}}
)
async def upload_file(request: Request) -> schema.FileObject:
    """Keeps a file."""
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    if "file" not in form:
        raise missing_parameter("file")
    purpose = form["purpose"].data.decode(errors="replace")[:64] if "purpose" in form else "batch"
    name = (form["file"].filename or "file")[:255]
    return _shown(_files(request).put(form["file"].data, name, purpose))


@router.get("/v1/files", responses=error_responses())
async def list_files(
    request: Request, purpose: str | None = None, limit: Limit = 10_000, after: str | None = None
) -> schema.FileList:
    """The files, the latest first."""
    found = [_shown(file) for file in _files(request) if purpose in (None, file.purpose)]
    page, more = _page(found, limit, after)
    return schema.FileList(data=page, first_id=_first(page), last_id=_first(page[::-1]), has_more=more)


@router.get("/v1/files/{file_id}", responses=error_responses())
async def get_file(file_id: str, request: Request) -> schema.FileObject:
    """What is known of a file."""
    return _shown(_files(request).get(file_id))


@router.get("/v1/files/{file_id}/content", responses=error_responses(), response_class=FileResponse)
async def file_content(file_id: str, request: Request) -> FileResponse:
    """What a file holds."""
    return FileResponse(_files(request).get(file_id).path, media_type="application/octet-stream")


@router.delete("/v1/files/{file_id}", responses=error_responses())
async def delete_file(file_id: str, request: Request) -> schema.DeletedFile:
    """Forgets a file."""
    _files(request).delete(file_id)
    return schema.DeletedFile(id=file_id)


@router.post("/v1/batches", responses=error_responses())
async def create_batch(asked: schema.BatchRequestBody, request: Request) -> schema.Batch:
    """Begins to answer a file of requests."""
    models_of(request).find(asked.model)
    models_of(request).leave_out_unknown(asked)
    if asked.endpoint not in ENDPOINTS:
        raise ApiError(
            400, f"endpoint is {asked.endpoint[:80]!r}, expected one of {', '.join(ENDPOINTS)}", param="endpoint"
        )
    source = _files(request).get(asked.input_file_id)
    batch = new_batch(asked.endpoint, source, asked.completion_window, asked.metadata)
    own = tuple((name, value) for name, value in request.headers.raw if name in _OWN_HEADERS)
    headers = ((b"content-type", b"application/json"), (b"host", b"localhost"), *own)
    _batches(request).start(request.app, batch, source, headers)
    return batch


@router.get("/v1/batches", responses=error_responses())
async def list_batches(
    request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None
) -> schema.BatchList:
    """The batches, the latest first."""
    page, more = _page(_batches(request).all(), limit, after)
    return schema.BatchList(data=page, first_id=_first(page), last_id=_first(page[::-1]), has_more=more)


@router.get("/v1/batches/{batch_id}", responses=error_responses())
async def get_batch(batch_id: str, request: Request) -> schema.Batch:
    """How far a batch has come."""
    return _batches(request).get(batch_id)


@router.post("/v1/batches/{batch_id}/cancel", responses=error_responses())
async def cancel_batch(batch_id: str, request: Request) -> schema.Batch:
    """Ends a batch; what has been answered is kept."""
    return await _batches(request).cancel(batch_id)


def _files(request: Request) -> FileStore:
    return cast(FileStore, request.app.state.files)


def _batches(request: Request) -> BatchJobs:
    return cast(BatchJobs, request.app.state.batches)


def _shown(file: StoredFile) -> schema.FileObject:
    return schema.FileObject(
        id=file.id, bytes=file.bytes, created_at=file.created_at, filename=file.filename, purpose=file.purpose
    )


def _page(found: list[T], limit: int, after: str | None) -> tuple[list[T], bool]:
    """The first ones behind ``after``, and whether there are more."""
    begin = next((place + 1 for place, item in enumerate(found) if item.id == after), 0)
    return found[begin : begin + limit], len(found) > begin + limit


def _first(items: list[T]) -> str | None:
    return items[0].id if items else None
