"""The rule by which commands are journalled."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.agents.journalled import CHANGES, LINK, QUERIES, is_journalled
from cloudlb.wire import Command
from cloudlb.wire.vocabulary import _names

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "commands.md"


class JournalledTests(SynchronousTestCase):
    """By the names of classes, those of CloudStack that nobody modelled here, too."""

    def test_what_changes_something(self) -> None:
        """Everything but queries; a query's word within a longer one does not make one."""
        names = (
            "Start Stop Reboot Migrate Maintain AttachVolume ModifyStoragePool Backup PlugNic GetawayX Pinged Isolate"
        )
        for name in [*(f"{name}Command" for name in names.split()), "CheckAndRepairVolumeCommand", "NetworkUsageCmd"]:
            self.assertTrue(is_journalled(name), name)
            self.assertTrue(is_journalled(f"com.cloud.agent.api.{name}"), name)

    def test_queries(self) -> None:
        """To ask again costs nothing."""
        names = "CheckHealth CheckOnHost PingTest GetHostStats GetVmStats ListVolumes ValidateVcenterDetails ReadyX"
        for name in [f"{name}Command" for name in names.split() if name != "ReadyX"]:
            self.assertFalse(is_journalled(f"com.cloud.agent.api.{name}"), name)

    def test_what_is_about_the_link(self) -> None:
        """It means nothing on the next one."""
        for name in [*LINK, "StartupRoutingCommand", "StartupCommand", "AgentControlCommand"]:
            self.assertFalse(is_journalled(name), name)
        self.assertTrue(is_journalled("MigrateCommand"))

    def test_documented(self) -> None:
        """Operators read of every exception."""
        text = DOCUMENT.read_text(encoding="utf-8")
        for name in [*QUERIES, *LINK, *CHANGES]:
            self.assertIn(f"`{name}`", text)

    def test_of_our_own_classes(self) -> None:
        """Exactly these; a new one is to be thought about."""
        # Tests and resources register classes of theirs in the same vocabulary.
        ours = {class_: name for class_, name in _names.items() if class_.__module__.startswith("cloudlb.")}
        journalled = {
            name.rpartition(".")[2]
            for class_, name in ours.items()
            if issubclass(class_, Command) and is_journalled(name)
        }
        self.assertEqual(
            journalled,
            {
                "ConsoleAccessAuthenticationCommand",
                "MaintainCommand",
                "SetupCertificateCommand",
                "SetupKeyStoreCommand",
            },
        )
