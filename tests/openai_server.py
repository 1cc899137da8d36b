"""A local HTTP server that speaks the OpenAI chat API as vLLM does, with a scripted model and
faults to order.

Written on asyncio's sockets, so that it can do what a real one may do: hang, cut an answer, send
nonsense, and see when a client leaves. It runs in a thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from server_faults import Cut, Event, Fault, Hang, Page, Slow, Status, Unfinished

Json = dict[str, Any]
Script = Callable[
    [Sequence[Json]], Sequence[str]
]  # messages up to a user turn -> the tokens of the greedy answer

STANDARD_FIELDS = frozenset(
    ("model", "messages", "max_tokens", "temperature", "stream", "logprobs", "top_logprobs", "stop")
)
PROBABLE, POSSIBLE, UNLIKELY = (
    0.8,
    0.15,
    0.05,
)  # of the written token, of " A", and of NO where it is not written
SILENCE_ID = 7  # the token id of NO


@dataclass(frozen=True)
class Received:
    """A chat request: its JSON, its headers (lower case), and when it came (monotonic seconds)."""

    body: Json
    headers: Mapping[str, str]
    arrived_s: float


class OpenAIServer:
    """The server; use it in a `with` statement. `faults` are spent one per chat request, None for
    none.

    `fields`: the fields a chat request may have, others are refused with 400; None: any, unknown
    ones are ignored. `continuation`: what becomes of `continue_final_message`. `refuse`: how a chat
    request is refused, None: it is not.
    """

    def __init__(
        self,
        script: Script,
        *,
        continuation: Literal["honoured", "ignored", "refused"] = "honoured",
        fields: frozenset[str] | None = None,
        models: Sequence[str] | None = ("watcher",),
        refuse: Callable[[Json], Status | None] = lambda _: None,
    ) -> None:
        self.script, self.continuation, self.fields, self.models = (
            script,
            continuation,
            fields,
            models,
        )
        self.refuse = refuse
        self.faults: deque[Fault | None] = deque()
        self.received: list[Received] = []
        self.num_open = self.most_open = (
            0  # chat requests that wait for their answer: now, and at most so far
        )
        self.num_left = 0  # clients that left before their answer was whole
        self.num_connected = 0  # connections that no side has closed
        self.url = ""
        self._someone_left = threading.Event()
        self._started = threading.Event()
        self._stop: Callable[[], Any] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._thread.join(10)

    @property
    def bodies(self) -> list[Json]:
        """The chat requests so far."""
        return [received.body for received in self.received]

    def all_disconnected(self, within_s: float = 10.0) -> bool:
        """Whether every connection is closed, or will be within that time."""
        until_s = time.monotonic() + within_s
        while self.num_connected and time.monotonic() < until_s:
            time.sleep(0.01)
        return not self.num_connected

    def someone_left(self, within_s: float = 10.0) -> bool:
        """Whether a client has left, or does within that time, before its answer was whole."""
        return self._someone_left.wait(within_s)

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await stopped.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connected += 1
        try:
            while request := await _read_request(reader):
                await self._answer(*request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.num_connected -= 1
            writer.close()

    async def _answer(
        self,
        path: str,
        headers: Json,
        body: Json,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if path == "/v1/models" and self.models is not None:
            listed = [
                {"id": name, "object": "model", "created": 0, "owned_by": "test"}
                for name in self.models
            ]
            _write_json(writer, 200, {"object": "list", "data": listed})
        elif path == "/v1/chat/completions":
            self.received.append(Received(body, headers, time.monotonic()))
            fault = (self.faults.popleft() if self.faults else None) or self.refuse(body)
            self.num_open += 1
            self.most_open = max(self.most_open, self.num_open)
            try:
                await self._answer_chat(body, headers, fault, reader, writer)
            finally:
                self.num_open -= 1
        else:
            _write_json(writer, 404, _error(404, f"there is no {path}"))
        await writer.drain()

    async def _answer_chat(
        self,
        body: Json,
        headers: Json,
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.by_s)
        wrong = self._what_is_wrong(body)
        if isinstance(fault, Status):
            message = fault.message.replace("{key}", headers.get("authorization", ""))
            _write_json(
                writer,
                fault.code,
                _error(fault.error_code or fault.code, message),
                fault.headers,
                fault.raw,
            )
        elif wrong:
            _write_json(writer, 400, _error(400, wrong))
        elif isinstance(fault, Page):
            _write_head(
                writer, 200, {"content-type": "text/html", "content-length": str(len(fault.text))}
            )
            writer.write(fault.text.encode())
        else:
            await self._stream(body, fault, reader, writer)

    def _what_is_wrong(self, body: Json) -> str:
        unknown = set(body) - self.fields if self.fields is not None else set()
        if unknown:
            return f"unknown fields {sorted(unknown)}"
        continued = body.get("continue_final_message", False)
        if continued and self.continuation == "refused":
            return "continue_final_message is not supported"
        if continued and (
            body.get("add_generation_prompt", True) or body["messages"][-1]["role"] != "assistant"
        ):
            return (
                "continue_final_message needs add_generation_prompt false and a final "
                "assistant message"
            )
        if self.models is not None and body["model"] not in self.models:
            return f"there is no model {body['model']!r}"
        return ""

    def _tokens(self, body: Json) -> list[str]:
        """What the model says from here on, without the closing token."""
        messages = body["messages"]
        *before, last = messages
        if last["role"] != "assistant":
            return list(self.script(messages))
        tokens = list(self.script(before))
        if self.continuation == "ignored":
            return tokens  # the template closes the message, and the model begins anew
        begun = last["content"]
        while begun:
            token = tokens.pop(0)
            assert begun.startswith(token), f"{begun!r} is not how this model begins"
            begun = begun[len(token) :]
        return tokens

    async def _stream(
        self,
        body: Json,
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        assert body["stream"] is True
        tokens, limit = self._tokens(body), body.get("max_tokens") or body["max_completion_tokens"]
        said = [_chunk({"role": "assistant", "content": ""})]
        said += [
            _chunk({"content": token}, logprobs=self._logprobs(body, token))
            for token in tokens[:limit]
        ]
        events = [*said, _chunk({}, finish="stop" if len(tokens) < limit else "length")]
        if (body.get("stream_options") or {}).get("include_usage"):
            num_read = sum(len(str(message["content"]).split()) for message in body["messages"])
            events.append(_usage(num_read, len(tokens[:limit])))
        events.append("[DONE]")
        if fault == Hang() or fault == Cut(None):
            events = []
        else:
            _write_head(
                writer, 200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
            )
        if isinstance(fault, Cut):
            events = events[: 1 + (fault.num_tokens or 0)] if events else []
        elif isinstance(fault, Unfinished):
            events = [*said, *([_chunk({}, finish=fault.reason), "[DONE]"] if fault.reason else [])]
        elif isinstance(fault, Event):
            events = [fault.text]
        elif fault == Hang(after_head=True):
            events = events[:1]
        for event in events:
            _write_chunk(writer, f"data: {event}\n\n")
        if isinstance(fault, Hang):
            with contextlib.suppress(
                ConnectionError
            ):  # a client that leaves something unread resets the connection
                await writer.drain()
                await reader.read()  # ends when the client leaves
            self.num_left += 1
            self._someone_left.set()
        elif isinstance(fault, Cut):
            await writer.drain()
            writer.transport.abort()
        else:
            _write_chunk(writer, "")

    def _logprobs(self, body: Json, token: str) -> Json | None:
        if not body.get("logprobs"):
            return None
        listed = [(token, PROBABLE)]
        if self.fields is None and SILENCE_ID in body.get("logprob_token_ids", ()):
            listed += [("NO", UNLIKELY)] if token != "NO" else []
        else:
            listed = [*listed, (" A", POSSIBLE)][: body.get("top_logprobs", 0)]
        top = [{"token": text, "logprob": math.log(p), "bytes": None} for text, p in listed]
        return {
            "content": [
                {"token": token, "logprob": math.log(PROBABLE), "bytes": None, "top_logprobs": top}
            ]
        }


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, Json, Json] | None:
    """Path, headers and JSON of the next request; None where the client has left."""
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return first.split()[1], headers, json.loads(content) if content else {}


def _chunk(delta: Json, finish: str | None = None, logprobs: Json | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return json.dumps(
        {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "watcher",
            "choices": [choice],
        }
    )


def _usage(num_read: int, num_written: int) -> str:
    counts = {
        "prompt_tokens": num_read,
        "completion_tokens": num_written,
        "total_tokens": num_read + num_written,
    }
    return json.dumps({**json.loads(_chunk({})), "choices": [], "usage": counts})


def _error(code: int | str, message: str) -> Json:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": code}}


def _write_json(
    writer: asyncio.StreamWriter,
    code: int,
    value: Json,
    headers: Mapping[str, str] | None = None,
    raw: str | None = None,
) -> None:
    content = (json.dumps(value) if raw is None else raw).encode()
    _write_head(
        writer,
        code,
        {
            "content-type": "application/json",
            "content-length": str(len(content)),
            **(headers or {}),
        },
    )
    writer.write(content)


def _write_head(writer: asyncio.StreamWriter, code: int, headers: Mapping[str, str]) -> None:
    lines = [
        f"HTTP/1.1 {code} {code}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    writer.write("\r\n".join(lines).encode("latin-1"))


def _write_chunk(writer: asyncio.StreamWriter, text: str) -> None:
    content = text.encode()
    writer.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
