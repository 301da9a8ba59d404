"""SIP OPTIONS over UDP and TCP, against sockets that answer as they are told."""

import asyncio
import contextlib
import ssl

import pytest

from ops.sip.options import probe

OK = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"
TRYING = b"SIP/2.0 100 Trying\r\n\r\n"


class Provider(asyncio.DatagramProtocol):
    """Answers the request number `deaf` + 1 and later ones."""

    def __init__(self, *answers, deaf=0):
        self.heard, self._answers, self._deaf = [], answers, deaf

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        self.heard.append(data)
        if len(self.heard) > self._deaf:
            for answer in self._answers:
                self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def listening(provider):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: provider, local_addr=("127.0.0.1", 0)
    )
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def test_the_final_answer_counts_with_its_code_and_time():
    provider = Provider(TRYING, b"SIP/2.0 403 Not for you\r\n\r\n")
    async with listening(provider) as address:
        answer = await probe(address)
    assert (answer.code, answer.reason, answer.error) == (403, "Not for you", "")
    assert 0 < answer.seconds < 3
    (request,) = provider.heard
    head = request.decode().split("\r\n")
    assert head[0] == f"OPTIONS sip:{address} SIP/2.0"
    assert head[-2:] == ["", ""]
    assert {"CSeq: 1 OPTIONS", "Max-Forwards: 70", "Content-Length: 0"} <= set(head)


async def test_a_request_that_is_lost_is_sent_again():
    provider = Provider(OK, deaf=1)
    async with listening(provider) as address:
        answer = await probe(address)
    assert (answer.code, len(provider.heard)) == (200, 2)
    assert provider.heard[0] == provider.heard[1]


async def test_silence_is_told_with_how_long_it_was_waited():
    async with listening(Provider()) as address:
        answer = await probe(address, within=0.2)
    assert (answer.code, answer.error) == (None, "no answer within 0.2 s")


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_port_where_nobody_listens_is_an_error_in_words(transport):
    async with listening(Provider()) as address:
        pass
    answer = await probe(address, transport, within=2.0)
    assert answer.code is None
    assert answer.error.startswith("cannot be asked: ")


@pytest.mark.parametrize("address", ["", "a b", "host:port", "[::1"])
async def test_what_is_no_address_is_not_asked(address):
    assert (await probe(address)).error == "is no host and port"


async def test_a_port_beyond_the_last_is_an_error_in_words():
    assert "cannot be asked" in (await probe("127.0.0.1:99999")).error


@contextlib.asynccontextmanager
async def serving(answer):
    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    gone = asyncio.Event()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await gone.wait()


async def test_over_tcp_it_is_asked_as_well():
    async with serving(TRYING + OK) as address:
        assert (await probe(address, "tcp")).code == 200


async def test_a_connection_that_is_closed_without_an_answer_is_an_error_in_words():
    async with serving(b"") as address:
        assert "closed without an answer" in (await probe(address, "tcp")).error


async def test_tls_wants_a_certificate_that_can_be_verified():
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
    async with serving(OK) as address:
        assert (await probe(address, "tls", within=2.0)).code is None
