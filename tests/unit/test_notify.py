"""Alerts reach real receivers: once, in order, with their colour, whatever is down meanwhile."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from pydantic import SecretStr

from agent import log
from agent.call import now
from agent.errors import StoreUnavailable
from agent.store.notices import GIVEN_UP, SENT, Notices
from agent.store.silences import Silence, Silences
from config.incidents import Channel, Contacts, Groups, Notifications
from ops.front.alerts import Alert, Alerts
from ops.front.database import Database
from ops.lease import Lease
from ops.notify import channels, notifier
from ops.notify.message import Message, of_alert
from tests.receivers import HttpReceiver, SmtpReceiver

TWO = Groups(critical=("chat", "mail"), high=("chat",))


class Clock:
    """A time that the test moves."""

    def __init__(self):
        self.at = now()

    def __call__(self):
        return self.at

    def move(self, **span):
        self.at += timedelta(**span)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def hook():
    async with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
async def smtp():
    async with SmtpReceiver() as receiver:
        yield receiver


@pytest.fixture
async def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/calls.db")
    yield database
    await database.aclose()


def service(url, within=20.0):
    return channels.Channel("chat", channels._service(SecretStr(url), within), within)


@pytest.fixture
def notifying(database, clock, hook):
    def notifying(urls=None, groups=TWO, **section):
        told = {"chat": hook.url, "mail": hook.url} if urls is None else urls
        contacts = Contacts(
            channels={name: Channel(url=SecretStr(url)) for name, url in told.items()},
            notification_channels=groups,
        )
        made = {name: service(url) for name, url in told.items()}
        section = Notifications(**section)
        lease = Lease(database, "incidents")
        return notifier.Notifier(database, made, contacts, section, lease, clock=clock)

    return notifying


def an_alert(level="critical", subject="redis", name="HealthCheck", **about):
    about = {"subject": subject, **about}
    return Alert(name, level, "a health check is not well", now(), about, 0)


async def go(notify, *alerts):
    """Hear these, and send all that is due."""
    for one in alerts:
        notify.hear(one)
    await notify.take()
    for _ in range(3):
        await notify.send_due()
        await notify.settled()


async def test_an_alert_and_its_end_reach_a_webhook_with_severity_component_and_time(
    notifying, hook
):
    notify = notifying({"chat": hook.url}, Groups(critical=("chat",)))
    await go(notify, an_alert(detail="no answer"), an_alert("info"))
    first, last = hook.got
    assert (first["type"], last["type"]) == ("failure", "success")
    assert first["title"] == "[CRITICAL] HealthCheck (redis)"
    assert last["title"] == "[RESOLVED] HealthCheck (redis)"
    for line in ("Severity: CRITICAL", "Component: redis", "Detail: no answer", " UTC"):
        assert line in first["message"]


async def test_a_mail_reaches_a_mail_server(smtp, notifying):
    url = (
        f"mailto://127.0.0.1:{smtp.port}?from=alerts@voice.example&to=team@voice.example"
        "&mode=insecure"
    )
    notify = notifying({"mail": url}, Groups(critical=("mail",)))
    await go(notify, an_alert())
    (mail,) = smtp.mails
    assert mail["Subject"] == "[CRITICAL] HealthCheck (redis)"
    assert mail["To"] == "team@voice.example"
    body = "".join(part.get_payload(decode=True).decode() for part in mail.walk()
                   if not part.is_multipart())  # fmt: skip
    assert "Component: redis" in body


async def test_only_those_are_told_whose_group_it_is(notifying, hook):
    notify = notifying()
    await go(notify, an_alert("warning", "a"))
    assert hook.titles == ["[WARNING] HealthCheck (a)"]
    await go(notify, an_alert("critical", "b"))
    assert hook.titles.count("[CRITICAL] HealthCheck (b)") == 2


async def test_the_same_alert_within_the_window_is_one_message(notifying, hook, clock):
    notify = notifying(groups=Groups(critical=("chat",)))
    await go(notify, an_alert())
    await go(notify, an_alert())
    assert len(hook.got) == 1
    clock.move(seconds=3600)
    await go(notify, an_alert())
    assert len(hook.got) == 2


async def test_two_processes_that_hear_the_same_send_it_once(notifying, hook):
    one, two = notifying(), notifying()
    for notify in (one, two):
        notify.hear(an_alert())
        await notify.take()
    await asyncio.gather(one.send_due(), two.send_due())
    await one.settled()
    await two.settled()
    assert len(hook.got) == 2  # two channels


async def test_a_target_that_is_down_gets_it_later_in_order_and_after_a_restart(
    notifying, hook, clock, caplog
):
    caplog.set_level("INFO")
    notify = notifying({"chat": hook.url}, Groups(critical=("chat",)))
    hook.status = 503
    await go(notify, an_alert(), an_alert("info"))
    clock.move(seconds=notifier.FIRST_PAUSE - 0.1)
    await go(notify)
    assert [entry.message for entry in caplog.records].count("a message is not taken") == 1
    hook.status = 200
    clock.move(seconds=0.2)
    await go(notifying({"chat": hook.url}, Groups(critical=("chat",))))  # another process
    assert [title.split()[0] for title in hook.titles] == ["[CRITICAL]", "[RESOLVED]"]


async def test_the_pause_grows(notifying, hook, clock):
    notify = notifying({"chat": hook.url}, Groups(critical=("chat",)))
    hook.status = 503
    pauses = []
    notify.hear(an_alert())
    await notify.take()
    for _ in range(8):
        await notify.send_due()
        await notify.settled()
        pause, until = notify._rest["chat"]
        pauses.append(pause)
        clock.at = until
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]


async def test_a_message_is_given_up_after_a_day_with_a_line(
    notifying, hook, clock, database, caplog
):
    notify = notifying({"chat": hook.url}, Groups(critical=("chat",)))
    hook.status = 503
    await go(notify, an_alert())
    clock.move(days=1)
    await go(notify)
    assert await database.run(lambda db: Notices(db.engine).counts()) == {GIVEN_UP: 1}
    (line,) = (one for one in caplog.records if one.message == "a message is given up")
    assert line.channel == "chat"


async def test_a_channel_that_hangs_is_given_up_for_now_and_holds_up_no_other(
    database, clock, hook, notifying
):
    async with HttpReceiver() as slow:
        slow.hangs = True
        notify = notifying({"chat": slow.url, "mail": hook.url})
        notify._channels["chat"] = service(slow.url, within=0.3)
        notify.hear(an_alert())
        await notify.take()
        await notify.send_due()
        await hook.news.first(lambda _: True)
        await notify.settled()
        assert "chat" in notify._rest
        again = Message.of(of_alert(an_alert()).body())
        assert await notify._channels["chat"].send(again) != ""


async def test_without_a_database_it_is_sent_at_once_and_once(
    notifying, hook, database, monkeypatch
):
    notify = notifying(groups=Groups(critical=("chat",)))
    run = database.run

    async def away(work):
        raise StoreUnavailable

    monkeypatch.setattr(database, "run", away)
    notify.hear(an_alert())
    for _ in range(2):
        notify.hear(an_alert())
        with pytest.raises(StoreUnavailable):
            await notify.take()
    assert hook.titles == ["[CRITICAL] HealthCheck (redis)"]
    monkeypatch.setattr(database, "run", run)
    await go(notify)
    assert len(hook.got) == 1
    await go(notify, an_alert("info"))
    assert hook.titles[1:] == ["[RESOLVED] HealthCheck (redis)"]
    assert await database.run(lambda db: Notices(db.engine).counts()) == {SENT: 2}


async def test_the_end_is_told_without_a_database_to_who_was_told_of_the_beginning(
    notifying, hook, database, monkeypatch
):
    notify = notifying(groups=Groups(critical=("chat",)))

    async def away(work):
        raise StoreUnavailable

    monkeypatch.setattr(database, "run", away)
    for one in (an_alert(), an_alert("info"), an_alert("info", "other")):
        notify.hear(one)
    with pytest.raises(StoreUnavailable):
        await notify.take()
    assert [title.split()[0] for title in hook.titles] == ["[CRITICAL]", "[RESOLVED]"]


async def test_a_silenced_alert_is_held(notifying, hook, database, clock):
    silence = Silence(id="s", name="Health*", made_at=clock(), until=clock() + timedelta(hours=1))
    await database.run(lambda db: Silences(db.engine).add(silence))
    notify = notifying(groups=Groups(critical=("chat",)))
    await go(notify, an_alert())
    assert hook.got == []
    clock.move(hours=1)
    await go(notify)
    assert len(hook.got) == 1


async def test_where_an_alertmanager_tells_we_do_not(notifying, hook):
    notify = notifying(alerts=False)
    await go(notify, an_alert())
    assert hook.got == []


async def test_it_listens_and_sends_by_itself(notifying, hook):
    alerts, notify = Alerts(), notifying(groups=Groups(critical=("chat",)))
    alerts.listeners.append(notify.hear)
    notify.start()
    try:
        alerts.tell("HealthCheck", "a health check is not well", "critical", "redis")
        await hook.news.first(lambda _: True)
    finally:
        await notify.aclose()


async def test_without_channels_it_says_so_once(notifying, caplog):
    caplog.set_level(logging.INFO)
    notify = notifying({}, Groups())
    notify.start()
    await notify.aclose()
    assert caplog.messages == ["nobody is told of alerts: no channels are configured"]


@pytest.mark.parametrize(
    ("url", "plugin"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#incidents", "NotifySlack"),
        ("mailtos://user:word@mail.example.com?to=team@voice.example", "NotifyEmail"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "NotifyTelegram"),
        ("pagerduty://A1BRTD4JD@ApiKeyOfATest/source/component", "NotifyPagerDuty"),
        (
            f"twilio://AC{'0a' * 16}:{'0b' * 16}@15551230000/15551230001",
            "NotifyTwilio",
        ),
        ("jsons://hook.example.com/path", "NotifyJSON"),
    ],
)
def test_every_kind_of_channel_is_known(url, plugin):
    assert type(channels._service(SecretStr(url), 20)).__name__ == plugin


class Kept(logging.Handler):
    """All that reaches the handlers of the process."""

    def __init__(self):
        super().__init__()
        self.said = ""

    def emit(self, record):
        self.said += f"{record.getMessage()} {vars(record)}\n"


async def test_a_reason_and_a_log_hold_no_secret(hook, monkeypatch):
    kept, root = Kept(), logging.getLogger()
    monkeypatch.setattr(root, "handlers", [kept])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    log.protect()
    hook.status = 500
    reason = await service(hook.url).send(of_alert(an_alert()))
    assert "500" in reason
    gone = "json://user:very-secret-word@127.0.0.1:9/hook-secret-path"
    assert await service(gone).send(of_alert(an_alert())) != ""
    for secret in ("very-secret-word", "hook-secret-path"):
        assert secret not in reason + kept.said


async def test_slack_gets_the_colour_of_the_severity(hook, monkeypatch):
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#incidents"
    slack = service(url)
    monkeypatch.setattr(slack._service, "webhook_url", f"http://{hook.address}")
    hook.answer = "ok"
    for level in ("critical", "warning", "info"):
        assert await slack.send(of_alert(an_alert(level))) == ""
    colours = [one["attachments"][0]["color"] for one in hook.got]
    assert len(set(colours)) == 3
    assert hook.got[0]["attachments"][0]["title"] == "[CRITICAL] HealthCheck (redis)"


async def test_a_reason_that_quotes_the_url_is_not_told():
    class Quoting:
        user, password, service_name = "", "", "Quoting"

        def url(self, *, privacy):
            return "x://host/***" if privacy else "x://host/hook-secret-path"

    told = channels._without_secrets(Quoting(), "cannot post to /hook-secret-path")
    assert told == "Quoting: refused, or not reachable"
    assert channels._without_secrets(Quoting(), "no answer") == "no answer"
