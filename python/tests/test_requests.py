"""Requests to an app that is away, busy or no app at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lastlight import Client, LastlightError, Refused, StillRunning, Unavailable, _steps

_KEY = "the-secret-key"


class _App:
    """A server that gives these answers, one after the other, and then the last one."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object] | None] = []
        self.requests: list[tuple[str, str | None]] = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                app.requests.append((self.path, self.headers.get("x-functions-key")))
                answer = app.answers.pop(0) if len(app.answers) > 1 else app.answers[0]
                if answer is None:
                    # Ends without an answer.
                    return
                status, body = answer
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[_App]:
    monkeypatch.setattr(_steps, "_FIRST_PAUSE", 0.01)
    app = _App()
    thread = threading.Thread(target=app.server.serve_forever, args=(0.01,))
    thread.start()
    yield app
    app.server.shutdown()
    thread.join()
    app.server.server_close()


_STATUS: dict[str, object] = {
    "jobId": "0" * 64,
    "jobType": "hello_world",
    "status": "completed",
    "parameters": {},
    "progress": [],
    "resultData": {"n": 1},
    "errorDetails": None,
    "pausedAt": None,
    "version": "0" * 16,
}


def test_a_request_is_repeated_until_the_app_is_back(app: _App) -> None:
    away = (503, {"message": "the database is away"})
    app.answers = [None, away, (429, {}), (200, _STATUS)]
    with Client(app.url, _KEY) as client:
        assert client.job("0" * 64).result() == {"n": 1}
    assert len(app.requests) == 4
    assert {key for _, key in app.requests} == {_KEY}


def test_an_app_that_stays_away_is_named(app: _App) -> None:
    app.answers = [(503, {"message": "the database is away"})]
    with Client(app.url) as client, pytest.raises(Unavailable, match="database is away"):
        client.submit("hello_world", n=1)
    assert len(app.requests) == _steps._MOST_ATTEMPTS


def test_an_address_where_nobody_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_steps, "_FIRST_PAUSE", 0.01)
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unavailable, match="not answered"):
        client.submit("hello_world", n=1)


def test_a_server_that_is_no_app_is_named(app: _App) -> None:
    app.answers = [(200, "<html>")]
    with Client(app.url) as client, pytest.raises(LastlightError, match="no answer of lastlight"):
        client.job("0" * 64).status()


def test_keys_are_in_no_text(app: _App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.answers = [(401, "")]
    monkeypatch.setenv("LASTLIGHT_KEY", _KEY)
    monkeypatch.setenv("LASTLIGHT_URL", f"{app.url}/api/")
    with Client() as client, pytest.raises(Refused, match="LASTLIGHT_KEY") as refused:
        client.submit("hello_world", n=1)
    assert app.requests == [("/api/jobs/submit/hello_world", _KEY)]
    assert _KEY not in f"{client!r} {refused.value} {refused.value!r}"


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="http"):
        Client("localhost:7071")


def test_a_key_is_not_sent_over_plain_http_to_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LASTLIGHT_KEY", raising=False)
    for mine in ["http://127.0.0.1:7071", "http://[::1]:7071", "http://localhost:7071"]:
        Client(mine, "a-key").close()
    Client("https://a.example", "a-key").close()
    Client("http://a.example").close()
    for other in ["http://a.example", "http://10.0.0.1:7071", "http://localhost.example"]:
        with pytest.raises(ValueError, match="plain HTTP to another machine"):
            Client(other, "a-key")
    monkeypatch.setenv("LASTLIGHT_KEY", "a-key")
    with pytest.raises(ValueError, match="use https://"):
        Client("http://a.example")


def test_names_are_quoted_in_addresses(app: _App) -> None:
    app.answers = [(404, {"message": "unknown"})]
    with Client(app.url) as client, pytest.raises(Refused):
        client.submit("../jobs?x=1")
    assert app.requests[0][0] == "/api/jobs/submit/..%2Fjobs%3Fx%3D1"


def test_the_time_to_wait_ends_also_while_the_job_changes(app: _App) -> None:
    versions = [f"{number:016x}" for number in range(20_000)]
    app.answers = [(200, {**_STATUS, "status": "processing", "version": one}) for one in versions]
    with Client(app.url) as client, pytest.raises(StillRunning, match="had not finished in time"):
        client.job("0" * 64).wait(timeout=0.2)
    assert len(app.answers) > 1, "it did not wait for the last change"
