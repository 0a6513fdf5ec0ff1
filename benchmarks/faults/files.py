"""Bytes that are wrong: files cut short, archives cut, other formats and encodings, lines that are no rows."""

import io
import zipfile
from collections.abc import Callable

import polars as pl

from benchmarks.faults.fault import Damage, Fault
from benchmarks.faults.ways import every

PAGE = b"<html><head><title>503 Service Unavailable</title></head><body>Try again later.</body></html>\n"


def _cut(share: float, at_line: bool) -> Damage:
    """Keep the first `share` of the bytes, up to a line's end or in the middle of a field."""

    def damage(content: bytes) -> bytes:
        end = content.index(b"\n", int(len(content) * share)) + 1
        return content[:end] if at_line else content[: end - 30]

    return damage


def zipped(content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a .zip with `content` as its only member."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("month.csv"), content, compression)
    return packed.getvalue()


def _zip_cut(content: bytes) -> bytes:
    packed = zipped(content)
    return packed[: len(packed) * 6 // 10]


def _in_the_middle(piece: Callable[[bytes], bytes]) -> Damage:
    """Insert a piece, made of the header, at the line that ends the first half."""

    def damage(content: bytes) -> bytes:
        middle = content.index(b"\n", len(content) // 2) + 1
        return content[:middle] + piece(content.split(b"\n", 1)[0] + b"\n") + content[middle:]

    return damage


def _comma(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).str.replace(".", ",", literal=True)


FAULTS = (
    Fault("cut_in_a_line", "flights", "the file ends in the middle of a row, at 70 %", damage=_cut(0.7, False)),
    Fault("cut_near_the_end", "flights", "the file ends after a row, at 97 %", damage=_cut(0.97, True)),
    Fault("archive_whole", "flights", "the file in an archive, as the source has it", damage=zipped),
    Fault("archive_cut", "flights", "the archive ends at 60 % of its bytes", damage=_zip_cut),
    Fault("error_page", "flights", "a web server's error page", damage=lambda content: PAGE),
    Fault("header_again", "flights", "the header again in the middle", damage=_in_the_middle(lambda header: header)),
    Fault(
        "other_line_ends", "flights", "lines end as on Windows", damage=lambda content: content.replace(b"\n", b"\r\n")
    ),
    Fault(
        "byte_order_mark",
        "flights",
        "a byte order mark before the header",
        damage=lambda content: b"\xef\xbb\xbf" + content,
    ),
    Fault(
        "latin_1",
        "flights",
        "a letter in tail numbers as a Latin-1 byte",
        every(pl.col("tailnum").str.replace("N", "Ñ")),
        damage=lambda content: content.decode().encode("latin-1"),
    ),
    Fault("decimal_comma", "weather", "decimal commas in temperatures", every(_comma("temp"), _comma("dewp"))),
    Fault("airports_cut", "airports", "the file ends after a row, at 50 %", damage=_cut(0.5, True)),
)
