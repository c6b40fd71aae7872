"""The header of a Netpbm file: PBM, PGM and PPM (P1 to P6), PAM (P7) and PFM (Pf, PF)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pims.errors import CorruptFile, UnsupportedFeature
from pims.model.source import ByteSource

__all__ = ["PnmHeader", "is_pnm", "read_pnm_header"]

KINDS = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF")
BLANK = b" \t\n\v\f\r"
MAX_HEADER = 65_536
"""Bytes before the pixels, comments included."""
MAX_DIGITS = 10
MAX_COMMENT = 4096
TOKEN = re.compile(rb"(?:[ \t\n\v\f\r]|#[^\n\r]*[\n\r])*([^ \t\n\v\f\r#]+)")
COMMENT = re.compile(rb"#([^\n\r]*)[\n\r]")
HIGHEST_MAXVAL = 65_535
PAM_ALPHA = (2, 4)


@dataclass(frozen=True, slots=True)
class PnmHeader:
    """What precedes the pixels."""

    kind: bytes
    """The two letters the file starts with."""
    width: int
    height: int
    maxval: int
    """The brightest value; 1 for bitmaps, 0 for floating point."""
    stored_samples: int
    """Samples of a pixel in the file, alpha included."""
    offset: int
    """Of the pixels in the file."""
    has_alpha: bool = False
    scale: float = 0.0
    """Of PFM: negative when the bytes are little-endian."""
    comment: str = ""

    @property
    def plain(self) -> bool:
        """Whether the pixels are decimal numbers."""
        return self.kind in (b"P1", b"P2", b"P3")

    @property
    def is_float(self) -> bool:
        return self.kind in (b"Pf", b"PF")

    @property
    def is_bitmap(self) -> bool:
        """Whether ones are black: P1 and P4 (not the PAM of that name, where they are white)."""
        return self.kind in (b"P1", b"P4")

    @property
    def samples(self) -> int:
        """Of a pixel, without alpha."""
        return self.stored_samples - self.has_alpha

    @property
    def significant_bits(self) -> int:
        return 32 if self.is_float else self.maxval.bit_length()

    @property
    def sample_bytes(self) -> int:
        """Of a stored sample; bitmaps are packed."""
        if self.is_float:
            return 4
        return 1 if self.maxval < 256 else 2


def is_pnm(signature: bytes) -> bool:
    """Whether a file starts as one: two letters, white space, and what a header can have."""
    if signature[:2] not in KINDS or signature[2:3] not in tuple(bytes((blank,)) for blank in BLANK + b"#"):
        return False
    found = signature[2:].lstrip(BLANK)
    return (
        found[:1].isdigit() or found[:1] in (b"#", b"-") or (signature[:2] == b"P7" and found[:1].isupper())
    )


def read_pnm_header(source: ByteSource) -> PnmHeader:
    """Read what precedes the pixels.

    Raises CorruptFile when it is no Netpbm file, UnsupportedFeature when it can't be decoded here.
    """
    start = source.pread(0, min(source.size, MAX_HEADER))
    if not is_pnm(start):
        raise CorruptFile("This file does not start as a Netpbm image does.")
    header = _pam(start) if start[:2] == b"P7" else _classic(start)
    if header.width < 1 or header.height < 1:
        raise CorruptFile(f"This Netpbm image says it is {header.width} x {header.height} px.")
    if not header.is_float and not 1 <= header.maxval <= HIGHEST_MAXVAL:
        raise CorruptFile(
            f"This Netpbm image says its brightest value is {header.maxval}; it may be 1 to {HIGHEST_MAXVAL}."
        )
    if header.samples not in (1, 3):
        raise UnsupportedFeature(
            f"This PAM image has {header.stored_samples} samples a pixel that are neither grey nor RGB."
        )
    return header


def _classic(start: bytes) -> PnmHeader:
    kind = start[:2]
    is_float = kind in (b"Pf", b"PF")
    position, values = 2, []
    for _ in range(2 if kind in (b"P1", b"P4") else 3):
        found = TOKEN.match(start, position)
        if found is None:
            raise CorruptFile("This Netpbm image ends within its header, or its header never ends.")
        values.append(found[1])
        position = found.end()
    scale = _real(values.pop()) if is_float else 0.0
    maxval = 0 if is_float else _number(values[2]) if len(values) > 2 else 1
    comments = (found[1] for found in COMMENT.finditer(start[:position]))
    return PnmHeader(
        kind=kind,
        width=_number(values[0]),
        height=_number(values[1]),
        maxval=maxval,
        stored_samples=3 if kind in (b"P3", b"P6", b"PF") else 1,
        # One blank ends the header; an editor may have made it two, CR and LF.
        offset=position + (2 if start[position : position + 2] == b"\r\n" else 1),
        scale=scale,
        comment=_comment(comments),
    )


def _pam(start: bytes) -> PnmHeader:
    """Lines of a word and a value, up to ENDHDR."""
    end = start.find(b"\nENDHDR\n")
    if end < 0:
        raise CorruptFile("This PAM image ends within its header, or its header never ends.")
    fields: dict[bytes, bytes] = {}
    comments = []
    for line in start[2:end].split(b"\n"):
        if line.startswith(b"#"):
            comments.append(line[1:])
            continue
        word, _, value = line.strip().partition(b" ")
        fields.setdefault(word, value.strip())
    missing = {b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"} - fields.keys()
    if missing:
        raise CorruptFile(f"This PAM image does not give its {sorted(missing)[0].decode().lower()}.")
    depth = _number(fields[b"DEPTH"])
    return PnmHeader(
        kind=b"P7",
        width=_number(fields[b"WIDTH"]),
        height=_number(fields[b"HEIGHT"]),
        maxval=_number(fields[b"MAXVAL"]),
        stored_samples=depth,
        offset=end + len(b"\nENDHDR\n"),
        has_alpha=depth in PAM_ALPHA,
        comment=_comment(comments),
    )


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > MAX_DIGITS:
        shown = text[:MAX_DIGITS].decode("ascii", "replace")
        raise CorruptFile(f"This Netpbm image is damaged: {shown!r} is no number that its header can have.")
    return int(text)


def _real(text: bytes) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise CorruptFile("This PFM image is damaged: its scale is no number.") from error
    if not math.isfinite(value) or value == 0:
        raise CorruptFile("This PFM image is damaged: its scale is no number.")
    return value


def _comment(lines: Iterable[bytes]) -> str:
    texts = (line.decode("utf-8", "replace").strip() for line in lines)
    return "\n".join(text for text in texts if text)[:MAX_COMMENT]
