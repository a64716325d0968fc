"""Backbones that read words: what all share, learning on generated documents, model folders and checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.build import build_reader
from sap_llm.modeling.backbones.layoutlmv3 import LayoutLMv3Backbone, page_boxes
from sap_llm.modeling.backbones.qwen_reader import QwenReader
from sap_llm.modeling.backbones.shapes import BackboneShape, LayoutLMv3Shape, QwenReaderShape
from sap_llm.modeling.backbones.subwords import Subwords
from sap_llm.modeling.features import PaddedWords, encode_words, pad, word_texts
from sap_llm.modeling.folder import WEIGHTS, ModelConfig, read_config, write_config
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import default_labels
from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen, save_qwen
from sap_llm.modeling.torch_runtime import load_network, tensors
from sap_llm.schema.errors import ConfigurationError
from sap_llm.training.batches import Batch, collate
from sap_llm.training.config import LossWeights, MultitaskModelConfig
from sap_llm.training.losses import DocumentLoss, Targets
from sap_llm.training.optimizer import make_optimizer

SHAPES = {
    "compact": EncoderConfig(size="debug"),
    "layoutlmv3": LayoutLMv3Shape(size="debug"),
    "layoutlmv3-subwords": LayoutLMv3Shape(size="debug", words="subwords", positions=200),
    "qwen2_5_vl": QwenReaderShape(size="debug"),
}
LABELS = default_labels()


@pytest.fixture
def batch(generated: Any) -> Batch:
    return collate(generated.shard, np.argsort(generated.shard.lengths, kind="stable")[:2])


def _loss(model: MultitaskModel, batch: Batch) -> torch.Tensor:
    loss = DocumentLoss(LossWeights(), subtype_ranges=LABELS.subtype_ranges(), subtypes=len(LABELS.subtypes))
    targets = Targets.of(batch)
    return loss(model(*tensors(batch)), targets, loss.counts(targets)).total


def _save(model: MultitaskModel, folder: Path) -> None:
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    model.encoder.save_files(folder)
    write_config(folder, ModelConfig(taxonomy_version="1", backbone=model.encoder.shape, labels=LABELS.to_json()))


@pytest.mark.parametrize("name", SHAPES)
def test_it_learns_and_its_folder_gives_the_same(name: str, batch: Batch, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = MultitaskModel(SHAPES[name], LABELS)
    config = MultitaskModelConfig(backbone=SHAPES[name])
    optimizer = make_optimizer(model, config)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        total = _loss(model, batch)
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.8 * losses[0]
    _save(model.eval(), tmp_path)
    again = load_network(tmp_path, read_config(tmp_path))
    with torch.inference_mode():
        for one, other in zip(model(*tensors(batch)), again(*tensors(batch)), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", SHAPES)
def test_padding_changes_no_vector(name: str, generated: Any) -> None:
    torch.manual_seed(1)
    reader = build_reader(SHAPES[name]).eval()
    features = [encode_words(generated.pages[place]).window(0, stop) for place, stop in ((0, 19), (1, 60))]
    with torch.inference_mode():
        alone, beside = reader(*tensors(pad(features[:1]))), reader(*tensors(pad(features)))
    for one, other in zip(alone, beside, strict=True):
        torch.testing.assert_close(one[0, :19], other[0, :19], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_a_document_without_words_has_vectors_all_the_same(name: str, generated: Any) -> None:
    reader = build_reader(SHAPES[name]).eval()
    features = [encode_words([]), encode_words(generated.pages[0]).window(0, 9)]
    with torch.inference_mode():
        for vectors in reader(*tensors(pad(features))):
            assert vectors.shape == (2, 9, reader.width)
            assert vectors.isfinite().all()


@pytest.mark.parametrize("name", SHAPES)
def test_every_trained_weight_gets_a_gradient(name: str, batch: Batch) -> None:
    torch.manual_seed(2)
    reader = build_reader(SHAPES[name])
    local, vectors = reader(*tensors(batch))
    (local.square().mean() + vectors[..., 0].square().mean()).backward()
    idle = [key for key, value in reader.named_parameters() if value.requires_grad and value.grad is None]
    assert idle == []


def test_the_published_biases_get_no_gradient_unless_the_shape_wants_it(batch: Batch) -> None:
    for learns in (True, False):
        reader = build_reader(LayoutLMv3Shape(size="debug", learns_biases=learns))
        reader(*tensors(batch))[1].sum().backward()
        assert (reader.model.encoder.rel_pos_x_bias.weight.grad is not None) == learns


def test_learning_biases_are_the_published_ones(batch: Batch) -> None:
    torch.manual_seed(4)
    ours = LayoutLMv3Backbone(LayoutLMv3Shape(size="debug")).eval()
    theirs = LayoutLMv3Backbone(LayoutLMv3Shape(size="debug", learns_biases=False)).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(ours(*tensors(batch)), theirs(*tensors(batch)))


def test_a_word_sees_its_neighbours_before_the_first_layer(generated: Any) -> None:
    plain, changed = (pad([encode_words(generated.pages[0]).window(0, 30)]) for _ in range(2))
    changed.characters[0, 5] = 7
    for sees in (True, False):
        torch.manual_seed(6)
        reader = build_reader(LayoutLMv3Shape(size="debug", sees_neighbours=sees)).eval()
        with torch.inference_mode():
            difference = (reader(*tensors(plain))[0] - reader(*tensors(changed))[0]).abs().sum(-1)[0]
        touched = set(difference.nonzero().flatten().tolist())
        assert touched == {5} if not sees else touched > {5}


def test_boxes_of_a_long_document_are_shrunk_to_the_page(generated: Any) -> None:
    boxes, mask = torch.tensor([[[0.0, 0, 1000, 1414.2], [10, 20, 30, 40]], [[0, 0, 10, 2828.4], [0, 0, 0, 0]]]), None
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    placed = page_boxes(boxes, mask)
    assert placed[0].tolist() == [[0, 0, 1000, 1000], [10, 14, 30, 28]]
    assert placed[1].tolist() == [[0, 0, 10, 1000], [0, 0, 0, 0]]


def test_words_are_read_back_from_their_features() -> None:
    words = ["Rechnungsnummer:", "Größe", "12,50", "€", "Donaudampfschifffahrtsgesellschaft", "Łódź"]
    page_words = _characters(words)
    texts = word_texts(page_words)
    assert texts[:4] == words[:4]
    assert texts[4] == "Donaudampfschaft"[:10] + "schaft"
    assert texts[5] == "\ufffdód\ufffd"


def test_a_long_document_is_cut_into_rows_of_whole_words() -> None:
    subwords = Subwords.open(None)
    characters = torch.from_numpy(_characters(["abc", "defgh", "ij", "klmnop"])[None].astype(np.int64))
    pieces = subwords.cut(characters, torch.ones(1, 4), most=8)
    rows = [row[keep].tolist() for row, keep in zip(pieces.words, pieces.mask.bool(), strict=True)]
    assert rows == [[0] * 4, [1] * 6, [2] * 3, [3] * 7]
    assert pieces.ids.shape == (4, 7)


def _characters(words: list[str]) -> Any:
    from sap_llm.modeling.features import WordEncoder

    return WordEncoder().encode(words)[0]


def test_a_checkpoint_of_layoutlmv3_is_taken_over_with_its_tokenizer(batch: Batch, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    source = LayoutLMv3Backbone(LayoutLMv3Shape(size="debug", words="subwords", has_image_weights=True)).eval()
    source.model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=source.subwords.tokenizer).save_pretrained(tmp_path)
    wanted = LayoutLMv3Shape(words="subwords", pretrained=str(tmp_path), sees_neighbours=False)
    opened = LayoutLMv3Backbone(wanted).eval()
    assert (opened.shape.width, opened.shape.layers, opened.shape.pretrained) == (32, 2, None)
    source.neighbours = None
    with torch.inference_mode():
        torch.testing.assert_close(opened(*tensors(batch)), source(*tensors(batch)))


def test_the_text_tower_of_a_vision_language_model_is_taken_over(batch: Batch, tmp_path: Path) -> None:
    shape = QwenShape(size="debug")
    model = build_qwen(shape, seed=1)
    save_qwen(tmp_path, model, build_processor(["Rechnung Nr. 1", "Invoice no. 2"], shape))
    reader = QwenReader(QwenReaderShape(pretrained=str(tmp_path))).eval()
    assert torch.equal(reader.tower.embed_tokens.weight, model.model.language_model.embed_tokens.weight)
    with pytest.raises(ConfigurationError, match=r"backbone\.model\.size"):
        QwenReader(QwenReaderShape(size="tiny", pretrained=str(tmp_path)))


def test_places_on_the_page_move_a_readers_vectors(batch: Batch) -> None:
    moved: PaddedWords = batch
    before = moved.boxes.copy()
    torch.manual_seed(8)
    reader = build_reader(QwenReaderShape(size="debug")).eval()
    with torch.inference_mode():
        first = reader(*tensors(moved))[1]
        moved.boxes = before + np.float32(200.0) * (np.arange(before.shape[1]) % 2)[None, :, None]
        second = reader(*tensors(moved))[1]
    assert not torch.allclose(first, second)


def test_a_shape_is_told_by_its_family_and_filled_by_its_size() -> None:
    union = TypeAdapter(BackboneShape)
    tiny = union.validate_python({"family": "layoutlmv3", "size": "tiny", "layers": 3})
    assert isinstance(tiny, LayoutLMv3Shape)
    assert (tiny.width, tiny.layers) == (128, 3)
    assert union.validate_python(tiny.model_dump()) == tiny
    with pytest.raises(ValidationError, match="no size 'huge'; known: debug, tiny, rival, base, large"):
        union.validate_python({"family": "layoutlmv3", "size": "huge"})
    with pytest.raises(ValidationError, match="family"):
        union.validate_python({"size": "tiny"})


@pytest.mark.parametrize("shape", [LayoutLMv3Shape, QwenReaderShape])
def test_a_checkpoint_that_is_not_there_is_named(
    shape: type[LayoutLMv3Shape | QwenReaderShape], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"no checkpoint of the family .*backbone\.pretrained"):
        build_reader(shape(size="debug", pretrained=str(tmp_path / "empty")))
