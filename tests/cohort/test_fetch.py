"""Downloads are tested against a real web server on this machine, which misbehaves on request."""

import hashlib
import http.server
import io
import json
import shutil
import ssl
import stat
import subprocess
import sys
import threading
import zipfile
from collections import deque
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from hilum.cohort import _transfer
from hilum.cohort._download import download
from hilum.cohort._unpack import unpack_medmnist, unzip
from hilum.cohort.fetch import (
    FETCHED,
    MEDMNIST_SIZES,
    NAMES,
    DataSet,
    Form,
    RemoteFile,
    Retry,
    _describe_result,
    describe,
    fetch,
)
from hilum.errors import DownloadError, MissingExtraError

BODY = np.random.default_rng(0).bytes(3_000_000)
QUICK = Retry(attempts=4, first_wait=0.001, longest_wait=0.002)


class Server(http.server.ThreadingHTTPServer):
    """Serves one body with ranges and an entity tag; `plan` says how the next requests go wrong."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.etag = '"one"'
        self.modified = ""
        self.plan = deque()
        self.seen = []  # (path, Range, If-Range) of each request
        self.scheme = "http"

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/file.zip"

    def handle_error(self, request, client_address):
        pass  # a dropped connection is part of the tests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.seen.append((self.path, asked, condition))
        word, _, detail = (server.plan.popleft() if server.plan else "").partition(" ")
        if word == "status":
            self.send_response(int(detail))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if word == "redirect":
            self.send_response(302)
            self.send_header("Location", detail)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if word == "change":
            server.body, server.etag = server.body[::-1], '"two"'
        start = 0
        if asked and word != "ignore-range":
            fresh = condition in (None, server.etag, server.modified)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if fresh or word == "stale" else 0
        if start and start >= len(server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = server.body[start:]
        if start:
            self.send_response(206)
            shown = 0 if word == "wrong-range" else start
            end = len(server.body) - 1
            self.send_header("Content-Range", f"bytes {shown}-{end}/{len(server.body)}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.modified:
            self.send_header("Last-Modified", server.modified)
        if word == "no-length":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: int(detail)] if word == "drop" else data)
        if word == "drop":
            self.wfile.flush()
            self.close_connection = True


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def digest_of(body, name="sha256"):
    return f"{name}:{hashlib.new(name, body).hexdigest()}"


def remote(server, **changes):
    known = {"bytes": len(BODY), "digest": digest_of(BODY)}
    return RemoteFile(server.url, "file.zip", **(known | changes))


def names_in(folder):
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


# --- one file ---


def test_a_file_arrives_whole_with_progress(server, tmp_path):
    steps = []
    got = download(
        remote(server), tmp_path / "new", progress=lambda done, total: steps.append((done, total))
    )
    assert got.path.read_bytes() == BODY
    assert got.trust == "published"
    assert steps[0] == (0, len(BODY))
    assert steps[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert names_in(tmp_path / "new") == {"file.zip"}


def test_md5_is_checked_as_well(server, tmp_path):
    file = remote(server, digest=digest_of(BODY, "md5"))
    assert download(file, tmp_path).digest == file.digest


def test_a_complete_file_is_not_downloaded_again(server, tmp_path):
    download(remote(server), tmp_path)
    assert download(remote(server), tmp_path).trust == "published"
    assert len(server.seen) == 1


def test_dropped_connections_are_continued_where_they_stopped(server, tmp_path):
    server.plan.extend(["drop 700000", "drop 400000", "drop 100000"])
    got = download(remote(server), tmp_path, retry=QUICK)
    assert got.path.read_bytes() == BODY
    assert [asked for _, asked, _ in server.seen] == [
        None,
        "bytes=700000-",
        "bytes=1100000-",
        "bytes=1200000-",
    ]
    assert {condition for _, _, condition in server.seen[1:]} == {'"one"'}


def test_a_connection_that_always_drops_is_given_up_and_kept_for_later(server, tmp_path):
    server.plan.extend(["drop 1000"] * 4)
    with pytest.raises(DownloadError, match=r"failed 4 times in a row.*run the command again"):
        download(remote(server), tmp_path, retry=QUICK)
    assert (tmp_path / "file.zip.part").stat().st_size == 4000
    assert not (tmp_path / "file.zip").exists()
    assert download(remote(server), tmp_path, retry=QUICK).path.read_bytes() == BODY
    assert server.seen[-1][1] == "bytes=4000-"


def test_a_server_that_ignores_ranges_makes_the_download_start_again(server, tmp_path):
    server.plan.extend(["drop 700000", "ignore-range"])
    assert download(remote(server), tmp_path, retry=QUICK).path.read_bytes() == BODY


@pytest.mark.parametrize("how", ["change", "stale"])
def test_a_file_that_changes_midway_is_not_glued_together(server, tmp_path, how):
    # "stale": the server overlooks If-Range and sends a range of the new file.
    server.plan.append("drop 700000")
    file = remote(server, digest=None)
    with pytest.raises(DownloadError, match="failed 1 times"):
        download(file, tmp_path, retry=replace(QUICK, attempts=1))
    if how == "stale":
        server.body, server.etag = BODY[::-1], '"two"'
    server.plan.append(how)
    got = download(file, tmp_path, retry=QUICK)
    assert got.path.read_bytes() == BODY[::-1]
    assert got.trust == "first seen"


@pytest.mark.parametrize(
    ("etag", "modified", "condition"),
    [
        ('W/"weak"', "", None),
        ("", "Mon, 05 Jan 2026 10:00:00 GMT", "Mon, 05 Jan 2026 10:00:00 GMT"),
        ("", "", None),
    ],
)
def test_without_a_strong_tag_the_digest_decides_whether_to_go_on(
    server, tmp_path, etag, modified, condition
):
    server.etag, server.modified = etag, modified
    server.plan.append("drop 700000")
    assert download(remote(server), tmp_path, retry=QUICK).path.read_bytes() == BODY
    assert server.seen[-1][1:] == ("bytes=700000-", condition)


def test_without_tag_date_and_digest_nothing_is_continued(server, tmp_path):
    server.etag = ""
    server.plan.append("drop 700000")
    assert download(remote(server, digest=None), tmp_path, retry=QUICK).path.read_bytes() == BODY
    assert server.seen[-1][1] is None


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    server.plan.append("drop 700000")
    with pytest.raises(DownloadError):
        download(remote(server), tmp_path, retry=replace(QUICK, attempts=1))
    with (tmp_path / "file.zip.part").open("ab") as part:
        part.write(BODY)
    assert download(remote(server), tmp_path, retry=QUICK).path.read_bytes() == BODY
    assert [asked for _, asked, _ in server.seen] == [None, f"bytes={700000 + len(BODY)}-", None]


def test_a_part_that_is_already_whole_is_only_verified(server, tmp_path):
    server.plan.append("drop 700000")
    with pytest.raises(DownloadError):
        download(remote(server), tmp_path, retry=replace(QUICK, attempts=1))
    (tmp_path / "file.zip.part").write_bytes(BODY)
    assert download(remote(server), tmp_path).path.read_bytes() == BODY
    assert len(server.seen) == 1


def test_a_part_of_another_address_is_not_used(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.zip.part.json").write_text("{}")
    assert download(remote(server), tmp_path).path.read_bytes() == BODY
    assert server.seen[0][1] is None


def test_a_server_that_sends_another_range_is_refused(server, tmp_path):
    server.plan.extend(["drop 700000", "wrong-range"])
    with pytest.raises(DownloadError, match="answers a request for a range with another range"):
        download(remote(server), tmp_path, retry=QUICK)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_server_error_is_tried_again(server, tmp_path, status):
    server.plan.append(f"status {status}")
    assert download(remote(server), tmp_path, retry=QUICK).path.read_bytes() == BODY


@pytest.mark.parametrize(("status", "words"), [(404, "is not there"), (403, "refuses")])
def test_a_refusal_is_not_tried_again(server, tmp_path, status, words):
    server.plan.append(f"status {status}")
    with pytest.raises(DownloadError, match=f"{words}.*status {status}.*in a browser"):
        download(remote(server), tmp_path, retry=QUICK)
    assert len(server.seen) == 1


def test_a_server_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:9/x failed 2 times"):
        download(
            RemoteFile("http://127.0.0.1:9/x", "x"), tmp_path, retry=replace(QUICK, attempts=2)
        )


def test_another_length_than_known_is_refused_before_downloading(server, tmp_path):
    with pytest.raises(DownloadError, match="has 3000000 bytes instead of 5: the file has changed"):
        download(remote(server, bytes=5), tmp_path)
    assert names_in(tmp_path) == set()


def test_another_length_than_known_is_noticed_without_content_length(server, tmp_path):
    server.plan.append("no-length")
    with pytest.raises(DownloadError, match="has 3000000 bytes instead of 5"):
        download(remote(server, bytes=5), tmp_path)
    assert names_in(tmp_path) == set()


def test_a_file_without_content_length_arrives(server, tmp_path):
    server.plan.append("no-length")
    totals = []
    got = download(remote(server), tmp_path, progress=lambda done, total: totals.append(total))
    assert got.path.read_bytes() == BODY
    assert set(totals) == {None}


def test_a_wrong_digest_removes_the_file_and_says_both(server, tmp_path):
    wrong = "sha256:" + "0" * 64
    with pytest.raises(DownloadError, match=f"{digest_of(BODY)} instead of {wrong}"):
        download(remote(server, digest=wrong), tmp_path)
    assert names_in(tmp_path) == set()


def test_a_file_that_was_damaged_on_disk_is_noticed(server, tmp_path):
    download(remote(server), tmp_path)
    (tmp_path / "file.zip").write_bytes(BODY[:-1] + b"?")
    with pytest.raises(DownloadError, match="delete it and run the command again"):
        download(remote(server), tmp_path)


def test_an_unknown_digest_is_trusted_once_and_compared_later(server, tmp_path):
    file = remote(server, digest=None)
    assert download(file, tmp_path).trust == "first seen"
    assert download(file, tmp_path).trust == "as before"
    (tmp_path / "file.zip").unlink()
    server.body, server.etag = BODY[::-1], '"two"'
    with pytest.raises(DownloadError, match="but an earlier download had"):
        download(file, tmp_path)
    assert not (tmp_path / "file.zip").exists()


def test_a_full_disk_is_noticed_beforehand(server, tmp_path, monkeypatch):
    # The spare room is the one number here that a test can raise above every disk.
    monkeypatch.setattr(_transfer, "_SPARE", 1 << 62)
    with pytest.raises(
        DownloadError, match="MB free; free some, or choose a folder on another disk"
    ):
        download(remote(server), tmp_path)
    assert not (tmp_path / "file.zip.part").exists()


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "/etc/passwd", "http://"]
)
def test_only_web_addresses_are_downloaded(tmp_path, url):
    with pytest.raises(DownloadError, match="no web address"):
        download(RemoteFile(url, "x"), tmp_path)


def test_an_unencrypted_redirect_is_not_followed(server, tmp_path):
    server.plan.append(f"redirect {server.url}")
    with pytest.raises(
        DownloadError, match=r"redirects to http://127\.0\.0\.1, which is not encrypted"
    ):
        download(remote(server), tmp_path)
    assert len(server.seen) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_encrypted_redirects_are_followed_and_not_for_ever(server, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
            *["-subj", "/CN=t", "-addext", "subjectAltName=IP:127.0.0.1"],
            *["-keyout", key, "-out", certificate],
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    trust = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(verify=trust, trust_env=False) as client:
        server.plan.extend(["redirect /elsewhere", "drop 700000", "redirect /third"])
        got = download(remote(server), tmp_path / "a", retry=QUICK, client=client)
        assert got.path.read_bytes() == BODY
        paths = [path for path, _, _ in server.seen]
        assert paths == ["/file.zip", "/elsewhere", "/file.zip", "/third"]
        assert server.seen[-1][1] == "bytes=700000-"
        server.plan.extend(["redirect /again"] * 10)
        with pytest.raises(DownloadError, match="redirects more than 5 times"):
            download(remote(server), tmp_path / "b", client=client)


def test_an_interruption_leaves_the_part_for_the_next_time(server, tmp_path):
    def interrupt(done, total):
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(remote(server), tmp_path, progress=interrupt)
    assert (tmp_path / "file.zip.part").stat().st_size > 1_000_000
    assert download(remote(server), tmp_path).path.read_bytes() == BODY
    assert server.seen[-1][1] is not None


def test_two_downloads_of_one_file_do_not_meet(server, tmp_path):
    def meanwhile(done, total):
        with pytest.raises(DownloadError, match="another process is downloading"):
            download(remote(server), tmp_path)

    download(remote(server), tmp_path, progress=meanwhile)


def test_a_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file.zip.part").mkdir()
    with pytest.raises(DownloadError, match="cannot be written"):
        download(remote(server), tmp_path)


# --- archives ---


def zipped(files):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


GOOD = {
    "chest_xray/train/NORMAL/IM-0001-0001.jpeg": b"one",
    "chest_xray/test/PNEUMONIA/person1_virus_1.jpeg": b"two",
    "__MACOSX/chest_xray/train/._NORMAL": b"litter",
    "chest_xray/.DS_Store": b"litter",
    "chest_xray/train/._x.jpeg": b"litter",
}


def archive_in(folder, data):
    path = folder / "a.zip"
    path.write_bytes(data)
    return path


def test_an_archive_is_unpacked_without_what_desktops_leave_in_it(tmp_path):
    archive = archive_in(tmp_path, zipped(GOOD))
    steps = []
    assert unzip(archive, tmp_path / "out", progress=lambda *step: steps.append(step)) == 2
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert files == set(list(GOOD)[:2])
    assert steps == [(3, 6), (6, 6)]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "C:/evil", "a\\..\\evil", "good/../evil"]
)
def test_a_file_outside_the_folder_is_refused(tmp_path, name):
    archive = archive_in(tmp_path, zipped(GOOD | {name: b"!"}))
    with pytest.raises(DownloadError, match="names a file outside its folder"):
        unzip(archive, tmp_path / "out")
    assert names_in(tmp_path) == {"a.zip"}


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="holds a link"):
        unzip(archive, tmp_path / "out")


def test_a_file_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            opened.writestr("a", "2")
    with pytest.raises(DownloadError, match="one file twice"):
        unzip(tmp_path / "a.zip", tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    archive = archive_in(tmp_path, zipped({"a": bytes(10_000_000)}))
    assert archive.stat().st_size < 20_000
    with pytest.raises(DownloadError, match="more than the 1000000 that are allowed"):
        unzip(archive, tmp_path / "out", largest_total=1_000_000)
    assert names_in(tmp_path) == {"a.zip"}


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path):
    data = bytearray(zipped({"a": bytes(10_000_000)}))
    entry = data.rindex(b"PK\x01\x02")  # the central directory, which zipfile believes
    data[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
    archive = archive_in(tmp_path, bytes(data))
    with pytest.raises(DownloadError, match=r"larger than it says|damaged"):
        unzip(archive, tmp_path / "out")
    assert names_in(tmp_path) == {"a.zip"}


@pytest.mark.parametrize("cut", [10, 200])
def test_a_damaged_archive_is_named(tmp_path, cut):
    archive = archive_in(tmp_path, zipped(GOOD)[:-cut])
    with pytest.raises(DownloadError, match="damaged"):
        unzip(archive, tmp_path / "out")


def test_damaged_contents_leave_nothing_behind(tmp_path):
    data = zipped({"a.bin": BODY[:1000]}).replace(BODY[100:110], b"??????????")
    with pytest.raises(DownloadError, match="damaged"):
        unzip(archive_in(tmp_path, data), tmp_path / "out")
    assert names_in(tmp_path) == {"a.zip"}


def test_an_archive_without_files_is_refused(tmp_path):
    with pytest.raises(DownloadError, match="holds no files"):
        unzip(archive_in(tmp_path, zipped({"__MACOSX/x": b""})), tmp_path / "out")


def medmnist(side=28, label=1, images=5):
    rng = np.random.default_rng(1)
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (images, side, side), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.array([[0], *[[label]] * (images - 1)], dtype=np.uint8)
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue(), arrays


def test_medmnist_becomes_class_folders_with_the_same_pixels(tmp_path):
    data, arrays = medmnist()
    assert unpack_medmnist(archive_in(tmp_path, data), tmp_path / "out", size=28) == 15
    counts = {
        f"{path.parent.name}/{path.name}": len(list(path.iterdir()))
        for path in (tmp_path / "out").glob("*/*")
    }
    parts = ("train", "validation", "test")
    assert counts == {f"{part}/NORMAL": 1 for part in parts} | {f"{p}/PNEUMONIA": 4 for p in parts}
    name = "validation/PNEUMONIA/pneumoniamnist-validation-00003.png"
    assert np.array_equal(Image.open(tmp_path / "out" / name), arrays["val_images"][3])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (medmnist(label=2)[0], "labels 0 and 1"),
        (medmnist(side=64)[0], "square radiographs"),
        (b"no archive", "damaged or not PneumoniaMNIST"),
        (zipped({"x.npy": b""}), "damaged or not PneumoniaMNIST"),
    ],
)
def test_another_archive_is_not_taken_for_medmnist(tmp_path, data, words):
    with pytest.raises(DownloadError, match=words):
        unpack_medmnist(archive_in(tmp_path, data), tmp_path / "out", size=28)
    assert names_in(tmp_path) == {"a.zip"}


def test_a_pickle_in_a_numpy_archive_is_not_opened(tmp_path):
    sink = io.BytesIO()
    np.savez(sink, train_images=np.array([{"an": "object"}]))
    with pytest.raises(DownloadError, match="damaged or not PneumoniaMNIST"):
        unpack_medmnist(archive_in(tmp_path, sink.getvalue()), tmp_path / "out")


# --- data sets ---


def entry(server, **changes):
    usual = DataSet(
        name="own",
        title="An own set",
        citation="Nobody 2026",
        licence="CC0",
        homepage="https://example.org",
        size="1 kB",
        note="",
        form=Form.ZIP,
        file=RemoteFile(server.url, "file.zip", digest=digest_of(server.body)),
    )
    return replace(usual, **changes)


def test_a_zip_data_set_is_fetched_unpacked_and_found_again(server, tmp_path):
    server.body = zipped(GOOD)
    done = fetch(entry(server), tmp_path)
    assert done.source == (tmp_path / "radiographs" / "chest_xray").resolve()
    assert (done.source / "train/NORMAL/IM-0001-0001.jpeg").read_bytes() == b"one"
    assert done.files == 2
    assert done.licence == "CC0"
    assert f"hilum cohort build {done.source}" in done.hint
    record = json.loads((tmp_path / FETCHED).read_text())
    assert record["licence"] == "CC0"
    assert record["digest"] == digest_of(server.body)
    (tmp_path / "file.zip").unlink()  # who is short of room may delete the archive
    assert fetch(entry(server), tmp_path) == done
    assert len(server.seen) == 1


def test_a_medmnist_data_set_is_fetched(server, tmp_path):
    server.body, _ = medmnist()
    done = fetch(entry(server, form=Form.MEDMNIST), tmp_path)
    assert done.files == 15
    assert done.source == (tmp_path / "radiographs").resolve()
    assert "--patients each" in done.hint


def test_a_folder_takes_one_data_set(server, tmp_path):
    server.body = zipped(GOOD)
    fetch(entry(server), tmp_path)
    with pytest.raises(
        DownloadError, match="holds 'An own set', and one folder takes one data set"
    ):
        fetch(entry(server, name="other"), tmp_path)


def test_a_missing_folder_is_noticed(server, tmp_path):
    server.body = zipped(GOOD)
    shutil.rmtree(fetch(entry(server), tmp_path).source)
    with pytest.raises(DownloadError, match="is missing although"):
        fetch(entry(server), tmp_path)


def test_radiographs_of_unknown_origin_are_not_taken_over(server, tmp_path):
    (tmp_path / "radiographs").mkdir()
    with pytest.raises(DownloadError, match="nothing says that it is 'An own set' and whole"):
        fetch(entry(server), tmp_path)
    assert not server.seen


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_says_licence_size_and_citation(name):
    about = describe(name)
    assert about.name == name
    assert all([about.title, about.citation, about.licence, about.size, about.note])
    assert about.homepage.startswith("https://")
    if about.file is None:
        assert about.handle
    else:
        assert about.file.url.startswith("https://")
        kind, digits = about.file.digest.split(":")
        assert len(bytes.fromhex(digits)) == {"md5": 16, "sha256": 32}[kind]


@pytest.mark.parametrize("size", MEDMNIST_SIZES)
def test_pneumoniamnist_comes_in_sizes(size):
    about = describe("pneumoniamnist", size=size)
    suffix = "" if size == 28 else f"_{size}"
    assert f"/pneumoniamnist{suffix}.npz" in about.file.url


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(DownloadError, match="choose from kermany, kaggle, pneumoniamnist, rsna"):
        describe("nih")
    with pytest.raises(DownloadError, match="no size 32; choose from 28, 64, 128, 224"):
        describe("pneumoniamnist", size=32)
    with pytest.raises(DownloadError, match="one size only"):
        describe("kermany", size=28)


# --- Kaggle ---


@pytest.mark.parametrize("name", ["kaggle", "rsna"])
def test_kaggle_without_its_library_names_the_extra(tmp_path, monkeypatch, name):
    # None makes Python's own import fail, as it does where the library is not installed.
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError, match=r"Kaggle needs.*pip install 'hilum\[kaggle\]'"):
        fetch(name, tmp_path)


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """Kaggle's library without credentials."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))


def test_a_competition_without_login_says_how_to_log_in(nobody, tmp_path):
    with pytest.raises(DownloadError, match=r"KAGGLE_USERNAME.*kaggle\.json.*accept the rules at"):
        fetch("rsna", tmp_path / "rsna")


@pytest.fixture
def kaggle(nobody, monkeypatch):
    """A stand-in for Kaggle's server, at the address of kagglehub's own test environment.

    The library is the real one. `answer` is the status and the body of every answer.
    """
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_USERNAME", "nobody")
    monkeypatch.setenv("KAGGLE_KEY", "none")

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = self.server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.do_POST()

        def log_message(self, *args):
            pass

    try:
        server = http.server.ThreadingHTTPServer(("localhost", 7777), Answer)
    except OSError:
        pytest.skip("port 7777 is taken")
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_rules_that_were_not_accepted_are_named(kaggle, tmp_path):
    kaggle.answer = (403, b"")
    with pytest.raises(DownloadError, match=r"refuses 'rsna' \(status 403\).*accept the rules"):
        fetch("rsna", tmp_path / "rsna")


def test_a_wrong_key_is_named(kaggle, tmp_path):
    kaggle.answer = (401, b"")
    with pytest.raises(DownloadError, match=r"does not know you.*KAGGLE_KEY"):
        fetch("rsna", tmp_path / "rsna")


def test_a_competition_is_downloaded_and_found_again(kaggle, tmp_path):
    folder = rsna_folder(tmp_path / "made")
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    kaggle.answer = (200, zipped(files))
    done = fetch("rsna", tmp_path / "rsna")
    assert done.source.name == "rsna-cohort.csv"
    assert done.trust == "kaggle"
    kaggle.answer = (500, b"")
    assert fetch("rsna", tmp_path / "rsna") == done


def rsna_folder(folder: Path) -> Path:
    images = folder / "stage_2_train_images"
    images.mkdir(parents=True)
    rows = ["patientId,class"]
    for key, name in [
        ("a", "Normal"),
        ("b", "Lung Opacity"),
        ("b", "Lung Opacity"),
        ("c", "No Lung Opacity / Not Normal"),
    ]:
        (images / f"{key}.dcm").write_bytes(b"")
        rows.append(f"{key},{name}")
    (folder / "stage_2_detailed_class_info.csv").write_text("\n".join(rows) + "\n")
    return folder


def arrived(folder):
    from hilum.cohort._download import Downloaded

    return Downloaded(folder, "", "kaggle")


def test_the_rsna_set_gets_a_table_and_says_what_it_leaves_out(tmp_path):
    root = rsna_folder(tmp_path)
    done = _describe_result(describe("rsna"), root, arrived(root))
    assert done.source.read_text().split() == [
        "path,finding",
        "stage_2_train_images/a.dcm,normal",
        "stage_2_train_images/b.dcm,pneumonia",
    ]
    assert "1 files called neither were left out" in done.hint
    assert "--patients each" in done.hint


def test_an_incomplete_rsna_set_is_noticed(tmp_path):
    rsna_folder(tmp_path)
    (tmp_path / "stage_2_detailed_class_info.csv").unlink()
    with pytest.raises(DownloadError, match=r"lacks stage_2_detailed_class_info\.csv"):
        _describe_result(describe("rsna"), tmp_path, arrived(tmp_path))
