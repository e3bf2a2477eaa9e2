"""Pages in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Visit:
    """A page opened from a file, with everything that it asked for or complained of."""

    def __init__(
        self, browser: Any, path: Path, width: int = 1280, hash_: str = "", height: int = 850
    ) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.url = path.as_uri() + hash_
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.context.route("**/*", self._block)
        self.page.goto(self.url)
        if self.page.locator(".filters").count():
            self.page.locator(".filters").wait_for()  # its script has unpacked the data

    def _block(self, route: Any) -> None:
        if route.request.url.partition("#")[0] == self.url.partition("#")[0]:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *error: object) -> None:
        self.context.close()
        if error == (None, None, None):
            assert self.requests == []
            assert self.complaints == []
