"""The store of recordings as we use it ourselves: put a finished file there, remove one.

Local folders and S3. What lies in Azure or at Google is written by egress and removed by a rule of
that store's own: no client for them is worth its weight here.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_s3_client import S3Client

from agent import targets
from agent.errors import ObjectStoreFailed, TargetRefused
from config.recording import Storage, Targets

WITHIN = aiohttp.ClientTimeout(total=300, connect=10, sock_read=30)
SCHEMES = frozenset({"https", "http"})
GONE = {HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND}


class Objects:
    """One store as configured. `also` is a local folder whose files may be removed too.

    Every method raises ObjectStoreFailed, which says whose fault it is and never a credential.
    """

    def __init__(self, storage: Storage, allowed: Targets, also: Path | None = None) -> None:
        self._storage, self._allowed = storage, allowed
        self._folders = [folder for folder in (storage.folder, also) if folder is not None]

    async def put(self, path: Path, name: str) -> str:
        """Copy a local file into the store: its address there."""
        key = f"{self._storage.prefix}{name}"
        async with self._s3() as client:
            answer = await client.put_file(key, path)
            async with answer:
                if answer.status != HTTPStatus.OK:
                    _refused("put", answer.status)
        return f"s3://{self._storage.bucket}/{key}"

    async def remove(self, uri: str) -> None:
        """Remove what lies at `uri`; nothing happens when it is gone. A folder with all in it.

        Only what lies in the configured store: an address may come from somebody else's egress.
        """
        if not uri:
            return  # a stream leaves nothing
        parts = urlsplit(uri)
        if parts.scheme == "file":
            await asyncio.to_thread(self._remove_file, Path(unquote(parts.path)))
            return
        is_ours = (parts.scheme, parts.netloc) == ("s3", self._storage.bucket)
        key = unquote(parts.path).lstrip("/")
        if not (is_ours and self._storage.kind == "s3" and key.startswith(self._storage.prefix)):
            raise ObjectStoreFailed(
                f"{parts.scheme or 'this'}:// is not in the configured store: remove it there"
            )
        await self._remove_objects(key)

    def _remove_file(self, path: Path) -> None:
        whole = path.resolve()
        if not any(folder.resolve() in whole.parents for folder in self._folders):
            raise ObjectStoreFailed("the file is not in the folder of recordings: remove it there")
        if not whole.parent.is_dir():
            raise ObjectStoreFailed("the folder of recordings is not on this machine")
        try:
            if whole.is_dir():
                shutil.rmtree(whole)
            else:
                whole.unlink(missing_ok=True)
        except OSError as error:
            raise ObjectStoreFailed(f"{whole.name}: {error.strerror}") from None

    async def _remove_objects(self, key: str) -> None:
        async with self._s3() as client:
            keys = [key]
            if "." not in key.rpartition("/")[2]:  # HLS: a folder of segments
                keys = [
                    one.key
                    async for found, _ in client.list_objects_v2(prefix=f"{key}/")
                    for one in found
                ]
            for one in keys:
                async with client.delete(one, allow_redirects=False) as answer:
                    if answer.status not in GONE:
                        _refused("delete", answer.status)

    @asynccontextmanager
    async def _s3(self) -> AsyncIterator[S3Client]:
        """A client whose every connection is judged at the address it is made to."""
        storage = self._storage
        if storage.kind != "s3":
            raise ObjectStoreFailed(f"a {storage.kind} store is not written or deleted from here")
        url = _bucket(storage)
        host = urlsplit(url).hostname or ""
        try:
            await targets.check_url(url, self._allowed, SCHEMES, known=[host])
            async with aiohttp.ClientSession(
                connector=targets.connector(self._allowed), timeout=WITHIN
            ) as session:
                yield S3Client(
                    session,
                    url,
                    access_key_id=storage.access_key.get_secret_value(),
                    secret_access_key=storage.secret.get_secret_value(),
                    region=storage.region,
                )
        except TargetRefused as refused:
            raise ObjectStoreFailed(f"the store: {refused}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ObjectStoreFailed(f"the store: {type(error).__name__}") from None


def _bucket(storage: Storage) -> str:
    """The bucket's address, in the path or in the host."""
    endpoint = storage.endpoint or f"https://s3.{storage.region}.amazonaws.com"
    if storage.path_style:
        return f"{endpoint}/{storage.bucket}"
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{storage.bucket}.{host}"


def _refused(what: str, status: int) -> NoReturn:
    raise ObjectStoreFailed(f"the store answered {what} with {status}")
