"""Event files: what TensorBoard's own reader makes of them, and the checksums of the format."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

from models.training.curve import read_curve
from models.training.event_log import PREFIX, EventLog
from models.training.recipe import TrainingRecipe
from models.training.trainer import CURVE, train
from tests.models.training.small_heads import heads, recipe_of


def events_of(path: Path) -> list[Event]:
    """Read a file with another implementation's messages and checksums."""
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        body = content[at + 12 : at + 12 + length]
        for part, place in ((content[at : at + 8], at + 8), (body, at + 12 + length)):
            crc = crc32c(part)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack_from("<I", content, place) == (masked,)
        found.append(Event.FromString(body))
        at += 16 + length
    return found


def test_the_curve_is_in_the_event_files(tmp_path: Path) -> None:
    """Every step's loss, rate and validation by label; after an interruption the next file says where it goes on."""
    how = TrainingRecipe(steps=6, validate_every=3, checkpoint_every=2, precision="float32", threads=1)

    def stop(fraction: float) -> None:
        if fraction >= 5 / 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe_of(how), 1, heads(), tmp_path, on_progress=stop)
    train(recipe_of(how), 1, heads(), tmp_path)
    first, second = (events_of(path) for path in sorted(tmp_path.glob(f"{PREFIX}*")))
    assert first[0].file_version == second[0].file_version == "brain.Event:2"
    assert (second[1].session_log.status, second[1].step) == (SessionLog.START, 5)
    assert [event.step for event in first[1:]] == [1, 2, 3, 4, 5]
    assert [event.step for event in second[2:]] == [5, 6]
    said = {event.step: {one.tag: one.simple_value for one in event.summary.value} for event in first[1:] + second[2:]}
    for point in read_curve(tmp_path / CURVE):
        assert said[point["step"]]["loss"] == pytest.approx(point["loss"])
        assert said[point["step"]]["learning_rate"] == pytest.approx(point["learning_rate"])
        assert said[point["step"]].get("validation_dice") == pytest.approx(point.get("validation_dice"))
    assert "validation_dice_by_label/ICH" in said[6]


def test_numbers_of_every_size(tmp_path: Path) -> None:
    """Large steps and figures that do not exist: the former are whole, the latter left out."""
    log = EventLog(tmp_path, after_step=0)
    log.add({"step": 123_456_789, "loss": 1e-30, "by_label": {"IPH": None, "IVH": 0.5}})
    log.close()
    (path,) = tmp_path.iterdir()
    event = events_of(path)[-1]
    assert event.step == 123_456_789
    assert {one.tag: one.simple_value for one in event.summary.value} == {
        "loss": pytest.approx(1e-30),
        "by_label/IVH": 0.5,
    }
