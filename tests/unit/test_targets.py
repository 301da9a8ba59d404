"""The allow list: hosts by name, and never an address that is not public."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from agent.errors import TargetRefused
from agent.targets import check_address, check_url, connector, host_of, is_listed
from config.recording import Targets

WEB = {"https", "http"}
LISTED = Targets(hosts=("live.example.com", "*.example.org"))
PUBLIC = "93.184.215.14"


def answering(*addresses):
    async def resolving(host):
        return addresses

    return resolving


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.7",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "::127.0.0.1",
        "fec0::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "nonsense",
    ],
)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(TargetRefused):
        check_address(address, Targets())


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_a_public_address_is_not(address):
    check_address(address, Targets())


def test_a_private_network_is_allowed_by_name_only():
    targets = Targets(private=("10.1.0.0/16", "fd00::/8"))
    check_address("10.1.2.3", targets)
    check_address("::ffff:10.1.2.3", targets)
    check_address("fd12::1", targets)
    for address in ("10.2.0.1", "127.0.0.1", "fe80::1"):
        with pytest.raises(TargetRefused, match=r"recording\.targets\.private"):
            check_address(address, targets)


@pytest.mark.parametrize(
    ("host", "listed"),
    [
        ("live.example.com", True),
        ("x.live.example.com", False),
        ("example.com", False),
        ("a.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        (".example.org", False),
        ("evilexample.org", False),
    ],
)
def test_hosts_are_listed_by_name_or_by_what_they_are_below(host, listed):
    assert is_listed(host, LISTED.hosts) is listed


@pytest.mark.parametrize(
    "url",
    [
        "ftp://live.example.com/x",
        "file:///etc/passwd",
        "https://",
        "https://user:pass@live.example.com/",
        "https://live.example.com@evil.example/",
        "https://live.example.com:0/",
        "https://live.example.com:99999/",
        "https://live.example.com\\@evil.example/",
        "https://live example.com/",
        "https://l\u0456ve.example.com/",
        "https://[::1",
        "live.example.com",
    ],
)
async def test_what_is_no_plain_url_of_a_host_is_refused(url):
    with pytest.raises(TargetRefused):
        await check_url(
            url, Targets(hosts=("evil.example", "*.example.com")), WEB, resolving=answering(PUBLIC)
        )


def test_the_host_is_compared_in_lower_case_without_the_last_dot():
    assert host_of("https://Live.Example.COM./x", WEB) == "live.example.com"


async def test_a_listed_host_at_a_public_address_is_allowed():
    await check_url("https://live.example.com/x", LISTED, WEB, resolving=answering(PUBLIC))
    await check_url(
        "https://store.example/",
        Targets(),
        WEB,
        known=["store.example"],
        resolving=answering(PUBLIC),
    )


@pytest.mark.parametrize("addresses", [["10.0.0.1"], [PUBLIC, "127.0.0.1"], []])
async def test_a_listed_host_is_refused_for_any_address_that_is_not_public(addresses):
    with pytest.raises(TargetRefused):
        await check_url("https://live.example.com", LISTED, WEB, resolving=answering(*addresses))


async def test_a_host_that_is_not_listed_is_refused_before_it_is_resolved():
    async def resolving(host):
        raise AssertionError("asked")

    with pytest.raises(TargetRefused, match=r"evil\.example is not in recording\.targets\.hosts"):
        await check_url("https://evil.example/key-1", LISTED, WEB, resolving=resolving)


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.1"])
async def test_other_ways_to_write_loopback_are_loopback(host):
    with pytest.raises(TargetRefused, match=r"127\.0\.0\.1 is not a public|cannot be resolved"):
        await check_url(f"http://{host}/", Targets(hosts=(host,)), WEB)


async def test_the_message_never_holds_the_path_of_a_url():
    with pytest.raises(TargetRefused) as refused:
        await check_url("https://evil.example/the-stream-key", LISTED, WEB)
    assert "the-stream-key" not in str(refused.value)


@pytest.fixture
async def server():
    async def answer(_request):
        return web.Response(text="inside")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


class Rebinding(aiohttp.abc.AbstractResolver):
    """A name that was public when it was checked, and is loopback when it is connected to."""

    async def resolve(self, host, port=0, family=0):
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": 2,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self):
        pass


async def test_a_name_that_was_rebound_is_refused_at_the_connection(server):
    guarded = connector(Targets())
    guarded._resolver = Rebinding()
    async with aiohttp.ClientSession(connector=guarded) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://live.example.com:{server}/")


async def test_an_address_in_the_url_is_judged_at_the_connection_too(server):
    async with aiohttp.ClientSession(connector=connector(Targets())) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://127.0.0.1:{server}/")
    allowed = Targets(private=("127.0.0.0/8",))
    async with (
        aiohttp.ClientSession(connector=connector(allowed)) as client,
        client.get(f"http://127.0.0.1:{server}/") as answer,
    ):
        assert await answer.text() == "inside"
