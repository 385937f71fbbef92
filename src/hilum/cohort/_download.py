"""One file from the web to disk: whole and verified, or not there at all.

The file grows as `NAME.part`, with `NAME.part.json` beside it to say which version of the remote file
it is a part of, and becomes `NAME` only after its length and digest are right. An interruption of any
kind leaves the part behind, and the next call goes on from there (RFC 9110, sections 13.1.5 and 14).
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.cohort._catalogue import RemoteFile
from hilum.cohort._transfer import PassingError, Progress, discard, length, megabytes, transfer
from hilum.errors import DownloadError
from hilum.files import ensure_folder, write_text

if TYPE_CHECKING:
    import httpx

__all__ = ["Downloaded", "Progress", "Retry", "download"]

_CHUNK = 1 << 20  # bytes per read while a digest is computed
_HEADWAY = 1 << 20  # bytes that a connection must bring before its failure counts as the first
_ANSWER_SECONDS, _SILENCE_SECONDS = 15.0, 60.0  # to connect, and between two pieces of data


@dataclass(frozen=True, slots=True)
class Retry:
    """How stubborn a download is.

    Attributes:
        attempts: How often a connection is tried without any progress in between.
        first_wait: Seconds before the second attempt; doubled after each further failure.
        longest_wait: Seconds beyond which the waiting does not grow.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A verified file.

    Attributes:
        path: Where it is.
        digest: `md5:` or `sha256:` and hexadecimal digits, as computed here.
        trust: How the digest was checked: "published" against the catalogue; "as before" against an
            earlier download; "first seen" when there was nothing to compare with.
    """

    path: Path
    digest: str
    trust: str


def download(
    file: RemoteFile,
    folder: Path,
    *,
    progress: Progress | None = None,
    retry: Retry | None = None,
    client: "httpx.Client | None" = None,
) -> Downloaded:
    """Download a file, or find it complete already.

    Args:
        file: What to fetch.
        folder: Where to; made when missing.
        progress: Called with the bytes on disk and their total.
        retry: How often and how long to try.
        client: Of httpx, to bring own certificates or a proxy; redirects are followed here, not there.

    Raises:
        DownloadError: If the address is no web address, the server refuses or keeps failing, the disk
            is too small, another process downloads the same file, or length or digest are wrong.
    """
    import filelock

    ensure_folder(folder)
    target = folder / file.name
    lock = filelock.FileLock(folder / f".{file.name}.lock")
    try:
        with lock.acquire(timeout=0):
            if not target.exists():
                _complete(file, target, progress, retry or Retry(), client)
                if file.digest is not None:  # just compared; no need to read a gigabyte again
                    return Downloaded(target, file.digest, "published")
            return _verified(file, target)
    except filelock.Timeout:
        raise DownloadError(
            f"another process is downloading {target}; wait for it, or end it first"
        ) from None
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written ({error.strerror or error}); free space or choose another folder"
        ) from error


def _complete(
    file: RemoteFile,
    target: Path,
    progress: Progress | None,
    retry: Retry,
    client: "httpx.Client | None",
) -> None:
    """Bring `NAME.part` to its full length, verify it and give it its name."""
    import httpx

    part = target.with_name(target.name + ".part")
    own = client is None
    web = client or httpx.Client(timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_ANSWER_SECONDS))
    failures = 0
    try:
        while True:
            before = length(part)
            try:
                transfer(web, file, part, progress)
                break
            except (PassingError, httpx.TransportError) as error:
                failures = 1 if length(part) - before >= _HEADWAY else failures + 1
                if failures >= retry.attempts:
                    raise DownloadError(
                        f"{file.url} failed {failures} times in a row, the last time with: {str(error) or type(error).__name__}; "
                        f"{megabytes(length(part))} MB are kept, run the command again to go on"
                    ) from error
                time.sleep(min(retry.first_wait * 2 ** (failures - 1), retry.longest_wait))
    finally:
        if own:
            web.close()
    if file.bytes is not None and length(part) != file.bytes:
        got = length(part)
        discard(part)
        raise DownloadError(
            f"{file.url} has {got} bytes instead of {file.bytes}: the file has changed at its source; "
            "it was removed, and hilum needs a newer version to know it"
        )
    if file.digest is not None and (got_digest := _digest(part, file.digest)) != file.digest:
        discard(part)
        raise DownloadError(
            f"{file.url} arrived with the digest {got_digest} instead of {file.digest}; the file was "
            "removed: run the command again, and if the digest is the same do not trust the source"
        )
    part.replace(target)
    discard(part)  # what is left of it: the note on its version


def _verified(file: RemoteFile, target: Path) -> Downloaded:
    """Check a complete file; where no digest is published, against what was seen the first time."""
    if file.digest is not None:
        found = _digest(target, file.digest)
        if found != file.digest:
            raise DownloadError(
                f"{target} has the digest {found} instead of {file.digest}; delete it and run the "
                "command again"
            )
        return Downloaded(target, found, "published")
    if file.bytes is not None and length(target) != file.bytes:
        raise DownloadError(
            f"{target} has {length(target)} bytes instead of {file.bytes}; delete it and run the "
            "command again"
        )
    found = _digest(target, "sha256:")
    record = target.with_name(target.name + ".digest.json")
    try:
        seen = json.loads(record.read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        content = {"digest": found, "bytes": length(target), "url": file.url}
        write_text(record, json.dumps(content, indent=2) + "\n")
        return Downloaded(target, found, "first seen")
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{record} cannot be read; delete it to record the digest anew"
        ) from error
    if seen != found:
        target.unlink()
        raise DownloadError(
            f"{file.url} has the digest {found}, but an earlier download had {seen}; the file was "
            f"removed. If the publisher announced a new version, delete {record.name} and try again"
        )
    return Downloaded(target, found, "as before")


def _digest(path: Path, like: str) -> str:
    """Return the digest of a file by the algorithm that another digest names."""
    name = like.partition(":")[0]
    # MD5 finds damage, and is all that some archives publish; it is no defence against an attacker.
    digest = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return f"{name}:{digest.hexdigest()}"
