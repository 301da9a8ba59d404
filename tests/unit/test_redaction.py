"""What is taken out of a transcript before it is kept, and what stays."""

from __future__ import annotations

import pytest

from agent.redaction import Redactor, luhn
from agent.spoken import digits_in

CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111, 1111, 1111, 1111",
    "3782 822463 10005",
    "four one one one one one one one one one one one one one one one",
    "four triple one, double one double one, one one one one, one one one one",
    "forty one eleven eleven eleven eleven eleven eleven eleven",
    "four thousand one hundred eleven uh 1111 1111 1111",
    "сорок один" + " одиннадцать" * 7,
    "четыре один один один, один один один один, один один один один, один один один один",
    "четыре три единицы четыре единицы четыре единицы четыре единицы",
    "4111 1111 1111 1112",  # a digit was misheard
    "4111 1111 1111 1111 12 27 123",  # with its date and code
]
PHONES = [
    "+15555550100",
    "1 (555) 555-0100",
    "555-0100",
    "555.555.0100",
    "five five five oh one double zero",
    "plus one five five five, five five five, zero one zero zero",
    "eight hundred five five five one two one two",
    "+7 916 123-45-67",
    "восемь девятьсот шестнадцать сто двадцать три сорок пять шестьдесят семь",
    "девятьсот пять и двести двадцать и два нуля и пять пять",
    "восемь, девять один шесть, один два три, сорок пять, э шестьдесят семь",
]
ADDRESSES = [
    "anna.smith@example.com",
    "anna.smith @ example.co.uk",
    "anna dot smith at example dot com",
    "anna underscore smith at example dot co dot uk",
    "a n n a at gmail.com",
    "anna smith five five at my-mail dot org",
    "анна точка смирнова собака пример точка ру",
    "анна нижнее подчеркивание два собака пример тире почта точка ру",
    "anna собачка yandex точка ru",
]


@pytest.mark.parametrize("said", CARDS)
def test_a_card_number_is_not_kept(said):
    assert Redactor({"card"}).text(f"my card is {said}, thanks") == "my card is [card], thanks"


@pytest.mark.parametrize("said", PHONES)
def test_a_phone_number_is_not_kept(said):
    kept = Redactor({"phone"}).text(f"call me: {said}. Спасибо")
    assert kept.removesuffix(". Спасибо") in {"call me: [phone]", "call me: plus [phone]"}


@pytest.mark.parametrize("said", ADDRESSES)
@pytest.mark.parametrize(("before", "after"), [("my email is ", " thanks"), ("почта ", ", да")])
def test_an_address_is_not_kept(said, before, after):
    assert Redactor({"email"}).text(f"{before}{said}{after}") == f"{before}[email]{after}"


@pytest.mark.parametrize(
    "said",
    [
        "We are open from nine to six, Monday to Friday, and from ten to four on Saturday.",
        "Мы работаем с девяти до шести в будни и с десяти до четырёх в субботу.",
        "a full tune up costs sixty dollars, and two tubes are thirty",
        "the order is from 2026-11-21, or was it 21.11.2026",
        "I'll be there at ten. Point taken",
        "look at that. com is a word",
        "one moment, or two",
        "my number is five five one two",
        "room 4073 on floor 12",
        "я раз сто говорила: один раз",
        "",
    ],
)
def test_what_is_no_secret_stays_as_it_was_said(said):
    assert Redactor().text(said) == said


def test_what_stands_beside_a_card_is_its_date_or_its_code():
    said = "4111 1111 1111 1111 valid to 12 27 and the code is three two one, for two bikes"
    assert Redactor().text(said) == "[card] valid to [card] and the code is [card], for two bikes"


def test_several_things_in_one_text():
    said = "a@b.com or 555-0100, my card is 4111 1111 1111 1111"
    assert Redactor().text(said) == "[email] or [phone], my card is [card]"


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        ({"card"}, "a@b.com or 555-0100"),
        ({"phone"}, "a@b.com or [phone]"),
        ({"email"}, "[email] or 555-0100"),
        (set(), "a@b.com or 555-0100"),
    ],
)
def test_only_what_was_asked_for_is_taken_out(kinds, kept):
    assert Redactor(kinds).text("a@b.com or 555-0100") == kept


def test_a_text_is_redacted_once():
    once = Redactor().text("a@b.com 555-0100 4111 1111 1111 1111")
    assert Redactor().text(once) == once


def test_pressed_keys_are_taken_out_of_what_follows():
    redactor = Redactor()
    redactor.pressed("42")
    redactor.pressed("1234#")
    assert redactor.text("you pressed one two three four") == "you pressed [keys]"
    assert redactor.text("4 2, no?") == "[keys], no?"
    assert redactor.text("it is 9 1 2 3 4 then") == "it is [keys] then"
    assert redactor.text("You pressed 4 2. 4 2 #") == "You pressed [keys] #"
    assert redactor.text("flat 142") == "flat 142"
    assert redactor.text("i pressed 1 2 3 4 #") == "i pressed [keys]"


def test_choices_in_a_menu_are_kept_and_a_number_that_is_typed_slowly_is_not():
    redactor = Redactor()
    assert [redactor.pressed(key) for key in "15411"] == ["1", "5", "", "", ""]
    assert redactor.text("i pressed 5") == "i pressed 5"
    assert redactor.text("i pressed 4") == "i pressed [keys]"
    assert Redactor({"card"}).pressed("4321") == "4321"
    assert Redactor({"card"}).text("i pressed 4 3 2 1") == "i pressed 4 3 2 1"


def test_a_card_that_is_read_over_several_turns_is_not_kept_but_for_its_beginning():
    redactor = Redactor()
    kept = [redactor.said(turn) for turn in ("my card is 4111", "and then 2222", "3333", "4444")]
    assert kept == ["my card is 4111", "and then [phone]", "[phone]", "[card]"]
    assert redactor.text("I have 2222, 3333 and 4444.") == "I have [phone]."
    assert Redactor({"card"}).said("four one one one") == "four one one one"


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [({"card"}, "[card]"), ({"phone"}, "[phone]"), ({"email"}, "2222"), (set(), "2222")],
)
def test_a_number_over_several_turns_is_what_the_persona_does_not_keep(kinds, kept):
    redactor = Redactor(kinds)
    assert [redactor.said("4111"), redactor.said("2222")] == ["4111", kept]


def test_numbers_in_turns_about_something_else_stay():
    redactor = Redactor()
    turns = ["my order number is 4073", "i paid 1500 for that bike last year", "two", "at 930 then"]
    assert [redactor.said(turn) for turn in turns] == turns


def test_values_keep_their_shape():
    value = {"a": ["555-0100", 5, None], "b": ("555-0100",), "c": {"d": "x"}}
    assert Redactor().value(value) == {
        "a": ["[phone]", 5, None],
        "b": ("[phone]",),
        "c": {"d": "x"},
    }


@pytest.mark.parametrize(
    ("digits", "right"),
    [("4111111111111111", True), ("378282246310005", True), ("4111111111111112", False)],
)
def test_the_check_digit(digits, right):
    assert luhn(digits) is right


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("twenty one twenty", "2120"),
        ("ten twenty zero", "10200"),
        ("double oh seven", "007"),
        ("double 5", "55"),
        ("three sevens", "777"),
        ("eight hundred", "800"),
        ("сто двадцать три", "123"),
        ("двести пять", "205"),
        ("девятьсот шестнадцать", "916"),
        ("два нуля", "00"),
        ("трижды семь", "777"),
        ("double", ""),
        ("hello", ""),
    ],
)
def test_number_words_are_digits(words, digits):
    assert digits_in(words.split()) == digits


def test_a_long_text_is_read_at_once():
    said = "one two three four five " * 2000 + "at " * 2000
    assert len(Redactor().text(said)) < len(said)
