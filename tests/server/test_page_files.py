"""The page's files, in the package that is installed: the wheel has to bring them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

import lutmac

SOURCE = Path(__file__).parents[2] / "src" / "lutmac"
# What a page or a module asks for: src="/static/x", href="/static/x", from "./x".
REFERENCE = re.compile(r"""(?:src|href)="/?static/([^"]+)"|from\s+["']\./([^"']+)["']""")


def test_the_installed_package_has_every_file_that_is_no_code() -> None:
    installed = Path(lutmac.__file__).parent
    wanted = [path for path in (SOURCE / "server" / "static").iterdir() if path.is_file()]
    assert {"index.html", "style.css", "app.js"} <= {path.name for path in wanted}
    for path in [*wanted, SOURCE / "_native.pyi"]:
        found = installed / path.relative_to(SOURCE)
        assert found.is_file(), f"{found} is missing"
        assert found.read_bytes() == path.read_bytes(), f"{found} is not what the source tree has: install again"


def test_the_server_has_all_that_the_page_asks_for(http: httpx.Client) -> None:
    asked, todo = set[str](), [http.get("/").text]
    while todo:
        for places in REFERENCE.findall(todo.pop()):
            name = "".join(places)
            if name not in asked:
                asked.add(name)
                reply = http.get(f"/static/{name}")
                assert reply.status_code == 200, name
                todo.append(reply.text)
    assert {"app.js", "style.css", "markdown.js"} <= asked
