"""The page's files, in the package that is installed: the wheel has to bring them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

import lutmac

SOURCE = Path(__file__).parents[2] / "src" / "lutmac"
# What a page asks for: src="/static/x", href="/static/x".
REFERENCE = re.compile(r'(?:src|href)="/static/([^"]+)"')


def test_the_installed_package_has_every_file_that_is_no_code() -> None:
    installed = Path(lutmac.__file__).parent
    wanted = [path for path in (SOURCE / "server" / "static").iterdir() if path.is_file()]
    assert {"index.html", "style.css", "page.js"} <= {path.name for path in wanted}
    for path in [*wanted, SOURCE / "_native.pyi"]:
        found = installed / path.relative_to(SOURCE)
        assert found.is_file(), f"{found} is missing"
        assert found.read_bytes() == path.read_bytes(), f"{found} is not what the source tree has: install again"


def test_the_server_has_all_that_the_page_asks_for(http: httpx.Client) -> None:
    asked = set(REFERENCE.findall(http.get("/").text))
    for name in asked:
        assert http.get(f"/static/{name}").status_code == 200, name
    assert asked == {"page.js", "style.css", "theme.js"}
