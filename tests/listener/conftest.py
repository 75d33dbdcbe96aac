"""Fixtures of the listener: a receiver, and a listener on a free loopback port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ichor.catalogue.engine import Catalogue
from ichor.sections import DicomSettings, DiskSettings
from ichor.settings import Settings
from ichor.store import Store
from listener.dimse import serving
from listener.intake import receiving
from listener.receipt import Receiver
from tests.listener.running import Listener, ListRegister


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in a folder of the test."""
    return Store(tmp_path / "data")


@pytest.fixture
def register() -> ListRegister:
    """What a receiver under test tells."""
    return ListRegister()


@pytest.fixture
def receiver(store: Store, register: ListRegister) -> Receiver:
    """A receiver with room."""
    return Receiver(store, register, min_free_bytes=0)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """An empty catalogue."""
    opened = Catalogue.open(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a listener on a free port."""
    dicom = DicomSettings(port=0, idle_timeout_s=2, artim_timeout_s=1)
    return Settings(data_dir=tmp_path / "data", dicom=dicom, disk=DiskSettings(min_free_gb=0))


@pytest.fixture
def listener(settings: Settings, catalogue: Catalogue) -> Iterator[Listener]:
    """A running listener with its cataloguer."""
    with receiving(settings, catalogue) as receiver, serving(settings.dicom, receiver) as server:
        yield Listener(int(server.server_address[1]), settings, catalogue, receiver)
