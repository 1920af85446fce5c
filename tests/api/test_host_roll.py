"""Tests of pages of hosts that are told from memory."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from cloudlb.api import host_roll
from cloudlb.domain.host_status import HostEvent
from cloudlb.domain.models import HostId, ServerId, StatusChange
from cloudlb.domain.ports import Transaction
from cloudlb.domain.resource_state import ResourceEvent
from cloudlb.storage.schema import host
from tests.api.world import API_KEY, NOW, ApiTestCase, sign

PAGE = {"page": "1", "pagesize": "500"}
STEPS = ("heard", "lost", "disabled", "enabled", "tagged", "tagged-before", "moved", "removed", "added", "renamed")


class HostRollTests(ApiTestCase):
    """listHosts with a page, and the same without one, which reads every row."""

    def setUp(self) -> None:
        """Make a few hosts."""
        super().setUp()
        self.add_site()
        self.hosts = [self.add_host(name) for name in ("a", "b", "c")]

    def page(self) -> Any:
        """A page of hosts."""
        return self.call("listHosts", **PAGE)

    def test_like_the_rows(self) -> None:
        """A page that is told twice is what the rows are."""
        everything = self.call("listHosts")
        self.assertEqual([everything, everything], [self.page(), self.page()])
        self.assertEqual(3, everything["count"])
        self.assertIn("lastpinged", everything["host"][0])

    def test_xml(self) -> None:
        """XML has the same."""
        parameters = {"command": "listHosts", "apiKey": API_KEY}
        self.page()
        paged, all_ = (self.get(sign({**parameters, **more})).xml for more in (PAGE, {}))
        self.assertEqual(*({(field.tag, field.text) for field in root.iter()} for root in (all_, paged)))

    def test_never_heard(self) -> None:
        """A host that nobody has heard from has no time."""
        self.stored(_never_heard(self.hosts[0]))
        self.assertNotIn("lastpinged", self.page()["host"][0])

    def test_an_unchanged_page_is_not_read(self) -> None:
        """Where nothing has changed, neither rows nor stamps of hosts are read."""
        first = self.page()
        refuse = mock.Mock(side_effect=AssertionError("something was read"))
        with (
            mock.patch("cloudlb.storage.host_listings.HostListings.several", refuse),
            mock.patch("cloudlb.storage.host_listings.HostListings.stamps", refuse),
        ):
            self.assertEqual(first, self.page())

    def test_few_pages(self) -> None:
        """Not more pages are kept than there is room for."""
        self.patch(host_roll, "MOST_PAGES", 2)
        for size in ("1", "2", "3", "1"):
            self.call("listHosts", page="1", pagesize=size)
        roll = self.context.host_roll
        assert isinstance(roll, host_roll.HostRoll)
        self.assertEqual([3, 1], [limit for _, _, limit in roll._pages])

    def test_what_is_kept_is_not_read(self) -> None:
        """Of hosts that have not changed no row is read again."""
        self.page()
        several = mock.Mock(side_effect=AssertionError("a row was read"))
        with mock.patch("cloudlb.storage.host_listings.HostListings.several", several):
            self.stored(lambda txn: txn.hosts.touch(dict.fromkeys(self.hosts, NOW + 60)))
            self.assertEqual({"2026-09-21T14:14:20+0000"}, {row["lastpinged"] for row in self.page()["host"]})

    def test_bounded(self) -> None:
        """Not more is kept than there is room for, and all of the page is told."""
        self.patch(host_roll, "MOST", 2)
        for _ in range(2):
            self.assertEqual(self.call("listHosts"), self.page())
        roll = self.context.host_roll
        assert isinstance(roll, host_roll.HostRoll)
        self.assertEqual(2, len(roll._entries))

    def test_filters(self) -> None:
        """Filters and pages are those of the rows."""
        self.assertEqual(["b"], [row["name"] for row in self.call("listHosts", keyword="B", **PAGE)["host"]])
        self.assertEqual({}, self.call("listHosts", keyword="x", **PAGE))
        self.assertEqual({"count": 3}, self.call("listHosts", page="9", pagesize="2"))
        self.assertIn("zoneid", self.refused("listHosts", zoneid="nowhere", **PAGE))

    @given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=12))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_always_like_the_rows(self, steps: list[tuple[str, int]]) -> None:
        """Whatever is done to hosts, a page tells what the rows are."""
        for step, which in steps:
            self.do(step, self.hosts[which % len(self.hosts)])
            self.assertEqual(self.call("listHosts"), self.page(), step)

    def do(self, step: str, host_id: HostId) -> None:
        """Do something to a host."""
        self.clock.advance(1.0)
        own, now = self.membership.own.id, self.clock.seconds()

        def change(event: ResourceEvent) -> None:
            self.stored(
                lambda txn: txn.hosts.change_resource_state(
                    host_id, event, server_id=own, account_id=None, reason="r", now=now
                )
            )

        def lose(txn: Transaction) -> None:
            row = txn.hosts.get(host_id)
            assert row is not None
            lost = StatusChange(
                host_id=host_id, session=row.session, event=HostEvent.AGENT_DISCONNECTED, server_id=own, reason="r"
            )
            txn.hosts.transition([lost], now)

        match step:
            case "heard":
                self.stored(lambda txn: txn.hosts.touch({host_id: now}))
            case "lost":
                self.stored(lose)
            case "disabled":
                change(ResourceEvent.DISABLE)
            case "enabled":
                change(ResourceEvent.ENABLE)
            case "tagged":
                self.stored(lambda txn: txn.hosts.set_tags(host_id, [f"tag-{now}"]))
            case "tagged-before":
                # By a server of the version before, which writes no time of a change.
                tags = update(host).where(host.c.id == host_id).values(tags=[f"before-{now}"])
                self.stored(lambda txn: txn.hosts._connection.execute(tags))
            case "moved":
                other = ServerId(99)
                self.stored(
                    lambda txn: txn.servers.register(
                        name="beta", address="127.0.0.2", port=1, version="1", candidate_id=other
                    )
                )
                row = self.stored(lambda txn: txn.hosts.get(host_id))
                if row.removed is None:
                    self.add_host(row.facts.name, other)
            case "removed":
                self.stored(lambda txn: txn.hosts.remove(host_id, own, None, now))
            case "added":
                self.hosts.append(self.add_host(f"host-{now}"))
            case "renamed":
                self.stored(lambda txn: txn.servers.remove(ServerId(99)))


def _never_heard(host_id: HostId) -> Any:
    def work(txn: Any) -> None:
        txn.hosts._connection.execute(update(host).where(host.c.id == host_id).values(last_heard=None))

    return work
