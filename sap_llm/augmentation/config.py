"""What damage there is, how often and how strong; the presets and their severities.

Belongs here: the typed configuration and reading `data/presets.yaml`. What a value does to a picture is in `paper`,
`ink`, `light` and `capture`, to places in `geometry`, to text in `ocr_noise`.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sap_llm.schema.errors import ConfigurationError

SEVERITIES = (1, 2, 3, 4, 5)
DEFAULT_SEVERITY = 3


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Effect(_Part):
    """One kind of damage: how often it happens, and between which strengths it is drawn uniformly.

    `strong` may be the smaller number (JPEG quality); severity k of 5 draws from the mild k fifths of the range.
    """

    chance: float = Field(ge=0.0, le=1.0)
    mild: float
    strong: float

    def at(self, severity: int) -> "Effect":
        """The same damage with the range of a severity."""
        share = severity / SEVERITIES[-1]
        return self.model_copy(update={"strong": self.mild + (self.strong - self.mild) * share})


def _never(mild: float = 0.0) -> Effect:
    return Effect(chance=0.0, mild=mild, strong=mild)


class Geometry(_Part):
    """Where the page lands; all of it becomes one warp. Signs are drawn."""

    rotation: Effect = Field(default=_never(), description="degrees")
    scale: Effect = Field(default=_never(), description="relative change of size")
    shift: Effect = Field(default=_never(), description="share of the page's width and height")
    perspective: Effect = Field(default=_never(), description="inward shift of a corner, share of the page's size")
    curl: Effect = Field(default=_never(), description="points by which the page's middle rises over its edges")


class Paper(_Part):
    """What was done to the sheet before it was captured."""

    texture: Effect = Field(default=_never(), description="standard deviation of the paper's gray, of 255")
    bleed_through: Effect = Field(default=_never(), description="share of the other side's ink that shows")
    fold: Effect = Field(default=_never(), description="darkness of a fold line, 0..1")
    punch_holes: Effect = Field(default=_never(), description="darkness of what lies below the sheet, 0..1")
    staple: Effect = Field(default=_never(), description="darkness of the wire, 0..1")
    highlighter: Effect = Field(default=_never(), description="darkness of the stroke in gray, 0..1")
    pen: Effect = Field(default=_never(), description="darkness of the ink, 0..1")
    stamp: Effect = Field(default=_never(), description="opacity of the stamp's ink, 0..1")


class Light(_Part):
    """How the sheet was lit and how the sensor answered."""

    gradient: Effect = Field(default=_never(), description="loss of light at the darkest side, 0..1")
    shadow: Effect = Field(default=_never(), description="loss of light in a shadow with a soft edge, 0..1")
    brightness: Effect = Field(default=_never(), description="shift as a share of 255; the sign is drawn")
    contrast: Effect = Field(default=_never(), description="relative change; the sign is drawn")
    posterize: Effect = Field(default=_never(8), description="bits that remain of 8")


class Capture(_Part):
    """What optics, sensor, line and file format lose."""

    blur: Effect = Field(default=_never(), description="sigma of the Gauss in points")
    motion: Effect = Field(default=_never(), description="length of the movement in points")
    downscale: Effect = Field(default=_never(1), description="share of the resolution that remains")
    noise: Effect = Field(default=_never(), description="standard deviation, of 255")
    salt: Effect = Field(default=_never(), description="share of the pixels that become black or white")
    dust: Effect = Field(default=_never(), description="specks and hairs a page")
    fax: Effect = Field(default=_never(), description="share of the scan lines that are lost; 204 x 98 dpi, 1 bit")
    jpeg: Effect = Field(default=_never(100), description="quality 1..100 of the file")


class OcrNoise(_Part):
    """How an OCR engine misreads a page; probabilities."""

    confusion: float = Field(default=0.0, ge=0.0, le=1.0, description="of a character or pair in the table")
    missing_space: float = Field(default=0.0, ge=0.0, le=1.0, description="of the space behind a word")
    doubled_space: float = Field(default=0.0, ge=0.0, le=1.0, description="of a word of 4 or more falling into two")
    line_break: float = Field(default=0.0, ge=0.0, le=1.0, description="of a visual line falling into two")
    dropped_word: float = Field(default=0.0, ge=0.0, le=1.0, description="of a word")

    def at(self, severity: int) -> "OcrNoise":
        """The rates of a severity: the given ones are those of the highest."""
        share = severity / SEVERITIES[-1]
        return OcrNoise(**{name: rate * share for name, rate in self.model_dump().items()})


class DamageConfig(_Part):
    """One kind of damaged document: the way of its sheet from the desk to the file."""

    geometry: Geometry = Geometry()
    paper: Paper = Paper()
    light: Light = Light()
    capture: Capture = Capture()
    ocr: OcrNoise = OcrNoise()
    is_gray: bool = Field(default=True, description="one channel; else three where the picture has them")
    surface: int = Field(default=255, ge=0, le=255, description="gray of what lies around the sheet")

    def at(self, severity: int) -> "DamageConfig":
        """The same kind at a severity from 1 to 5."""
        if severity not in SEVERITIES:
            raise ConfigurationError(
                f"no severity {severity}", remedy=f"Choose from {SEVERITIES[0]} to {SEVERITIES[-1]}."
            )
        parts = {}
        for name in ("geometry", "paper", "light", "capture"):
            part = getattr(self, name)
            parts[name] = part.model_copy(
                update={effect: getattr(part, effect).at(severity) for effect in type(part).model_fields}
            )
        return self.model_copy(update=parts | {"ocr": self.ocr.at(severity)})


@cache
def _presets() -> dict[str, Any]:
    text = files("sap_llm.augmentation").joinpath("data/presets.yaml").read_text(encoding="utf-8")
    presets: dict[str, Any] = yaml.safe_load(text)
    return presets


def preset_names() -> tuple[str, ...]:
    """All presets that there are."""
    return tuple(_presets())


def load_preset(name: str, severity: int = DEFAULT_SEVERITY) -> DamageConfig:
    """A preset at a severity from 1 to 5.

    Raises:
        ConfigurationError: There is no such preset or severity, or the table holds an unknown or impossible value.
    """
    if name not in _presets():
        raise ConfigurationError(f"no preset {name!r}", remedy=f"Choose from {', '.join(preset_names())}.")
    try:
        return DamageConfig.model_validate(_presets()[name]).at(severity)
    except ValidationError as error:
        raise ConfigurationError(
            f"the preset has a value that cannot be used ({error.errors()[0]['msg']})",
            where=f"presets.yaml, {name}, {'.'.join(map(str, error.errors()[0]['loc']))}",
            remedy="See the fields of sap_llm.augmentation.config.",
        ) from error
