#!/usr/bin/env python3
"""Checks exports of the exchange log: python3 verify.py --key KEY BUNDLE.zip...

Written from docs/log.md alone, apart from the program `seinhuis-verify`, so that two readers of that page have to
agree. Needs Python 3.9 or later and `cryptography` (Debian: python3-cryptography). Reads in bounded memory, needs no
network, writes nothing. Exit status: 0 all good, 1 not all good, 2 something could not be checked.
"""

import argparse
import base64
import binascii
import hashlib
import io
import itertools
import json
import re
import struct
import sys
import zlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KIB = 1024
FIRST = ["README.txt", "manifest.json", "checkpoint.txt"]
BEGIN = ["begin.txt", "consistency.txt"]
LARGE = ["entries.jsonl", "runs.txt", "proof.txt", "leaves.bin"]
VIEWS = ["entries.csv", "entries-excel.csv", "entries.xlsx", "report.html"]
TAIL = ["SHA256SUMS", "SHA256SUMS.note"]
MUST = set(FIRST + LARGE + TAIL)
POLICY = re.compile(r"policies/([0-9a-f]{64})\.txt")
COVENANT = re.compile(r"covenants/([0-9a-f]{64})\.cbor")
LARGEST_INTEGER = 2**53 - 1


class Unusable(Exception):
    """The key or the file is of no use: says nothing about a bundle."""


class Bad(Exception):
    """A check that does not hold."""

    def __init__(self, verdict, file, line, problem):
        super().__init__(problem)
        self.verdict, self.file, self.line, self.problem = verdict, file, line, problem
        # With a line that is not the log's: the first other check that does not hold.
        self.also = None


# --- the key and signed notes -----------------------------------------------------------------------------------


def base64_strictly(text):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return None
    return data if base64.b64encode(data).decode() == text else None


def is_name(name):
    return name != "" and "+" not in name and not any(c.isspace() or is_control(c) for c in name)


def is_control(char):
    return ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F


def is_strong_point(encoded):
    """Whether 32 bytes are the one encoding of a point of the curve that is not of small order."""
    p = 2**255 - 19
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    if y >= p:
        return False
    d = -121665 * pow(121666, -1, p) % p
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    if square != 0 and pow(square, (p - 1) // 2, p) != 1:
        return False
    # Doubling three times brings a point of small order to the neutral element, whose y is 1. Twice the point has
    # y = (y² + x²) / (1 - d·x²·y²) and, squared, x² = 4·x²·y² / (1 + d·x²·y²)².
    for _ in range(3):
        both = square * y * y % p
        y, square = (
            (y * y + square) * pow(1 - d * both, -1, p) % p,
            4 * both * pow(1 + d * both, -2, p) % p,
        )
    return y != 1


LOG, WITNESS = 1, 4


class Key:
    """A verifier key: name+id+base64, of a log or of a witness."""

    def __init__(self, text, kind=LOG):
        parts = text.split("+", 2)
        if len(parts) != 3 or not is_name(parts[0]):
            raise Unusable("the key is not name+id+key")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise Unusable("the key is not UTF-8")
        self.text, self.name = text, parts[0]
        data = base64_strictly(parts[2])
        if data is None or len(data) != 33 or data[0] != kind:
            raise Unusable("the key is not base64 of an Ed25519 key")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        if self.id.hex() != parts[1]:
            raise Unusable("the key's id is not that of the key and the name")
        if not is_strong_point(data[1:]):
            raise Unusable("the key is not a point of the curve, or of small order")
        self.point = data[1:]
        self.public = Ed25519PublicKey.from_public_bytes(self.point)

    def verifies(self, signature, message):
        if len(signature) != 64 or not is_strong_point(signature[:32]):
            return False
        try:
            self.public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def open(self, note):
        """The lines of a note that this key signed; ValueError says what does not hold."""
        body, signatures = read_note(note)
        claimed = [data for name, kid, data in signatures if (name, kid) == (self.name, self.id)]
        if not claimed:
            raise ValueError("has no signature by the log's key")
        if not all(self.verifies(data, body.encode()) for data in claimed):
            raise ValueError("has a signature that does not verify")
        return body[:-1].split("\n")

    def cosigned(self, note):
        """Whether this witness cosigned a note; ValueError when a line says so and does not verify."""
        body, signatures = read_note(note)
        claimed = [data for name, kid, data in signatures if (name, kid) == (self.name, self.id)]
        for data in claimed:
            time = int.from_bytes(data[:8], "big")
            message = f"cosignature/v1\ntime {time}\n{body}".encode()
            if len(data) != 72 or time >= 2**63 or not self.verifies(data[8:], message):
                raise ValueError("has a cosignature that does not verify")
        return bool(claimed)


def read_note(note):
    """Text and signatures (name, key id, bytes) of a note; ValueError says what does not hold."""
    try:
        note = note.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if any(ord(c) < 0x20 and c != "\n" for c in note):
        raise ValueError("has a control character")
    body, empty, lines = note.rpartition("\n\n")
    if not empty or not lines.endswith("\n"):
        raise ValueError("is not lines, an empty line, and signatures")
    signatures = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or not is_name(parts[1]):
            raise ValueError("has a line among its signatures that is none")
        data = base64_strictly(parts[2])
        if data is None or len(data) < 5:
            raise ValueError("has a signature that is not base64 or too short")
        signatures.append((parts[1], data[:4], data[4:]))
    return body + "\n", signatures


# --- the policy -------------------------------------------------------------------------------------------------


class PolicyError(Exception):
    """A text that is no policy, and the line, or nothing when it is about the whole."""

    def __init__(self, line, problem):
        super().__init__(problem)
        self.line, self.problem = line, problem


class Policy:
    """A C2SP tlog-policy: logs, witnesses, groups of them, and which have to have cosigned."""

    MOST = 64

    def __init__(self, text):
        self.text, self.logs, self.witnesses = text, [], []
        # For each name: a witness, or how many of which names.
        self.rules, self.members, self.quorums, self.groups = {}, set(), [], 0
        if len(text) > 64 * KIB:
            raise PolicyError(None, "is longer than 64 KiB")
        if text and not text.endswith(b"\n"):
            raise PolicyError(None, "does not end with a newline")
        for at, line in enumerate(text.split(b"\n")[:-1], 1):
            problem = self.read(line)
            if problem:
                raise PolicyError(at, problem)
        if not self.quorums:
            raise PolicyError(None, "has no quorum")

    def read(self, line):
        """Takes a line; says what is wrong with it, if anything."""
        if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line):
            return "has a control character"
        items = [item for item in re.split(rb"[ \t]+", line) if item]
        if not items or items[0].startswith(b"#"):
            return None
        word, rest = items[0], items[1:]
        if word == b"log" and len(rest) in (1, 2):
            return self.read_key(self.logs, rest[0], LOG)
        if word == b"witness" and len(rest) in (2, 3):
            problem = self.read_key(self.witnesses, rest[1], WITNESS)
            return problem or self.define(rest[0], self.witnesses[-1])
        if word == b"group" and len(rest) >= 2:
            return self.read_group(*rest[:2], rest[2:])
        if word == b"quorum" and len(rest) == 1:
            if self.quorums:
                return "is a second quorum"
            self.quorums.append(rest[0])
            return None if rest[0] == b"none" or rest[0] in self.rules else "names what no line before it defines"
        return "is none of a policy"

    def read_key(self, keys, text, kind):
        try:
            key = Key(text.decode("utf-8"), kind)
        except (UnicodeDecodeError, Unusable):
            return "has a key that is none for Ed25519 in this place"
        if key.point in (other.point for other in keys):
            return "has a key that is there already"
        keys.append(key)
        return "is one too many" if len(keys) > self.MOST else None

    def define(self, name, rule):
        if name == b"none" or name in self.rules:
            return "has a name that is taken"
        self.rules[name] = rule
        return None

    def read_group(self, name, threshold, members):
        least = {b"any": 1, b"all": len(members)}.get(threshold, number(threshold))
        if not members or not least or least > len(members):
            return "has a threshold that is none, or fewer members than it asks for"
        for member in members:
            if member not in self.rules:
                return "names what no line before it defines"
            if member in self.members:
                return "has a member that is one already"
            self.members.add(member)
        self.groups += 1
        return "is one too many" if self.groups > self.MOST else self.define(name, (least, members))

    def judge(self, note, key):
        """How many witnesses cosigned, of how many, and whether they suffice; ValueError when something is wrong."""
        if self.logs and key.text not in (log.text for log in self.logs):
            raise ValueError("is of a log that the policy does not name")
        signed = {witness.text for witness in self.witnesses if witness.cosigned(note)}
        met = {}
        # A rule names only those before it.
        for name, rule in self.rules.items():
            met[name] = rule.text in signed if isinstance(rule, Key) else sum(map(met.get, rule[1])) >= rule[0]
        return len(signed), len(self.witnesses), self.quorums == [b"none"] or met[self.quorums[0]]


# --- the archive ------------------------------------------------------------------------------------------------


class Member:
    """One member: its header, its bytes, its sums."""

    def __init__(self, file, name, start, header):
        self.file, self.name, self.start = file, name, start
        self.flags, self.method, self.crc, self.packed, self.size = header
        self.sha256 = None

    def bad(self, problem):
        return Bad("bad-archive", self.name, None, problem)

    def limit(self):
        if self.name in FIRST + BEGIN + TAIL[1:] or self.name.startswith("policies/"):
            return 64 * KIB
        if self.name == "SHA256SUMS" or self.name.startswith("covenants/"):
            return 1024 * KIB
        return 256 * self.packed

    def pieces(self):
        """The unpacked bytes, in pieces; Bad when they are not what the header says."""
        self.file.seek(self.start)
        position, left, given, crc, digest = self.start, self.packed, 0, 0, hashlib.sha256()
        inflater = zlib.decompressobj(-15) if self.method == 8 else None
        while True:
            self.file.seek(position)
            packed = self.file.read(min(left, 64 * KIB))
            if left and not packed:
                raise self.bad("is cut off")
            position += len(packed)
            left -= len(packed)
            while True:
                if inflater is None:
                    out, packed = packed, b""
                else:
                    try:
                        out = inflater.decompress(packed, 256 * KIB)
                    except zlib.error:
                        raise self.bad("does not unpack") from None
                    packed = inflater.unconsumed_tail
                    if inflater.unused_data:
                        raise self.bad("has bytes after its end")
                given += len(out)
                if given > self.size:
                    raise self.bad("unpacks to more than it says")
                crc = zlib.crc32(out, crc)
                digest.update(out)
                if out:
                    yield out
                if not packed and len(out) < 256 * KIB:
                    break
            if left == 0:
                break
            if inflater is not None and inflater.eof:
                raise self.bad("has bytes after its end")
        if inflater is not None and not inflater.eof:
            raise self.bad("ends in the middle")
        if given != self.size or crc != self.crc:
            raise self.bad("does not have the size and checksum it says")
        self.sha256 = digest.hexdigest()

    def content(self):
        return b"".join(self.pieces())

    def lines(self, most):
        """The lines without their newline; None for a last one without newline, or one above `most` bytes."""
        rest = b""
        for piece in self.pieces():
            whole = (rest + piece).split(b"\n")
            rest = whole.pop()
            for line in whole:
                if len(line) > most:
                    yield None
                    return
                yield line
            if len(rest) > most:
                yield None
                return
        if rest:
            yield None


class Archive:
    """The members of a bundle whose structure holds to the byte."""

    def __init__(self, file):
        self.file = file
        file.seek(0, 2)
        self.length = file.tell()
        try:
            self.members = self.read_directory(*self.find_directory())
        except struct.error:
            raise self.bad("is cut off") from None
        self.check_names()
        self.by_name = {member.name: member for member in self.members}

    @staticmethod
    def bad(problem):
        return Bad("bad-archive", "", None, problem)

    def at(self, layout, position):
        if position < 0 or position + struct.calcsize(layout) > self.length:
            raise self.bad("is cut off")
        self.file.seek(position)
        return struct.unpack(layout, self.file.read(struct.calcsize(layout)))

    def find_directory(self):
        end = self.length - 22
        signature, disk, first_disk, here, count, size, start, comment = self.at("<4sHHHHIIH", end)
        if signature != b"PK\5\6" or comment != 0:
            raise self.bad("does not end with an end record without comment")
        if disk or first_disk or here != count:
            raise self.bad("is in several parts")
        if end >= 76 and self.at("<4s", end - 20)[0] == b"PK\6\7":
            located = self.at("<4sIQI", end - 20)
            large = self.at("<4sQHHIIQQQQ", end - 76)
            if located[1:] != (0, end - 76, 1) or large[:2] != (b"PK\6\6", 44) or large[4:6] != (0, 0):
                raise self.bad("has an end record for large archives that does not hold")
            if large[6] != large[7]:
                raise self.bad("is in several parts")
            for short, full, long in zip((count, size, start), (0xFFFF, 2**32 - 1, 2**32 - 1), large[7:]):
                if short not in (full, long):
                    raise self.bad("has two end records that say different things")
            count, size, start = large[7:]
            end -= 76
        if not len(MUST) <= count <= 4096:
            raise self.bad("has too few or too many members")
        if start + size != end or size > 4096 * 256:
            raise self.bad("has a directory that does not end at the end record")
        return start, size, count

    def sizes(self, extra, *fields):
        """Fields of 32 bits, or where they are full those of 64 bits in the one extra field there may be."""
        if extra:
            kind, length = struct.unpack_from("<HH", extra)
            if kind != 1 or length != len(extra) - 4 or length % 8:
                raise self.bad("has a member with fields that do not belong")
        large = [value for (value,) in struct.iter_unpack("<Q", extra[4:])]
        full = [large.pop(0) if field == 2**32 - 1 and large else field for field in fields]
        if large or full.count(2**32 - 1) and len(extra) != 4 + 8 * fields.count(2**32 - 1):
            raise self.bad("has a member with sizes that do not hold")
        return full

    def read_directory(self, start, size, count):
        self.file.seek(start)
        directory = self.file.read(size)
        members, position, expected = [], 0, 0
        for _ in range(count):
            fields = struct.unpack_from("<4sHHHHIIIIHHHHHII", directory, position)
            signature, _, _, flags, method, stamp, crc, packed, unpacked = fields[:9]
            name_length, extra_length, comment, disk, _, outside, place = fields[9:]
            position += 46 + name_length + extra_length
            if signature != b"PK\1\2" or comment or disk or position > size:
                raise self.bad("has a directory that does not hold")
            name = directory[position - name_length - extra_length : position - extra_length]
            extra = directory[position - extra_length : position]
            unpacked, packed, place = self.sizes(extra, unpacked, packed, place)
            if outside & 0x10 or outside >> 28 not in (0, 8):
                raise self.bad("has a member that is not an ordinary file")
            if place != expected:
                raise self.bad("has a member that does not begin where the one before it ends")
            said = (flags, method, stamp, crc, packed, unpacked, name)
            begin, own = self.read_header(place, start)
            if own != said:
                raise self.bad("has a member whose two headers say different things")
            expected = begin + packed
            if expected > start:
                raise self.bad("has a member that reaches into the directory")
            members.append(self.member(begin, said))
        if position != size or expected != start:
            raise self.bad("has bytes that belong to no member")
        return members

    def read_header(self, place, stop):
        if place + 30 > stop:
            raise self.bad("has a member that is cut off")
        fields = self.at("<4sHHHIIIIHH", place)
        signature, _, flags, method, stamp, crc, packed, unpacked, name_length, extra_length = fields
        begin = place + 30 + name_length + extra_length
        if signature != b"PK\3\4" or begin > stop:
            raise self.bad("has a member that does not begin with a header")
        name, extra = self.at(f"<{name_length}s{extra_length}s", place + 30)
        if (packed == 2**32 - 1) != (unpacked == 2**32 - 1):
            raise self.bad("has a member with sizes that do not hold")
        unpacked, packed = self.sizes(extra, unpacked, packed)
        return begin, (flags, method, stamp, crc, packed, unpacked, name)

    def member(self, begin, said):
        flags, method, _, crc, packed, size, raw_name = said
        if not re.fullmatch(rb"[a-zA-Z0-9._/-]{1,128}", raw_name) or raw_name[:1] == b"/" or b".." in raw_name:
            raise self.bad(f"has a member with a name that may not be: {raw_name!r}")
        member = Member(self.file, raw_name.decode(), begin, (flags, method, crc, packed, size))
        if flags & ~0x0806:
            raise member.bad("is encrypted, or has its sizes behind it")
        if method not in (0, 8) or method == 0 and packed != size:
            raise member.bad("is neither stored nor deflated")
        if size > member.limit():
            raise member.bad("would unpack to too many bytes")
        return member

    def check_names(self):
        names = [member.name for member in self.members]
        policies = [name for name in names if POLICY.fullmatch(name)]
        covenants = [name for name in names if COVENANT.fullmatch(name)]

        def there(some):
            return [name for name in some if name in names]

        order = there(FIRST) + sorted(set(policies)) + there(BEGIN + LARGE + VIEWS) + sorted(set(covenants))
        if names != order + there(TAIL) or not MUST <= set(names):
            raise self.bad("does not have the members of an export in their order")
        if len(policies) > 64:
            raise self.bad("has more than 64 policies")
        if ("begin.txt" in names) != ("consistency.txt" in names):
            raise self.bad("has an earlier checkpoint without its proof, or a proof without it")


# --- canonical JSON ---------------------------------------------------------------------------------------------


def canonical_object(data):
    """A JSON object of one level, as a dictionary, if writing it again gives the same bytes; else ValueError."""

    def unlike(_):
        raise ValueError("has a number that is no integer")

    try:
        text = data.decode("utf-8")
        pairs = json.loads(text, object_pairs_hook=Pairs, parse_float=unlike, parse_constant=unlike)
        if not isinstance(pairs, Pairs):
            raise ValueError("is no object")
        for _, value in pairs:
            if type(value) is int and 0 <= value <= LARGEST_INTEGER or type(value) is str:
                continue
            raise ValueError("has a value that is neither a string nor an integer from 0 to 2^53 - 1")
        keys = [key for key, _ in pairs]
        if keys != sorted(set(keys)) or not keys:
            raise ValueError("has no keys, or keys twice or out of order")
        again = ",".join(f"{json.dumps(key)}:{json.dumps(value, ensure_ascii=False)}" for key, value in pairs)
        if ("{" + again + "}").encode("utf-8") != data:
            raise ValueError("is not in canonical form")
    except (UnicodeError, RecursionError) as error:
        raise ValueError("is not UTF-8, or too deep") from error
    except json.JSONDecodeError as error:
        raise ValueError("is not JSON") from error
    return dict(pairs)


class Pairs(list):
    """The pairs of an object, told apart from an array."""


def number(digits):
    """A number in decimal digits without leading zeros, else None."""
    return int(digits) if re.fullmatch(rb"0|[1-9][0-9]{0,18}", digits) else None


# --- the manifest -----------------------------------------------------------------------------------------------

KINDS = set(
    "accepted refused delivered expired shredded covenant case key key-rotated partner start stop consumed withdrawn export "
    "operator closing opening purged".split()
)
OIN = re.compile(r"[0-9A-Z]{20}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
INTEGER, TEXT = int, re.compile(r".+", re.DOTALL)
KIND = re.compile("|".join(sorted(KINDS, reverse=True)))
ASKED = {
    "from": INTEGER,
    "until": INTEGER,
    "organisation": OIN,
    "flow": TEXT,
    "kind": KIND,
    "result": re.compile(r"accepted|0|[1-9][0-9]{0,15}"),
    "case": UUID,
    "asked_by": TEXT,
}
ALWAYS = {
    "format": re.compile(r"seinhuis/export/1"),
    "origin": TEXT,
    "log_key": TEXT,
    "size": INTEGER,
    "count": INTEGER,
    "created": INTEGER,
    "purpose": TEXT,
    "proves": re.compile(r"complete|selection"),
}


def is_of(form, value):
    if form is INTEGER:
        return isinstance(value, int)
    return isinstance(value, str) and form.fullmatch(value) is not None


def read_manifest(archive, key):
    def bad(problem, file="manifest.json"):
        return Bad("bad-manifest", file, None, problem)

    try:
        manifest = canonical_object(archive.by_name["manifest.json"].content())
    except ValueError as error:
        raise bad(str(error)) from None
    for name in ALWAYS:
        if name not in manifest:
            raise bad(f"has no {name}")
    for name, value in manifest.items():
        form = ALWAYS.get(name) or ASKED.get(name)
        if form is None or not is_of(form, value):
            raise bad(f"{name}: is unknown, or has a value it may not have")
    if int(manifest.get("result", "0").replace("accepted", "0")) > LARGEST_INTEGER:
        raise bad("result: is too large")
    if manifest["origin"] != key.name or manifest["log_key"] != key.text:
        raise bad("is of another log or key")
    if not archive.by_name["README.txt"].content().startswith(manifest["proves"].upper().encode()):
        raise bad("does not begin with what the manifest says is proven", "README.txt")
    return manifest


# --- the checkpoint and the places ------------------------------------------------------------------------------


def read_checkpoint(archive, key, manifest):
    def bad(problem):
        return Bad("bad-checkpoint", "checkpoint.txt", None, problem)

    try:
        size, root = checkpoint(archive.by_name["checkpoint.txt"].content(), key)
    except ValueError as error:
        raise bad(str(error)) from None
    if size != manifest["size"]:
        raise bad("is of another size than the manifest says")
    return root


def checkpoint(note, key):
    """Size and root of a checkpoint of the log; ValueError says what does not hold."""
    lines = key.open(note)
    if not 3 <= len(lines) <= 19 or "" in lines[3:]:
        raise ValueError("has too few or too many lines, or an empty one")
    size, root = number(lines[1].encode()), base64_strictly(lines[2])
    if lines[0] != key.name or size is None or root is None or len(root) != 32:
        raise ValueError("is not this log's name, a size and a root")
    if size == 0 and root != hashlib.sha256(b"").digest():
        raise ValueError("is of no entries but has a root")
    return size, root


def check_witnesses(archive, key, given):
    """The policies that count, and what they say: [(covenant or None, (witnesses, of, enough))]."""
    own = []
    for member in archive.members:
        match = POLICY.fullmatch(member.name)
        if match:
            try:
                own.append((match.group(1), Policy(member.content())))
            except PolicyError as error:
                raise Bad("bad-witnesses", member.name, error.line, error.problem) from None
    if given is not None:
        if own and given.text not in (policy.text for _, policy in own):
            raise Bad("bad-witnesses", "policies/", None, "has not the policy that was given")
        own = [(None, given)]
    note = archive.by_name["checkpoint.txt"].content()
    try:
        found = [(covenant, policy.judge(note, key)) for covenant, policy in own]
        if given is not None and not found[0][1][2]:
            raise ValueError("does not have the cosignatures that the policy asks for")
    except ValueError as error:
        raise Bad("bad-witnesses", "checkpoint.txt", None, str(error)) from None
    return [policy for _, policy in own], found


def check_begin(archive, key, policies, binding, first, size, root):
    """The size of the earlier checkpoint from which the log has only grown; None when there is none."""
    if "begin.txt" not in archive.by_name:
        return None
    note = archive.by_name["begin.txt"].content()
    try:
        old, old_root = checkpoint(note, key)
        if old > first:
            raise ValueError("is of a time after the first entry")
        if not all([policy.judge(note, key)[2] for policy in policies]) and binding:
            raise ValueError("does not have the cosignatures that the policy asks for")
    except ValueError as error:
        raise Bad("bad-begin", "begin.txt", None, str(error)) from None
    proof = []
    for at, line in enumerate(io.BytesIO(archive.by_name["consistency.txt"].content()), 1):
        if not re.fullmatch(rb"[0-9a-f]{64}\n", line):
            raise Bad("bad-begin", "consistency.txt", at, "is not 64 lower-case hexadecimal digits and a newline")
        proof.append(bytes.fromhex(line[:-1].decode()))
    if not is_consistent(old, old_root, size, root, proof):
        raise Bad("bad-begin", "consistency.txt", None, "does not lead from begin.txt to checkpoint.txt")
    return old


def is_consistent(old, old_root, new, new_root, proof):
    """Whether the tree of `new` entries begins with that of `old`: the proof of RFC 6962 section 2.1.2, walked down."""
    if old in (0, new):
        return not proof and (old == 0 or old_root == new_root)
    left = list(proof)

    def over(low, high, whole):
        """The roots over low..min(high, old) and low..high; `whole` while the first begins at 0 and is old_root."""
        if high == old:
            found = old_root if whole else left.pop(0)
            return found, found
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        if old <= middle:
            before, begin = over(low, middle, whole)
            return before, hashlib.sha256(b"\1" + begin + take()).digest()
        before, end = over(middle, high, False)
        begin = take()
        return hashlib.sha256(b"\1" + begin + before).digest(), hashlib.sha256(b"\1" + begin + end).digest()

    def take():
        return left.pop(0)

    try:
        return over(0, new, True) == (old_root, new_root) and not left
    except IndexError:
        return False


def runs(archive, size):
    """The places of the entries, as pairs of first and end."""
    end = -1
    for at, line in enumerate(archive.by_name["runs.txt"].lines(41), 1):

        def bad(problem, at=at):
            return Bad("bad-runs", "runs.txt", at, problem)

        if line is None:
            raise bad("is too long or has no newline")
        first, space, count = line.partition(b" ")
        first, count = number(first), number(count)
        if first is None or not space or not count:
            raise bad("is not two numbers, the second above 0")
        if first <= end:
            raise bad("does not stand apart from the run before it")
        end = first + count
        if end > size:
            raise bad("reaches past the end of the tree")
        yield first, end


def check_runs(archive, manifest):
    """How many runs there are, where the first begins, where the last ends."""
    total, places, low, high = 0, 0, None, 0
    for first, end in runs(archive, manifest["size"]):
        total += 1
        places += end - first
        low = first if low is None else low
        high = end
    if places != manifest["count"]:
        raise Bad("bad-runs", "runs.txt", None, "does not have as many places as the manifest counts entries")
    lines, last = 0, b"\n"
    for piece in archive.by_name["entries.jsonl"].pieces():
        lines += piece.count(b"\n")
        last = piece[-1:]
    if lines + (last != b"\n") != manifest["count"]:
        raise Bad("bad-runs", "entries.jsonl", None, "does not have as many lines as the manifest counts entries")
    return total, low, high


# --- the entries ------------------------------------------------------------------------------------------------

FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
DIGEST, HALF = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{32}")
FIELDS = {
    **dict.fromkeys(["v", "time", "recipients", "size_class", "reason"], INTEGER),
    **dict.fromkeys(["from", "to", "subject"], OIN),
    **dict.fromkeys(["msg_id", "case"], UUID),
    **dict.fromkeys(["key", "covenant", "packet", "statement"], DIGEST),
    **dict.fromkeys(["salt", "trace"], HALF),
    **dict.fromkeys(["flow", "message_type", "step", "level", "purpose", "basis", "categories"], TEXT),
    **dict.fromkeys(["result", "detail", "activity"], TEXT),
    "kind": KIND,
}
LONGEST = {"categories": 2079, "detail": 64}


def read_entry(line):
    """The fields of an entry; ValueError says what does not hold."""
    entry = canonical_object(line)
    for name, value in entry.items():
        if name not in FIELDS or not is_of(FIELDS[name], value):
            raise ValueError(f"{name}: is no key of an entry, or has a value it may not have")
        if name == "reason" and value == 0:
            raise ValueError("reason: is no number of a refusal")
        if isinstance(value, str):
            if len(value.encode()) > LONGEST.get(name, 256) or FORBIDDEN.search(value):
                raise ValueError(f"{name}: is too long or has a character it may not have")
    if entry.get("v") != 1 or not {"kind", "time", "salt"} <= entry.keys():
        raise ValueError("is not of version 1, or has no kind, time or salt")
    return entry


def belongs(entry, asked):
    """Whether an entry is what was asked for."""
    for name in ("flow", "kind", "case"):
        if name in asked and entry.get(name) != asked[name]:
            return False
    if "organisation" in asked:
        if asked["organisation"] not in (entry.get("from"), entry.get("to"), entry.get("subject")):
            return False
    if asked.get("result") == "accepted":
        if (entry.get("result"), entry["kind"]) != ("accepted", "accepted"):
            return False
    elif "result" in asked and str(entry.get("reason")) != asked["result"]:
        return False
    return asked.get("from", 0) <= entry["time"] < asked.get("until", 2**64)


class Entries:
    """One walk over the entries; keeps the first failure of each kind, as the kinds have an order."""

    def __init__(self, archive, manifest, places):
        self.archive, self.manifest = archive, manifest
        self.run_count, self.first_place, self.end_place = places
        self.failures = {}
        self.named = set()
        self.covenants = {m.group(1) for m in map(COVENANT.fullmatch, archive.by_name) if m}
        self.complete = manifest["proves"] == "complete"

    def fail(self, verdict, file, line, problem):
        self.failures.setdefault(verdict, Bad(verdict, file, line, problem))

    def judge(self):
        """Judges each entry."""
        time, previous, at = 0, None, 0
        for at, line in enumerate(self.archive.by_name["entries.jsonl"].lines(65_535), 1):
            try:
                if line is None:
                    raise ValueError("is longer than an entry may be, or has no newline")
                entry = read_entry(line)
            except ValueError as error:
                self.fail("bad-entry", "entries.jsonl", at, str(error))
                return
            if entry["time"] < time:
                self.fail("bad-order", "entries.jsonl", at, "is of an earlier time than the line before")
            time = entry["time"]
            if self.complete:
                self.judge_neighbours(previous, time, at)
            elif not belongs(entry, self.manifest):
                self.fail("bad-question", "entries.jsonl", at, "does not belong to what was asked")
            previous = time
            if entry.get("covenant") in self.covenants:
                self.named.add(entry["covenant"])
        if self.complete and at:
            self.judge_end(time, at)

    def judge_neighbours(self, previous, time, at):
        """Only the first line may be before the period, and only the last after it."""
        start, stop = self.manifest.get("from", 0), self.manifest.get("until", 2**64)
        if at == 1:
            self.opens = self.first_place == 0 or time < start
        elif previous >= stop:
            self.fail("bad-question", "entries.jsonl", at - 1, "is after the period and not the last line")
        elif time < start:
            self.fail("bad-question", "entries.jsonl", at, "is before the period and not the first line")

    def judge_end(self, time, at):
        if not self.opens:
            self.fail("bad-question", "entries.jsonl", 1, "leaves open what came before it")
        if self.end_place != self.manifest["size"] and time < self.manifest.get("until", 2**64):
            self.fail("bad-question", "entries.jsonl", at, "leaves open what came after it")

    def judge_completeness(self):
        if not self.complete:
            return
        if any(name in self.manifest for name in ("organisation", "flow", "kind", "result", "case")):
            self.fail("bad-question", "manifest.json", None, "says complete, but more than a period was asked for")
        if self.run_count != (1 if self.manifest["size"] else 0):
            self.fail("bad-question", "runs.txt", None, "is not the one run of a complete export")

    def check(self, root):
        self.judge_completeness()
        self.judge()
        try:
            prove(self.archive, self.manifest["size"], root)
        except Bad as failure:
            self.failures[failure.verdict] = failure
        for verdict in ("bad-entry", "bad-order", "bad-question", "bad-proof"):
            if verdict in self.failures:
                raise self.failures[verdict]


def hashes(member):
    """The hashes in a member, 32 bytes each; a last one may be shorter."""
    rest = b""
    for piece in member.pieces():
        rest += piece
        whole = len(rest) - len(rest) % 32
        yield from (rest[at : at + 32] for at in range(0, whole, 32))
        rest = rest[whole:]
    if rest:
        yield rest


def prove(archive, size, root):
    """Bad when the leaves and the proof do not lead to the root."""
    leaves = hashes(archive.by_name["leaves.bin"])
    proof = enumerate(archive.by_name["proof.txt"].lines(64), 1)
    places = runs(archive, size)
    place = list(next(places, (size, size)))
    used = 0

    def bad(file, line, problem):
        return Bad("bad-proof", file, line, problem)

    def from_proof():
        nonlocal used
        used, line = next(proof, (used + 1, None))
        if line is None or not re.fullmatch(rb"[0-9a-f]{64}", line):
            raise bad("proof.txt", used, "is not there, or not 64 lower-case hexadecimal digits and a newline")
        return bytes.fromhex(line.decode())

    def over(low, high):
        nonlocal place
        if place[0] >= high:
            return from_proof()
        if high - low == 1:
            place[0] += 1
            if place[0] == place[1]:
                place = list(next(places, (size, size)))
            leaf = next(leaves, b"")
            if len(leaf) < 32:
                raise bad("leaves.bin", None, "has fewer than a hash for each entry")
            return leaf
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        left = over(low, middle)
        return hashlib.sha256(b"\1" + left + over(middle, high)).digest()

    found = over(0, size) if size else hashlib.sha256(b"").digest()
    if next(proof, None) is not None:
        raise bad("proof.txt", used + 1, "is left over")
    if next(leaves, None) is not None:
        raise bad("leaves.bin", None, "has more than a hash for each entry")
    if found != root:
        raise bad("proof.txt", None, "does not lead to the checkpoint's root")


def changed_line(archive, key):
    """Bad about the first line that is not the entry the log has there, if the leaves lead to a root of the log."""
    try:
        size, root = checkpoint(archive.by_name["checkpoint.txt"].content(), key)
        prove(archive, size, root)
    except (ValueError, Bad):
        return None
    lines = archive.by_name["entries.jsonl"].lines(65_535)
    leaves = hashes(archive.by_name["leaves.bin"])
    for at, (line, leaf) in enumerate(itertools.zip_longest(lines, leaves), 1):
        if line is None or hashlib.sha256(b"\0" + line).digest() != leaf:
            return Bad("bad-line", "entries.jsonl", at, "is not the entry the log has at this place")
    return None


# --- the whole --------------------------------------------------------------------------------------------------


def check_sums(archive, key):
    listed, note = archive.by_name["SHA256SUMS"], archive.by_name["SHA256SUMS.note"]
    expected = "".join(f"{member.sha256}  {member.name}\n" for member in archive.members[:-2]).encode()
    content = listed.content()
    if content != expected:
        pairs = itertools.zip_longest(io.BytesIO(content), io.BytesIO(expected))
        other = next(at for at, (a, b) in enumerate(pairs, 1) if a != b)
        raise Bad("bad-sums", "SHA256SUMS", other, "does not have the digest that belongs here")
    try:
        lines = key.open(note.content())
    except ValueError as error:
        raise Bad("bad-sums-signature", note.name, None, str(error)) from None
    if lines != [key.name, "seinhuis/export/1", listed.sha256]:
        raise Bad("bad-sums-signature", note.name, None, "is a note about something else")


def check_covenants(archive, named):
    found = [(member, COVENANT.fullmatch(member.name)) for member in archive.members]
    found = [(member, match.group(1)) for member, match in found if match]
    for member, digest in found:
        if digest != member.sha256:
            raise Bad("bad-covenant", member.name, None, "does not have the hash in its name")
    for member, digest in found:
        if digest not in named:
            raise Bad("bad-covenant", member.name, None, "is a covenant no entry names")


def verify(file, key, policy=None):
    """What a good bundle holds; Bad with the first check that does not hold."""
    archive = Archive(file)
    for member in archive.members:
        for _ in member.pieces():
            pass
    line = changed_line(archive, key)
    try:
        found = check_all(archive, key, policy)
    except Bad as other:
        if line is None:
            raise
        line.also = other
    if line is not None:
        raise line
    return found


def check_all(archive, key, given):
    """Every check after the archive's and that of the lines, in order."""
    check_sums(archive, key)
    manifest = read_manifest(archive, key)
    root = read_checkpoint(archive, key, manifest)
    policies, judged = check_witnesses(archive, key, given)
    places = check_runs(archive, manifest)
    entries = Entries(archive, manifest, places)
    entries.check(root)
    first = manifest["size"] if places[1] is None else places[1]
    begin = check_begin(archive, key, policies, given is not None, first, manifest["size"], root)
    check_covenants(archive, entries.named)
    found = {"policy": "none"}
    said = [
        {"witnesses": witnesses, "witnesses_of": of, "quorum": "met" if met else "not met"}
        for _, (witnesses, of, met) in judged
    ]
    if given is not None:
        found = {"policy": "given", **said[0]}
    elif said:
        own = [{"covenant": covenant, **one} for (covenant, _), one in zip(judged, said)]
        found = {"policy": "bundle", "policies": own}
    return {**manifest, **found, **({} if begin is None else {"begin": begin})}


LABEL = {"nl": "Doel", "en": "Purpose"}
MEANING = {
    "nl": {
        "complete": "VOLLEDIG: deze {count} regels staan zo in het logboek {origin} van {size} regels, en tussen de "
        "eerste en de laatste is geen regel van de gevraagde periode weggelaten.",
        "selection": "SELECTIE: deze {count} regels staan zo in het logboek {origin} van {size} regels; of er meer "
        "regels aan de vraag voldoen, is hiermee niet aangetoond.",
        "bad": "De bundel klopt niet.",
        "also": "Ook",
        "line": "regel",
        "none": "Getuigen: niet beoordeeld; geef met --policy het beleid van een deelnemer.",
        "bundle": "Getuigen voor convenant {covenant:.16}: {witnesses} van {witnesses_of} volgens het beleid in de "
        "bundel zelf, {enough}; dat is het woord van de broker.",
        "met": "genoeg",
        "not met": "niet genoeg",
        "given": "Getuigen: {witnesses} van {witnesses_of}, genoeg volgens het gegeven beleid.",
        "begin": " Sinds een controlepunt van {begin} regels is het log alleen gegroeid.",
    },
    "en": {
        "complete": "COMPLETE: these {count} entries stand like this in the log {origin} of {size} entries, and "
        "between the first and the last no entry of the period asked for was left out.",
        "selection": "SELECTION: these {count} entries stand like this in the log {origin} of {size} entries; "
        "whether others fit the question too is not shown.",
        "bad": "The bundle does not hold.",
        "also": "Also",
        "line": "line",
        "none": "Witnesses: not judged; give a partner's policy with --policy.",
        "bundle": "Witnesses for covenant {covenant:.16}: {witnesses} of {witnesses_of} by the policy in the bundle "
        "itself, {enough}; that is the broker's word.",
        "met": "enough",
        "not met": "not enough",
        "given": "Witnesses: {witnesses} of {witnesses_of}, enough by the policy given.",
        "begin": " Since a checkpoint of {begin} entries the log has only grown.",
    },
}


def judge(path, key, policy=None):
    """The verdict on a file, as a dictionary."""
    try:
        with open(path, "rb") as file:
            manifest = verify(file, key, policy)
    except Bad as bad:
        found = {"bundle": path, "verdict": bad.verdict, **where(bad), "problem": bad.problem}
        if bad.also is not None:
            found["also"] = bad.also.verdict
            found.update({f"also_{part}": value for part, value in where(bad.also).items()})
        return found
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None
    kept = "proves origin size count from until purpose asked_by policy policies witnesses witnesses_of quorum begin"
    return {"bundle": path, "verdict": "good", **{name: manifest[name] for name in kept.split() if name in manifest}}


def where(bad):
    return {"file": bad.file, **({} if bad.line is None else {"line": bad.line})}


def in_words(found, language, alone):
    says = MEANING[language]

    def place(of):
        line = f", {says['line']} {found[of + 'line']}" if of + "line" in found else ""
        return (found.get(of + "file") or "ZIP") + line

    if not alone:
        named = ", ".join(str(found[part]) for part in ("file", "line") if found.get(part))
        return "\t".join([found["verdict"], found["bundle"], named, found.get("also", "")])
    meaning = says[found.get("proves", "bad")].format(**found)
    if "problem" in found:
        lines = [found["verdict"], meaning, f"{place('')}: {found['problem']}"]
        return "\n".join(lines + ([f"{says['also']} {found['also']}: {place('also_')}"] if "also" in found else []))
    judged = found.get("policies", [found])
    seen = [says[found["policy"]].format(**one, enough=says.get(one.get("quorum"))) for one in judged]
    seen[-1] += says["begin"].format(**found) if "begin" in found else ""
    # What others wrote goes to a terminal: nothing in it may steer it.
    purpose = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in found["purpose"])
    return "\n".join([found["verdict"], meaning, *seen, f"{LABEL[language]}: {purpose}"])


def read_policy(path):
    try:
        with open(path, "rb") as file:
            return Policy(file.read())
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None
    except PolicyError as error:
        raise Unusable(f"{path}: line {error.line or 0} {error.problem}") from None


def main():
    parser = argparse.ArgumentParser(description="Checks exports of the exchange log.")
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE.zip")
    parser.add_argument("--key", required=True, help="the log's verifier key, from another source than the bundle")
    parser.add_argument("--policy", help="which witnesses must have cosigned (C2SP tlog-policy), from a partner")
    parser.add_argument("--lang", choices=("nl", "en"), default="en")
    parser.add_argument("--json", action="store_true", help="a JSON object on a line for each bundle")
    options = parser.parse_args()
    try:
        key = Key(options.key)
        policy = None if options.policy is None else read_policy(options.policy)
        good = True
        for path in options.bundles:
            found = judge(path, key, policy)
            good = good and found["verdict"] == "good"
            alone = len(options.bundles) == 1
            print(json.dumps(found) if options.json else in_words(found, options.lang, alone))
    except Unusable as problem:
        print(f"verify.py: {problem}", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
