"""Damaged and hostile variants of the bytes of a file, drawn from a seed; of no kind in particular, then of ZIP, JSON
and HDF5 files and of pickles."""

import functools
import io
import json
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import nets
import numpy as np

Rng = np.random.Generator


def flipped(content: bytes, rng: Rng) -> bytes:
    made = bytearray(content)
    for position in rng.integers(len(made), size=rng.choice([1, 1, 1, 2, 8])):
        made[position] ^= 1 << int(rng.integers(8))
    return bytes(made)


def cut(content: bytes, rng: Rng) -> bytes:
    return content[: int(rng.integers(len(content)))]


def longer(content: bytes, rng: Rng) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 200)))


def zeroed(content: bytes, rng: Rng) -> bytes:
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def moved(content: bytes, rng: Rng) -> bytes:
    a, b = sorted(rng.integers(len(content), size=2).tolist())
    return content[b:] + content[a:b] + content[:a]


def doubled(content: bytes, rng: Rng) -> bytes:
    a, b = sorted(rng.integers(len(content), size=2).tolist())
    return content[:b] + content[a:b] + content[b:]


ANY = [flipped, flipped, flipped, cut, longer, zeroed, moved, doubled]


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(found: dict[str, bytes], twice: str | None = None, how: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in found.items():
            archive.writestr(name, data)
        if twice:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr(twice, found[twice])
    return buffer.getvalue()


def _one(found: dict[str, bytes], rng: Rng) -> str:
    return str(rng.choice(sorted(found)))


def without_member(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    del found[_one(found, rng)]
    return zipped(found)


def swapped_members(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    a, b = _one(found, rng), _one(found, rng)
    found[a], found[b] = found[b], found[a]
    return zipped(found)


def doubled_member(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    return zipped(found, twice=_one(found, rng))


def changed_member(content: bytes, rng: Rng) -> bytes:
    """Packed again, so that the checksum of the archive is right."""
    found = members(content)
    name = _one(found, rng)
    found[name] = ANY[int(rng.integers(len(ANY)))](found[name] or b"0", rng)
    return zipped(found)


def outside_member(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    name = _one(found, rng)
    return zipped({(f"../{key}" if key == name else key): data for key, data in found.items()})


def renamed_member(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    name = _one(found, rng)
    return zipped({(key[:-5] + "x" + key[-5:] if key == name else key): data for key, data in found.items()})


def encrypted(content: bytes, rng: Rng) -> bytes:
    made = bytearray(content)
    place = made.find(b"PK\x01\x02")
    made[place + 8] |= 1
    return bytes(made)


def bomb(content: bytes, rng: Rng) -> bytes:
    """A member of 2 GiB of zeros in 2 MB."""
    found, buffer = members(content), io.BytesIO()
    name = _one(found, rng)
    raw, checksum = _zeros()
    with zipfile.ZipFile(buffer, "w") as archive:
        for other in found.keys() - {name}:
            archive.writestr(other, found[other])
        info = zipfile.ZipInfo(name)
        info.compress_type, info.CRC, info.compress_size = zipfile.ZIP_DEFLATED, checksum, len(raw)
        info.file_size, info.header_offset = 2**31 - 2**20, archive.fp.tell()
        archive.fp.write(info.FileHeader(zip64=False) + raw)
        archive.filelist.append(info)
        archive.NameToInfo[name] = info
        archive.start_dir, archive._didModify = archive.fp.tell(), True
    return buffer.getvalue()


@functools.cache
def _zeros() -> tuple[bytes, int]:
    packer, checksum, raw = zlib.compressobj(1, zlib.DEFLATED, -15), 0, b""
    for _ in range(2**11 - 1):
        checksum = zlib.crc32(bytes(2**20), checksum)
        raw += packer.compress(bytes(2**20))
    return raw + packer.flush(), checksum


def lies_about_size(content: bytes, rng: Rng) -> bytes:
    """The directory says that a member is huge, or nothing."""
    made = bytearray(content)
    places = [i for i in range(len(made) - 4) if made[i : i + 4] == b"PK\x01\x02"]
    place = int(rng.choice(places))
    struct.pack_into("<I", made, place + 24, int(rng.choice([0, 1, 2**31, 2**32 - 2])))
    return bytes(made)


def huge_array(content: bytes, rng: Rng) -> bytes:
    """An array whose header declares any shape or type."""
    found = members(content)
    name = _one(found, rng)
    buffer = io.BytesIO()
    shape = [(2**40,), (2**31, 2**31), (-1,), (10**9, 0), (), (2**28,)][int(rng.integers(6))]
    descr = str(rng.choice(["<f8", "|b1", "|O", "<U0", "<U100000000", "|V8", "<i8", "|S0"]))
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    found[name] = buffer.getvalue() + rng.bytes(int(rng.integers(100)))
    return zipped(found)


def pickled_array(content: bytes, rng: Rng) -> bytes:
    found, buffer = members(content), io.BytesIO()
    np.save(buffer, np.array([Executed()], object), allow_pickle=True)
    found[_one(found, rng)] = buffer.getvalue()
    return zipped(found)


class Executed:
    """Ends the process if it is ever unpickled."""

    def __reduce__(self):
        import os

        return os._exit, (77,)


ZIP = [without_member, swapped_members, doubled_member, changed_member, changed_member, outside_member]
ZIP += [renamed_member, encrypted, bomb, lies_about_size, huge_array, pickled_array]

ODD = [None, True, -1, 10**400, 1e308, float("nan"), float("inf"), "", "text", [], {}, [[1]], {"a": {"b": []}}, 2**70]


def other_value(content: bytes, rng: Rng) -> bytes:
    values = json.loads(content)
    key = str(rng.choice(sorted(values)))
    values[key] = ODD[int(rng.integers(len(ODD)))]
    return json.dumps(values).encode()


def other_number(content: bytes, rng: Rng) -> bytes:
    values = json.loads(content)
    numbers = [key for key, value in values.items() if isinstance(value, (int, float)) and value == value]
    if numbers:
        values[str(rng.choice(sorted(numbers)))] += 1
    return json.dumps(values).encode()


def without_key(content: bytes, rng: Rng) -> bytes:
    values = json.loads(content)
    del values[str(rng.choice(sorted(values)))]
    return json.dumps(values).encode()


def deep(content: bytes, rng: Rng) -> bytes:
    opening = str(rng.choice(["[", '{"a":']))
    return (opening * int(rng.choice([900, 10**5]))).encode()


def key_twice(content: bytes, rng: Rng) -> bytes:
    return b'{"accuracy": 1, ' + content.lstrip()[1:]


def no_object(content: bytes, rng: Rng) -> bytes:
    return json.dumps(ODD[int(rng.integers(len(ODD)))]).encode()


JSON = [other_value, other_value, other_number, without_key, deep, key_twice, no_object]


def of_hdf5(change: Callable[[h5py.File, Rng], None]) -> Callable[[bytes, Rng], bytes]:
    """The change made with HDF5 itself, in a file without a digest."""

    def mutant(content: bytes, rng: Rng) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.h5"
            path.write_bytes(content)
            nets.unseal(path)
            with h5py.File(path, "r+") as file:
                change(file, rng)
            return path.read_bytes()

    return mutant


def _replaced(make: Callable[[h5py.File, str, Rng], None]) -> Callable[[bytes, Rng], bytes]:
    def change(file: h5py.File, rng: Rng) -> None:
        name = str(rng.choice(sorted(file)))
        del file[name]
        make(file, name, rng)

    return of_hdf5(change)


def _huge(file: h5py.File, name: str, rng: Rng) -> None:
    shape = [(10**13,), (2**28,), (2**20, 2**20), (0,), (2**14, 3)][int(rng.integers(5))]
    file.create_dataset(name, shape, rng.choice(["f8", "?", "u1"]), chunks=True, compression="gzip")


def _huge_chunk(file: h5py.File, name: str, rng: Rng) -> None:
    made = file.create_dataset(name, (8,), "f8", chunks=(2**26,), maxshape=(None,), compression="gzip")
    made.id.write_direct_chunk((0,), b"x" * 100)


def _attribute(file: h5py.File, rng: Rng) -> None:
    name = str(rng.choice(sorted(file.attrs)))
    odd = ["[]", "{}", "null", "[" * 10_000, "NaN", '"text"', 3, np.zeros(5), np.zeros((3, 3)), b"\xff", '{"a": 1e999}']
    file.attrs[name] = odd[int(rng.integers(len(odd)))]


def _virtual(file: h5py.File, name: str, rng: Rng) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (3,))
    file.create_virtual_dataset(name, layout)


HDF5 = [
    _replaced(lambda file, name, rng: None),
    _replaced(lambda file, name, rng: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "x"))),
    _replaced(lambda file, name, rng: file.__setitem__(name, h5py.SoftLink("/labels"))),
    _replaced(lambda file, name, rng: file.create_dataset(name, (30,), "u1", external=[("/etc/passwd", 0, 30)])),
    _replaced(lambda file, name, rng: file.create_dataset(name, data=["a", "b"])),
    _replaced(lambda file, name, rng: file.create_dataset(name, data=np.float64(3))),
    _replaced(lambda file, name, rng: file.create_dataset(name, data=h5py.Empty("f8"))),
    _replaced(lambda file, name, rng: file.create_dataset(name, data=np.full((4, 2), np.nan))),
    _replaced(lambda file, name, rng: file.create_group(name)),
    _replaced(lambda file, name, rng: file.__setitem__(name, file)),
    *map(_replaced, (_huge, _huge, _huge_chunk, _virtual)),
    of_hdf5(_attribute),
    of_hdf5(_attribute),
    of_hdf5(lambda file, rng: file.attrs.__delitem__(str(rng.choice(sorted(file.attrs))))),
]

# Opcodes that declare how many bytes follow, or repeat what was before.
HUGE = 2**33
STACKED = b"]" * 10**5 + b"."  # many empty lists, of which the last is the content
PICKLES = [
    b"\x80\x05\x96" + struct.pack("<Q", HUGE) + b"abc.",
    b"\x80\x05\x8e" + struct.pack("<Q", HUGE) + b"abc.",
    b"\x80\x05\x8d" + struct.pack("<Q", HUGE) + b"abc.",
    b"\x80\x05X" + struct.pack("<I", 2**32 - 1) + b"abc.",
    b"\x80\x05B" + struct.pack("<I", 2**32 - 1) + b"abc.",
    b"\x80\x05T" + struct.pack("<i", 2**31 - 1) + b"abc.",
    b"\x80\x05\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
    b"\x80\x05\x8b" + struct.pack("<i", -1) + b"abc.",
    b"\x80\x05\x95" + struct.pack("<Q", HUGE) + b"abc.",
    b"\x80\x05\x95" + struct.pack("<Q", 11) + b"\x96" + struct.pack("<Q", HUGE) + b"..",
    b"\x80\x05]q\x00" + b"h\x00h\x00h\x00h\x00e" * 4 + b".",
    b"\x80\x05]q\x00"
    + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    + b".",
    b"\x80\x05]q\x00h\x00a.",
    b"(" * 10**5 + b".",
    STACKED,
    b"\x80\x05r" + struct.pack("<I", 2**32 - 1) + b".",
    b"I" + b"9" * 10**5 + b"\n.",
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x05\x82\x01.",
    b"\x80\x05\x97.",
]


def other_pickle(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    name = next(key for key in found if key.endswith("data.pkl"))
    found[name] = PICKLES[int(rng.integers(len(PICKLES)))]
    return zipped(found, how=zipfile.ZIP_STORED)


def damaged_pickle(content: bytes, rng: Rng) -> bytes:
    found = members(content)
    name = next(key for key in found if key.endswith("data.pkl"))
    found[name] = ANY[int(rng.integers(len(ANY)))](found[name], rng)
    return zipped(found, how=zipfile.ZIP_STORED)


def old_pickle(content: bytes, rng: Rng) -> bytes:
    return PICKLES[int(rng.integers(len(PICKLES)))]


PICKLE = [other_pickle, other_pickle, damaged_pickle, damaged_pickle, damaged_pickle, old_pickle]
