"""The sidecars of one process start in order and end the other way round, also after a failure."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient

from config.settings import load
from ops import serve


class Sidecar:
    """Writes down what becomes of it."""

    def __init__(self, name, story, error=None):
        self.router = APIRouter()
        self._name, self._story, self._error = name, story, error

    async def start(self):
        self._story.append(f"{self._name} starts")
        if self._error:
            raise self._error

    async def aclose(self):
        self._story.append(f"{self._name} ends")


@pytest.fixture
def application(tmp_path, monkeypatch):
    def application(*names, fails=""):
        story = []

        def made(name):
            error = RuntimeError("no") if name == fails else None
            return lambda _plane: Sidecar(name, story, error)

        monkeypatch.setattr(serve, "SIDECARS", {name: made(name) for name in names})
        environ = {"VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db"}
        return serve.app(load(environ=environ)), story

    return application


def test_they_end_in_the_opposite_order(application):
    served, story = application("health", "metrics", "tokens")
    with TestClient(served):
        assert story == ["health starts", "metrics starts", "tokens starts"]
    assert story[3:] == ["tokens ends", "metrics ends", "health ends"]


def test_one_that_cannot_start_ends_those_that_did_and_itself(application):
    served, story = application("health", "metrics", "tokens", fails="metrics")
    with pytest.raises(RuntimeError), TestClient(served):
        pass
    assert story == ["health starts", "metrics starts", "metrics ends", "health ends"]
