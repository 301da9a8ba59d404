"""Callers are told apart by pseudonyms; their numbers are not kept."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.pseudonym import SALT_FILE, Pseudonyms
from config.settings import load
from tests import canaries

NUMBER = "+15550100"
SALT = canaries.secret()


def settings(folder, **more):
    return load(environ={"VOICE_AGENT__DATA__FOLDER": str(folder), **more})


def test_a_number_has_one_pseudonym_however_it_is_written():
    salted = Pseudonyms(b"salt")
    ways = (NUMBER, "15550100", "+1 555 01 00", "1-555-0100")
    assert len({salted.of_number(way) for way in ways}) == 1
    assert salted.of_number("+15550101") != salted.of_number(NUMBER)


def test_a_pseudonym_depends_on_the_salt_and_does_not_hold_the_number():
    first, second = Pseudonyms(b"one").of_number(NUMBER), Pseudonyms(b"two").of_number(NUMBER)
    assert first != second
    assert first.startswith("c-")
    assert "5550100" not in first


@pytest.mark.parametrize("hidden", ["", "anonymous", "+"])
def test_a_hidden_number_has_none(hidden):
    assert Pseudonyms(b"salt").of_number(hidden) == ""


def test_without_a_salt_nothing_is_told():
    assert Pseudonyms(b"").of_number(NUMBER) == ""
    assert Pseudonyms(b"").within(f"sip_{NUMBER}") == "sip_hidden"


def test_a_number_inside_an_identity_is_replaced():
    salted = Pseudonyms(b"salt")
    assert salted.within(f"sip_{NUMBER}") == f"sip_{salted.of_number(NUMBER)}"
    assert salted.within("caller-1") == "caller-1"


def test_the_configured_salt_is_used_and_no_file_is_made(tmp_path):
    with_salt = settings(tmp_path, VOICE_AGENT__SECURITY__CALLER_SALT=SALT)
    assert Pseudonyms.of(with_salt).of_number(NUMBER) == Pseudonyms(SALT.encode()).of_number(NUMBER)
    assert list(tmp_path.iterdir()) == []


def test_the_salt_may_be_a_mounted_file(tmp_path):
    (tmp_path / "salt").write_text("configured\n")
    mounted = {"VOICE_AGENT__SECURITY__CALLER_SALT_FILE": str(tmp_path / "salt")}
    salted = Pseudonyms.of(settings(tmp_path / "data", **mounted))
    assert salted.of_number(NUMBER) == Pseudonyms(b"configured").of_number(NUMBER)


def test_an_installation_makes_its_own_salt_once_for_its_owner_only(tmp_path):
    own = settings(tmp_path / "data")
    with ThreadPoolExecutor(8) as many:
        made = set(many.map(lambda _: Pseudonyms.of(own).of_number(NUMBER), range(32)))
    assert len(made) == 1
    (file,) = (tmp_path / "data").iterdir()
    assert file.name == SALT_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) == 64
    other = settings(tmp_path / "other")
    assert Pseudonyms.of(other).of_number(NUMBER) not in made


def test_a_reader_makes_no_salt(tmp_path):
    own = settings(tmp_path / "data")
    assert Pseudonyms.of(own, readonly=True).of_number(NUMBER) == ""
    assert list(tmp_path.iterdir()) == []
    made = Pseudonyms.of(own).of_number(NUMBER)
    assert Pseudonyms.of(own, readonly=True).of_number(NUMBER) == made


def test_a_salt_that_cannot_be_kept_is_not_used(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    assert Pseudonyms.of(settings(tmp_path / "data")).of_number(NUMBER) == ""
