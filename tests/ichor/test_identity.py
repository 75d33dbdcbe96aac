"""Derived UIDs: the same always, different where anything differs."""

from __future__ import annotations

import dataclasses
import re

from ichor.identity import ResultIdentity, derive_uid

IDENTITY = ResultIdentity(
    source_sop_instance_uids=("1.2.2", "1.2.1"),
    attributes_digest="a",
    model_digest="m",
    plan_digest="p",
    writer_version="1",
)


def test_a_uid_is_the_same_on_every_machine() -> None:
    """The value is fixed for ever: archives hold it."""
    # printf '["seg", "a", "b"]' | sha256sum: f3e22db85be048a0ec4737ef497c0b7b... as an integer
    assert derive_uid("seg", "a", "b") == "2.25.324176789380611773365707737671162137467"
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]{0,38})", derive_uid("seg", "a", "b"))


def test_parts_do_not_run_into_each_other() -> None:
    """The pair ab, c is not a, bc, and a kind is not a part."""
    uids = {derive_uid("k", "ab", "c"), derive_uid("k", "a", "bc"), derive_uid("k", "abc"), derive_uid("kab", "c")}
    assert len(uids) == 4


def test_order_of_arrival_is_no_part_of_the_identity() -> None:
    """The sources are a set."""
    assert IDENTITY.digest == dataclasses.replace(IDENTITY, source_sop_instance_uids=("1.2.1", "1.2.2")).digest


def test_everything_else_is() -> None:
    """One slice more, another registration, model, plan, writer, or a forced retry: another result."""
    others = [
        dataclasses.replace(IDENTITY, source_sop_instance_uids=("1.2.1",)),
        dataclasses.replace(IDENTITY, attributes_digest="b"),
        dataclasses.replace(IDENTITY, model_digest="b"),
        dataclasses.replace(IDENTITY, plan_digest="b"),
        dataclasses.replace(IDENTITY, writer_version="b"),
        dataclasses.replace(IDENTITY, generation=1),
    ]
    digests = {IDENTITY.digest, *(other.digest for other in others)}
    assert len(digests) == 7
    assert len({other.uid("seg") for other in others} | {IDENTITY.uid("seg"), IDENTITY.uid("sr")}) == 8
