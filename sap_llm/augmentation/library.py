"""Transforms of albumentations by name, with every argument checked and every box carried as a quad.

Belongs here: building them from configuration, and the roadmap's own list. albumentations 2.0.8 takes the argument
names of its predecessors with a warning and ignores them, so that noise and compression have other strengths than
asked for; here that is an error. Our own effects, faster and in more kinds, are in `picture`.
"""

import inspect
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from sap_llm.augmentation.geometry import Picture
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Quads

Step = Mapping[str, Any]

_SUCCESSORS = {
    ("GaussNoise", "var_limit"): "std_range (deviation as a share of 255, no longer its square)",
    ("GaussNoise", "mean"): "mean_range",
    ("ImageCompression", "quality_lower"): "quality_range",
    ("ImageCompression", "quality_upper"): "quality_range",
    ("Downscale", "scale_min"): "scale_range",
    ("Downscale", "scale_max"): "scale_range",
    ("Downscale", "interpolation"): "interpolation_pair",
    ("Rotate", "value"): "fill",
    ("ShiftScaleRotate", "value"): "fill",
}
_ALWAYS = "always_apply"


def roadmap_steps() -> list[Step]:
    """The roadmap's ten transforms, in the names of 2.0.8."""
    text = files("sap_llm.augmentation").joinpath("data/roadmap.yaml").read_text(encoding="utf-8")
    steps: list[Step] = yaml.safe_load(text)
    return steps


def build_transform(name: str, **arguments: Any) -> Any:
    """One transform of albumentations.

    Raises:
        ConfigurationError: There is no such transform, it does not take an argument, or it refuses a value.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network for a newer version
    import albumentations

    kind = getattr(albumentations, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, albumentations.BasicTransform)):
        raise ConfigurationError(
            f"albumentations {albumentations.__version__} has no transform {name!r}",
            remedy="See its reference for the name.",
        )
    known = inspect.signature(kind).parameters
    for argument in arguments:
        if argument not in known:
            raise ConfigurationError(
                f"{name} of albumentations {albumentations.__version__} would silently ignore {argument!r}",
                where=f"{name}({argument}=)",
                remedy=_remedy(name, argument, tuple(known)),
            )
    try:
        return kind(**arguments)
    except (ValidationError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"albumentations refuses a value ({' '.join(str(error).split())[:200]})",
            where=name,
            remedy="Mend the value.",
        ) from error


def _remedy(name: str, argument: str, known: tuple[str, ...]) -> str:
    if argument == _ALWAYS:
        return "Use p=1."
    successor = _SUCCESSORS.get((name, argument))
    return f"Use {successor}." if successor else f"It takes {', '.join(known)}."


class TransformPipeline:
    """Transforms in a row, applied to a picture and the quads on it."""

    def __init__(self, steps: Sequence[Step], *, seed: int) -> None:
        built = [build_transform(**step) for step in steps]
        import albumentations

        keypoints = albumentations.KeypointParams(format="xy", remove_invisible=False)
        self._compose = albumentations.Compose(built, keypoint_params=keypoints, seed=seed)

    def __call__(self, picture: Picture, quads: Quads) -> tuple[Picture, Quads]:
        """The picture, gray or RGB, and quads [n, 4, 2] in pixels after all transforms.

        Keypoints are the middles of pixels to albumentations, quads their edges: hence the half pixels.
        """
        channels = picture[..., None] if picture.ndim == 2 else picture
        done = self._compose(image=channels, keypoints=quads.reshape(-1, 2).astype(np.float32) - np.float32(0.5))
        points = np.asarray(done["keypoints"], dtype=np.float32).reshape(-1, 4, 2) + np.float32(0.5)
        image = np.asarray(done["image"], dtype=np.uint8)
        return image[..., 0] if picture.ndim == 2 and image.ndim == 3 else image, points
