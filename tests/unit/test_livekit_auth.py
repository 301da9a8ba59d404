"""The ring of LiveKit API keys: what is in it, who signs, and what is refused in one line."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from config import key_files
from config.errors import SettingsError
from config.key_files import Signing
from config.livekit_auth import NoKeys, is_development, load_ring
from config.settings import load
from tests import canaries

OWN, FIRST, SECOND = canaries.secret(), canaries.secret(), canaries.secret()
ENVIRONMENT = {"LIVEKIT_API_KEY": "own", "LIVEKIT_API_SECRET": OWN}
AT = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def described(tmp_path):
    """Load the ring with these variables, and this YAML."""

    def ring(text="", url="wss://example.test", **variables):
        (tmp_path / "auth.yaml").write_text(text)
        variables |= {
            "LIVEKIT_URL": url,
            "VOICE_AGENT__LIVEKIT__AUTH": str(tmp_path / "auth.yaml"),
            "VOICE_AGENT__DATA__FOLDER": str(tmp_path),
        }
        return load_ring(load(environ=variables), variables)

    return ring


def keep(folder, **keys):
    with key_files.changing(folder):
        for key, secret in keys.items():
            key_files.add(folder, key, SecretStr(secret))


def sign_with(folder, key):
    key_files.sign_with(folder, Signing(key, AT))


def refusal(ring, *arguments, **variables):
    """The one line that tells what is wrong, which holds no secret."""
    with pytest.raises(SettingsError) as caught:
        ring(*arguments, **variables)
    (line,) = caught.value.problems
    assert not canaries.is_in(line)
    return line


def told(ring):
    return [(one.key, one.source) for one in ring.verifying]


def test_the_environments_key_is_a_ring_of_one(described):
    ring = described(**ENVIRONMENT)
    assert told(ring) == [("own", "environment")]
    assert ring.credentials() == ("own", OWN)
    assert ring.secret_of("own").get_secret_value() == OWN
    assert ring.secret_of("another") is None


@pytest.mark.parametrize("given", [{}, {"LIVEKIT_API_KEY": "own"}, {"LIVEKIT_API_SECRET": OWN}])
def test_a_ring_may_be_empty_and_then_signs_nothing(described, given):
    ring = described(**given)
    assert (ring.signing, ring.verifying) == (None, ())
    with pytest.raises(NoKeys, match="the key ring is empty: set LIVEKIT_API_KEY"):
        ring.credentials()


def test_the_rings_file_of_the_checkout_is_right():
    assert load_ring(load(environ={}), {}).signing is None


def test_a_listed_key_verifies_and_does_not_sign(described):
    listed = "keys: [{key: old, secret: '${OLD}'}]"
    assert described(listed, OLD=FIRST).signing is None
    ring = described(listed, OLD=FIRST, **ENVIRONMENT)
    assert told(ring) == [("own", "environment"), ("old", "environment")]
    assert ring.secret_of("old").get_secret_value() == FIRST


def test_a_secret_in_the_yaml_is_refused(described):
    line = refusal(described, f"keys: [{{key: old, secret: {FIRST}}}]")
    assert "keys[0].secret: a secret does not belong in YAML: write ${NAME}" in line


def test_an_unknown_word_in_the_yaml_is_named(described):
    assert "auth.yaml:1: foldr: unknown key, did you mean folder?" in refusal(described, "foldr: x")


def test_files_verify_and_the_environment_signs_until_one_is_promoted(described, folder):
    keep(folder, first=FIRST, second=SECOND)
    ring = described(**ENVIRONMENT)
    assert told(ring) == [
        ("own", "environment"),
        ("first", "first.key"),
        ("second", "second.key"),
    ]
    sign_with(folder, "second")
    ring = described(**ENVIRONMENT)
    assert ring.credentials() == ("second", SECOND)
    assert told(ring)[0] == ("second", "second.key")
    assert {key for key, _ in told(ring)} == {"own", "first", "second"}


def test_the_folder_may_be_another(described, tmp_path):
    keep(tmp_path / "elsewhere", first=FIRST)
    assert told(described(f"folder: {tmp_path / 'elsewhere'}")) == [("first", "first.key")]


def test_without_a_description_files_are_not_read(described, folder, tmp_path):
    keep(folder, first=FIRST)
    settings = load(environ={**ENVIRONMENT, "VOICE_AGENT__DATA__FOLDER": str(tmp_path)})
    assert len(load_ring(settings, {}).verifying) == 2
    section = settings.livekit.model_copy(update={"auth": None})
    alone = settings.model_copy(update={"livekit": section})
    assert told(load_ring(alone, {})) == [("own", "environment")]


def test_one_key_in_two_places_is_one_key_when_its_secret_is_the_same(described, folder):
    keep(folder, own=OWN)
    assert told(described(**ENVIRONMENT)) == [("own", "environment")]


def test_one_key_with_two_secrets_is_refused(described, folder):
    keep(folder, own=FIRST)
    line = refusal(described, **ENVIRONMENT)
    assert line == "the key own has two secrets (environment, own.key)"


@pytest.mark.parametrize("source", ["environment", "file"])
@pytest.mark.parametrize("length", [31, 32])
def test_a_short_secret_is_refused_outside_development(described, folder, source, length):
    short = FIRST[:length]
    given = {"LIVEKIT_API_KEY": "own", "LIVEKIT_API_SECRET": short}
    if source == "file":
        given = {}
        keep(folder, own=short)
    described(url="ws://127.0.0.1:7880", **given)
    if length == 32:
        described(**given)
        return
    line = refusal(described, **given)
    assert line.startswith("the key own (")
    assert "shorter than 32 characters" in line
    assert short not in line


@pytest.mark.parametrize(
    ("url", "development"),
    [
        ("", True),
        ("ws://localhost:7880", True),
        ("http://[::1]:7880", True),
        ("wss://example.test", False),
        ("ws://10.0.0.1:7880", False),
        ("ws://localhost.example.test", False),
    ],
)
def test_development_is_a_server_on_loopback(url, development):
    assert is_development(url) is development


def test_a_secret_shows_in_no_repr(described, folder):
    keep(folder, first=FIRST)
    ring = described(**ENVIRONMENT)
    assert not canaries.is_in(f"{ring!r} {ring} {ring.signing!r} {vars(ring)}")


def test_a_file_is_for_its_owner_alone(folder):
    keep(folder, first=FIRST)
    sign_with(folder, "first")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "first.key": 0o600,
        "signing.json": 0o600,
        ".lock": 0o600,
    }
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
@pytest.mark.parametrize("name", ["first.key", "signing.json"])
def test_a_file_that_others_can_read_is_refused(described, folder, name, mode):
    keep(folder, first=FIRST)
    sign_with(folder, "first")
    (folder / name).chmod(mode)
    line = refusal(described)
    assert line.startswith(f"{folder / name}: others may read it (mode {mode:04o}): chmod 600")


def test_a_folder_that_others_can_write_is_refused(described, folder):
    keep(folder, first=FIRST)
    folder.chmod(0o770)
    assert refusal(described).endswith("others may put keys there (mode 0770): chmod 700")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["first.key", "signing.json", "."])
def test_what_belongs_to_somebody_else_is_refused(described, folder, name):
    keep(folder, first=FIRST)
    sign_with(folder, "first")
    os.chown(folder / name, 12345, 12345)
    assert "belongs to the user 12345, and this process is 0" in refusal(described)


def test_a_link_and_a_folder_are_no_key(described, folder, tmp_path):
    keep(folder, first=FIRST)
    (folder / "first.key").rename(tmp_path / "first.key")
    (folder / "first.key").symlink_to(tmp_path / "first.key")
    assert "first.key: cannot be read: " in refusal(described)
    (folder / "first.key").unlink()
    (folder / "first.key").mkdir()
    assert "first.key: not a plain file" in refusal(described)


@pytest.mark.parametrize(
    "text",
    ["", FIRST, f"first: {FIRST}\nsecond: {SECOND}", f"first: [{FIRST}", "first: 12345",
     f"- {FIRST}", f"first: {{a: {FIRST}}}", f"first: {FIRST} {SECOND}", f"a/b: {FIRST}",
     f"other: {FIRST}", f"first: {'x' * 5000}", f"first: !!python/object {FIRST}"],
    ids=range(12),  # secrets are random, and no part of a name
)  # fmt: skip
def test_a_broken_file_is_named_and_not_shown(described, folder, text):
    keep(folder, second=SECOND)
    (folder / "first.key").touch(mode=0o600)
    (folder / "first.key").write_text(text)
    assert refusal(described).startswith(f"{folder / 'first.key'}: ")


def test_bytes_that_are_no_text_are_named(described, folder):
    keep(folder, first=FIRST)
    (folder / "first.key").write_bytes(b"\xff\xfe")
    assert refusal(described) == f"{folder / 'first.key'}: not UTF-8 text"


def test_each_broken_file_is_a_line(described, folder):
    keep(folder, first=FIRST, second=SECOND)
    for name in ("first.key", "second.key"):
        (folder / name).chmod(0o644)
    with pytest.raises(SettingsError) as caught:
        described()
    assert len(caught.value.problems) == 2


def test_a_folder_that_is_a_file_is_named(described, folder):
    folder.touch()
    assert refusal(described) == f"{folder}: not a folder"


def test_a_data_folder_that_is_a_file_is_told_of_elsewhere(described, tmp_path):
    (tmp_path / "file").touch()
    assert described(f"folder: {tmp_path / 'file' / 'keys'}").verifying == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "first"}', '{"key": 1, "since": 1}'])
def test_a_mark_that_cannot_be_understood_is_named(described, folder, text):
    keep(folder, first=FIRST)
    sign_with(folder, "first")
    (folder / "signing.json").write_text(text)
    assert refusal(described).startswith(f"{folder / 'signing.json'}: cannot be understood: ")


def test_a_promoted_key_without_a_file_is_named(described, folder):
    keep(folder, first=FIRST)
    sign_with(folder, "gone")
    assert refusal(described, **ENVIRONMENT).startswith("the key gone is to sign and has no file")


def test_other_files_are_left_alone(described, folder):
    keep(folder, first=FIRST)
    (folder / "README").write_text("keys")
    (folder / ".first.key.0123").write_text("half a dra")
    assert told(described()) == [("first", "first.key")]


def test_one_command_at_a_time_changes_the_folder(folder):
    order = []

    def second():
        with key_files.changing(folder):
            order.append("second")

    with ThreadPoolExecutor(1) as other:
        with key_files.changing(folder):
            waiting = other.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            order.append("first")
        waiting.result(timeout=10)
    assert order == ["first", "second"]


def test_a_key_is_never_written_over(folder):
    keep(folder, first=FIRST)
    with pytest.raises(SettingsError, match="File exists"):
        keep(folder, first=SECOND)
    assert key_files.read_keys(folder)["first"].get_secret_value() == FIRST
    assert [path.name for path in folder.glob(".first*")] == []


def test_a_mark_is_read_as_it_was_written(folder):
    keep(folder, first=FIRST)
    signing = Signing("first", AT, {"own": AT})
    key_files.sign_with(folder, signing)
    assert key_files.read_signing(folder) == signing
    assert json.loads((folder / "signing.json").read_text())["key"] == "first"


def test_a_mark_that_cannot_be_written_leaves_the_old_one(folder, monkeypatch):
    keep(folder, first=FIRST)
    sign_with(folder, "first")
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(key_files.os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(SettingsError, match=r"signing\.json: cannot be written: No space left"):
        sign_with(folder, "second")
    assert key_files.read_signing(folder).key == "first"
    assert [path.name for path in folder.glob(".signing*")] == []


@pytest.mark.parametrize("secret", ["12345", "0x1f", "yes", "- a", "a: b", "'quoted'", "#a", "%&*"])
def test_any_secret_is_read_as_it_was_written(folder, secret):
    secret = secret.replace(" ", "")
    keep(folder, first=secret)
    assert key_files.read_keys(folder)["first"].get_secret_value() == secret
