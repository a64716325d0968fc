"""Qwen2.5-VL's processor without its video part: image processor, tokenizer and chat template.

Belongs here: the one class, apart from `qwen` because it needs transformers at import. The released processor also
builds a video processor, which needs torchvision; documents are no videos. The folder that it saves is read by the
released class too.
"""

from typing import Any

from transformers import ProcessorMixin, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil


class DocumentProcessor(Qwen2_5_VLProcessor):
    """Text and page images to the model's inputs; images are resized by Pillow wherever it runs."""

    def __init__(self, image_processor: Qwen2VLImageProcessorPil, tokenizer: Any, chat_template: str) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    def to_dict(self) -> dict[str, Any]:
        """The form that is saved, under the released class's name."""
        return dict(super().to_dict()) | {"processor_class": "Qwen2_5_VLProcessor"}
