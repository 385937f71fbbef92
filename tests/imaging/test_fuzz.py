"""Whatever the bytes, `read` returns a radiograph or raises `RadiographError`.

A short run for every change; `benchmarks/fuzz_read.py` is the long one, with crashes counted.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import RadiographError
from hilum.imaging import read
from tests.imaging.samples import every_sample

SAMPLES = list(every_sample().values())
STARTS = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", bytes(128) + b"DICM"]
STARTS += [bytes(128) + b"DICM" + b"\x02\0\x10\0UI\x04\x001.2\0", b"\x08\0\x05\0CS\0\0"]


def read_or_refuse(data: bytes, min_side: int | None = None) -> None:
    try:
        radiograph = read(data, min_side=min_side)
    except RadiographError as error:
        assert "\n" not in str(error)  # noqa: PT017 - a refusal is as good as a radiograph here
        return
    assert radiograph.pixels.size > 0
    assert radiograph.pixels.max() < 1 << radiograph.bit_depth
    assert radiograph.spacing is None or min(radiograph.spacing) > 0


@settings(max_examples=300, deadline=2000)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=600))
def test_arbitrary_bytes_are_read_or_refused(start, rest):
    read_or_refuse(start + rest)


@settings(max_examples=1500, deadline=2000)
@given(
    sample=st.sampled_from(SAMPLES),
    damage=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    ),
    reach=st.sampled_from([1.0, 0.1]),
    min_side=st.sampled_from([None, 8]),
)
def test_files_with_damaged_bytes_are_read_or_refused(sample, damage, reach, min_side):
    data = bytearray(sample)
    for where, value in damage:
        data[int(where * reach * len(data))] = value
    read_or_refuse(bytes(data), min_side)


@settings(max_examples=500, deadline=2000)
@given(sample=st.sampled_from(SAMPLES), where=st.floats(0, 1, exclude_max=True))
def test_files_cut_anywhere_are_refused(sample, where):
    with pytest.raises(RadiographError):
        read(sample[: int(where * len(sample))])


@settings(max_examples=500, deadline=2000)
@given(
    sample=st.sampled_from(SAMPLES),
    where=st.floats(0, 1, exclude_max=True),
    count=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_files_with_bytes_put_in_or_taken_out_are_read_or_refused(sample, where, count, seed):
    at = int(where * len(sample))
    noise = np.random.default_rng(seed).bytes(count)
    read_or_refuse(sample[:at] + noise + sample[at:])
    read_or_refuse(sample[:at] + sample[at + count :])
