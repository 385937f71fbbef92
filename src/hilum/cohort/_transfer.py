"""One HTTP request for a file, or for what is missing of it (RFC 9110, sections 13.1.5 and 14).

A part grows as `NAME.part`; `NAME.part.json` says which version of the remote file it belongs to, so
that a file which changed in between is begun anew instead of being glued together from two versions.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.cohort._catalogue import RemoteFile
from hilum.errors import DownloadError
from hilum.files import write_text

if TYPE_CHECKING:
    import httpx

__all__ = ["PassingError", "Progress", "check_space", "discard", "length", "megabytes", "transfer"]

Progress = Callable[[int, int | None], None]  # bytes done, and bytes in all or None where unknown

_REDIRECTS = 5  # Mendeley needs one
_SPARE = 64 << 20  # bytes left free on the disk, so that the machine stays usable
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # the server may do better later


@dataclass(frozen=True, slots=True)
class _Version:
    """Which version of a remote file a part belongs to."""

    url: str
    etag: str
    modified: str
    total: int | None

    @property
    def validator(self) -> str:
        """What If-Range may carry: a strong entity tag, else a date (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class PassingError(Exception):
    """The connection or the server failed in a way that may pass."""


def transfer(web: "httpx.Client", file: RemoteFile, part: Path, progress: Progress | None) -> None:
    """Ask for what is missing of a part, and append it."""
    version = _read_version(part, file.url)
    have = length(part) if version and (version.validator or file.digest) else 0
    headers = {
        "Accept-Encoding": "identity"
    }  # lengths and ranges count the bytes of the file itself
    if have and version:
        if have == version.total:
            return
        headers["Range"] = f"bytes={have}-"
        if version.validator:
            headers["If-Range"] = version.validator
    with _open(web, file.url, headers) as response:
        if response.status_code == 416:
            # The part is longer than the file, or of another file. Nothing of it can be used.
            discard(part)
            raise PassingError("the server has no such range")
        start, total = _span(response, have)
        if start and version and _other_version(response, version, total):
            discard(part)
            raise PassingError("the file changed at its source while it was downloaded")
        if start == 0:
            discard(part)  # a full answer: the server ignores ranges, or the file has changed
        if file.bytes is not None and total is not None and total != file.bytes:
            discard(part)
            raise DownloadError(
                f"{file.url} has {total} bytes instead of {file.bytes}: the file has changed at its "
                "source, and hilum needs a newer version to know it"
            )
        if total is not None:
            check_space(part.parent, total - start, file.name)
        _write_version(part, _version_of(response, file.url, total))
        _append(response, part, start, total, progress)


def _append(
    response: "httpx.Response", part: Path, start: int, total: int | None, progress: Progress | None
) -> None:
    done = start
    with part.open("ab" if start else "wb") as sink:
        if progress:
            progress(done, total)
        for chunk in response.iter_raw():
            sink.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if total is not None and done < total:
        raise PassingError(f"the server closed the connection after {done} of {total} bytes")
    if total is not None and done > total:
        discard(part)
        raise PassingError(f"the server sent {done} bytes where it had announced {total}")


def _open(web: "httpx.Client", url: str, headers: dict[str, str]) -> "_Answer":
    """Send a request and follow redirects, to https only: a redirect must not undo encryption."""
    import httpx

    place = _address(url)
    for _ in range(_REDIRECTS + 1):
        response = web.send(
            web.build_request("GET", place, headers=headers), stream=True, follow_redirects=False
        )
        if not response.has_redirect_location:
            _refuse(response, url)
            return _Answer(response)
        response.close()
        try:
            place = place.join(response.headers["Location"])
        except httpx.InvalidURL as error:
            raise DownloadError(f"{url} redirects to an address that cannot be read") from error
        if place.scheme != "https":
            raise DownloadError(
                f"{url} redirects to {place.scheme}://{place.host}, which is not encrypted; "
                "it was not followed. Download the file in a browser if you trust it"
            )
    raise DownloadError(f"{url} redirects more than {_REDIRECTS} times; try again later")


class _Answer:
    """A response that is closed at the end of a block."""

    def __init__(self, response: "httpx.Response") -> None:
        self._response = response

    def __enter__(self) -> "httpx.Response":
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def _address(url: str) -> "httpx.URL":
    import httpx

    try:
        place = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise DownloadError(f"'{url}' is no web address") from error
    if place.scheme not in ("http", "https") or not place.host:
        raise DownloadError(f"'{url}' is no web address; only http and https are downloaded")
    return place


def _refuse(response: "httpx.Response", url: str) -> None:
    """Raise for every status that is not data."""
    status = response.status_code
    if status in (200, 206, 416):
        return
    response.close()
    if status in _TRY_AGAIN:
        raise PassingError(f"status {status}")
    reasons = {
        401: "asks for a login",
        403: "refuses the download",
        404: "is not there",
        410: "is gone",
    }
    raise DownloadError(
        f"{url} {reasons.get(status, 'cannot be downloaded')} (status {status}); "
        "download it in a browser into the same folder and run the command again"
    )


def _span(response: "httpx.Response", have: int) -> tuple[int, int | None]:
    """Return where the data begins and how long the whole file is."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = span.partition("-")[0]
    if unit != "bytes" or not start.isdigit() or int(start) != have or not have:
        raise DownloadError(
            f"{response.request.url.host} answers a request for a range with another range; "
            "delete the .part file and try again"
        )
    return have, int(total) if total.isdigit() else None


def _other_version(response: "httpx.Response", version: _Version, total: int | None) -> bool:
    """Say whether a server that overlooks If-Range has sent a range of another file."""
    etag = response.headers.get("ETag", "")
    return bool(etag and version.etag and etag != version.etag) or (
        total is not None and version.total is not None and total != version.total
    )


def _version_of(response: "httpx.Response", url: str, total: int | None) -> _Version:
    return _Version(
        url=url,
        etag=response.headers.get("ETag", ""),
        modified=response.headers.get("Last-Modified", ""),
        total=total,
    )


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_version(part: Path, url: str) -> _Version | None:
    """Return the version that a part belongs to, or None where it cannot be continued."""
    try:
        content = json.loads(_version_path(part).read_text(encoding="utf-8"))
        version = _Version(**content)
    except (OSError, ValueError, TypeError):
        return None
    return version if version.url == url else None


def _write_version(part: Path, version: _Version) -> None:
    write_text(_version_path(part), json.dumps(asdict(version), indent=2) + "\n")


def check_space(folder: Path, needed: int, what: str) -> None:
    """Make sure that a disk can take a number of bytes.

    Raises:
        DownloadError: If it cannot.
    """
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DownloadError(
            f"{what} needs {megabytes(needed + _SPARE)} MB and {folder} has "
            f"{megabytes(free)} MB free; free some, or choose a folder on another disk"
        )


def discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_path(part).unlink(missing_ok=True)


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def megabytes(count: int) -> int:
    return round(count / 1e6)
