"""What the routes of recording and ingress answer when they cannot do what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from agent.errors import ObjectStoreFailed, RecordingRefused, RecordingUnknown, TargetRefused
from ops.ingress.wanted import IngressRefused


@contextmanager
def explained() -> Iterator[None]:
    """Turn our errors into answers; those of LiveKit and of the database have theirs."""
    try:
        yield
    except RecordingUnknown as error:
        raise HTTPException(404, str(error)) from None
    except (RecordingRefused, TargetRefused, IngressRefused) as error:
        raise HTTPException(422, str(error)) from None
    except ObjectStoreFailed as error:
        raise HTTPException(503, str(error)) from None
