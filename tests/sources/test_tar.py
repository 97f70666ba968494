import io
import os
import tarfile
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.sources._location import DiskLocation
from featx.sources._tar import DamagedTar, tar_members

KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]

names = st.one_of(
    st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=12),
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.integers(95, 300).map(lambda length: "long/" * (length // 5) + "x"),
    st.integers(95, 300).map(lambda length: "x" * length),
).filter(lambda name: "\0" not in name and name.strip("/") == name)
members = st.lists(st.tuples(names, st.sampled_from(KINDS), st.integers(0, 1100)), max_size=8)


def opened(data):
    """Return bytes as a file on disk."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    location = DiskLocation(file.name)
    opened = location.open()
    os.unlink(file.name)
    return opened


def listed(data):
    with opened(data) as file:
        return [(name, member, file.pread(member.size, member.offset)) for name, member in tar_members(file)]


def write(entries, form, pax_headers=None):
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=form, encoding="utf-8", errors="surrogateescape", pax_headers=pax_headers
    ) as archive:
        for name, kind, size in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, 1.5  # which takes an extended header in POSIX's form
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = "elsewhere" * 20
            is_file = kind in (tarfile.REGTYPE, tarfile.CONTTYPE)
            info.size = size if is_file else 0
            archive.addfile(info, io.BytesIO(bytes([size % 256]) * size) if is_file else None)
    return stream.getvalue()


@settings(max_examples=200)
@given(entries=members, form=st.sampled_from(FORMS), comment=st.booleans())
def test_as_pythons_own_reader_sees_it(entries, form, comment):
    pax_headers = {"comment": "for all of them"} if comment and entries and form == tarfile.PAX_FORMAT else None
    try:
        data = write(entries, form, pax_headers)
    except ValueError:  # a name that is too long for the form
        return
    expected = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        for info in archive:
            if not info.isdir():
                content = archive.extractfile(info).read() if info.isreg() else b""
                expected.append((info.name, info.isreg(), content))
    found = [(name, member.regular, content) for name, member, content in listed(data)]
    assert found == expected


def test_sizes_beyond_octal_digits_and_sizes_in_records():
    large = tarfile.TarInfo("large")
    large.size = 9 * 2**30
    with pytest.raises(DamagedTar, match="ends within 'large'"):
        listed(large.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DamagedTar, match="ends within 'large'"):
        listed(large.tobuf(tarfile.PAX_FORMAT))


def test_files_with_holes_are_no_regular_files():
    """As GNU tar writes them, in its own form and in POSIX's."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("GNUSparseFile.0/holes.jpg")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes.jpg"}
        info.size = 600
        archive.addfile(info, io.BytesIO(bytes(600)))
        archive.addfile(tarfile.TarInfo("after"))
    assert [(name, member.regular) for name, member, _ in listed(stream.getvalue())] == [
        ("holes.jpg", False),
        ("after", True),
    ]
    header = bytearray(tarfile.TarInfo("old.jpg").tobuf(tarfile.GNU_FORMAT))
    header[156:157], header[482] = tarfile.GNUTYPE_SPARSE, 1
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    after = tarfile.TarInfo("after").tobuf(tarfile.GNU_FORMAT)
    assert [(name, member.regular) for name, member, _ in listed(bytes(header) + bytes(512) + after + bytes(1024))] == [
        ("old.jpg", False),
        ("after", True),
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "ends at byte 0"),
        (lambda data: b"no archive at all " * 100, "damaged at byte 0"),
        (lambda data: data[:1024] + b"\1" + data[1025:], "damaged at byte 1,024"),
        (lambda data: data[:1536], "ends within 'b'"),
        (lambda data: data[:1100], "damaged at byte 1,024"),
        (lambda data: data[:900], "ends at byte 900"),
    ],
)
def test_damage(damage, message):
    data = write([("a", tarfile.REGTYPE, 10), ("b", tarfile.REGTYPE, 10)], tarfile.USTAR_FORMAT)
    with pytest.raises(DamagedTar, match=message):
        listed(damage(data))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_header_about_the_next_one_without_a_next_one(form):
    data = write([("x" * 200, tarfile.REGTYPE, 0)], form)
    with pytest.raises(DamagedTar, match="ends at byte 1,024"):
        listed(data[:1024])


@pytest.mark.parametrize("size", ["-512", "1e3", "²", ""])
def test_sizes_that_are_none(size):
    """A size below zero would go round in circles."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.jpg")
        info.pax_headers = {"size": size}
        archive.addfile(info)
    with pytest.raises(DamagedTar, match="damaged at byte"):
        listed(stream.getvalue())
