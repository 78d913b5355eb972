"""The page to talk to: files in static/. They connect to no other server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.responses import FileResponse

from lutmac.server.endpoints import new_router
from lutmac.server.errors import of_status

router = new_router(None)
DIRECTORY: Final = Path(__file__).parent / "static"
# Scripts and styles from files of ours alone, requests to this server alone, no frame around the page.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def index() -> FileResponse:
    """The page."""
    return _file("index.html", "/")


@router.get("/static/{name}")
async def static(name: str) -> FileResponse:
    """One of the page's files."""
    return _file(name, f"/static/{name}")


def _file(name: str, path: str) -> FileResponse:
    known = {file.name: file for file in DIRECTORY.glob("*") if file.is_file()}
    if name not in known:
        raise of_status(404, path, "GET")
    return FileResponse(known[name], headers=_HEADERS)
