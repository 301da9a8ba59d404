"""What an error answer looks like: one shape, `{"detail": "..."}`, without what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from agent import log
from agent.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    LiveKitError,
    NotFound,
    StoreError,
)

logger = log.get(__name__)

MOST = 5
"""Things wrong with a request that are told at once."""


class Problem(BaseModel):
    """An error: what was wrong, for people."""

    detail: str = Field(description="One line.")


MEANINGS: Mapping[int, str] = {
    400: "The body cannot be read.",
    401: "No valid client key was given.",
    403: "The client key lacks the scope.",
    404: "There is no such thing.",
    409: "It is not in the state for that.",
    413: "The body is too long (1 MB, unless configured otherwise).",
    422: "Something that was sent is not as described.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "It cannot be known or done now.",
}
"""Every error that a route may answer with, unless it says less."""

ANY: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": meaning} for status, meaning in MEANINGS.items()
}


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the one shape."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StoreError, _no_store)
    app.add_exception_handler(LiveKitError, _not_done)


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error answer."""
    return JSONResponse({"detail": detail}, status, headers)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), error.headers)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """Say where, and what is wrong; never the value: it may be a secret, or no text at all."""
    assert isinstance(error, RequestValidationError)
    problems: Sequence[Any] = error.errors()
    told = [f"{_where(problem['loc'])}: {_what(problem)}" for problem in problems[:MOST]]
    if len(problems) > MOST:
        told.append(f"and {len(problems) - MOST} more")
    return answer(422, _printable("; ".join(told)))


async def _no_store(_request: Request, error: Exception) -> JSONResponse:
    logger.warning("a request needed the database", error=str(error))
    return answer(503, "the database does not answer")


async def _not_done(_request: Request, error: Exception) -> JSONResponse:
    """What a route left to us; the message holds neither secrets nor numbers of callers."""
    match error:
        case NotFound():
            status = 404
        case AlreadyExists() | FailedPrecondition():
            status = 409
        case InvalidRequest():
            status = 422
        case _:
            status = 503
    return answer(status, str(error))


def _where(loc: Sequence[Any]) -> str:
    return ".".join(str(part)[:64] for part in loc)


def _what(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "union_tag_invalid":  # pydantic's own words quote what was sent
        known = problem["ctx"]
        return f"{known['discriminator']} should be one of {known['expected_tags']}"
    return str(problem["msg"])


def _printable(text: str) -> str:
    """The text without halves of surrogate pairs, which no answer can carry."""
    return text.encode("utf-8", "replace").decode()
