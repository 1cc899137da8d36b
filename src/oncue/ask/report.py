"""Looks and the answer as they come: lines for people, and objects for programs."""

from __future__ import annotations

from typing import Any, TextIO

from oncue.ask.record import Asked, AskedTurn
from oncue.terminal import MovingLine, console_on
from oncue.types import Answer, Malformed, TimeSpan
from oncue.watch.report import clock_text, inert


def turn_line(turn: AskedTurn) -> dict[str, Any] | None:
    """The object of `--json` for a turn as it happens; None for an answer, which comes last with
    all that was seen for it (`answer_line`)."""
    action, acted = turn.acted.action, turn.acted
    common = {"turn": turn.number, "thought": acted.thought, "latency_ms": _short(acted.latency_ms)}
    if turn.span is not None:
        span = {"start_s": _short(turn.span.start_s), "end_s": _short(turn.span.end_s)}
        return {"type": "look", **span, "num_frames": turn.num_frames, **common}
    if isinstance(action, Malformed):
        return {"type": "malformed", "reason": action.reason, "text": action.text, **common}
    return None


def answer_line(asked: Asked) -> dict[str, Any]:
    """The last object of `--json`: the answer and what it rests on, or why there is none."""
    said: dict[str, Any] = {"type": "unanswered", "reason": asked.reason}
    if asked.answer is not None:
        thought = asked.turns[-1].acted.thought
        said = {
            "type": "answer",
            "answer": asked.answer,
            "option": asked.option,
            "thought": thought,
        }
    return {
        **said,
        "evidence": [[_short(span.start_s), _short(span.end_s)] for span in asked.evidence],
        "num_looks": len(asked.looks),
        "num_turns": len(asked.turns),
        "num_malformed": asked.num_malformed,
        "num_frames": asked.num_frames,
        "pool_frames": 0 if asked.pool is None else len(asked.pool),
        "duration_s": None if asked.pool is None else _short(asked.pool.duration_s),
        "source": asked.source,
        "model": asked.model,
        "question": asked.task.questions[0].text,
        "latency_ms": _short(asked.latency_ms),
        "read_s": _short(asked.read_s),
        "load_s": _short(asked.load_s),
        "stop": asked.stop,
    }


def _short(number: float) -> float:
    return round(number, 3)


class AskLines:
    """Prints looks and the answer for people on `stream`; plain lines where that is not a
    terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.spinner import Spinner

        self.console = console_on(stream)
        self._status = Spinner("dots", "opening the model", style="status.spinner")
        self._line = MovingLine(self.console, self._status)
        self._line.start()

    def doing(self, what: str) -> None:
        """Say on the moving line of a terminal what is being done."""
        self._status.update(text=what)

    def turned(self, turn: AskedTurn) -> None:
        """Print what the model did in a turn, but for an answer: `finished` prints that."""
        action = turn.acted.action
        if isinstance(action, Answer):
            return
        if isinstance(action, Malformed):
            self._print("unreadable", action.reason, turn.acted.latency_ms, style="yellow")
            return
        frames = _counted(turn.num_frames, "frame") if turn.is_look else "nothing more is shown"
        span = "" if turn.span is None else f"{span_text(turn.span)}, "
        self._print("look", f"{span}{frames}", turn.acted.latency_ms, style="cyan")
        self._print_thought(turn)

    def finished(self, asked: Asked) -> None:
        """The answer, what it rests on, and how it was found."""
        self.stop()
        if asked.answer is not None:
            last = asked.turns[-1]
            self._print_thought(last)
            self._print("answer", asked.option or asked.answer, last.acted.latency_ms, style="bold")
        elif asked.turns:
            self._print("no answer", asked.reason, style="yellow")
        if asked.evidence:
            spans = "; ".join(map(span_text, asked.evidence))
            self._print("evidence", spans)
        self.noted(summary_text(asked) if asked.turns else f"no answer: {asked.reason}")

    def noted(self, text: str) -> None:
        self.console.print(text, markup=False, style="dim")
        self.console.file.flush()

    def stop(self) -> None:
        self._line.stop()

    def _print_thought(self, turn: AskedTurn) -> None:
        if turn.acted.thought:
            self._print("why", turn.acted.thought, style="italic")

    def _print(
        self, kind: str, text: str, latency_ms: float | None = None, style: str = ""
    ) -> None:
        from rich.text import Text

        line = Text.assemble((f"{kind:>10}  ", "dim"), (inert(text), style))
        if latency_ms is not None:
            line.append(f"  ({latency_ms:.0f} ms)", style="dim")
        self.console.print(line)
        self.console.file.flush()


def span_text(span: TimeSpan) -> str:
    """A stretch for people: in seconds and, from a minute on, as a player shows it."""
    seconds = f"{span.start_s:.1f} s to {span.end_s:.1f} s"
    if span.end_s < 60:
        return seconds
    return f"{seconds} ({clock_text(span.start_s)} to {clock_text(span.end_s)})"


def summary_text(asked: Asked) -> str:
    """The closing line: how many looks it took, how many frames, how long."""
    how = "answered" if asked.answer is not None else "no answer"
    looks = f"after {_counted(len(asked.looks), 'look')}" if asked.looks else "without a look"
    parts = [f"{how} {looks}", f"{_counted(asked.num_frames, 'frame')} shown"]
    if asked.pool is not None:
        parts[-1] += f" of {len(asked.pool)} ({asked.pool.duration_s:.1f} s of video)"
    if asked.num_malformed:
        parts.append(f"unreadable {_counted(asked.num_malformed, 'turn')}")
    parts.append(f"model {asked.latency_ms / 1000:.1f} s")
    return ", ".join([*parts, f"after {asked.read_s + asked.load_s:.1f} s of reading and loading"])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
