"""Typefaces of the volume tier: glyph widths and bounds, and the font objects of a PDF file.

Loading and subsetting font files, measuring words and serialising fonts belong here; placing text does not (`canvas`).
A face is cut down once a process to the letters that the pools and labels are made of; glyph bounds are those that
PDFium computes, so that a box made here and a box that the reader finds are the same.
"""

import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sap_llm.schema.errors import MissingToolError, SapLlmError

_MATPLOTLIB = ("matplotlib", "mpl-data/fonts/ttf")
_GROTESK = ("great_expectations", "render/view/static/fonts/HKGrotesk")
FAMILIES: dict[str, tuple[tuple[str, str], str, str]] = {
    "DejaVu Sans": (_MATPLOTLIB, "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    "DejaVu Serif": (_MATPLOTLIB, "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf"),
    "DejaVu Sans Mono": (_MATPLOTLIB, "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    "STIXGeneral": (_MATPLOTLIB, "STIXGeneral.ttf", "STIXGeneralBol.ttf"),
    "HK Grotesk": (_GROTESK, "HKGrotesk-Regular.otf", "HKGrotesk-Bold.otf"),
    "HK Grotesk Medium": (_GROTESK, "HKGrotesk-Medium.otf", "HKGrotesk-SemiBold.otf"),
}
"""Family -> package and folder of its files, the regular and the bold one."""
COMPLETE = "DejaVu Sans"
"""The family that has every letter of the pools."""
_LETTERS = {*range(0x20, 0x7F), *range(0xA1, 0x180), *map(ord, "ȘșȚț‐‑–—‘’‚“”„•…‰€№™●")} - {0xAD}
_REMEMBERED = 2_000  # shaped texts a face; older ones are forgotten all at once
_SPACE, _FAR = 0x20, 1_000_000
_TOP_SHARE = 64  # PDFium lifts the upper bound of a glyph by this part of it


class UndrawableTextError(SapLlmError):
    """A face has no glyph for a letter."""


class Shaped:
    """A text set in one face: advance and word bounds in thousandths of the font size.

    Layout needs the advance at once; what the file and the boxes need is worked out for many texts together, by
    `Face.finish`.
    """

    __slots__ = ("advance", "code", "edges", "number", "words")

    def __init__(self, advance: float, words: list[str], edges: bytes = b"") -> None:
        self.advance, self.words, self.number = advance, words, len(words)
        self.edges = edges
        """Left, top, right, bottom and baseline of each word as float64, relative to the origin, y downwards."""
        self.code = ""
        """Glyph numbers in hexadecimal, with the end of the PDF string and the operator that shows it."""


class _Remembered(dict[str, Shaped]):
    """Texts that a face has set; the latest ones."""

    def __init__(self, make: Callable[[str], Shaped]) -> None:
        self._make = make

    def __missing__(self, text: str) -> Shaped:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[text] = self._make(text)
        return found


class Face:
    """One font file, cut down to its Latin letters.

    Args:
        path: A TrueType or OpenType font file.
        tracking: Space that is added after each letter, in thousandths of the font size.
    """

    def __init__(self, path: Path, tracking: int = 0) -> None:
        self.tracking = tracking
        self.name = path.stem.replace("-", "")
        self._file = _subset(path)
        self.advances = {chr(letter): glyph.advance + tracking for letter, glyph in self._file.glyphs.items()}
        self.measures = _measures(self._file.glyphs, tracking)
        missing = "".join(map(chr, sorted(_LETTERS - self._file.glyphs.keys())))
        self._missing = re.compile(f"[{re.escape(missing)}]") if missing else None
        self.shape: Callable[[str], Shaped] = _Remembered(self._shape).__getitem__
        """Sets a text whose words stand one space apart; UndrawableTextError if the face lacks a letter of it."""
        self._unfinished: list[tuple[str, Shaped]] = []

    def _shape(self, text: str) -> Shaped:
        try:
            advance = sum(map(self.advances.__getitem__, text))
        except KeyError as error:
            raise UndrawableTextError(
                f"{self.name} has no {error}", where=text, remedy=f"{COMPLETE} has every letter of the pools."
            ) from error
        shaped = Shaped(advance, [text] if text and " " not in text else [word for word in text.split(" ") if word])
        self._unfinished.append((text, shaped))
        return shaped

    def finish(self) -> None:
        """Give all texts that were set their codes and the bounds of their words.

        Words of these faces begin with the ink of their first letter and end with that of their last one: no letter is
        so narrow that another one's overhang passes it.
        """
        if not self._unfinished:
            return
        texts, shaped = zip(*self._unfinished, strict=True)
        self._unfinished = []
        lengths = np.array([*map(len, texts)]) + 1
        letters = np.frombuffer((" ".join(texts) + " ").encode("utf-32-le"), dtype=np.uint32)
        measures = self.measures
        advances = measures.advances[letters]
        pens = np.cumsum(advances) - advances
        pens -= np.repeat(pens[np.cumsum(lengths) - lengths], lengths)
        is_space = letters == _SPACE
        is_first = ~is_space
        is_first[1:] &= is_space[:-1]
        firsts = np.flatnonzero(is_first)
        is_last = ~is_space
        is_last[:-1] &= is_space[1:]
        lasts = np.flatnonzero(is_last)
        edges = np.zeros((len(firsts), 5))
        if len(firsts):
            edges[:, 0] = pens[firsts] + measures.lefts[letters[firsts]]
            edges[:, 1] = -np.maximum.reduceat(measures.tops[letters], firsts)
            edges[:, 2] = pens[lasts] + measures.rights[letters[lasts]]
            edges[:, 3] = -np.minimum.reduceat(measures.bottoms[letters], firsts)
        bounds, codes = edges.tobytes(), measures.codes[letters].tobytes().decode("ascii")
        word = letter = 0
        for text, one in zip(texts, shaped, strict=True):
            stop = letter + 4 * len(text)
            one.code = codes[letter:stop] + ">Tj\n"
            letter = stop + 4
            one.edges = bounds[word : word + 40 * one.number]
            word += 40 * one.number

    def lacks(self, text: str) -> bool:
        """Whether the face lacks a Latin letter of a text; a quick look before a long document."""
        return self._missing is not None and self._missing.search(text) is not None

    def objects(self, first: int) -> list[bytes]:
        """The five objects of the font in a PDF file, numbered from `first`; the first is the font itself."""
        return self._file.objects(first, self.name)


@dataclass(frozen=True, slots=True)
class _Glyph:
    """Number in the subset, and integer measures in thousandths of the font size, y upwards."""

    number: int
    advance: int
    left: int
    bottom: int
    right: int
    top: int


@dataclass(frozen=True)
class _Subset:
    glyphs: dict[int, _Glyph]
    """By letter."""
    content: bytes
    is_cff: bool
    bounds: tuple[int, int, int, int]
    advances: tuple[int, ...]
    """Of all glyphs, in their order."""

    @cached_property
    def _streams(self) -> tuple[bytes, bytes]:
        """The font file and the map from its glyphs to letters, compressed; the same for all trackings."""
        pairs = [f"<{glyph.number:04X}><{letter:04X}>" for letter, glyph in sorted(self.glyphs.items())]
        chunks = [pairs[start : start + 100] for start in range(0, len(pairs), 100)]
        mapping = "\n".join(
            ["/CIDInit/ProcSet findresource begin 12 dict begin begincmap/CMapName/U def/CMapType 2 def",
             "1 begincodespacerange<0000><FFFF>endcodespacerange"]
            + [f"{len(chunk)} beginbfchar\n" + "\n".join(chunk) + "\nendbfchar" for chunk in chunks]
            + ["endcmap CMapName currentdict/CMap defineresource pop end end"]
        ).encode()  # fmt: skip
        return zlib.compress(self.content, 9), zlib.compress(mapping, 9)

    def objects(self, first: int, name: str) -> list[bytes]:
        """See `Face.objects`."""
        base = f"SAPLLM+{name}"
        kind, stream = ("CIDFontType0", "/Subtype/CIDFontType0C") if self.is_cff else ("CIDFontType2", "")
        file, cmap = self._streams
        widths = " ".join(map(str, self.advances))
        box = " ".join(map(str, self.bounds))
        file_key = "FontFile3" if self.is_cff else "FontFile2"
        to_gid = "" if self.is_cff else "/CIDToGIDMap/Identity"
        length = "" if self.is_cff else f"/Length1 {len(self.content)}"
        return [
            f"<</Type/Font/Subtype/Type0/BaseFont/{base}/Encoding/Identity-H/DescendantFonts[{first + 1} 0 R]"
            f"/ToUnicode {first + 4} 0 R>>".encode(),
            f"<</Type/Font/Subtype/{kind}/BaseFont/{base}/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)"
            f"/Supplement 0>>/FontDescriptor {first + 2} 0 R/DW 0/W[0[{widths}]]{to_gid}>>".encode(),
            f"<</Type/FontDescriptor/FontName/{base}/Flags 4/FontBBox[{box}]/ItalicAngle 0/Ascent {self.bounds[3]}"
            f"/Descent {self.bounds[1]}/CapHeight 720/StemV 80/{file_key} {first + 3} 0 R>>".encode(),
            f"<</Length {len(file)}/Filter/FlateDecode{length}{stream}>>stream\n".encode() + file + b"\nendstream",
            f"<</Length {len(cmap)}/Filter/FlateDecode>>stream\n".encode() + cmap + b"\nendstream",
        ]  # fmt: skip


class Measures(NamedTuple):
    """Measures of a face's letters by code point, in thousandths of the font size, and their codes in a file."""

    advances: npt.NDArray[np.int64]
    lefts: npt.NDArray[np.int64]
    tops: npt.NDArray[np.int64]
    rights: npt.NDArray[np.int64]
    bottoms: npt.NDArray[np.int64]
    codes: npt.NDArray[np.uint8]
    """Four hexadecimal digits."""


def _measures(glyphs: dict[int, _Glyph], tracking: int) -> Measures:
    found = np.zeros((5, max(glyphs) + 1), dtype=np.int64)
    codes = np.zeros((max(glyphs) + 1, 4), dtype=np.uint8)
    for letter, glyph in glyphs.items():
        found[:, letter] = glyph.advance + tracking, glyph.left, glyph.top, glyph.right, glyph.bottom
        codes[letter] = np.frombuffer(b"%04X" % glyph.number, dtype=np.uint8)
    found[2, _SPACE], found[4, _SPACE] = -_FAR, _FAR  # a space has no ink
    advances, lefts, tops, rights, bottoms = found
    return Measures(advances, lefts, tops, rights, bottoms, codes)


@cache
def face(family: str, *, is_bold: bool = False, tracking: int = 0) -> Face:
    """The regular or bold face of a family.

    Raises:
        MissingToolError: The package that brings the font file is not installed.
    """
    (package, folder), *files = FAMILIES[family]
    found = find_spec(package)
    if found is None or found.origin is None:
        raise MissingToolError(
            f"the font {family} comes with {package}, which is not installed", where="volume tier",
            remedy="Install the project with its dependencies.",
        )  # fmt: skip
    return Face(Path(found.origin).parent / folder / files[is_bold], tracking)


@cache
def _subset(path: Path) -> _Subset:
    from fontTools import subset

    options = subset.Options(
        hinting=False, layout_features=[], notdef_outline=True, name_IDs=[], desubroutinize=True,
        drop_tables=["GSUB", "GPOS", "GDEF", "kern", "FFTM", "DSIG", "gasp", "PCLT", "TeX ", "STAT", "meta"],
        recalc_timestamp=False,
    )  # fmt: skip
    font = subset.load_font(str(path), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=_LETTERS)
    cutter.subset(font)
    is_cff = "CFF " in font
    per_em = font["head"].unitsPerEm
    outlines, widths = font.getGlyphSet(), font["hmtx"].metrics
    order: list[str] = font.getGlyphOrder()
    numbers = {name: number for number, name in enumerate(order)}
    advances = tuple(_thousandths(widths[name][0], per_em) for name in order)
    glyphs = {
        letter: _Glyph(numbers[name], advances[numbers[name]], *_bounds(outlines, name, per_em))
        for letter, name in font.getBestCmap().items()
        if letter in _LETTERS
    }
    head = font["head"]
    bounds = tuple(_thousandths(edge, per_em) for edge in (head.xMin, head.yMin, head.xMax, head.yMax))
    content = font.getTableData("CFF ") if is_cff else _truetype(font)
    return _Subset(glyphs=glyphs, content=content, is_cff=is_cff, bounds=bounds, advances=advances)  # type: ignore[arg-type]


def _truetype(font: Any) -> bytes:
    """The tables that a PDF viewer needs of a TrueType font."""
    for table in ("cmap", "post", "name", "OS/2", "cvt ", "fpgm", "prep"):
        if table in font:
            del font[table]
    stream = io.BytesIO()
    font.save(stream, reorderTables=False)
    return stream.getvalue()


def _bounds(outlines: Any, name: str, per_em: int) -> tuple[int, int, int, int]:
    """Left, bottom, right and top of a glyph as PDFium has them."""
    from fontTools.pens.boundsPen import ControlBoundsPen

    pen = ControlBoundsPen(outlines)
    outlines[name].draw(pen)
    left, bottom, right, top = (_thousandths(edge, per_em) for edge in pen.bounds or (0, 0, 0, 0))
    return left, bottom, right, top + int(top / _TOP_SHARE)


def _thousandths(value: float, per_em: int) -> int:
    """As PDFium computes it: cut off towards zero after half a unit was added, so that negative values lose one."""
    return int((value * 1000 + per_em // 2) / per_em)
