import json

import pytest
from livekit.agents import Plugin, function_tool, llm

from plugins import offline
from plugins.offline.topics import digits_of

TOPICS = (
    offline.Topic("hello", ("hello", "hi there", "good morning"), "Hello! How can I help?"),
    offline.Topic(
        "hours",
        ("what are your opening hours", "when are you open", "what time do you close"),
        "We are open from nine to five.",
    ),
    offline.Topic("parking", ("is there parking", "where can I park my car"), "Park in the yard."),
    offline.Topic("number", ("my number is", "my phone number"), "I noted {digits}."),
    offline.Topic("thanks", ("thanks", "thank you very much"), "You are welcome."),
    offline.Topic("goodbye", ("goodbye", "bye bye"), "Goodbye!", tool="end_call"),
    offline.Topic("human", ("can I talk to a human",), "", tool="transfer_call"),
)
UNKNOWN = "Sorry, I do not know that."
CLARIFY = "Sorry, could you say that again?"


@function_tool
async def end_call() -> None:
    """Hang up."""


@function_tool
async def transfer_call(reason: str, phone_number: str, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - schema under test
    """Connect the caller to a human."""


TOOLS = [end_call, transfer_call]


@pytest.fixture
def model():
    return offline.LLM(topics=TOPICS, unknown=UNKNOWN, clarify=CLARIFY)


async def ask(model, message, **options):
    context = llm.ChatContext()
    context.add_message(role="user", content=message)
    return await model.chat(chat_ctx=context, **{"tools": TOOLS, **options}).collect()


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("what are your opening hours", "We are open from nine to five."),
        ("when do you open on saturday", "We are open from nine to five."),
        ("tell me the openin hour", "We are open from nine to five."),
        ("hello", "Hello! How can I help?"),
        ("hello where can i park", "Park in the yard."),
        ("thank you", "You are welcome."),
        ("do you sell bicycles", UNKNOWN),
        ("", UNKNOWN),
        ("my car", CLARIFY),
    ],
)
async def test_the_topic_that_was_asked_for_is_answered(model, message, answer):
    reply = await ask(model, message)
    assert reply.text == answer
    assert reply.tool_calls == []


async def test_two_topics_are_answered_in_the_order_of_the_question(model):
    reply = await ask(model, "where can i park and when are you open")
    assert reply.text == "Park in the yard. We are open from nine to five."
    reply = await ask(model, "when are you open and where can i park")
    assert reply.text == "We are open from nine to five. Park in the yard."


@pytest.mark.parametrize(
    ("message", "digits"),
    [
        ("my number is five five one two", "5 5 1 2"),
        ("my number is five oh 42", "5 0 4 2"),
        ("six seven eight", "6 7 8"),
    ],
)
async def test_digits_are_repeated(model, message, digits):
    assert (await ask(model, message)).text == f"I noted {digits}."


def test_oh_is_a_zero_beside_digits_only():
    assert digits_of("oh I see, nine") == "9"
    assert digits_of("oh five") == "0 5"
    assert digits_of("пять ноль два") == "5 0 2"


async def test_a_number_without_digits_is_not_noted(model):
    assert (await ask(model, "my number is")).text == CLARIFY


async def test_a_topic_calls_its_tool_after_its_answer(model):
    reply = await ask(model, "thank you goodbye")
    assert reply.text == "Goodbye!"
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("end_call", "{}")]


async def test_the_required_arguments_of_a_tool_are_filled_from_the_message(model):
    message = "can i talk to a human on five one"
    reply = await ask(model, message)
    assert reply.text == ""
    (call,) = reply.tool_calls
    assert json.loads(call.arguments) == {"reason": message, "phone_number": "51"}


async def test_a_tool_that_is_not_offered_is_not_called(model):
    assert (await ask(model, "goodbye", tools=[])).tool_calls == []
    assert (await ask(model, "goodbye", tool_choice="none")).tool_calls == []
    assert (await ask(model, "can i talk to a human", tools=[])).text == UNKNOWN


@pytest.mark.parametrize(
    ("output", "is_error", "said"),
    [("The next free day is Monday.", False, "The next free day is Monday."), ("", False, ""),
     ("Traceback", True, "")],
)  # fmt: skip
async def test_what_a_tool_said_is_passed_on_unless_it_failed(model, output, is_error, said):
    context = llm.ChatContext()
    context.add_message(role="user", content="goodbye")
    context.insert(llm.FunctionCall(call_id="1", name="end_call", arguments="{}"))
    context.insert(
        llm.FunctionCallOutput(call_id="1", name="end_call", output=output, is_error=is_error)
    )
    reply = await model.chat(chat_ctx=context, tools=TOOLS).collect()
    assert reply.text == said
    assert reply.tool_calls == []


async def test_an_answer_is_streamed_word_by_word_and_its_usage_counted(model):
    context = llm.ChatContext()
    context.add_message(role="user", content="is there parking")
    async with model.chat(chat_ctx=context) as stream:
        chunks = [chunk async for chunk in stream]
    words = [chunk.delta.content for chunk in chunks if chunk.delta]
    assert words == ["Park", " in", " the", " yard."]
    assert chunks[-1].usage.model_dump()["total_tokens"] == 3 + 4


async def test_nothing_is_said_before_the_caller_said_something(model):
    reply = await model.chat(chat_ctx=llm.ChatContext()).collect()
    assert reply.text == ""
    assert reply.usage.total_tokens == 0


async def test_russian_topics_are_found_whatever_the_ending():
    model = offline.LLM(
        topics=[offline.Topic("hours", ("во сколько вы открываетесь", "часы работы"), "С девяти.")],
        unknown="Не знаю.",
    )
    assert (await ask(model, "какие у вас часы работы")).text == "С девяти."
    assert (await ask(model, "есть ли парковка")).text == "Не знаю."


def test_the_framework_knows_the_plugin():
    assert any(plugin.package == "plugins.offline" for plugin in Plugin.registered_plugins)
