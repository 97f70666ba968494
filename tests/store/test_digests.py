import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featx.store._chunks import chunk_rows
from featx.store._digests import BlockDigests, array_digest, block_digests, rows_per_block
from tests.store.helpers import make_features, save


@given(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=6), st.sampled_from(["float32", "float16"]))
def test_digests_do_not_depend_on_the_blocks_rows_arrive_in(rows, lengths, dtype):
    whole = make_features(sum(lengths), 2, 3, dtype=dtype)
    digests = BlockDigests(rows)
    for block in np.split(whole, np.cumsum(lengths)):
        digests.update(block)
    expected = [hashlib.sha256(whole[i : i + rows].tobytes()).hexdigest() for i in range(0, len(whole), rows)]
    assert digests.finish() == expected == block_digests(whole, rows)


def test_arrays_differ_by_dtype_shape_and_bytes():
    zeros = np.zeros(4, dtype="<i8")
    others = [zeros.reshape(2, 2), zeros.view("<u8"), np.zeros(5, dtype="<i8"), zeros + 1, np.array(b"abc")]
    assert len({array_digest(array) for array in (zeros, *others)}) == 6
    expected = hashlib.sha256(b"<i8 4\n" + bytes(32)).hexdigest()
    assert array_digest(zeros) == expected == array_digest(np.zeros(8, dtype="<i8")[::2])
    assert array_digest(np.empty(0, "S3")) == hashlib.sha256(b"|S3 0\n").hexdigest()


def test_a_block_is_about_a_mebibyte():
    assert rows_per_block(4) == 2**18
    assert rows_per_block(2048 * 4) == 128
    assert rows_per_block(2**30) == 1
    assert rows_per_block(2**20 // 63) == 63


def test_blocks_are_whole_chunks():
    for row_bytes in (*range(2, 70_000, 2), 2**20, 2**25):
        assert rows_per_block(row_bytes) % chunk_rows((10**9, row_bytes // 2), 2) == 0


def test_a_flipped_bit_in_the_features_shows_in_the_digest_of_its_block(tmp_path):
    store = save(tmp_path / "a.h5", make_features(1000, 2048))
    stored = store.checksums["features"]
    assert block_digests(store.features, stored["rows_per_block"]) == stored["blocks"]
    offset = store._layout.elements["features"].offset + (300 * 2048 + 5) * 4
    with (tmp_path / "a.h5").open("rb+") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    damaged = block_digests(store.features, stored["rows_per_block"])
    assert [i for i in range(8) if damaged[i] != stored["blocks"][i]] == [300 // 128]
