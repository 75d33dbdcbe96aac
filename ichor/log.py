"""Logging: one line per event, named in snake case, keyed by job id and hashed UID, never with patient data."""

from __future__ import annotations

import hashlib
import logging
import sys

import structlog

HASH_LENGTH = 12
"""48 bits: enough to follow one study through the logs of a site, too few to be looked up elsewhere."""


def hashed_uid(uid: str) -> str:
    """Return the name under which logs speak of a study, a series or an instance."""
    return hashlib.sha256(uid.encode()).hexdigest()[:HASH_LENGTH]


def configure_logging(level: str, *, json: bool) -> None:
    """Send the events of this process, and the warnings of its libraries, to standard error.

    Args:
        level: `debug`, `info`, `warning` or `error`; libraries speak from `warning` up.
        json: one JSON object per line, for machines; otherwise columns, for people.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    tail: list[structlog.typing.Processor] = [structlog.processors.format_exc_info] if json else []
    structlog.configure(
        processors=[*shared, *tail, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail, renderer],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    # At its lower levels pynetdicom prints the identifiers of queries and the UIDs of instances.
    logging.getLogger("pynetdicom").setLevel(logging.ERROR)
