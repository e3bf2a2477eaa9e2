"""A stand-in of the Hugging Face hub on 127.0.0.1, as far as its library asks one: datasets of small files, in memory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_a_token_that_may_write"


@dataclass
class FakeHub:
    """Attributes:
    repos: files of each dataset by commit, the newest last.
    asked: method and path of every request.
    refuse: paths that are answered with this status.
    """

    url: str = ""
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    token: str = TOKEN

    def put(self, repo: str, files: dict[str, bytes]) -> str:
        """A commit with exactly these files."""
        names = "".join(f"{n}{hashlib.sha1(d).hexdigest()}" for n, d in sorted(files.items()))
        commit = hashlib.sha1(f"{len(self.repos.get(repo, {}))}{names}".encode()).hexdigest()
        self.repos.setdefault(repo, {})[commit] = files
        return commit

    def newest(self, repo: str) -> tuple[str, dict[str, bytes]]:
        return list(self.repos[repo].items())[-1]


@contextlib.contextmanager
def serving() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        do_HEAD = do_POST = do_GET  # noqa: N815

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            split = urlsplit(self.path)
            path = unquote(split.path)
            hub.asked.append((self.command, path))
            if status := next((s for part, s in hub.refuse.items() if part in path), 0):
                return self._send(status, b'{"error": "refused"}')
            if self.command == "POST" and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._send(401, b'{"error": "Invalid credentials"}')
            if path == "/api/repos/create":
                name = json.loads(body)
                repo = f"{name.get('organization') or 'me'}/{name['name']}"
                if repo in hub.repos:
                    there = {"error": "exists", "url": f"{hub.url}/datasets/{repo}"}
                    return self._send(409, json.dumps(there).encode())
                hub.put(repo, {".gitattributes": b""})
                return self._json({"url": f"{hub.url}/datasets/{repo}"})
            if path.startswith("/api/datasets/"):
                owner, name, *rest = path.removeprefix("/api/datasets/").split("/")
                return self._dataset(f"{owner}/{name}", rest, body, parse_qs(split.query))
            if path.startswith("/datasets/"):
                owner, name, _, revision, *file = path.removeprefix("/datasets/").split("/")
                return self._file(f"{owner}/{name}", revision, "/".join(file))
            return self._json({})

        def _commit(self, repo: str, revision: str) -> str | None:
            commits = hub.repos.get(repo, {})
            return revision if revision in commits else list(commits)[-1] if revision == "main" else None

        def _dataset(self, repo: str, rest: list[str], body: bytes, query: dict[str, list[str]]) -> None:
            if repo not in hub.repos:
                return self._missing("RepoNotFound")
            if rest and rest[0] == "preupload":
                files = json.loads(body)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
                return self._json({"files": modes})
            if rest and rest[0] == "commit":
                return self._take(repo, [json.loads(line) for line in body.splitlines()])
            revision = rest[1] if rest and rest[0] in ("revision", "tree") else "main"
            commit = self._commit(repo, revision)
            if commit is None:
                return self._missing("RevisionNotFound")
            files = hub.repos[repo][commit]
            if rest and rest[0] == "tree":
                return self._json([
                    {"type": "file", "path": n, "size": len(d), "oid": hashlib.sha1(d).hexdigest()} for n, d in files.items()
                ])  # fmt: skip
            siblings = [{"rfilename": n, "size": len(d), "blobId": "b"} for n, d in files.items()]
            return self._json(
                {
                    "id": repo,
                    "sha": commit,
                    "siblings": siblings,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                }
            )

        def _take(self, repo: str, lines: list[dict[str, Any]]) -> None:
            files = dict(hub.newest(repo)[1])
            for line in lines:
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            commit = hub.put(repo, files)
            self._json(
                {
                    "commitUrl": f"{hub.url}/datasets/{repo}/commit/{commit}",
                    "commitOid": commit,
                    "success": True,
                }
            )

        def _file(self, repo: str, revision: str, name: str) -> None:
            commit = self._commit(repo, revision)
            data = hub.repos.get(repo, {}).get(commit or "", {}).get(name)
            if data is None:
                self._missing("EntryNotFound")
                return
            self._send(
                200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', **{"X-Repo-Commit": commit or ""}
            )

        def _missing(self, code: str) -> None:
            self._send(404, b'{"error": "not there"}', **{"X-Error-Code": code})

        def _json(self, value: Any) -> None:
            self._send(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

        def _send(self, status: int, data: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
