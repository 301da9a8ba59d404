"""What is taken out of a transcript before it is kept, and what stays."""

from __future__ import annotations

import unicodedata

import pytest

from agent.digit_runs import luhn
from agent.redaction import Redactor
from agent.spoken import digits_in
from config.persona import load_personas
from config.settings import ROOT

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


DASHES = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Pd"]
TABLE = [
    # Numbers of people, however they are written.
    *((f"it is 4111{sign}1111{sign}1111{sign}1111.", "it is [card].") for sign in DASHES),
    *((f"call 555{sign}0100 now", "call [phone] now") for sign in [*DASHES, "_", "\u2212"]),
    ("4111_1111_1111_1111", "[card]"),
    ("4111\u22121111\u22121111\u22121111", "[card]"),
    ("4111\u200b1111\u200b1111\u200b1111", "[card]"),
    ("4111 okay 1111 okay 1111 okay 1111", "[card]"),
    ("4111, okay, 1111, yes, 1111, right, 1111", "[card]"),
    ("4111. Ok. 1111. Yeah. 1111. Uh-huh. 1111", "[card]"),
    ("4111 так 1111 да 1111 ага 1111", "[card]"),
    ("девятьсот шестнадцать, ну, сто двадцать три, угу, сорок пять, да, семь", "[phone]"),
    ("4111, 1111, 1111, 1112", "[card]"),
    ("3782, 822463, 10006", "[phone]"),  # a misheard digit, and too few for a card
    ("call +7916, 1234567", "call [phone]"),
    ("8916, 123, 45, 67", "8916, [phone]"),
    ("eight hundred five five five one", "[phone]"),
    ("восемь восемьсот пять пять пять один два два два", "[phone]"),
    ("восемь девятьсот шестнадцать, сто двадцать три, сорок пять, шестьдесят семь", "[phone]"),
    ("555-0100, 9:00-18:00", "[phone], 9:00-18:00"),
    ("before 10:30 call 555-0100", "before 10:30 call [phone]"),
    ("555-0100 central", "[phone] central"),
    ("enter 555 0100 pound", "enter [phone] pound"),
    ("+7 (916) 1234567, +7 (916) 7654321", "[phone], [phone]"),
    ("4111 and 1111 and 1111 and 1111", "[card]"),
    ("41:11:11:11:11:11:11:11", "[card]"),
    ("20.12.2012.34.56", "[phone]"),
    # Addresses, however they are said.
    ("иван собака мейл ру", "[email]"),
    ("почта иван точка петров собака яндекс ру, да", "почта [email], да"),
    ("иван собака мой тире домен ком", "[email]"),
    ("it is ivan at gmail com, thanks", "it is [email], thanks"),
    ("ivan at gmail point com", "[email]"),
    ("ivan at yahoo co uk dot com", "ivan at yahoo co uk dot com"),
    ("ivan at 163.com", "[email]"),
    ("a@4x4.org", "[email]"),
    # Everything else.
    *((said, said) for said in (
        "We open at 9.30", "the rate is at 3.5 percent", "look at 2.0 please",
        "at three point five percent", "at this point in time", "at that point we left",
        "look at the com port", "we ship at the org level", "у меня собака, а у вас",
        "We are open 9:00-18:00", "Mon-Fri 08:00-20:00", "Пн-Пт 9:00–18:00, Сб 10:00–16:00",
        "from 9.30-18.00", "10:30, 11:00 and 11:30", "2026-01-31 14:30", "2026-01-31T14:30:00Z",
        "31.01.2026, 01.02.2026", "on 12/31/2026 and 1/1/2027",
        "two thousand five hundred rubles", "две тысячи пятьсот", "две тысячи двадцать шестой",
        "в тысяча девятьсот девяносто девятом", "сто двадцать тысяч пятьсот",
        "two thousand, three thousand, four thousand five hundred",
        "1 250 000 рублей", "1500.00, 2000.00", "15000.00", "$1,250,000", "1,250,000 in all",
        "1500, 2000, 2500, 3000", "2019, 2020, 2021, 2022", "1500 and 2000 rubles",
        "three hundred and fifty dollars, four hundred and twenty, five hundred and ten",
        "in 2019, 2020 and 2021 we sold 1200, 1300 and 1400 bikes", "2 000, 3 500, 4 000",
        "улица Ленина 12, 105066 Москва", "12 Maple Street, 10001", "room 5, 10001",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kept"), TABLE)
def test_what_is_taken_out_and_what_stays(said, kept):
    assert Redactor().text(said) == kept
    assert Redactor().said(said) == kept


TURNS = [
    (["4111", "okay", "1111", "yes, right", "1111", "так", "1111"],
     ["4111", "okay", "[phone]", "yes, right", "[phone]", "так", "[card]"]),
    (["my number is 916", "да", "123 45 67"], ["my number is 916", "да", "[phone]"]),
    (["4111", "now what was the rest", "1111"], ["4111", "now what was the rest", "1111"]),
    (["At 10:30.", "11:30?"], ["At 10:30.", "11:30?"]),
    (["on 2026-01-31", "2026-02-01?"], ["on 2026-01-31", "2026-02-01?"]),
    (["1500 rubles", "2000 rubles?", "две тысячи рублей"],
     ["1500 rubles", "2000 rubles?", "две тысячи рублей"]),
]  # fmt: skip


@pytest.mark.parametrize(("turns", "kept"), TURNS)
def test_turns_that_follow_each_other(turns, kept):
    redactor = Redactor()
    assert [redactor.said(turn) for turn in turns] == kept


@pytest.mark.parametrize("name", ["en", "ru"])
def test_what_a_persona_says_stays(name):
    persona = load_personas(ROOT / "config" / "personas")[name]
    said = [*(fact.answer for fact in persona.facts), *persona.phrases.model_dump().values()]
    for text in filter(None, said):
        assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "said",
    [
        "4 8 2 1",
        "four eight two one",
        "4821",
        "48, 21",
        "forty eight twenty one",
        "four thousand eight hundred twenty one",
        "четыре восемь два один",
        "четыре тысячи восемьсот двадцать один",
    ],
)
def test_keys_that_a_question_asked_for_are_taken_out_however_they_are_said(said):
    redactor = Redactor()
    redactor.typed("4821")
    assert redactor.text(f"your PIN is {said}") == "your PIN is [keys]"


def test_keys_that_a_question_asked_for_are_no_choice_in_a_menu():
    redactor = Redactor()
    redactor.typed("7")
    assert [redactor.pressed(key) for key in "154"] == ["1", "5", ""]
    assert redactor.text("i pressed 7") == "i pressed [keys]"
    kept = Redactor({"card"})
    kept.typed("4821")
    assert kept.text("it is 4821") == "it is 4821"


def test_keys_that_look_like_a_time_a_date_or_a_list_are_taken_out_all_the_same():
    redactor = Redactor()
    for keys in ("1030", "31012026", "123456789012", "8005551222"):
        redactor.typed(keys)
    assert redactor.text("at 10:30, is it") == "at [keys], is it"
    assert redactor.text("born 31.01.2026") == "born [keys]"
    assert redactor.text("1234, 5678, 9012") == "[keys]"
    assert redactor.text("eight hundred five five five one two two two") == "[keys]"


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
        ("eight hundred five", "805"),
        ("thousand", "1000"),
        ("two thousand five hundred", "2500"),
        ("2 thousand 500", "2500"),
        ("two thousand 0 5", "200005"),
        ("two thousand 1234", "20001234"),
        ("two thousand three thousand", "20003000"),
        ("twenty two thousand five hundred ten", "22510"),
        ("two thousand twenty six", "2026"),
        ("четыре тысячи сто одиннадцать", "4111"),
        ("тысяча девятьсот девяносто девять", "1999"),
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


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("eight hundred five five five", "800555"),
        ("восемьсот пять пять", "80055"),
        ("eight hundred five", "805"),
        ("two thousand five hundred", "2500"),
    ],
)
def test_the_second_reading_of_hundreds(words, digits):
    assert digits_in(words.split(), spelled=True) == digits


def test_a_long_text_is_read_at_once():
    said = "one two three four five " * 2000 + "at " * 2000 + "1, " * 5000 + "1, 12345, " * 2000
    assert len(Redactor().text(said)) < len(said)
