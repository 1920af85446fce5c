"""What an operator should look at although the host is Up: alerts of agents' certificates and of hosts' gateways."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cloudlb.agents.attache import Attache
from cloudlb.agents.directory import Directory
from cloudlb.agents.link_attache import LinkAttache
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.domain.ports import Store, StoreUnavailable, Transaction
from cloudlb.domain.records import AlertType
from cloudlb.net.periodic import Periodic
from cloudlb.net.spawn import spawn

INTERVAL = 3600.0
"""Seconds between looks at all certificates, and between the alerts of a host that stays without its gateway
[ca.framework.background.task.delay]."""
_DAY = 86400.0
_BATCH = 200
"""Most alerts of one transaction."""


class Concerns:
    """Raises alerts of the hosts on this server."""

    log = Logger()

    def __init__(self, store: Store, settings: LiveSettings, directory: Directory, clock: IReactorTime) -> None:
        self._store = store
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._looks = Periodic(clock, "look at certificates", self.look)

    def start(self) -> None:
        """Begin to look at certificates."""
        self._looks.start(INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        self._looks.stop()

    def up(self, attache: LinkAttache) -> None:
        """A host is Up: look at its certificate."""
        if self._ends_soon(attache):
            spawn(self._alert_certificates([attache]), self.log, "raise the alert of a certificate")

    def gateway_lost(self, attache: Attache) -> None:
        """A ping says that the host does not reach its gateway, as each further one will."""
        now = self._clock.seconds()
        if attache.owns_host and now - attache.gateway_alert >= INTERVAL:
            attache.gateway_alert = now
            subject = f"host {attache.host.facts.name} said that it did not reach its gateway"
            self.log.warn("{subject}", subject=subject)
            spawn(self._alert(AlertType.HOST, [(attache, subject)]), self.log, "raise the alert of a gateway")

    async def look(self) -> None:
        """Look at all certificates."""
        await self._alert_certificates(
            [one for one in self._directory if isinstance(one, LinkAttache) and self._ends_soon(one)]
        )

    def _ends_soon(self, attache: LinkAttache) -> bool:
        end, days = attache.certificate_end, self._settings.current.certificate_alert
        return end is not None and end - self._clock.seconds() < days * _DAY

    async def _alert_certificates(self, attaches: Sequence[LinkAttache]) -> None:
        subjects = []
        for attache in attaches:
            assert attache.certificate_end is not None
            end = datetime.fromtimestamp(attache.certificate_end, UTC)
            subjects.append((attache, f"the certificate of host {attache.host.facts.name} ends on {end:%Y-%m-%d}"))
        for first in range(0, len(subjects), _BATCH):
            await self._alert(AlertType.CA_CERTIFICATE, subjects[first : first + _BATCH])

    async def _alert(self, alert_type: AlertType, subjects: Sequence[tuple[Attache, str]]) -> None:
        now = self._clock.seconds()
        hosts = [(attache.host.id, subject) for attache, subject in subjects]

        def work(txn: Transaction) -> None:
            for host_id, subject in hosts:
                txn.alerts.send(alert_type, subject, host_id=host_id, now=now)

        try:
            await self._store.run(work)
        except StoreUnavailable as error:
            self.log.warn("{count} alerts are not on record: {error}", count=len(hosts), error=error)
