"""`python -m tests.providers`: start the stand-ins and print what points the product at them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections import defaultdict
from typing import Any

from pydantic import ValidationError

from tests.providers import Fault, Pace, Providers

KEY = "key-of-a-stand-in"
"""Shown to whoever starts the command, and so no secret of a test."""

NAMES = ("deepgram", "openai", "groq", "cartesia")
EXAMPLES = """\
--fault deepgram:drop,turn=2,after=0.5    cut the connection in the second utterance
--fault cartesia:hang,times=0             never answer
--pace openai:first=0.4,each=0.02         the first word after 0.4 s
The fields are those of Fault and Pace in tests/providers/faults.py.
"""


def main() -> None:
    """Serve until the process is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.providers",
        description="Stand-ins for the providers of speech and language, on free ports.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fault", action="append", default=[], metavar="PROVIDER:KIND,FIELD=VALUE")
    parser.add_argument("--pace", action="append", default=[], metavar="PROVIDER:FIELD=VALUE")
    chosen = parser.parse_args()
    faults: defaultdict[str, list[Fault]] = defaultdict(list)
    paces: dict[str, Pace] = {}
    try:
        for line in chosen.fault:
            name, fields = _parsed(line)
            faults[name].append(Fault.model_validate(fields))
        for line in chosen.pace:
            name, fields = _parsed(line)
            paces[name] = Pace.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(f"{line}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except ValueError as error:
        parser.error(f"{line}: {error}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Providers(faults, paces)))


async def _serve(providers: Providers) -> None:
    for server in providers.all:
        server.key = server.told_key = KEY
    async with providers:
        for name, value in providers.variables.items():
            print(f"export {name}={value}")  # noqa: T201 - for people and for `source`
        sys.stdout.flush()
        await asyncio.Event().wait()


def _parsed(line: str) -> tuple[str, dict[str, Any]]:
    """The provider and the fields of a line. Raises ValueError."""
    name, _, rest = line.partition(":")
    if name not in NAMES:
        raise ValueError(f"the providers are {', '.join(NAMES)}")
    fields: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        fields |= {key: value} if equals else {"kind": key}
    return name, fields


if __name__ == "__main__":
    main()
