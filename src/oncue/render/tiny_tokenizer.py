"""Trains a small tokenizer of the Qwen2 kind: for models of a few million parameters and for tests.

It splits text and treats special tokens as the tokenizer of Qwen2.5-VL does, and carries a chat
template that gives the same text, so that a stock transformers user can use the folder it is saved
to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError
from oncue.render.actions import TextFormat
from oncue.render.markup import DEFAULT_SYSTEM, END_OF_TEXT, IM_END, STRUCTURAL_MARKS

SPECIAL_TOKENS = (END_OF_TEXT, *(mark for mark in STRUCTURAL_MARKS if mark != END_OF_TEXT))
_NUM_BYTES = 256
# One token per word, however rare in texts
_WHOLE_WORDS = (TextFormat().silence_text, "system", "user", "assistant")
_REPEATS = 20_000

# One message per loop: text as it is, each image as its three marks, videos likewise; a default
# system message.
CHAT_TEMPLATE = (
    "{%- macro show(content) -%}"
    "{%- if content is string -%}{{- content -}}"
    "{%- else -%}{%- for part in content -%}"
    "{%- if part.type == 'text' -%}{{- part.text -}}"
    "{%- elif part.type == 'image' or part.type == 'image_url' or 'image' in part -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part.type == 'video' or 'video' in part -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
    "{%- elif 'text' in part -%}{{- part.text -}}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{%- endmacro -%}"
    "{%- if not messages or messages[0].role != 'system' -%}"
    "{{- '<|im_start|>system\\n" + DEFAULT_SYSTEM + "<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' -}}{{- show(message.content) -}}{{- '<|im_end|>\\n' "
    "-}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A transformers `Qwen2Tokenizer` of at most `vocab_size` entries, special tokens included,
    trained on `texts`.

    `NO` and ` REPLY` are one token each, so silence costs three tokens with `<|im_end|>`. A small
    corpus runs out of merges and gives fewer entries than asked; round the model's vocabulary up.
    Special tokens get the last ids. Raises ConfigError where `vocab_size` has no room for the 256
    bytes, the special tokens and the silent reply.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    num_merged = vocab_size - len(SPECIAL_TOKENS)
    if num_merged < _NUM_BYTES + 32:
        raise ConfigError(
            f"vocab_size must be at least {_NUM_BYTES + 32 + len(SPECIAL_TOKENS)}, got {vocab_size}"
        )
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_merged,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_with_whole_words(texts), trainer)
    tokenizer = _wrap(core)
    if (num_silent := len(tokenizer.tokenize(TextFormat().silence_text))) != 2:
        raise ConfigError(
            f"the silent reply became {num_silent} tokens instead of 2; ask for a larger vocab_size"
        )
    return tokenizer


def save_tokenizer(texts: Iterable[str], vocab_size: int, folder: Path | str) -> Any:
    """Trains a tokenizer and writes it, chat template included, to `folder`; returns it."""
    tokenizer = train_tokenizer(texts, vocab_size)
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def _with_whole_words(texts: Iterable[str]) -> Iterable[str]:
    yield from texts
    yield from ("\n".join([words] * _REPEATS) for words in _WHOLE_WORDS)


def _wrap(core: Any) -> Any:
    from transformers import Qwen2Tokenizer

    model = json.loads(core.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=merges,
        unk_token=None,
        eos_token=IM_END,
        pad_token=END_OF_TEXT,
        extra_special_tokens=[m for m in SPECIAL_TOKENS if m not in (IM_END, END_OF_TEXT)],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
