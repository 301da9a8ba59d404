import asyncio

import pytest

from plugins.line import wire
from plugins.line.wire import Decoder, Ended, Frame, Hello, Kind, TransferResult, WireError

AUDIO = bytes(range(160))


def test_frames_survive_however_the_stream_is_chopped():
    frames = [
        Frame(Kind.ANSWER),
        Frame(Kind.AUDIO, AUDIO),
        Frame(Kind.DTMF, b"#"),
        Frame(Kind.HANGUP, b"caller_hangup"),
    ]
    stream = b"".join(wire.encode(*frame) for frame in frames)
    for size in (1, 3, 7, 162, len(stream)):
        decoder = Decoder()
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert [frame for piece in pieces for frame in decoder.feed(piece)] == frames
        decoder.finish()


def test_json_bodies_survive():
    hello = Hello("+15550100", "+15550199", "alaw", "caller-1")
    (frame,) = Decoder().feed(wire.encode_json(Kind.HELLO, hello))
    assert wire.hello(frame) == hello
    (frame,) = Decoder().feed(wire.encode_json(Kind.TRANSFER_RESULT, TransferResult(False, 486)))
    assert wire.transfer_result(frame) == TransferResult(ok=False, code=486)
    (frame,) = Decoder().feed(wire.encode_json(Kind.TRANSFER, {"to": "+15550111"}))
    assert wire.transfer_to(frame) == "+15550111"
    assert wire.ended(Frame(Kind.HANGUP, b"transferred")) is Ended.TRANSFERRED


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x63\x00\x00", "unknown kind of frame: 99"),
        (b"\x00\x00\x00", "unknown kind of frame: 0"),
        (wire.encode(Kind.AUDIO, b"short"), "holds 160 bytes, not 5"),
        (b"\x03\xff\xff", "holds 160 bytes, not 65535"),
    ],
)
def test_bytes_that_are_no_frame_are_refused(data, message):
    with pytest.raises(WireError, match=message):
        list(Decoder().feed(data))


@pytest.mark.parametrize(
    ("parse", "frame", "message"),
    [
        (wire.hello, Frame(Kind.ANSWER), "expected HELLO as the first frame, got ANSWER"),
        (wire.hello, Frame(Kind.HELLO, b"{"), "HELLO is not JSON"),
        (wire.hello, Frame(Kind.HELLO, b"\xff"), "HELLO is not JSON"),
        (wire.hello, Frame(Kind.HELLO, b"[]"), "HELLO is not a JSON object"),
        (wire.hello, Frame(Kind.HELLO, b'{"law": "g729"}'), "unknown law: 'g729'"),
        (wire.hello, Frame(Kind.HELLO, b'{"law": "ulaw", "number": 5}'), "as texts"),
        (wire.transfer_to, Frame(Kind.TRANSFER, b'{"to": ""}'), "must say `to`"),
        (wire.transfer_result, Frame(Kind.TRANSFER_RESULT, b'{"ok": 1}'), "`ok` and `code`"),
        (wire.digit, Frame(Kind.DTMF, b"12"), "not a key of a phone: '12'"),
        (wire.digit, Frame(Kind.DTMF, b""), "not a key of a phone: ''"),
        (wire.ended, Frame(Kind.HANGUP, b"bored"), "unknown reason"),
    ],
)
def test_payloads_that_make_no_sense_are_refused(parse, frame, message):
    with pytest.raises(WireError, match=message):
        parse(frame)


async def test_a_stream_that_breaks_off_inside_a_frame_is_an_error():
    reader = asyncio.StreamReader()
    reader.feed_data(wire.encode(Kind.ANSWER) + wire.encode(Kind.AUDIO, AUDIO)[:-1])
    reader.feed_eof()
    frames = wire.read(reader)
    assert await anext(frames) == Frame(Kind.ANSWER)
    with pytest.raises(WireError, match="broke off inside a frame \\(162 bytes"):
        await anext(frames)
