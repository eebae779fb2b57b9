"""An output is the old one or the whole new one, whatever happens while it is written."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from ubm_embed.errors import Conflict
from ubm_embed.outputs import output_file, output_folder, require_free, require_writable, require_writable_folder

# How safetensors, polars and FAISS say it.
REFUSALS = [
    RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    OSError("No space left on device (os error 28)"),
    RuntimeError("failed: write error in index.faiss: 1048531 != 4096000 (No space left on device)"),
]


class StoppedError(Exception):
    pass


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its relative path, hidden ones too; no folder is left over."""
    assert not [entry for entry in folder.rglob("*.partial") if entry.is_dir()]
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def full_disk(monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def write_file(path, text="new", error=None):
    with output_file(path) as aside:
        aside.write_text(text)
        if error:
            raise error


def write_folder(path, text="new", error=None, overwrite=False):
    with output_folder(path, overwrite=overwrite) as aside:
        (aside / "sub").mkdir()
        (aside / "sub" / "file").write_text(text)
        if error:
            raise error


@pytest.mark.parametrize("below", ["out", "sub/out"])
@pytest.mark.parametrize("write", [write_file, write_folder, require_free, require_writable])
def test_nothing_is_written_below_a_file(tmp_path, write, below):
    (tmp_path / "log.csv").write_text("old")
    with pytest.raises(Conflict, match=r"log\.csv is a file, so that nothing can be written to .*out"):
        write(tmp_path / "log.csv" / below)
    assert contents(tmp_path) == {"log.csv": "old"}


@pytest.mark.parametrize("check", [require_writable, require_writable_folder])
class TestBeforeLongWork:
    def test_what_can_be_written_is_not_there_yet(self, tmp_path, check):
        check(tmp_path / "sub" / "out")
        assert contents(tmp_path) == {}

    def test_what_the_system_refuses_is_named(self, tmp_path, check, monkeypatch):
        def refuse(self):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

        monkeypatch.setattr(Path, "touch", refuse)
        with pytest.raises(PermissionError) as refused:
            check(tmp_path / "out")
        assert refused.value.filename == str(tmp_path / "out")


class TestFile:
    def test_appears_with_its_folders(self, tmp_path):
        write_file(tmp_path / "a" / "b" / "out")
        assert contents(tmp_path) == {"a/b/out": "new"}

    def test_is_not_seen_before_the_block_ends(self, tmp_path):
        (tmp_path / "out").write_text("old")
        with output_file(tmp_path / "out") as aside:
            aside.write_text("half")
            assert (tmp_path / "out").read_text() == "old"
            aside.write_text("whole")
        assert contents(tmp_path) == {"out": "whole"}

    @pytest.mark.parametrize("error", [StoppedError(), KeyboardInterrupt()])
    def test_an_error_leaves_the_old_one_and_nothing_else(self, tmp_path, error):
        (tmp_path / "out").write_text("old")
        with pytest.raises(type(error)):
            write_file(tmp_path / "out", error=error)
        assert contents(tmp_path) == {"out": "old"}

    def test_an_error_without_an_old_one_leaves_nothing(self, tmp_path):
        with pytest.raises(StoppedError):
            write_file(tmp_path / "out", error=StoppedError())
        assert contents(tmp_path) == {}

    @pytest.mark.usefixtures("full_disk")
    def test_a_full_disk_leaves_the_old_one_and_nothing_else(self, tmp_path):
        (tmp_path / "out").write_text("old")
        with pytest.raises(OSError, match="No space left") as caught:
            write_file(tmp_path / "out")
        assert caught.value.__notes__ == [f"nothing was written to {tmp_path / 'out'}"]
        assert contents(tmp_path) == {"out": "old"}

    @pytest.mark.parametrize("error", REFUSALS, ids=str)
    def test_a_library_that_reports_a_full_disk_in_its_own_way_is_understood(self, tmp_path, error):
        with pytest.raises(OSError, match="No space left") as caught:
            write_file(tmp_path / "out", error=error)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "out"))
        assert caught.value.__notes__ == [f"nothing was written to {tmp_path / 'out'}"]

    def test_a_full_disk_behind_another_error_is_found(self, tmp_path):
        """As PyTorch reports it."""
        with pytest.raises(OSError, match="No space left"), output_file(tmp_path / "out") as aside:  # noqa: PT012
            aside.touch()
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904

    def test_the_output_is_named_and_not_what_is_copied_into_it(self, tmp_path):
        refusal = OSError(errno.ENOSPC, "No space left on device", "input", None, ".out.1234.partial")
        with pytest.raises(OSError, match="No space left") as caught:
            write_file(tmp_path / "out", error=refusal)
        assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "out"), None)

    def test_another_error_stays_what_it_is(self, tmp_path):
        with pytest.raises(RuntimeError, match="os error 13"):
            write_file(tmp_path / "out", error=RuntimeError("Permission denied (os error 13)"))

    def test_of_a_link_the_target_is_replaced(self, tmp_path):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "real").write_text("old")
        (tmp_path / "out").symlink_to(tmp_path / "data" / "real")
        write_file(tmp_path / "out")
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "data" / "real").read_text() == "new"

    @pytest.mark.parametrize("taken", ["folder", os.devnull])
    def test_a_folder_or_a_device_is_refused_before_work(self, tmp_path, taken):
        (tmp_path / "folder").mkdir()
        with pytest.raises(Conflict, match="not a file"), output_file(tmp_path / taken):
            pytest.fail("asked to write before the conflict was seen")
        assert not Path(os.devnull).is_file()


class TestFolder:
    def test_appears_whole(self, tmp_path):
        write_folder(tmp_path / "a" / "out")
        assert contents(tmp_path) == {"a/out/sub/file": "new"}

    def test_may_take_the_place_of_an_empty_one(self, tmp_path):
        (tmp_path / "out").mkdir()
        write_folder(tmp_path / "out")
        assert contents(tmp_path) == {"out/sub/file": "new"}

    def test_a_filled_one_is_a_conflict_before_work(self, tmp_path):
        write_folder(tmp_path / "out", "old")
        with pytest.raises(Conflict, match="out exists already"), output_folder(tmp_path / "out"):
            pytest.fail("asked to write before the conflict was seen")
        assert contents(tmp_path) == {"out/sub/file": "old"}

    def test_overwrite_replaces_all_of_the_old_one(self, tmp_path):
        write_folder(tmp_path / "out", "old")
        (tmp_path / "out" / "stale").write_text("old")
        write_folder(tmp_path / "out", overwrite=True)
        assert contents(tmp_path) == {"out/sub/file": "new"}

    def test_overwrite_replaces_a_file(self, tmp_path):
        (tmp_path / "out").write_text("old")
        write_folder(tmp_path / "out", overwrite=True)
        assert contents(tmp_path) == {"out/sub/file": "new"}

    def test_overwrite_through_a_link_replaces_its_target(self, tmp_path):
        write_folder(tmp_path / "real", "old")
        (tmp_path / "out").symlink_to(tmp_path / "real")
        write_folder(tmp_path / "out", overwrite=True)
        assert (tmp_path / "out").is_symlink()
        assert contents(tmp_path / "real") == {"sub/file": "new"}

    @pytest.mark.parametrize("error", [StoppedError(), KeyboardInterrupt()])
    def test_an_error_leaves_the_old_one_and_nothing_else(self, tmp_path, error):
        write_folder(tmp_path / "out", "old")
        with pytest.raises(type(error)):
            write_folder(tmp_path / "out", error=error, overwrite=True)
        assert contents(tmp_path) == {"out/sub/file": "old"}

    def test_a_full_disk_leaves_the_old_one_and_nothing_else(self, tmp_path, request):
        write_folder(tmp_path / "out", "old")
        request.getfixturevalue("full_disk")
        with pytest.raises(OSError, match="No space left") as caught:
            write_folder(tmp_path / "out", overwrite=True)
        assert caught.value.filename == str(tmp_path / "out")
        assert caught.value.__notes__ == [f"nothing was written to {tmp_path / 'out'}"]
        assert contents(tmp_path) == {"out/sub/file": "old"}

    def test_an_error_once_the_new_one_is_in_place_does_not_claim_that_nothing_was_written(self, tmp_path, monkeypatch):
        write_folder(tmp_path / "out", "old")

        def refuse(_path, *, ignore_errors=False):
            if not ignore_errors:
                raise OSError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(OSError, match="Permission denied") as caught:
            write_folder(tmp_path / "out", overwrite=True)
        assert (tmp_path / "out" / "sub" / "file").read_text() == "new"
        assert not hasattr(caught.value, "__notes__")

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
    def test_an_error_between_the_two_renames_brings_the_old_one_back(self, tmp_path, monkeypatch, error):
        write_folder(tmp_path / "out", "old")
        replace, calls = os.replace, []

        def fail_second(source, target):
            calls.append(target)
            if len(calls) == 2:
                raise error
            replace(source, target)

        monkeypatch.setattr(os, "replace", fail_second)
        with pytest.raises(type(error)):
            write_folder(tmp_path / "out", overwrite=True)
        assert len(calls) == 3
        assert contents(tmp_path) == {"out/sub/file": "old"}

    def test_the_current_folder_has_a_name(self, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        write_folder(".")
        assert contents(tmp_path) == {"here/sub/file": "new"}


def test_what_is_free(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    require_free(tmp_path / "absent")
    require_free(tmp_path / "empty")
    require_free(tmp_path / "file", overwrite=True)
    with pytest.raises(Conflict, match="--overwrite"):
        require_free(tmp_path / "file")
