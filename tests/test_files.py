"""Files are whole or absent."""

import hashlib
import os
import stat

import pytest

from hilum.errors import UsageError
from hilum.files import atomic_path, ensure_folder, sha256_of_file, write_text


def test_a_file_appears_whole_with_the_usual_permissions(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "grey levels")
    assert target.read_text() == "grey levels"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_made_is_said_clearly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        ensure_folder(tmp_path / "file" / "below")


def test_the_digest_is_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert sha256_of_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
