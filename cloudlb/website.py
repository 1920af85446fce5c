"""The site of a management server: the API, the dashboard, and the pages for Prometheus and for probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from cloudlb.agents.command_jobs import CommandJobs
from cloudlb.agents.live_settings import LiveSettings
from cloudlb.agents.operations import Operations
from cloudlb.agents.registration import Registration
from cloudlb.agents.resource_states import ResourceStates
from cloudlb.api.attempts import Attempts
from cloudlb.api.context import ApiContext
from cloudlb.api.host_roll import HostRoll
from cloudlb.api.passwords import Passwords
from cloudlb.api.sessions import Sessions
from cloudlb.api.site import api_site
from cloudlb.cluster.membership import Membership
from cloudlb.cluster.rebalancer import Rebalancer
from cloudlb.cluster.server_orders import ServerOrders
from cloudlb.dashboard.pages import dashboard_pages
from cloudlb.dashboard.stream import Stream
from cloudlb.dashboard.visitors import LoggedIn
from cloudlb.domain.ports import Store
from cloudlb.metrics.meters import Meters
from cloudlb.metrics.pages import MetricsPage
from cloudlb.probes import Probes
from cloudlb.resource.threads import Threads


class Website:
    """That of one server, and who is logged in there."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        meters: Meters,
        probes: Probes,
        threads: Threads,
        new_uuid: Callable[[], UUID],
        *,
        settings: LiveSettings,
        operations: Operations,
        registration: Registration,
        resource_states: ResourceStates,
        command_jobs: CommandJobs,
        server_orders: ServerOrders,
        rebalancer: Rebalancer,
        membership: Membership,
    ) -> None:
        """Make the pages; the other arguments are the parts of the server that the API's commands work with.

        Args:
            reactor: IReactorTime.
            store: the database.
            meters: what /metrics shows.
            probes: their pages.
            threads: look at passwords.
            new_uuid: makes names for what the viewers of the dashboard follow.
        """
        self.sessions = Sessions(reactor)
        self.stream = Stream(store, reactor, lambda: str(new_uuid()), LoggedIn(self.sessions, store))
        self._passwords = Passwords(Attempts(reactor), threads)
        self.factory = api_site(
            ApiContext(
                store=store,
                settings=settings,
                operations=operations,
                registration=registration,
                resource_states=resource_states,
                command_jobs=command_jobs,
                server_orders=server_orders,
                rebalancer=rebalancer,
                membership=membership,
                clock=reactor,
                host_roll=HostRoll(store),
                sessions=self.sessions,
                passwords=self._passwords,
            ),
            {
                **dashboard_pages(),
                "stream": self.stream,
                "metrics": MetricsPage(meters.registry, lambda: settings.current.metrics_readers),
                **probes.pages(),
            },
        )
        """Makes the protocols of connections."""

    def stop(self) -> None:
        """Let the dashboard's viewers go, and look at no more passwords."""
        self.stream.stop()
        self._passwords.stop()
