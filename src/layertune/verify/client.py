"""The HTTP client of one model's server: llama-server's own interface, or the OpenAI-like one of llama_cpp.server.

This is the only file that imports httpx. Each request opens its own connection, as curl does, so an idle connection
that the server closes cannot look like a failed request.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import httpx

from layertune.redaction import without_password, without_password_of
from layertune.verify.requests import Answered, Failed, RequestOutcome
from layertune.verify.server_output import as_recorded

Dialect = Literal["llama-server", "llama_cpp.server"]
Http = httpx.AsyncClient

_CONNECT_S = 10.0
_QUESTION_S = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a model's server.

    `alias` is a name that only the server started here has; None for a server that was running already. `api_key` is
    None where the server needs none.
    """

    url: str
    dialect: Dialect
    alias: str | None = None
    api_key: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The URL for messages and records, without its password."""
        return without_password(self.url)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server reports about itself; None for what it does not report. `n_ctx` is the context of one slot."""

    alias: str
    file: str | None = None
    n_ctx: int | None = None
    n_slots: int | None = None
    build: str | None = None


@dataclass(frozen=True, slots=True)
class PromptParts:
    """A text in the units of a server's prompts: tokens or code points. `per_token` is the units in one token."""

    parts: Sequence[int]
    per_token: float


@dataclass(frozen=True, slots=True)
class _Event:
    """One event of a stream.

    Attributes:
        n_generated: Tokens since the answer's beginning; None if the server does not count them.
        has_full_length: The server reports that the answer ended because it reached the requested length.
    """

    has_token: bool
    is_last: bool
    n_generated: int | None = None
    n_reused: int | None = None
    has_full_length: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """The time of an event, and the number of tokens that the answer had by then."""

    at_s: float
    n_generated: int


class BadResponse(Exception):
    """A server's answer is an error, or is not what the request asked for."""


class NotReady(BadResponse):
    """The server does not answer yet, or is still loading its model."""


class ModelClient:
    """Sends requests to one server.

    `patience_s` is the longest time without any data from the server before a request counts as failed. A request that
    waits in a full queue receives no data.
    """

    def __init__(self, http: Http, endpoint: Endpoint) -> None:
        self._http = http
        self.endpoint = endpoint
        self.patience_s = 600.0

    async def about(self) -> ServerInfo:
        """Return what the server reports about itself.

        Raises:
            BadResponse: it is another kind of server, or it does not answer yet.
        """
        try:
            if self.endpoint.dialect == "llama-server":
                props = await self._ask("GET", "/props")
                return ServerInfo(
                    alias=str(props["model_alias"]),
                    file=str(props["model_path"]),
                    n_ctx=int(props["default_generation_settings"]["n_ctx"]),
                    n_slots=int(props["total_slots"]),
                    build=str(props["build_info"]),
                )
            return ServerInfo(alias=str((await self._ask("GET", "/v1/models"))["data"][0]["id"]))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadResponse(f"{self.endpoint.shown} does not answer as a {self.endpoint.dialect} does") from error

    async def prompt_parts(self, text: str) -> PromptParts:
        """Return a text in the units that `complete` takes prompts in. Raises BadResponse."""
        if self.endpoint.dialect == "llama-server":
            return PromptParts(await self._tokens("/tokenize", {"content": text, "add_special": False}), 1.0)
        # llama_cpp.server takes text only: tokens that cut a character in two are an error there.
        n_tokens = len(await self._tokens("/extras/tokenize", {"input": text}))
        return PromptParts([ord(char) for char in text], len(text) / n_tokens)

    async def chat(self, message: str, n_predict: int) -> str:
        """Return the model's reply to one chat message. Raises BadResponse."""
        body = {"messages": [{"role": "user", "content": message}], "max_tokens": n_predict}
        answer = await self._ask("POST", "/v1/chat/completions", body, timeout_s=self.patience_s)
        try:
            reply = answer["choices"][0]["message"]
            text = str(reply.get("content") or reply.get("reasoning_content") or "")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise BadResponse(f"no message in the answer to a chat: {str(answer)[:200]}") from error
        if not text:
            raise BadResponse("the answer to a chat is empty")
        return text

    async def complete(self, prompt: Sequence[int], n_predict: int, phase_started_s: float) -> RequestOutcome:
        """Stream an answer of `n_predict` tokens and return how the request ended; a failure is an outcome too."""
        started_s = perf_counter()
        try:
            path, body = self._completion(prompt, n_predict)
            timeout = httpx.Timeout(self.patience_s, connect=_CONNECT_S)
            url, headers = self.endpoint.url + path, self._headers()
            async with self._http.stream("POST", url, json=body, headers=headers, timeout=timeout) as response:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response.status_code, await response.aread())
                return await self._follow(response, n_predict, started_s, phase_started_s)
        except BadResponse as error:
            why = str(error)
        except httpx.TimeoutException:
            why = f"stalled: no data from the server for {self.patience_s:.0f} s"
        except httpx.HTTPError as error:
            why = f"the connection failed: {self._words(error)}"
        return Failed(started_s - phase_started_s, why)

    def _completion(self, prompt: Sequence[int], n_predict: int) -> tuple[str, dict[str, Any]]:
        if self.endpoint.dialect == "llama-server":
            # The answer always has its full length, and nothing of an earlier prompt is reused.
            body = {"prompt": list(prompt), "n_predict": n_predict, "cache_prompt": False, "ignore_eos": True}
            return "/completion", {**body, "temperature": 0.0, "stream": True}
        # min_tokens is llama_cpp.server's own: without it a model may end its answer before its full length.
        body = {"prompt": "".join(map(chr, prompt)), "max_tokens": n_predict, "min_tokens": n_predict}
        return "/v1/completions", {**body, "temperature": 0.0, "stream": True}

    async def _follow(
        self, response: httpx.Response, n_predict: int, started_s: float, phase_started_s: float
    ) -> RequestOutcome:
        seen: list[_Seen] = []
        has_full_length = False
        async for line in response.aiter_lines():
            if not line.startswith("data:"):
                continue
            event = _read(line.removeprefix("data:").strip(), self.endpoint)
            if event.is_last:
                break
            has_full_length |= event.has_full_length
            if event.has_token:
                seen.append(_Seen(perf_counter(), len(seen) + 1 if event.n_generated is None else event.n_generated))
        else:
            raise BadResponse(f"the answer broke off after {seen[-1].n_generated if seen else 0} tokens")
        n_generated = event.n_generated
        if n_generated is None:  # incomplete characters have no event
            n_generated = n_predict if has_full_length else len(seen)
        if self.endpoint.dialect == "llama-server" and n_generated != n_predict:
            raise BadResponse(f"the answer has {n_generated} tokens of {n_predict}")
        if n_generated == 0:
            raise BadResponse("the answer has no token")
        return Answered(
            started_s=started_s - phase_started_s,
            ttft_s=seen[0].at_s - started_s if seen else None,
            tpot_s=_tpot_s(seen),
            duration_s=perf_counter() - started_s,
            n_generated=n_generated,
            n_first=seen[0].n_generated if seen else n_generated,
            n_reused=event.n_reused,
        )

    async def _tokens(self, path: str, body: dict[str, Any]) -> list[int]:
        answer = await self._ask("POST", path, body)
        try:
            tokens = [int(token) for token in answer["tokens"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BadResponse(f"{self.endpoint.shown}{path} does not answer with tokens") from error
        if not tokens:
            raise BadResponse(f"{self.endpoint.shown}{path} returned no token for a text")
        return tokens

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = _QUESTION_S
    ) -> Any:
        try:
            url, headers = self.endpoint.url + path, self._headers()
            response = await self._http.request(method, url, json=body, headers=headers, timeout=timeout_s)
            if response.status_code != httpx.codes.OK:
                raise self._refusal(response.status_code, response.content)
            return response.json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotReady(f"{self.endpoint.shown} does not answer: {self._words(error)}") from error
        except ValueError as error:
            raise BadResponse(f"{self.endpoint.shown}{path} does not answer in JSON") from error

    def _headers(self) -> dict[str, str]:
        return {} if self.endpoint.api_key is None else {"Authorization": f"Bearer {self.endpoint.api_key}"}

    def _refusal(self, status: int, body: bytes) -> BadResponse:
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            wants = "wants an API key" if self.endpoint.api_key is None else "does not accept the API key"
            return BadResponse(
                f"{self.endpoint.shown} {wants} (status {status}): give it in LLAMA_API_KEY, or name the variable that "
                "has it with --api-key-env"
            )
        try:
            words = _error_words(json.loads(body)["error"], self.endpoint.api_key)
        except (ValueError, KeyError, TypeError):
            words = as_recorded(body[:200].decode(errors="replace"), self.endpoint.api_key)
        kind = NotReady if status == httpx.codes.SERVICE_UNAVAILABLE else BadResponse
        return kind(f"status {status}: {words}")

    def _words(self, error: Exception) -> str:
        return without_password_of(self.endpoint.url, str(error) or type(error).__name__)


@asynccontextmanager
async def open_http() -> AsyncIterator[Http]:
    """Open the HTTP client for all servers: no proxy, no limit of connections, none kept alive."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with Http(trust_env=False, limits=limits) as http:
        yield http


def _tpot_s(seen: Sequence[_Seen]) -> float | None:
    n_steps = seen[-1].n_generated - seen[0].n_generated if seen else 0
    return (seen[-1].at_s - seen[0].at_s) / n_steps if n_steps > 0 else None


def _read(data: str, endpoint: Endpoint) -> _Event:
    """Return one event of a stream. Raises BadResponse if it reports an error or has an unknown form."""
    if data == "[DONE]":
        return _Event(has_token=False, is_last=True)
    try:
        event = json.loads(data)
        if "error" in event:
            raise BadResponse(f"the server reports: {_error_words(event['error'], endpoint.api_key)}")
        if endpoint.dialect == "llama-server":
            timings = event.get("timings") or {}
            n_generated, is_last = int(event["tokens_predicted"]), bool(event["stop"])
            return _Event(not is_last and n_generated > 0, is_last, n_generated, timings.get("cache_n"))
        choice = event["choices"][0]
        has_full_length = choice.get("finish_reason") == "length"
        return _Event(bool(choice.get("text")), is_last=False, has_full_length=has_full_length)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadResponse(f"an event of the stream has an unknown form: {data[:80]!r}") from error


def _error_words(error: Any, api_key: str | None) -> str:
    return as_recorded(str(error.get("message", error)) if isinstance(error, dict) else str(error), api_key)
