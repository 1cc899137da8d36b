"""`completed`: results of any size come back without being written out as text."""

from __future__ import annotations

import asyncio
import signal

import pytest

from oncue.aio import completed, gathered


class Written:
    """Counts how often it was written out."""

    def __init__(self) -> None:
        self.times = 0

    def __repr__(self) -> str:
        self.times += 1
        return "Written()"


async def give(result: Written) -> Written:
    await asyncio.sleep(0)
    return result


@pytest.mark.parametrize("of_several", [False, True])
def test_a_result_is_not_written_out(of_several: bool) -> None:
    result = Written()
    if of_several:
        with asyncio.Runner() as runner:
            assert completed(give(result), runner) is result
            assert completed(give(result), runner) is result
    else:
        assert completed(give(result)) is result
    assert result.times == 0


def test_asyncio_itself_writes_it_out() -> None:
    """The control: were it otherwise, `completed` would have no reason to be."""
    result = Written()
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in the background a shell has it ignored
    try:
        assert asyncio.run(give(result)) is result
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.times > 0


def test_errors_pass() -> None:
    async def fail() -> None:
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        completed(fail())


def test_an_interrupt_in_a_task_ends_all_tasks_and_is_raised_once() -> None:
    ended: list[str] = []

    async def waits(name: str) -> None:
        try:
            if name == "meets it":
                await asyncio.sleep(0)
                raise KeyboardInterrupt("here")
            await asyncio.sleep(3600)
        finally:
            ended.append(name)

    async def group(name: str) -> None:
        await asyncio.gather(waits(name), waits("beside " + name))

    async def all_of_them() -> None:
        await asyncio.gather(group("meets it"), group("other"))

    with asyncio.Runner() as runner:
        with pytest.raises(KeyboardInterrupt, match="here"):
            completed(all_of_them(), runner)
        assert sorted(ended) == ["beside meets it", "beside other", "meets it", "other"]
        assert not asyncio.all_tasks(runner.get_loop())


def test_several_are_gathered_at_once_and_a_single_one_without_a_task() -> None:
    """In the order given, whichever ends first."""

    async def named(name: str, turns: int) -> tuple[str, int]:
        for _ in range(turns):
            await asyncio.sleep(0)
        return name, len(asyncio.all_tasks())

    assert asyncio.run(gathered([])) == []
    assert asyncio.run(gathered([named("alone", 1)])) == [("alone", 1)]
    both = asyncio.run(gathered([named("slow", 3), named("quick", 0)]))
    assert both == [("slow", 2), ("quick", 3)]
