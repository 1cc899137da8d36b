"""Predictions as VLMEvalKit and lmms-eval write them.

VLMEvalKit: a table with the columns of the benchmark and `prediction`, as TSV or JSON. lmms-eval: a
samples file, JSON lines with `doc_id` and `filtered_resps`. Both hold the answer to an item as one
text, which here must be JSON: a list of records, or an object that has them under `records`,
`replies` or `response_events`. A record is a turn:

    {"video_span": [start, end], "answerable": "yes" or "no", "model_response"}    time: the end
    {"time", "text"}         `t` and `timestamp`, `content` and `response` are other names

A turn that is not answerable, or says nothing, is silent. Rows without `question_id` are joined to
items by their number, from 0, in the order of the annotation files.
"""

from __future__ import annotations

import ast
import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from oncue.errors import ConfigError, DataError
from oncue.eval.streams.predictions import Placed
from oncue.eval.streams.stream import Item, Prediction
from oncue.fields import IdText, Index, Seconds, Span, field_as, has_value
from oncue.json_files import json_rows
from oncue.render.actions import TextFormat
from oncue.types import TimedReply, TimeSpan

_log = logging.getLogger(__name__)
_VLMEVALKIT = 'a row of VLMEvalKit, {"question_id" or "index", "prediction"}'
_LMMS_EVAL = 'a sample of lmms-eval, {"doc_id", "filtered_resps"}'
_RECORDS = (
    'JSON records, [{"video_span": [start, end], "answerable", "model_response"}] or '
    '[{"time", "text"}]'
)
_FAILED = "Failed to obtain answer"  # what VLMEvalKit writes in place of an answer
_LISTS = ("records", "replies", "response_events")
_TIMES = ("time", "t", "timestamp")
_TEXTS = ("model_response", "text", "content", "response")
_LONGEST_CELL = 2**31 - 1  # characters; what csv takes by default is too short for a long video
_SILENCE = TextFormat().silence_text


def _ended(span: TimeSpan) -> TimeSpan:
    if span.end_s < 0:
        raise ValueError(f"must not end before 0 s, got [{span.start_s:g}, {span.end_s:g}]")
    return span


def _from_text(value: Any) -> Any:
    """The whole number of a cell, also of one that pandas wrote as 4.0."""
    text = str(value).removesuffix(".0")
    return int(text) if text.isdecimal() else value


_Round = Annotated[Span, AfterValidator(_ended)]
_Number = Annotated[Index, BeforeValidator(_from_text)]


def vlmevalkit_predictions(path: Path, items: Sequence[Item[Any]]) -> Iterator[Placed]:
    """The predictions in a file of VLMEvalKit; its failures have none.

    Raises ConfigError for a file that is neither TSV nor JSON, and DataError, with the row, for
    what cannot be read.
    """
    num_failed = 0
    for where, row in _table(path):
        value = field_as(Any, row, "prediction", where)
        if _is_failure(value):
            num_failed += 1
            continue
        item_id = _id_of(row, "index", items, where)
        yield where, _prediction_of(item_id, value, where)
    if num_failed:
        _log.warning("%s: %d rows hold no answer and count as missing", path, num_failed)


def lmms_eval_predictions(path: Path, items: Sequence[Item[Any]]) -> Iterator[Placed]:
    """The predictions in a samples file of lmms-eval. Raises DataError, with the line, for what
    cannot be read."""
    for where, row in json_rows(path, _LMMS_EVAL):
        value = field_as(Any, row, "filtered_resps", where)
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
            value = value[0]
        item_id = _id_of(row, "doc_id", items, where)
        yield where, _prediction_of(item_id, value, where)


def _table(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a TSV or JSON file, each with its place."""
    if path.suffix.lower() in (".json", ".jsonl"):
        yield from json_rows(path, _VLMEVALKIT)
        return
    if path.suffix.lower() != ".tsv":
        raise ConfigError(
            f"{path} is neither .tsv nor .json; run VLMEvalKit with PRED_FORMAT=tsv, or write the "
            "table again: pandas.read_excel(FILE).to_csv(FILE.tsv, sep='\\t', index=False)"
        )
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, delimiter="\t"), 1):
                yield f"{path}, row {number}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; expected {_VLMEVALKIT}") from error


def _is_failure(value: Any) -> bool:
    """Whether VLMEvalKit got no answer."""
    nothing = value is None or value != value  # an empty cell, which pandas writes as NaN
    return nothing or (
        isinstance(value, str) and (not value.strip() or value.strip().startswith(_FAILED))
    )


def _id_of(row: Mapping[str, Any], number_name: str, items: Sequence[Item[Any]], where: str) -> str:
    """The id of the item that a row is about."""
    if has_value(row, "question_id"):
        return field_as(IdText, row, "question_id", where)
    number: int = field_as(_Number, row, number_name, where)
    if number >= len(items):
        raise DataError(
            f"{where}: {number_name!r} is {number}, but the annotations have {len(items)} items, "
            "counted from 0; give the annotations that it was made for"
        )
    stream = items[number].stream
    asked = row.get("question", row.get("input"))
    texts = [question.text.strip() for question in stream.questions]
    if isinstance(asked, str) and texts and not any(text in asked for text in texts):
        raise DataError(
            f"{where}: it asks {asked!r:.80}, but item {number} of the annotations asks "
            f"{texts[0]!r:.80}; give the annotations that it was made for, in their order"
        )
    return stream.item_id


def _prediction_of(item_id: str, value: Any, where: str) -> Prediction:
    """What a cell says."""
    if isinstance(value, str):
        value = _parsed(value, where)
    if isinstance(value, Mapping):
        named = value.get("question_id", item_id)
        if str(named) != item_id:
            raise DataError(f"{where}: its answer is that to {named!r:.80}, not to {item_id!r}")
        value = next((value[name] for name in _LISTS if name in value), value)
    if not isinstance(value, list):
        raise DataError(f"{where}: the answer is {value!r:.80}; expected {_RECORDS}")
    turns = [_turn_of(record, f"{where}, record {n}") for n, record in enumerate(value, 1)]
    replies = tuple(TimedReply(time_s, text) for time_s, text in turns if text)
    rounds = [time_s for (time_s, _), record in zip(turns, value, strict=True) if _is_round(record)]
    if not rounds:
        return Prediction(item_id, replies)
    return Prediction(item_id, replies, max(rounds), len(turns), len(turns) - len(replies))


def _parsed(text: str, where: str) -> Any:
    """JSON, or Python's way of writing the same, which tables of pandas have."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{where}: the answer is text without times, {text!r:.60}; expected {_RECORDS}"
        ) from error


def _turn_of(record: Any, where: str) -> tuple[float, str]:
    """When a turn ended, and what it said; "" for silence."""
    if _is_round(record):
        time_s = field_as(_Round, record, "video_span", where).end_s
    else:
        time_s = field_as(Seconds, record, _name_in(record, _TIMES, where), where)
    if str(record.get("answerable", "yes")).strip().lower() != "yes":
        return time_s, ""
    text = record[_name_in(record, _TEXTS, where)]
    if text is not None and not isinstance(text, str):
        raise DataError(f"{where}: what was said must be text, got {text!r:.80}")
    said = (text or "").strip()
    return time_s, "" if said == _SILENCE else said


def _is_round(record: Any) -> bool:
    return isinstance(record, Mapping) and "video_span" in record


def _name_in(record: Any, names: Sequence[str], where: str) -> str:
    """The first of `names` that the record has."""
    for name in names:
        if isinstance(record, Mapping) and name in record:
            return name
    raise DataError(f"{where} is {record!r:.80}, without any of {', '.join(names)}")
