"""/v1/files and /v1/batches. https://platform.openai.com/docs/api-reference/batch"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lutmac.server.schemas.common import JsonObject, ResponseModel
from lutmac.server.schemas.request import Request

Status = Literal["validating", "in_progress", "finalizing", "completed", "failed", "cancelling", "cancelled"]


class FileObject(ResponseModel):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileList(ResponseModel):
    """Files, the latest first."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(ResponseModel):
    """A file that is no longer there."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchRequestBody(Request):
    """A file of requests to answer. completion_window: taken, and changes nothing: it begins at once."""

    input_file_id: str
    endpoint: str
    completion_window: str = "24h"
    metadata: JsonObject | None = None
    model: str | None = None


class RequestCounts(ResponseModel):
    """Lines of the input. completed: with a status below 400."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchError(ResponseModel):
    """Why a batch failed as a whole."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchErrors(ResponseModel):
    """The reasons."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class Batch(ResponseModel):
    """A batch, or how far it has come."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None = None
    input_file_id: str
    completion_window: str
    status: Status = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = Field(default_factory=RequestCounts)
    metadata: JsonObject | None = None


class BatchList(ResponseModel):
    """Batches, the latest first."""

    object: Literal["list"] = "list"
    data: list[Batch]
    first_id: str | None
    last_id: str | None
    has_more: bool
