"""A run of the pipeline as a process of its own, which a test can kill: URL, videos, out."""

from __future__ import annotations

import sys
from pathlib import Path

from oncue.data.chat_writer import ChatWriter, WriterOptions
from oncue.data.pipeline.build import build
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.steps import Models
from pipeline_model import FAST, SMALL, Listed, one


def main() -> None:
    url, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    options = WriterOptions(retries=FAST, cache=out.parent / f"{out.name}.sqlite3", max_at_once=4)
    writer = ChatWriter(url, "watcher", options, keep_cut=True)
    source = Listed((*(one(number) for number in range(6)), one(7, "absent.mp4")))
    models = Models(writer, writer, Prompts.read())
    build(source, folder, out, models, SMALL, num_processes=1, most_at_once=2).check()


if __name__ == "__main__":
    main()
