"""Who is told, by which way, and what their messages may say."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from agent.call import now
from config.errors import SettingsError
from config.incidents import Channel, Contacts, Notifications, load_contacts
from ops.front.alerts import Alert, Alerts
from ops.notify import channels
from ops.notify.message import RESOLVED, of_alert, topic_of
from ops.notify.safe import safe, safe_values


def test_a_url_that_apprise_does_not_know_is_named_by_its_channel():
    contacts = Contacts(channels={"chat": Channel(url=SecretStr("nonsense://secret-word"))})

    class Given:
        notifications = Notifications()

    with pytest.raises(SettingsError) as refused:
        channels.channels_of(contacts, Given())
    assert "channels.chat.url" in str(refused.value)
    assert "secret-word" not in str(refused.value)


def test_the_contacts_refer_to_secrets_and_name_what_is_missing(tmp_path):
    secret = tmp_path / "mail-url"
    secret.write_text("mailto://x\n")
    file = tmp_path / "contacts.yaml"
    file.write_text(
        "channels:\n  chat: {url: '${CHAT_URL}'}\n"
        f"  mail: {{url_file: {secret}}}\n"
        "notification_channels: {critical: [chat, mail]}\n"
        "escalation_contacts: {level_2: [{name: on call, channels: [mail]}]}\n"
    )
    contacts = load_contacts(file, {"CHAT_URL": "json://x"})
    assert contacts.channels["mail"].url.get_secret_value() == "mailto://x"
    assert contacts.group("critical") == ("chat", "mail")
    assert contacts.escalation(2)[0].channels == ("mail",)
    with pytest.raises(SettingsError, match=r":2: channels.chat.url: .*CHAT_URL is not set"):
        load_contacts(file, {})
    assert load_contacts(file).group("critical") == ("chat", "mail")  # names need no secrets


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("channels: {chat: {url: 'json://user:word@x'}}", "a secret does not belong in YAML"),
        ("notification_channels: {critical: [chatt]}", "no channel chatt"),
        ("notification_channels: {urgent: []}", "unknown key"),
        ("escalation_contacts: {level_2: [{phone: '1'}]}", "unknown key"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, wrong):
    file = tmp_path / "contacts.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=wrong) as refused:
        load_contacts(file, {})
    assert "word" not in str(refused.value)


def test_nobody_is_told_where_no_file_is_named():
    assert load_contacts(None, {}) == Contacts()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("call from 8 (916) 123-45-67 lost", "call from [phone] lost"),
        ("call from +15555550100 lost", "call from [personal data] lost"),
        ("password=hunter22 is wrong", "password=[hidden] is wrong"),
        ("used Authorization: Bearer abc.def", "used Authorization: Bearer [hidden]"),
        ("key vak_0123456789ab_secret leaked", "key [hidden] leaked"),
        ("postgresql://u:word@db/x?password=1", "postgresql://db/x?[hidden]"),
        ("redis at 192.168.10.20:6379 away", "redis at 192.168.10.20:6379 away"),
        ("p95 is 0.5312345 s since 2026-11-21 21:10", "p95 is 0.5312345 s since 2026-11-21 21:10"),
        ("two\nlines\x1b[0m", "two lines [0m"),
    ],
)
def test_texts_lose_what_must_not_leave_the_house(text, told):
    assert safe(text) == told


def test_values_that_are_personal_or_secret_by_name_are_left_out():
    about = {"identity": "sip_1", "api_key": "x", "number": "1", "why": "away", "none": None}
    assert safe_values(about) == {"why": "away"}


def test_a_long_text_is_cut():
    assert len(safe("word " * 1000)) == 500


def test_the_topic_is_that_of_name_and_subject():
    assert topic_of("a", "b") == topic_of("a", "b") != topic_of("ab", "")


def test_the_end_of_an_alert_is_green():
    alert = Alert("HealthCheck", "info", "well again", now(), {"subject": "redis"}, 0)
    message = of_alert(alert)
    assert (message.state, message.colour) == (RESOLVED, "success")


def test_an_alert_that_ended_is_news_when_it_begins_again():
    alerts, heard = Alerts(), []
    alerts.listeners.append(heard.append)
    told = [
        alerts.tell("HealthCheck", "well or not", level, "redis")
        for level in ("critical", "critical", "info", "info", "critical", "info")
    ]
    assert told == [True, False, True, False, True, True]
    assert [one.level for one in heard] == ["critical", "info", "critical", "info"]
    assert alerts.tell("HealthCheck", "well or not", "critical", "database")
