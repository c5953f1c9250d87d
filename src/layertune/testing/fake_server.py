"""A llama-server without a model, in a thread of this process. It has the parts that layertune's client uses."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

# refuse: status 503. error: an error event. stall: no event until the server is closed. break: the connection ends
# within the answer. short: the answer lacks its last token. reuse: a token of the prompt was cached. hold first, hold
# all: the first token, or every token, is only a part of a character.
Mishap = Literal["refuse", "error", "stall", "break", "short", "reuse", "hold first", "hold all"]


@dataclass(slots=True)
class FakeServer:
    """The server's properties, and a record of its requests.

    Attributes:
        token_s: The time of each token, including the first one of an answer.
        mishaps: Failures, by the number of the request from 0.
        bodies: The requests to complete a prompt, in order.
        most_at_once: The largest number of simultaneous requests.
        api_key: If set, requests without it are refused.
    """

    alias: str = "fake"
    model_path: str = "/models/fake.gguf"
    n_ctx: int = 1024
    n_slots: int = 1
    token_s: float = 0.0
    mishaps: Mapping[int, Mishap] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    api_key: str | None = None
    _n_running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def prompts(self) -> list[list[int]]:
        return [body["prompt"] for body in self.bodies]

    def props(self) -> dict[str, Any]:
        return {
            "model_alias": self.alias,
            "model_path": self.model_path,
            "total_slots": self.n_slots,
            "default_generation_settings": {"n_ctx": self.n_ctx},
            "build_info": "b0-fake",
        }

    @contextmanager
    def counted(self, body: dict[str, Any]) -> Iterator[int]:
        """Count a request as running; yield its number."""
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self._n_running += 1
            self.most_at_once = max(self.most_at_once, self._n_running)
        try:
            yield number
        finally:
            with self._lock:
                self._n_running -= 1

    def wait(self) -> None:
        """Wait until the server is closed."""
        self._over.wait()

    def end_waiting(self) -> None:
        self._over.set()


@contextmanager
def serving(fake: FakeServer) -> Iterator[str]:
    """Serve it on a free port; yield its URL."""

    class Handler(_Handler):
        server_is = fake

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="fake-server", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            fake.end_waiting()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_is: FakeServer

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        self._answer(self.server_is.props() if self.path == "/props" else {"status": "ok"})

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._answer({"tokens": list(body["content"].encode())})
        elif self.path == "/v1/chat/completions":
            self._answer({"choices": [{"message": {"role": "assistant", "content": "예"}}]})
        else:
            with self.server_is.counted(body) as number:
                self._complete(body, self.server_is.mishaps.get(number))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _is_allowed(self) -> bool:
        """Answer as llama-server does (tools/server/server-http.cpp, middleware_validate_api_key)."""
        key = self.server_is.api_key
        if key is None or self.headers["Authorization"] == f"Bearer {key}":
            return True
        self._answer({"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}, 401)
        return False

    def _complete(self, body: Mapping[str, Any], mishap: Mishap | None) -> None:
        n_predict = body["n_predict"] - (mishap == "short")
        if mishap == "refuse":
            self._answer({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503)
            return
        if len(body["prompt"]) > self.server_is.n_ctx // self.server_is.n_slots:
            self._answer({"error": {"code": 400, "message": "the request exceeds the context size"}}, 400)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for n_tokens in range(1, n_predict + 1):
            time.sleep(self.server_is.token_s)
            if n_tokens == 2 and mishap == "stall":
                self.server_is.wait()
                return
            if n_tokens == 2 and mishap == "break":
                return
            if n_tokens == 2 and mishap == "error":
                self._event({"error": {"code": 500, "message": "Compute error.", "type": "server_error"}})
                return
            if mishap != "hold all" and (mishap != "hold first" or n_tokens > 1):
                self._event({"content": "가", "stop": False, "tokens_predicted": n_tokens})
        timings = {"cache_n": int(mishap == "reuse"), "prompt_n": len(body["prompt"]), "predicted_n": n_predict}
        self._event({"content": "", "stop": True, "tokens_predicted": n_predict, "timings": timings})

    def _event(self, event: Mapping[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def _answer(self, document: Mapping[str, Any], status: int = 200) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
