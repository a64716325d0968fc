"""A vision-language model as a predictor: pages and their pictures in, `Prediction` out.

Belongs here: batches of conversations through `generate`, with or without a schema, and a journal that lets a killed
run go on. What is shown is `prompts`, what comes back `answers`.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from transformers import LogitsProcessorList

from sap_llm.modeling.generative.answer_schema import Schema
from sap_llm.modeling.generative.answers import Answer, parsed, to_prediction, value_confidences
from sap_llm.modeling.generative.constrained import ChosenChances, Grammars, SchemaProcessor, is_compliant
from sap_llm.modeling.generative.fast_decoding import FastGenerator, FastOptions
from sap_llm.modeling.generative.frame import Frame, page_picture, rendering_scale
from sap_llm.modeling.generative.instructions import EXTRACT, Instruction
from sap_llm.modeling.generative.prompts import Case, PromptConfig, conversation
from sap_llm.modeling.protocol import Prediction, ReportProgress
from sap_llm.modeling.qwen import QwenShape, load_qwen
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Page
from sap_llm.storage.whole import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

SETTINGS = "generative.json"


class GenerativeSettings(BaseModel):
    """How the model of a folder was taught to read; written beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: QwenShape = QwenShape()
    prompt: PromptConfig = PromptConfig()
    fields: tuple[str, ...] = Field(default=(), description="header fields that it extracts; empty: the taxonomy's")

    def write(self, folder: Path) -> None:
        """Write it into a model folder."""
        write_whole(folder / SETTINGS, self.model_dump_json(indent=2).encode())

    @classmethod
    def read(cls, folder: Path) -> "GenerativeSettings":
        """Read it from a model folder.

        Raises:
            ConfigurationError: The model was not instructed.
        """
        try:
            return cls.model_validate_json((folder / SETTINGS).read_bytes())
        except FileNotFoundError:
            raise ConfigurationError(
                f"no {SETTINGS}", where=str(folder), remedy="Give the folder of an instructed model."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One instruction about one document.

    Attributes:
        pages: All of the document's pages, in order.
        pictures: Of the pages shown, as `page_picture` makes them.
        instruction: What is asked.
        cases: Similar documents shown before.
    """

    pages: Sequence[Page]
    pictures: Sequence["Image"]
    instruction: Instruction
    cases: Sequence[Case] = ()

    @property
    def frames(self) -> list[Frame]:
        """Of the pages shown."""
        return [Frame.of(page, picture) for page, picture in zip(self.pages, self.pictures, strict=False)]


def prompt_of(processor: Any, request: Request, config: PromptConfig) -> str:
    """The conversation as text, up to where the answer begins; one image token a picture."""
    messages = conversation(request.instruction.text, request.pages, request.frames, config, cases=request.cases)
    return str(processor.apply_chat_template(messages, add_generation_prompt=True))


class GenerativePredictor:
    """Implements `protocol.Predictor`. Documents without words and pages are an empty finding."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        settings: GenerativeSettings,
        *,
        most_tokens: int = 2048,
        batch: int = 8,
        journal: Path | None = None,
        is_constrained: bool = True,
        beat: Callable[[], None] | None = None,
        fast: FastOptions | None = None,
    ) -> None:
        """Take a model in evaluation mode.

        Args:
            model: `Qwen2_5_VLForConditionalGeneration` on its device.
            processor: Of the same folder.
            settings: Of the same folder.
            most_tokens: Of one answer; more than `constrained.WIND_DOWN` where it is constrained.
            batch: Requests answered at once.
            journal: File that answers are appended to; what it holds is not asked again.
            is_constrained: Whether answers are held to their schema.
            beat: Called before every batch, by whoever is watched while reading.
            fast: Generate by `fast_decoding` instead of transformers; the model must have no adapters then.
        """
        self.model, self.processor, self.settings = model, processor, settings
        self.grammars = Grammars(processor.tokenizer, vocabulary=model.config.text_config.vocab_size)
        self._most_tokens, self._batch = most_tokens, batch
        self._journal = None if journal is None else Journal(journal)
        self._is_constrained, self._beat = is_constrained, beat
        self._fast = None if fast is None else FastGenerator(model, fast)

    def predict(self, pages: Sequence[Page]) -> Prediction:
        """Read one document."""
        return self.predict_many([pages])[0]

    def predict_many(
        self, documents: Sequence[Sequence[Page]], progress: ReportProgress | None = None
    ) -> list[Prediction]:
        """Read many documents, a batch at a time; results in the order given."""
        results: list[Prediction] = []
        for start in range(0, len(documents), self._batch):
            results += self._read(documents[start : start + self._batch])
            if progress is not None:
                progress(len(results), len(documents))
        return results

    def picture_scale(self, page: Page) -> float:
        """Pixels a point that a page is best drawn with for `Page.picture`; without that, its words are drawn."""
        return rendering_scale(page, self.settings.shape)

    def request(self, pages: Sequence[Page], instruction: Instruction, *, cases: Sequence[Case] = ()) -> Request:
        """A request about a document, with the pictures of its first pages drawn."""
        shown = pages[: self.settings.prompt.most_pages]
        pictures = [page_picture(page, self.settings.shape, page.picture) for page in shown]
        return Request(pages=pages, pictures=pictures, instruction=instruction, cases=cases)

    def answers(self, requests: Sequence[Request], *, is_constrained: bool | None = None) -> list[Answer]:
        """Answers in the order of the requests; those in the journal are taken from there.

        Args:
            requests: At least a page each.
            is_constrained: Whether they are held to their schema; by default as the predictor is.
        """
        constrained = self._is_constrained if is_constrained is None else is_constrained
        texts = [prompt_of(self.processor, request, self.settings.prompt) for request in requests]
        keys = [self._key(request, text, constrained) for request, text in zip(requests, texts, strict=True)]
        found = {} if self._journal is None else self._journal.read(keys)
        missing = [place for place, key in enumerate(keys) if key not in found]
        for start in range(0, len(missing), self._batch):
            part = missing[start : start + self._batch]
            if self._beat is not None:
                self._beat()
            written = self._generate([requests[place] for place in part], [texts[place] for place in part], constrained)
            answered = {keys[place]: answer for place, answer in zip(part, written, strict=True)}
            if self._journal is not None:
                self._journal.add(answered)
            found |= answered
        return [found[key] for key in keys]

    def embed(self, requests: Sequence[Request]) -> npt.NDArray[np.float32]:
        """Mean of the last hidden states over each request's prompt, float32 [n, width] of unit length."""
        if self._beat is not None:
            self._beat()
        inputs = self._inputs(
            requests, [prompt_of(self.processor, request, self.settings.prompt) for request in requests]
        )
        with torch.inference_mode():
            hidden = self.model.model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        vectors: npt.NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
        return vectors

    def _read(self, documents: Sequence[Sequence[Page]]) -> list[Prediction]:
        instruction = Instruction(kind="extract", text=EXTRACT)
        places = [place for place, pages in enumerate(documents) if pages]
        requests = [self.request(documents[place], instruction) for place in places]
        results = [to_prediction(_NOTHING, (), ())] * len(documents)
        if not requests:
            return results
        vectors = self.embed(requests)
        for place, request, answer, vector in zip(places, requests, self.answers(requests), vectors, strict=True):
            results[place] = to_prediction(answer, request.pages, request.frames, vector=vector)
        return results

    def _schema(self, request: Request) -> Schema:
        return request.instruction.schema(request.frames, fields=self.settings.fields)

    def _inputs(self, requests: Sequence[Request], texts: Sequence[str]) -> dict[str, Tensor]:
        pictures = [picture for request in requests for picture in request.pictures]
        batch = self.processor(
            text=list(texts), images=pictures, padding=True, padding_side="left", return_tensors="pt"
        )
        return {name: value.to(self.model.device) for name, value in batch.items()}

    def _generate(self, requests: Sequence[Request], texts: Sequence[str], is_constrained: bool) -> list[Answer]:
        inputs, schemas = self._inputs(requests, texts), [self._schema(request) for request in requests]
        chances = ChosenChances()
        schema = SchemaProcessor(self.grammars, schemas, most_tokens=self._most_tokens) if is_constrained else None
        written = self._write(inputs, LogitsProcessorList([chances] if schema is None else [schema, chances]))
        logs = chances.log_chances(written).numpy()
        cut = [False] * len(requests) if schema is None else schema.was_cut
        return [
            self._answer(tokens, logs[row], schemas[row], was_cut=cut[row])
            for row, tokens in enumerate(written.tolist())
        ]

    def _write(self, inputs: dict[str, Tensor], processors: LogitsProcessorList) -> Tensor:
        """What the model writes behind every prompt, int64 [rows, tokens]."""
        if self._fast is not None:
            settings = self.model.generation_config
            ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
            return self._fast.generate(
                inputs,
                most_tokens=self._most_tokens,
                ends=ends,
                filler=settings.pad_token_id,
                processors=processors,
            )
        with torch.inference_mode():
            whole: Tensor = self.model.generate(
                **inputs, max_new_tokens=self._most_tokens, do_sample=False, logits_processor=processors
            )
        return whole[:, inputs["input_ids"].shape[1] :]

    def _answer(self, tokens: list[int], logs: npt.NDArray[np.float32], schema: Schema, *, was_cut: bool) -> Answer:
        ends = set(self.grammars.ends)
        length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        pieces = [self.grammars.bytes_of([token]) for token in tokens[:length]]
        text = b"".join(pieces).decode(errors="replace")
        return Answer(
            text=text,
            tokens=length,
            is_compliant=is_compliant(parsed(text), schema),
            was_cut=was_cut or length == self._most_tokens,
            confidence=float(np.exp(logs[:length].mean())) if length else 0.0,
            confidences=value_confidences(pieces, logs),
        )

    def _key(self, request: Request, text: str, is_constrained: bool) -> str:
        digest = hashlib.sha256(json.dumps([text, is_constrained, self._most_tokens, self._schema(request)]).encode())
        for picture in request.pictures:
            digest.update(picture.tobytes())
        return digest.hexdigest()


class Journal:
    """Answers by request as JSON lines; a line that a killed process left half written does not count."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, keys: Sequence[str]) -> dict[str, Answer]:
        """Those of the requests that are here."""
        if not self._path.exists():
            return {}
        wanted, found = set(keys), {}
        for line in self._path.read_bytes().split(b"\n")[:-1]:
            try:
                entry = json.loads(line)
            except ValueError:  # cut by a kill, and gone on behind it
                continue
            if entry["key"] in wanted:
                confidences = {tuple(path): value for path, value in entry["answer"].pop("confidences")}
                found[entry["key"]] = Answer(**entry["answer"], confidences=confidences)
        return found

    def add(self, answers: dict[str, Answer]) -> None:
        """Append; what is added is complete when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        for key, answer in answers.items():
            entry = asdict(replace(answer, confidences={})) | {"confidences": list(answer.confidences.items())}
            stream.write(json.dumps({"key": key, "answer": entry}).encode() + b"\n")
        is_cut = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("ab") as file:
            file.write((b"\n" if is_cut else b"") + stream.getvalue())


_NOTHING = Answer(text="", tokens=0, is_compliant=False, was_cut=False, confidence=0.0)


def load_generative(
    folder: Path, *, dtype: str = "float32", device: str = "cpu", **options: Any
) -> GenerativePredictor:
    """Open the folder of an instructed model.

    Args:
        folder: As the stage `instructed_model` writes it.
        dtype: Name of torch's type of the weights.
        device: Of the model.
        **options: Of `GenerativePredictor`.

    Raises:
        ConfigurationError: It is no such folder.
    """
    settings = GenerativeSettings.read(folder)
    model, processor = load_qwen(folder, dtype=dtype)
    return GenerativePredictor(model.to(device).eval(), processor, settings, **options)
