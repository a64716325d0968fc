"""The card's form: every fact that is given is there, what is not known has no heading."""

from sap_llm.registry.model_card import DataRow, ModelCard, SliceRow, render


def test_a_card_says_use_data_slices_limits_and_how_to_make_it_again() -> None:
    card = ModelCard(
        name="multitask_model/r1",
        version="abc",
        use="Reads documents.",
        limits=["It sees no pixels."],
        inputs={"training_set": "training_set/r1@x1"},
        data=[DataRow(source="sroie", role="train", licence="CC-BY | 4.0", split="train", documents=1626)],
        measures={"field_f1": 0.91234567},
        slices=[SliceRow(view="language", name="de", support=1200, measure="field F1", value=0.5)],
        training={"steps": 700},
        hyperparameters={"optimizer.learning_rate": 2e-3},
        hashes={"model/model.safetensors": "00ff"},
        reproduce=["dg launch ..."],
    )
    text = render(card)
    for said in (
        "# multitask_model/r1\n",
        "## Use\n\nReads documents.",
        "- It sees no pixels.",
        "| sroie | train | CC-BY \\| 4.0 | train | 1,626 |",
        "- training_set: `training_set/r1@x1`",
        "| `field_f1` | 0.91235 |",
        "| language | de | 1,200 | field F1 | 0.5000 |",
        "| `steps` | 700 |",
        "| `optimizer.learning_rate` | 0.002 |",
        "| `model/model.safetensors` | 00ff |",
        "- dg launch ...",
    ):
        assert said in text


def test_what_is_not_known_is_left_out() -> None:
    text = render(ModelCard(name="m", version="1", use="Try it.", limits=[]))
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# m", "## Use"]
