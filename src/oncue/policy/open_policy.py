"""The one place that opens a policy: a model that runs here, a model behind a chat server, or a
script.

Light to import: torch and the engine are loaded when a model that runs here is opened, and for
nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload
from weakref import WeakSet

from oncue.errors import ConfigError, shown_address
from oncue.hub import BUNDLED_NAME
from oncue.render.base import ActionFormat
from oncue.render.markup import PROACTIVE_SYSTEM
from oncue.types import PolicySession, Task

if TYPE_CHECKING:
    from oncue.engine.engine import Engine
    from oncue.engine.sampling import SamplingParams
    from oncue.engine.session import EngineSession
    from oncue.engine.window import Window
    from oncue.model.loading import LoadedModel
    from oncue.policy.chat_server import ChatServer, ChatSession, ServerOptions

SessionT = TypeVar("SessionT", bound=PolicySession)
SessionT_co = TypeVar("SessionT_co", bound=PolicySession, covariant=True)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that runs here, and how its engine runs it.

    `model`: a name (see `oncue.hub`), or a model that is loaded; then `device`, `dtype` and
    `max_pixels` are settled, and raise ConfigError. These three as of `load_model`. `sampling`
    holds for all sessions: the engine draws for all of them at once. `window` bounds every session
    that is not opened with another one. `lookahead`, `lockstep` and `record` as of `EngineCore`.
    `graph_tokens`: the longest context, in tokens, that CUDA graphs are made for; None: no CUDA
    graphs. `autocast_dtype`: the name of the type that products are computed in, by default that of
    the weights.
    """

    model: str | Path | LoadedModel = BUNDLED_NAME
    device: str | None = None
    dtype: str | None = None
    max_pixels: int | None = None
    sampling: SamplingParams | None = None
    window: Window | None = None
    lookahead: int = 0
    graph_tokens: int | None = None
    lockstep: bool = False
    record: bool = False
    autocast_dtype: str | None = None

    def __post_init__(self) -> None:
        settled = (self.device, self.dtype, self.max_pixels) != (None, None, None)
        if settled and not isinstance(self.model, str | Path):
            raise ConfigError(
                "device, dtype and max_pixels of a loaded model are settled; give them to "
                "load_model"
            )

    @property
    def name(self) -> str:
        return str(self.model) if isinstance(self.model, str | Path) else self.model.name

    def load(self) -> LoadedModel:
        """The model in memory. Raises as `load_model`."""
        if not isinstance(self.model, str | Path):
            return self.model
        from oncue.model.loading import load_model

        return load_model(self.model, self.device, self.dtype, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True)
class ServerModel:
    """A model behind the chat server at `url`. `name` is the server's for it; None: its only
    one."""

    url: str
    name: str | None = None
    options: ServerOptions | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A policy without weights: `session_for(task)` makes the session of a dialogue; `task` is None
    where the opener named none."""

    session_for: Callable[[Task | None], PolicySession]
    name: str = "script"


PolicySpec = LocalModel | ServerModel | Script


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a record of scores says of how a policy ran: without it, nobody could tell two of the
    same name apart.

    `server` is its address without secrets. What runs there, and how, only the server knows:
    `device` and `dtype` are then None. So are those that a script has not. `context_tokens` None:
    the context is not bounded in tokens.
    """

    name: str
    server: str | None = None
    device: str | None = None
    dtype: str | None = None
    max_pixels: int | None = None
    context_tokens: int | None = None

    def as_json(self) -> dict[str, Any]:
        """All but the name, which records have elsewhere."""
        return {
            "server": self.server,
            "device": self.device,
            "dtype": self.dtype,
            "max_pixels": self.max_pixels,
            "context_tokens": self.context_tokens,
        }


class Policy(ABC, Generic[SessionT_co]):
    """An open policy, which gives sessions. Get one from `open_policy`; close it, or use it in a
    `with` statement."""

    def __init__(self, provenance: Provenance) -> None:
        self.provenance = provenance
        self._sessions: WeakSet[PolicySession] = WeakSet()
        self._closed = False

    @property
    def name(self) -> str:
        return self.provenance.name

    @property
    def default_system(self) -> str | None:
        """The system message of a session that is opened without one; None where there is none."""
        return None

    @abstractmethod
    def open(
        self,
        task: Task | None = None,
        *,
        system: str | None = None,
        seed: int | None = None,
        action_format: ActionFormat | None = None,
        last_turns: int | None = None,
    ) -> SessionT_co:
        """A session of one dialogue.

        `task`: what it will be about; only a script looks at it. `system`: the system message, by
        default the proactive one of the policy. `seed` starts the session's random numbers where
        they are drawn here; a server draws its own, a script none. `action_format`: the grammar
        that answers are read by, that of streams by default; a script needs none. `last_turns`: how
        many turns before the one that is shown stay in view; by default all that there is room for.
        Raises RuntimeError once the policy is closed, ConfigError for a `last_turns` below 0.
        """

    def _kept(self, session: SessionT) -> SessionT:
        """`session`, which `close` closes if nobody has before."""
        self._sessions.add(session)
        return session

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this policy is closed; open it again with open_policy")

    async def disconnect(self) -> None:
        """Close what belongs to the running event loop, such as connections. The next turn opens
        new ones."""

    def close(self) -> None:
        """Close the sessions that somebody still holds. Closing twice is fine."""
        self._closed = True
        while self._sessions:
            self._sessions.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalPolicy(Policy["EngineSession"]):
    """A model that runs here; `engine` answers its sessions together."""

    def __init__(self, engine: Engine, window: Window | None) -> None:
        loaded = engine.loaded
        bounded = window is not None and not window.when_full
        super().__init__(
            Provenance(
                loaded.name,
                device=loaded.device.type,
                dtype=str(loaded.dtype).removeprefix("torch."),
                max_pixels=loaded.renderer.frame_processor.max_pixels,
                context_tokens=window.max_tokens if window is not None and bounded else None,
            )
        )
        self.engine, self.window = engine, window

    @property
    def default_system(self) -> str:
        return self.engine.renderer.proactive_system

    def open(
        self,
        task: Task | None = None,  # noqa: ARG002
        *,
        system: str | None = None,
        seed: int | None = None,
        action_format: ActionFormat | None = None,
        last_turns: int | None = None,
        window: Window | None = None,
    ) -> EngineSession:
        """As of `Policy`; `window` bounds this session in place of the policy's. Raises as
        `Engine.open`, too."""
        self._check_open()
        if last_turns is not None:
            window = self.engine.window_of_turns(last_turns, window)
        return self._kept(self.engine.open(system, seed, window, action_format))

    def close(self) -> None:
        super().close()
        self.engine.close()


class ServerPolicy(Policy["ChatSession"]):
    """A model behind the chat server `server`."""

    def __init__(self, address: str, server: ChatServer) -> None:
        super().__init__(
            Provenance(
                server.model,
                server=shown_address(address),
                max_pixels=server.options.max_pixels,
                context_tokens=server.options.context_tokens,
            )
        )
        self.server = server

    @property
    def default_system(self) -> str:
        return PROACTIVE_SYSTEM

    def open(
        self,
        task: Task | None = None,  # noqa: ARG002
        *,
        system: str | None = None,
        seed: int | None = None,  # noqa: ARG002
        action_format: ActionFormat | None = None,
        last_turns: int | None = None,
    ) -> ChatSession:
        self._check_open()
        shown = PROACTIVE_SYSTEM if system is None else system
        return self._kept(self.server.open(shown, action_format, last_turns))

    async def disconnect(self) -> None:
        await self.server.aclose()


class ScriptedPolicies(Policy[PolicySession]):
    """Sessions without weights, each as `script` makes it."""

    def __init__(self, script: Script) -> None:
        super().__init__(Provenance(script.name))
        self._script = script

    def open(
        self,
        task: Task | None = None,
        *,
        system: str | None = None,  # noqa: ARG002
        seed: int | None = None,  # noqa: ARG002
        action_format: ActionFormat | None = None,  # noqa: ARG002
        last_turns: int | None = None,  # noqa: ARG002
    ) -> PolicySession:
        self._check_open()
        return self._kept(self._script.session_for(task))


@overload
def open_policy(spec: LocalModel) -> LocalPolicy: ...
@overload
def open_policy(spec: ServerModel) -> ServerPolicy: ...
@overload
def open_policy(spec: Script) -> ScriptedPolicies: ...
@overload
def open_policy(spec: PolicySpec) -> LocalPolicy | ServerPolicy | ScriptedPolicies: ...


def open_policy(spec: PolicySpec) -> LocalPolicy | ServerPolicy | ScriptedPolicies:
    """The policy of `spec`, open; whoever opens it closes it.

    A server is asked for the name of its model where `spec` gives none; not for use inside an event
    loop then. Raises ConfigError for anything but a spec and for settings that cannot be, and as
    `load_model` and `connect`.
    """
    match spec:
        case LocalModel():
            return _open_local(spec)
        case ServerModel():
            from oncue.policy.chat_server import connect

            return ServerPolicy(spec.url, connect(spec.url, spec.name, spec.options))
        case Script():
            return ScriptedPolicies(spec)
    raise ConfigError(
        f"a policy is opened from a LocalModel, a ServerModel or a Script, got {spec!r:.60}"
    )


def _open_local(spec: LocalModel) -> LocalPolicy:
    loaded = spec.load()
    if spec.graph_tokens is not None and loaded.device.type != "cuda":
        raise ConfigError(
            f"--cuda-graphs needs a CUDA device, got {loaded.device.type}; leave it out"
        )
    import torch

    from oncue.engine.engine import Engine, StaticShapes

    engine = Engine(
        loaded,
        spec.sampling,
        window=spec.window,
        lockstep=spec.lockstep,
        lookahead=spec.lookahead,
        shapes=None if spec.graph_tokens is None else StaticShapes.for_one(spec.graph_tokens),
        autocast_dtype=getattr(torch, spec.autocast_dtype) if spec.autocast_dtype else None,
        record=spec.record,
    )
    return LocalPolicy(engine, spec.window)
