"""Tests of the table of commands as clients see it."""

from __future__ import annotations

from tests.api.world import ApiTestCase

COMMANDS = {
    "addCluster",
    "addHost",
    "archiveAlerts",
    "cancelHostAsDegraded",
    "cancelHostMaintenance",
    "cancelMaintenance",
    "cancelShutdown",
    "configureOutOfBandManagement",
    "createPod",
    "createUser",
    "createZone",
    "declareHostAsDegraded",
    "deleteAlerts",
    "deleteCluster",
    "deleteHost",
    "deletePod",
    "deleteUser",
    "deleteUserKeys",
    "deleteZone",
    "disableOutOfBandManagementForHost",
    "disableUser",
    "enableUser",
    "generateAlert",
    "getUser",
    "listAlertTypes",
    "listAlerts",
    "listApis",
    "listAsyncJobs",
    "listCapabilities",
    "listClusters",
    "listConfigurationGroups",
    "listConfigurations",
    "listEventTypes",
    "listEvents",
    "listHostCounts",
    "listHosts",
    "listHostsMetrics",
    "listInvestigations",
    "listManagementServers",
    "listManagementServersMetrics",
    "listPods",
    "listRoles",
    "listUserKeys",
    "listUsers",
    "listZones",
    "login",
    "logout",
    "plan",
    "prepareForMaintenance",
    "prepareForShutdown",
    "prepareHostForMaintenance",
    "queryAsyncJobResult",
    "readyForShutdown",
    "rebalanceAgents",
    "reconnectHost",
    "registerUserKeys",
    "removeManagementServer",
    "resetConfiguration",
    "restoreHost",
    "sendCommand",
    "triggerShutdown",
    "updateCluster",
    "updateConfiguration",
    "updateHost",
    "updatePod",
    "updateUser",
    "updateZone",
}
ASYNCHRONOUS = {
    "cancelHostAsDegraded",
    "cancelHostMaintenance",
    "declareHostAsDegraded",
    "disableOutOfBandManagementForHost",
    "generateAlert",
    "prepareHostForMaintenance",
    "rebalanceAgents",
    "reconnectHost",
    "sendCommand",
}


class DiscoveryTests(ApiTestCase):
    """listApis."""

    def test_every_command(self) -> None:
        """All are there, once."""
        body = self.call("listApis", listall="true")
        names = [api["name"] for api in body["api"]]
        self.assertEqual(sorted(COMMANDS), sorted(names))
        self.assertEqual(len(COMMANDS), body["count"])

    def test_no_field_is_null(self) -> None:
        """CloudMonkey ends with a panic where a field is missing or null."""
        for api in self.call("listApis")["api"]:
            for name in ("name", "description", "since", "related"):
                self.assertIsInstance(api[name], str, api["name"])
            self.assertIsInstance(api["isasync"], bool)
            for parameter in api["params"]:
                self.assertEqual(
                    {
                        "name": str,
                        "description": str,
                        "type": str,
                        "length": int,
                        "required": bool,
                        "since": str,
                        "related": str,
                        "extension": bool,
                    },
                    {name: type(value) for name, value in parameter.items()},
                )
            self.assertTrue(api["response"], api["name"])
            for field in api["response"]:
                self.assertEqual(["description", "extension", "name", "type"], sorted(field))
                self.assertTrue(all(field[key] and type(field[key]) is str for key in ("description", "name", "type")))

    def test_related_commands_exist(self) -> None:
        """A related command is one that can be called."""
        apis = self.call("listApis")["api"]
        related = {name for api in apis for name in api["related"].split(",") if name}
        related |= {name for api in apis for param in api["params"] for name in param["related"].split(",") if name}
        self.assertIn("listHosts", related)
        self.assertLessEqual(related, COMMANDS)

    def test_only_host_jobs_are_asynchronous(self) -> None:
        """What isasync says is what the command does."""
        apis = self.call("listApis")["api"]
        self.assertEqual(ASYNCHRONOUS, {api["name"] for api in apis if api["isasync"]})

    def test_one(self) -> None:
        """By name, which must exist."""
        self.assertEqual(["listHosts"], [api["name"] for api in self.call("listApis", name="listHosts")["api"]])
        self.assertIn("nothing", self.refused("listApis", name="nothing"))
