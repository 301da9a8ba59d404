"""The client of OpenAI, against the one that its plugins would make."""

from __future__ import annotations

import pytest
from livekit.plugins import openai

from agent import openai_client


@pytest.fixture
async def theirs():
    plugin = openai.LLM(api_key="k")
    yield plugin._client
    await plugin.aclose()


@pytest.fixture
async def ours():
    client = openai_client.client("k", None)
    yield client
    await client.close()


def pool_of(client):
    """Its limits, which httpx tells nobody."""
    return client._client._transport._pool


async def test_it_is_what_the_plugins_would_make(ours, theirs):
    assert (ours.base_url, ours.max_retries) == (theirs.base_url, theirs.max_retries)
    assert ours._client.timeout == theirs._client.timeout
    assert ours._client.follow_redirects == theirs._client.follow_redirects
    limits = ("_max_connections", "_max_keepalive_connections", "_keepalive_expiry")
    for limit in limits:
        assert getattr(pool_of(ours), limit) == getattr(pool_of(theirs), limit)


async def test_the_certificates_are_read_once_and_looked_at(ours):
    other = openai_client.client("k", "https://example.org/v1")
    assert pool_of(ours)._ssl_context is pool_of(other)._ssl_context is openai_client.trust()
    assert openai_client.trust().check_hostname
    await other.close()
