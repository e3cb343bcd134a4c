"""Reads image files on a few threads, in order, and tells damaged files from a disk that fails."""

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import BinaryIO, TypeVar

from ganvas.data.source_types import MAX_FAILED, ImageFiles, Unreadable, disk_failure, find_disk_error
from ganvas.progress import progress_bar
from ganvas.reading import describe_reason

_CHUNK_SIZE = 32  # images per task, enough to hide the overhead of a task
_CHUNK_BYTES = 2**22  # of encoded files in a task, where they are read ahead: with all tasks in flight, some 100 MB

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_in_order(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
    """Runs `work` on a few threads, at most a few tasks ahead of the consumer; yields (task, result) in order.

    When the consumer stops early, Ctrl-C included, pending tasks are cancelled and the threads are joined.
    """
    workers = min(16, os.cpu_count() or 1)
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ganvas-decode")
    try:
        for task in tasks:
            waiting.append((task, pool.submit(work, task)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_files(
    read: Callable[[BinaryIO, int], Result],
    images: ImageFiles,
    indices: Sequence[int],
    failures: dict[int, str],
    title: str,
    progress: bool,
) -> Iterator[list[tuple[int, Result]]]:
    """Yields (index, the result of `read`) of some image files, a chunk at a time; adds those that fail to `failures`.

    Pillow's warnings are silenced: bad files are reported one by one elsewhere.

    Raises:
        GanvasError: the disk fails at some files, once the others are read, or at many.
    """
    withheld: dict[str, OSError] = {}

    def read_chunk(chunk: Sequence[tuple[int, bytes | Unreadable | None]]) -> list[tuple[int, Result]]:
        results = []
        for index, content in chunk:
            try:
                if isinstance(content, Unreadable):
                    raise content
                with images.open(index) if content is None else io.BytesIO(content) as file:
                    results.append((index, read(file, index)))
            except Exception as error:  # a single file must not end the reading of a whole data set
                if (failed := find_disk_error(error)) is not None:
                    withheld[images.names[index]] = failed
                elif isinstance(error, Unreadable):
                    failures[index] = str(error)
                else:
                    failures[index] = f"cannot be read: {describe_reason(error)}"
        return results

    with warnings.catch_warnings(action="ignore"), progress_bar(title, len(indices), shown=progress) as advance:
        for chunk, results in map_in_order(read_chunk, _chunks(images, indices)):
            if len(withheld) >= MAX_FAILED:
                break
            yield results
            advance(len(chunk))
    if withheld:
        raise disk_failure(withheld)


def _chunks(images: ImageFiles, indices: Sequence[int]) -> Iterator[list[tuple[int, bytes | Unreadable | None]]]:
    """Yields (index, content) of some files, a chunk at a time; the content is None where `images.open` reads it."""
    if images.stream is None:
        for first in range(0, len(indices), _CHUNK_SIZE):
            yield [(index, None) for index in indices[first : first + _CHUNK_SIZE]]
        return
    wanted, chunk, size = set(indices), [], 0
    with closing(images.stream()) as contents:  # type: ignore[type-var]
        for index, content in enumerate(contents):
            if index not in wanted:
                continue
            chunk.append((index, content))
            size += len(content) if isinstance(content, bytes) else 0
            if len(chunk) == _CHUNK_SIZE or size > _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
            if index == indices[-1]:
                break
    yield chunk
