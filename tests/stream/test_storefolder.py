"""Folders of stores: one holder at a time, a frozen holder is passed by, what is of no more use goes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from driftbus.schemas.errors import ConfigError
from driftbus.stream.worker.storefolder import StoreFolder, require_writable
from harness.process import Child, wait_for

HOLDER = """
import sys, time
from pathlib import Path
from driftbus.stream.worker.storefolder import StoreFolder
folder = StoreFolder.take(Path(sys.argv[1]), "e1-0")
(folder.path / "content").write_text("of the other process")
print("held", flush=True)
time.sleep(600)
"""


def test_what_was_released_is_found_again(tmp_path: Path) -> None:
    first = StoreFolder.take(tmp_path / "p", "e1-0")
    (first.path / "content").write_text("kept")
    first.release()
    second = StoreFolder.take(tmp_path / "p", "e1-0")
    assert (second.path / "content").read_text() == "kept"
    assert second.size > 0
    second.wipe()
    assert not (second.path / "content").exists()


def test_a_folder_that_is_held_is_not_taken_and_goes_when_it_is_free(tmp_path: Path) -> None:
    first = StoreFolder.take(tmp_path, "e1-0")
    second = StoreFolder.take(tmp_path, "e1-0")
    assert second.path != first.path
    assert first.path.exists()
    first.release()
    second.release()
    third = StoreFolder.take(tmp_path, "e1-0")
    assert third.path == second.path, "the newest one is the one that was used last"
    assert not first.path.exists()


def test_folders_of_another_epoch_go_but_not_one_that_is_held(tmp_path: Path) -> None:
    old, held = StoreFolder.take(tmp_path, "e0-0"), StoreFolder.take(tmp_path, "e0-7")
    old.release()
    new = StoreFolder.take(tmp_path, "e1-0")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([held.path.name, new.path.name])


def test_a_frozen_process_keeps_its_folder_and_a_killed_one_does_not(tmp_path: Path) -> None:
    place, log = tmp_path / "p", tmp_path / "log"
    frozen = Child([sys.executable, "-c", HOLDER, place], log)
    try:
        wait_for(lambda: "held" in log.read_text(), 30, "the other process to hold its folder")
        frozen.signal(signal.SIGSTOP)
        mine = StoreFolder.take(place, "e1-0")
        assert not (mine.path / "content").exists()
        mine.release()
        frozen.kill()
        again = StoreFolder.take(place, "e1-0")
        assert again.path == mine.path
        assert [p.name for p in place.iterdir()] == [mine.path.name]
    finally:
        frozen.kill()


def test_a_place_that_is_no_folder_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be used"):
        require_writable(tmp_path / "file")
    require_writable(tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
