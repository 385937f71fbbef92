"""The `.hilum` file: round trip, and every way to damage it is refused by name."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.errors import ModelError
from hilum.model import load_model_file, save_model_file


def rewritten(path, target, change, *, digests=False):
    """Copy a .hilum file with its members changed; with right digests if asked."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if digests:
        import hashlib

        manifest = json.loads(members["manifest.json"])
        for name, entry in manifest["members"].items():
            entry["sha256"] = hashlib.sha256(members[name]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def test_a_file_reads_back_and_writes_the_same_bytes(model_path, tmp_path):
    model = load_model_file(model_path)
    digest = save_model_file(model, tmp_path / "again.hilum")
    assert digest == model.sha256
    assert (tmp_path / "again.hilum").read_bytes() == model_path.read_bytes()


def test_a_changed_member_is_refused_by_name(model_path, tmp_path):
    def lower_the_threshold(members):
        members["operating_points.json"] = members["operating_points.json"].replace(
            b"0.", b"0.0", 1
        )

    path = rewritten(model_path, tmp_path / "m.hilum", lower_the_threshold)
    with pytest.raises(ModelError, match=r"operating_points.json was changed"):
        load_model_file(path)


def test_a_changed_network_is_refused_by_name(model_path, tmp_path):
    def flip(members):
        data = bytearray(members["network.onnx"])
        data[len(data) // 2] ^= 1
        members["network.onnx"] = bytes(data)

    with pytest.raises(ModelError, match=r"network.onnx was changed"):
        load_model_file(rewritten(model_path, tmp_path / "m.hilum", flip))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(model_path, tmp_path, share):
    content = model_path.read_bytes()
    path = tmp_path / "m.hilum"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"truncated or no .hilum file"):
        load_model_file(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("gate.json"), "lacks its member gate.json"),
        (lambda m: m.update({"extra.py": b"print()"}), "carries what no classifier has: extra.py"),
        (lambda m: m.update({"manifest.json": b"{}"}), "manifest.json is damaged"),
        (
            lambda m: m.update(
                {"manifest.json": m["manifest.json"].replace(b'"schema": 1', b'"schema": 9')}
            ),
            "has schema 9, this hilum reads 1",
        ),
        (
            lambda m: m.update(
                {
                    "manifest.json": m["manifest.json"].replace(
                        b"hilum classifier", b"something else"
                    )
                }
            ),
            "no hilum classifier",
        ),
    ],
)
def test_a_file_that_is_not_whole_is_refused(model_path, tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        load_model_file(rewritten(model_path, tmp_path / "m.hilum", change))


@pytest.mark.parametrize(
    ("member", "old", "new", "message"),
    [
        ("preprocessing.json", b'"size"', b'"sized"', "preprocessing.json does not fit: size"),
        ("calibration.json", b'"scale"', b'"surprise"', "calibration.json does not fit"),
        ("labels.json", b'"normal"', b'"healthy"', "labels.json does not fit"),
    ],
)
def test_a_document_outside_its_schema_is_refused(model_path, tmp_path, member, old, new, message):
    def change(members):
        assert old in members[member]
        members[member] = members[member].replace(old, new, 1)

    with pytest.raises(ModelError, match=message):
        load_model_file(rewritten(model_path, tmp_path / "m.hilum", change, digests=True))


def test_a_pickle_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code ran')",))

    path = tmp_path / "m.hilum"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match=r"no .hilum file"):
        load_model_file(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"none.hilum cannot be read \(No such file"):
        load_model_file(tmp_path / "none.hilum")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_mutation_escapes_as_another_error(model_path, tmp_path, data):
    """A flipped byte anywhere outside the stored names and dates is found; none crashes."""
    content = bytearray(model_path.read_bytes())
    # Directory records lie at the end; aim half of the flips there and at the head.
    where = data.draw(
        st.one_of(
            st.integers(0, 2000),
            st.integers(len(content) - 2000, len(content) - 1),
            st.integers(0, len(content) - 1),
        )
    )
    content[where] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "m.hilum"
    path.write_bytes(bytes(content))
    original = load_model_file(model_path)
    try:
        loaded = load_model_file(path)
    except ModelError:
        return
    # What still loads must say the same in every part that matters.
    assert loaded.network == original.network
    assert loaded.operating_points == original.operating_points
    assert loaded.calibration == original.calibration


@given(content=st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "arbitrary.hilum"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        load_model_file(path)


def test_an_unknown_operating_point_names_those_that_are_there(model_path):
    model = load_model_file(model_path)
    with pytest.raises(ModelError, match="it has: sensitivity"):
        model.operating_point("specificity>=2")


def test_the_zip_opens_with_ordinary_tools(model_path):
    with zipfile.ZipFile(io.BytesIO(model_path.read_bytes())) as archive:
        assert archive.testzip() is None
        assert "card.md" in archive.namelist()


def test_a_compressed_member_is_refused(model_path, tmp_path):
    """hilum stores its members, so compression can only hide a bomb."""
    path = tmp_path / "m.hilum"
    with (
        zipfile.ZipFile(model_path) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="is compressed"):
        load_model_file(path)


def test_a_device_or_folder_is_no_classifier(tmp_path):
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(ModelError, match="is no file"):
            load_model_file(path)


@pytest.mark.parametrize(
    "wording", ["sensitivity-0.95", "sensitivity>=0.95", "sensitivity >= 0.95"]
)
def test_an_operating_point_is_found_by_its_name_and_its_aim(model_path, wording):
    assert load_model_file(model_path).operating_point(wording).name == "sensitivity-0.95"
