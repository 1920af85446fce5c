"""Tests of settings and servers."""

from __future__ import annotations

from cloudlb.domain.models import PeerView, ServerId
from cloudlb.domain.server_state import ServerState
from cloudlb.domain.settings_in_force import Settings
from tests.api.world import NOW, ApiTestCase

INTERVAL = "indirect.agent.lb.check.interval"
ALGORITHM = "indirect.agent.lb.algorithm"


class SettingTests(ApiTestCase):
    """listConfigurations, updateConfiguration, resetConfiguration."""

    def value(self, name: str, **scope: str) -> str:
        """A setting's value."""
        (setting,) = self.call("listConfigurations", name=name, **scope)["configuration"]
        value: str = setting["value"]
        return value

    def test_events(self) -> None:
        """Who has changed what is on record; what was refused is not."""
        self.call("updateConfiguration", name=INTERVAL, value="7")
        self.refused("updateConfiguration", name=INTERVAL, value="soon")
        self.call("resetConfiguration", name=INTERVAL)
        events = self.call("listEvents", type="CONFIGURATION.VALUE.EDIT")["event"]
        self.assertEqual(["admin", "admin"], [event["username"] for event in events])
        texts = [f"setting {INTERVAL} was reset (global)", f"setting {INTERVAL} was set to '7' (global)"]
        self.assertEqual(texts, [event["description"] for event in events])

    def test_list(self) -> None:
        """Every setting, with what an operator needs to choose a value."""
        settings = {item["name"]: item for item in self.call("listConfigurations")["configuration"]}
        self.assertIn("host", settings)
        algorithm = settings[ALGORITHM]
        self.assertEqual(
            ("static", "static", "global", True),
            tuple(algorithm[key] for key in ("value", "defaultvalue", "scope", "isdynamic")),
        )
        self.assertEqual("static,roundrobin,shuffle,rendezvous", algorithm["options"])
        self.assertEqual("global,cluster", settings[INTERVAL]["scope"])
        self.assertEqual((False, True), (algorithm["extension"], settings["indirect.agent.lb.weights"]["extension"]))
        self.assertTrue(all(item["description"] and item["category"] and item["type"] for item in settings.values()))

    def test_filters(self) -> None:
        """By name, category, keyword; a name of nothing is an empty list."""
        count = self.call("listConfigurations")["count"]
        self.assertEqual(count, self.call("listConfigurations", category="advanced")["count"])
        self.assertEqual(8, self.call("listConfigurations", keyword="agent.LB")["count"])
        self.assertEqual({}, self.call("listConfigurations", name="nothing"))
        self.assertEqual({}, self.call("listConfigurations", category="Hidden"))

    def test_update_and_reset(self) -> None:
        """The answer has the new value, normalized, and so has the next listing."""
        updated = self.call("updateConfiguration", name=ALGORITHM, value=" RoundRobin ")["configuration"]
        self.assertEqual((ALGORITHM, "roundrobin"), (updated["name"], updated["value"]))
        self.assertEqual("roundrobin", self.value(ALGORITHM))
        self.assertEqual("static", self.call("resetConfiguration", name=ALGORITHM)["configuration"]["value"])
        self.assertEqual("static", self.value(ALGORITHM))

    def test_cluster_scope(self) -> None:
        """A value for one cluster, by uuid or number, over the global one."""
        self.add_site()
        (cluster,) = self.call("listClusters")["cluster"]
        self.call("updateConfiguration", name=INTERVAL, value="60")
        updated = self.call("updateConfiguration", name=INTERVAL, value="5", clusterid=cluster["id"])["configuration"]
        self.assertEqual(("5", "cluster", cluster["id"]), (updated["value"], updated["scope"], updated["id"]))
        self.assertEqual(("60", "5"), (self.value(INTERVAL), self.value(INTERVAL, clusterid="1")))
        listed = self.call("listConfigurations", clusterid="1")["configuration"]
        self.assertEqual([INTERVAL], [item["name"] for item in listed])
        self.call("resetConfiguration", name=INTERVAL, clusterid="1")
        self.assertEqual("60", self.value(INTERVAL, clusterid="1"))
        self.assertIn("name", self.refused("resetConfiguration", name=ALGORITHM, clusterid="1"))
        self.assertIn("parameter clusterid:", self.refused("listConfigurations", clusterid="9"))
        self.assertIn(
            "parameter clusterid:", self.refused("updateConfiguration", name=INTERVAL, value="5", clusterid="9")
        )

    def test_values_that_would_strand_the_fleet(self) -> None:
        """They are refused with the reason and change nothing."""
        for name, value, reason in (
            ("host", "", "empty"),
            ("host", "127.0.0.1,,x", "empty"),
            ("host", "127.0.0.1,127.0.0.1", "twice"),
            ("host", "127.0.0.256", "127.0.0.256"),
            ("host", "192.0.2.1", "no live"),
            (ALGORITHM, "best", "best"),
            (INTERVAL, "-1", "-1"),
            (INTERVAL, "soon", "soon"),
        ):
            before = self.value(name)
            text = self.refused("updateConfiguration", name=name, value=value)
            self.assertIn("parameter value:", text)
            self.assertIn(reason, text)
            self.assertEqual(before, self.value(name))

    def test_forced(self) -> None:
        """A list of servers that are not up yet is taken where it is forced."""
        self.assertEqual(
            "127.0.0.1", self.call("updateConfiguration", name="host", value="127.0.0.1")["configuration"]["value"]
        )
        self.refused("updateConfiguration", name="host", value="192.0.2.1", forced="false")
        self.call("updateConfiguration", name="host", value="192.0.2.1", forced="true")
        self.assertEqual("192.0.2.1", self.value("host"))
        self.refused("updateConfiguration", name="host", value="x y", forced="true")

    def test_long_list(self) -> None:
        """A list of servers may be long, but not endless."""
        addresses = ["127.0.0.1", *(f"10.0.{n // 250}.{n % 250}" for n in range(255))]
        self.call("updateConfiguration", name="host", value=",".join(addresses))
        too_many = ",".join([*addresses, "10.0.9.9"])
        self.assertIn("parameter value:", self.refused("updateConfiguration", name="host", value=too_many))
        self.assertIn("parameter value:", self.refused("updateConfiguration", name="host", value="a," * 3000))

    def test_groups(self) -> None:
        """Every setting is in a subgroup that is listed, none of which is empty; both are filters."""
        settings = self.call("listConfigurations")["configuration"]
        used = {(setting["group"], setting["subgroup"]) for setting in settings}
        groups = self.call("listConfigurationGroups")["configurationgroup"]
        listed = {(group["name"], subgroup["name"]) for group in groups for subgroup in group["subgroup"]}
        self.assertEqual(listed - {("Miscellaneous", "Others")}, used - {("Miscellaneous", "Others")})
        self.assertEqual([2, 6, 999], [group["precedence"] for group in groups])
        (algorithm,) = self.call("listConfigurations", name=ALGORITHM)["configuration"]
        self.assertEqual(
            ("Management Server", "Agent", "Indirect agent lb algorithm"),
            (algorithm["group"], algorithm["subgroup"], algorithm["displaytext"]),
        )
        for name in ("group", "subgroup"):
            some = self.call("listConfigurations", **{name: algorithm[name]})["configuration"]
            self.assertEqual([setting for setting in settings if setting[name] == algorithm[name]], some)
        self.assertEqual({}, self.call("listConfigurations", parent=ALGORITHM))
        self.assertEqual({}, self.call("listConfigurationGroups", group="Storage"))
        self.assertEqual(1, self.call("listConfigurationGroups", keyword="server")["count"])

    def test_unknown_setting(self) -> None:
        """The parameter at fault is the name."""
        self.assertIn("parameter name:", self.refused("updateConfiguration", name="nothing", value="1"))
        self.assertIn("parameter name:", self.refused("resetConfiguration", name="nothing"))
        before = self.call("listConfigurations", name="host")["configuration"][0]
        self.assertEqual(before, self.call("updateConfiguration", name="host")["configuration"])

    def test_scopes_of_others(self) -> None:
        """A value for one zone or account must not become the value for all."""
        for scope in ("zoneid", "accountid", "storageid", "domainid", "managementserverid"):
            for command, more in (("updateConfiguration", {"value": "5"}), ("resetConfiguration", {})):
                self.assertIn(f"parameter {scope}:", self.refused(command, name=INTERVAL, **more, **{scope: "1"}))
        self.assertEqual("0", self.value(INTERVAL))


class ServerTests(ApiTestCase):
    """listManagementServers."""

    def test_states(self) -> None:
        """A server without heartbeats is Down, by the age of the last."""
        self.clock.rightNow -= 60
        self.stored(
            lambda txn: txn.servers.register(
                name="beta", address="::1", port=8250, version="0.0.9", candidate_id=ServerId(5)
            )
        )
        self.clock.rightNow += 60
        servers = {item["name"]: item for item in self.call("listManagementServers")["managementserver"]}
        self.assertEqual(("Up", "Down"), (servers["alpha"]["state"], servers["beta"]["state"]))
        beta = servers["beta"]
        self.assertEqual(
            ("::1", "::1", 5, "0.0.9", 0),
            tuple(beta[key] for key in ("ipaddress", "serviceip", "msid", "version", "agentscount")),
        )
        self.assertEqual("2026-09-21T14:12:20+0000", beta["lastserverstart"])
        self.assertNotIn("lastserverstop", beta)
        for key, value in (("id", "5"), ("id", beta["id"]), ("name", "beta"), ("version", "0.0.9"), ("keyword", "ET")):
            self.assertEqual([beta], self.call("listManagementServers", **{key: value})["managementserver"])
        self.assertIn("parameter id:", self.refused("listManagementServers", id="6"))

    def test_peers(self) -> None:
        """How each sees the others, beside how they are; only for who asks."""
        (server,) = self.call("listManagementServers")["managementserver"]
        self.assertNotIn("peers", server)
        beta = self.stored(
            lambda txn: txn.servers.register(
                name="beta", address="::1", port=8251, version="0.0.9", candidate_id=ServerId(5)
            )
        )
        view = PeerView(state=ServerState.DOWN, run_id=7, since=NOW - 60)
        own = self.membership.own.id
        self.stored(lambda txn: txn.servers.record_peers(own, {beta.id: view, ServerId(99): view}))
        alpha, beta_shown = self.call("listManagementServers", peers="true")["managementserver"]
        self.assertEqual(
            [
                {
                    "state": "Down",
                    "lastupdated": "2026-09-21T14:12:20+0000",
                    "peerid": beta.uuid,
                    "peername": "beta",
                    "peermsid": "5",
                    "peerrunid": "7",
                    "peerstate": "Up",
                    "peerserviceip": "::1",
                    "peerserviceport": "8251",
                }
            ],
            alpha["peers"],
        )
        self.assertEqual([], beta_shown["peers"])

    def test_heartbeats_end(self) -> None:
        """The same server, a little later."""
        self.clock.rightNow += Settings().heartbeat_threshold + 0.1
        (server,) = self.call("listManagementServers")["managementserver"]
        self.assertEqual("Down", server["state"])
