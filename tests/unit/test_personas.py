import pickle
from pathlib import Path

import pytest
import yaml

from config.persona import Fact, Persona, SettingsError, choose, load_personas
from config.settings import ROOT

FOLDER = ROOT / "config" / "personas"


@pytest.fixture(scope="module")
def personas() -> dict[str, Persona]:
    return load_personas(FOLDER)


def write(folder: Path, stem: str, **changes: object) -> None:
    """The English persona with changes, as a file of its own."""
    data = yaml.safe_load((FOLDER / "en.yaml").read_text(encoding="utf-8"))
    data.update(changes)
    text = yaml.safe_dump(data, sort_keys=False)
    (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")


def test_two_personas_ship_with_the_language_of_their_name(personas):
    assert {name: persona.language for name, persona in personas.items()} == {
        "en": "en",
        "ru": "ru",
    }


def test_both_know_the_same_things(personas):
    english, russian = ([fact.name for fact in personas[name].facts] for name in ("en", "ru"))

    assert english == russian


@pytest.mark.parametrize("name", ["en", "ru"])
def test_no_way_of_asking_belongs_to_two_facts(name, personas):
    asks = [ask for fact in personas[name].facts for ask in fact.asks]

    assert len(set(asks)) == len(asks)


@pytest.mark.parametrize("name", ["en", "ru"])
def test_every_fact_can_be_asked_for_in_several_ways(name, personas):
    assert min(len(fact.asks) for fact in personas[name].facts) >= 4


@pytest.mark.parametrize("name", ["en", "ru"])
def test_numbers_are_spoken_as_words(name, personas):
    persona = personas[name]
    spoken = [fact.answer for fact in persona.facts] + list(persona.phrases.model_dump().values())

    assert not [text for text in spoken if any(letter.isdigit() for letter in text)]


@pytest.mark.parametrize("name", ["en", "ru"])
def test_each_tool_is_reached_by_a_fact(name, personas):
    assert {fact.tool for fact in personas[name].facts if fact.tool} == set(personas[name].tools)


def test_the_offline_recogniser_knows_every_english_word(personas):
    pronunciation = pytest.importorskip("plugins.offline.pronunciation")
    words = {word for phrase in personas["en"].listens_for() for word in phrase.split()}

    assert pronunciation.unknown_words(sorted(words)) == []


def test_one_answer_is_long_enough_to_be_interrupted(personas):
    espeak = pytest.importorskip("plugins.offline.espeak")
    for name, voice in (("en", "en-us"), ("ru", "ru")):
        [services] = [fact for fact in personas[name].facts if fact.name == "services"]
        samples = espeak.synthesize(services.answer, voice)
        assert len(samples) / espeak.SAMPLE_RATE > 8


def test_what_is_listened_for_holds_each_phrase_once(personas):
    persona = personas["en"]
    phrases = persona.listens_for()

    assert len(set(phrases)) == len(phrases)
    assert {"hello", "uh-huh", "excuse me", "what are your opening hours"} <= set(phrases)


def test_an_answer_is_met_by_its_meaning_not_its_wording(personas):
    [hours] = [fact for fact in personas["en"].facts if fact.name == "opening_hours"]

    assert hours.is_met_by("From NINE until six on weekdays.")
    assert hours.is_met_by("9 to 6")
    assert not hours.is_met_by("We open at nine.")


def test_a_fact_without_means_is_met_by_any_answer():
    assert Fact(name="x", asks=("hello",), answer="Hi.").is_met_by("whatever")


def test_a_persona_goes_to_another_process_whole(personas):
    assert pickle.loads(pickle.dumps(personas)) == personas


@pytest.mark.parametrize("called", ["+15555550100", "15555550100", "+1 555 555-0100"])
def test_the_called_number_chooses(called, tmp_path):
    write(tmp_path, "shop", numbers=["+15555550100"])
    write(tmp_path, "other")
    personas = load_personas(tmp_path)

    assert choose(personas, called, "other").name == "shop"


@pytest.mark.parametrize("called", ["", "anonymous", "+15555550101"])
def test_the_default_answers_every_other_number(called, tmp_path):
    write(tmp_path, "shop", numbers=["+15555550100"])
    write(tmp_path, "other")

    assert choose(load_personas(tmp_path), called, "other").name == "other"


def test_a_persona_that_is_not_there_names_those_that_are(personas):
    with pytest.raises(SettingsError, match=r"^no persona fr \(there are: en, ru\)$"):
        choose(personas, "", "fr")


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_personas(folder)
    return [line.replace(f"{folder}/", "") for line in caught.value.problems]


FACT = {"name": "hello", "asks": ["hello"], "answer": "Hi.", "means": []}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"promt": "x"}, "promt: unknown key, did you mean prompt?"),
        ({"language": "de"}, "language: expected one of en, ru"),
        ({"numbers": ["555"]}, "numbers[0]: expected a number such as +15555550100"),
        (
            {"transfer": {"to": "+15555550100"}},
            "transfer.to: expected a URI such as tel:+15555550100 or sip:a@b",
        ),
        ({"transfer": None}, "tools: transfer_call needs transfer"),
        (
            {"transfer": {"to": "tel:+15555550100", "mode": "hot"}},
            "transfer.mode: expected one of cold, warm",
        ),
        (
            {"transfer": {"to": "tel:+15555550100", "hold_audio": "nowhere.wav"}},
            "transfer.hold_audio: cannot be read (No such file or directory)",
        ),
        (
            {"transfer": {"to": "tel:+15555550100", "hold_audio": "README.md"}},
            "transfer.hold_audio: not a WAV",
        ),
        (
            {"tools": ["hang_up"]},
            "tools[0]: expected one of end_call, transfer_call, dtmf_pressed",
        ),
        ({"tools": []}, "facts: keys_pressed uses dtmf_pressed, which is not in tools"),
        ({"facts": []}, "facts: the list must not be empty"),
        ({"facts": [FACT, FACT]}, "facts: two are named hello"),
        (
            {"facts": [{**FACT, "asks": ["Hello!"]}]},
            "facts[0].asks[0]: expected spoken words: letters and spaces only, numbers as words",
        ),
        ({"facts": [{**FACT, "asks": ["Hello"]}]}, "facts[0].asks[0]: expected lower case"),
        ({"facts": [{**FACT, "asks": [True]}]}, "facts[0].asks[0]: expected text, not true or"),
        (
            {"facts": [{**FACT, "answer": "Hi {name}."}]},
            "facts[0].answer: the only placeholder is {digits}",
        ),
        (
            {"facts": [{**FACT, "means": [["bye"]]}]},
            "facts[0]: the answer does not hold what `means` asks of an answer",
        ),
        (
            {"facts": [{**FACT, "ask": []}]},
            "facts[0].ask: unknown key, did you mean facts[0].asks?",
        ),
        ({"phrases": {}}, "phrases.greeting: is required but missing"),
        (
            {"limits": {"max_duration": 30}},
            "limits: duration_warning must be shorter than max_duration",
        ),
        ({"limits": {"silence_prompt": 0}}, "limits.silence_prompt: must be greater than 0"),
        (
            {"turn_taking": {"barge_in": "soon"}},
            "turn_taking.barge_in: expected a number",
        ),
        ({"name": "bob"}, "name: leave it out, it is the file's name"),
    ],
)
def test_what_is_wrong_in_a_persona_is_said_in_a_line_that_names_its_file(changes, what, tmp_path):
    write(tmp_path, "shop", **changes)

    lines = [line for line in problems_of(tmp_path) if f": {what}" in line]

    assert len(lines) == 1
    assert lines[0].startswith("shop.yaml")


def test_the_problems_of_all_files_are_told_at_once(tmp_path):
    write(tmp_path, "one", language="de")
    (tmp_path / "two.yaml").write_text("a: [")

    assert [line.partition(":")[0] for line in problems_of(tmp_path)] == ["one.yaml", "two.yaml"]


def test_one_number_cannot_be_answered_by_two(tmp_path):
    write(tmp_path, "one", numbers=["+15555550100"])
    write(tmp_path, "two", numbers=["+15555550100"])

    assert problems_of(tmp_path) == ["two.yaml: numbers: one answers one of these numbers already"]


def test_an_empty_folder_is_an_error(tmp_path):
    assert "no personas (files NAME.yaml) here" in problems_of(tmp_path)[0]
