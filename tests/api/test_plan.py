"""Tests of the dry run of moves."""

from __future__ import annotations

from typing import Any

from cloudlb.domain.models import Server, ServerId
from cloudlb.domain.server_state import ServerEvent
from tests.api.world import API_KEY, ApiTestCase, sign

ALPHA, BETA = "127.0.0.1", "::1"
BOTH = f"{ALPHA},{BETA}"


class PlanTests(ApiTestCase):
    """plan."""

    def setUp(self) -> None:
        """Two servers, of which the second came without agents, and 40 hosts on the first."""
        super().setUp()
        self.add_site()
        self.beta: Server = self.stored(
            lambda txn: txn.servers.register(
                name="beta", address=BETA, port=8250, version="0.1", candidate_id=ServerId(5)
            )
        )
        for number in range(40):
            self.add_host(f"agent-{number:02}")
        self.set_value("host", BOTH)
        self.set_value("indirect.agent.lb.algorithm", "rendezvous")

    def set_value(self, name: str, value: str) -> None:
        """Change a setting."""
        self.call("updateConfiguration", name=name, value=value)

    def plan(self, **parameters: str) -> Any:
        """What would be done."""
        return self.call("plan", **parameters)["plan"]

    def counts(self, **parameters: str) -> dict[str, tuple[int, int]]:
        """Hosts before and after by address."""
        return {row["address"]: (row["before"], row["after"]) for row in self.plan(**parameters)["server"]}

    def test_as_things_are(self) -> None:
        """As few as bring the second server near the average; every move is told, and why the others stay."""
        planned = self.plan()
        # 40 hosts on two servers: fewer than 10 off the average of 20.
        self.assertEqual(self.counts(), {ALPHA: (40, 29), BETA: (0, 11)})
        self.assertEqual((planned["count"], len(planned["move"]), planned["note"]), (11, 11, []))
        ids = {host["name"]: host["id"] for host in self.call("listHosts")["host"]}
        for move in planned["move"]:
            self.assertEqual((move["source"], move["target"]), (ALPHA, BETA))
            self.assertEqual(move["hostid"], ids[move["hostname"]])
        self.assertEqual(sum(row["count"] for row in planned["stay"]), 29)
        alpha = planned["server"][0]
        self.assertEqual(
            (alpha["name"], alpha["state"], alpha["listed"], alpha["weight"], alpha["average"]),
            ("alpha", "Up", True, 1, 20),
        )

    def test_changes(self) -> None:
        """What a change of settings would do, which changes none of them and moves nobody."""
        before = self.call("listConfigurations"), self.call("listHosts")
        self.assertEqual(self.counts(algorithm="roundrobin"), {ALPHA: (40, 20), BETA: (0, 20)})
        self.assertEqual(self.counts(algorithm="static", host=f"{BETA},{ALPHA}"), {BETA: (0, 40), ALPHA: (40, 0)})
        self.assertEqual(self.counts(host=BETA), {BETA: (0, 40), ALPHA: (40, 0)})
        light, heavy = (self.counts(weights=f"{BETA}={weight}")[BETA][1] for weight in (2, 1000))
        self.assertLess(20, light)
        self.assertLess(light, heavy)
        self.assertEqual((self.call("listConfigurations"), self.call("listHosts")), before)

    def test_agrees_with_the_settings(self) -> None:
        """Values in force that are tried again are no change; a change that was made is in force."""
        self.assertEqual(self.plan(host=BOTH, algorithm="Rendezvous", weights=""), self.plan())
        self.set_value("indirect.agent.lb.weights", f"{BETA}=3")
        self.assertEqual([row["weight"] for row in self.plan()["server"]], [1, 3])
        self.assertEqual([row["average"] for row in self.plan()["server"]], [10, 30])

    def test_servers_that_take_no_agents(self) -> None:
        """One that is drained or down, and an address that belongs to nobody."""
        unknown = self.plan(host=f"{BOTH},192.0.2.1", algorithm="roundrobin")["server"][2]
        self.assertNotIn("state", unknown)
        self.assertEqual((unknown["address"], unknown["after"]), ("192.0.2.1", 0))
        self.stored(lambda txn: txn.servers.change_state(self.beta.id, ServerEvent.PREPARE_FOR_MAINTENANCE))
        drained = self.plan(algorithm="roundrobin")
        self.assertEqual((drained["count"], drained["server"][1]["state"]), (0, "PreparingForMaintenance"))
        self.stored(lambda txn: txn.servers.stop(self.beta.id))
        down = self.plan(host=BETA)
        self.assertEqual((down["count"], down["note"]), (0, ["No server of `host` takes agents."]))

    def test_places_are_those_of_zones(self) -> None:
        """Under roundrobin a host's place counts among the hosts of its zone, as where lists are made."""
        targets = {move["hostname"] for move in self.plan(algorithm="roundrobin")["move"]}
        self.assertEqual(targets, {f"agent-{number:02}" for number in range(1, 40, 2)})

    def test_pages(self) -> None:
        """Moves come in pages if asked for, in one order; servers and reasons are on each."""
        whole = self.plan(algorithm="roundrobin")
        pages = [self.plan(algorithm="roundrobin", page=str(number), pagesize="8") for number in (1, 2, 3, 4)]
        self.assertEqual([len(page["move"]) for page in pages], [8, 8, 4, 0])
        self.assertEqual([move for page in pages for move in page["move"]], whole["move"])
        for page in pages:
            self.assertEqual((page["count"], page["server"], page["stay"]), (20, whole["server"], whole["stay"]))
        (one,) = self.plan(algorithm="roundrobin", keyword="AGENT-07")["move"]
        self.assertEqual(one["hostname"], "agent-07")

    def test_refused(self) -> None:
        """Values that the settings would not take, by the parameter's name."""
        for parameter, value, reason in (
            ("host", "a,a", "a stands twice"),
            ("algorithm", "best", "unknown algorithm 'best'"),
            ("weights", "a=0", "0 is not between 1 and 1000"),
        ):
            text = self.refused("plan", **{parameter: value})
            self.assertIn(f"parameter {parameter}:", text)
            self.assertIn(reason, text)

    def test_xml(self) -> None:
        """Other clients read it, too."""
        plan = self.get(sign({"command": "plan", "apiKey": API_KEY, "algorithm": "shuffle"})).xml.find("plan")
        assert plan is not None
        self.assertEqual([one.findtext("address") for one in plan.findall("server")], [ALPHA, BETA])
        self.assertIn("random order", plan.findtext("note") or "")

    def test_only_reads(self) -> None:
        """It has no need of the writer: admissions do not wait for it."""
        self.patch(self.database, "run", None)
        self.assertEqual(self.plan()["count"], 11)
