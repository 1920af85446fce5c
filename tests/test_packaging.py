"""The project as it is installed, configured and documented."""

from __future__ import annotations

import configparser
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import ClassVar

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.api.commands import COMMANDS
from cloudlb.config import ServerConfig, load_server_config

ROOT = Path(__file__).parent.parent
TWISTD = Path(sysconfig.get_path("scripts"), "twistd")
SOURCE_FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
SOURCE_FOLDERS = ("cloudlb", "agent", "twisted")
TIMEOUT = 120
"""Seconds for any command that a test runs."""


def output(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command and return what it prints, errors included; raises if it fails."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, timeout=TIMEOUT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{command} ended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


def package_files(folder: Path) -> set[Path]:
    """Files of the two packages and the plugins that a running program needs."""
    return {
        path.relative_to(folder)
        for package in ("cloudlb", "agent", "twisted/plugins")
        for path in (folder / package).rglob("*")
        if path.is_file() and path.suffix in (".py", ".mako", ".typed")
    }


class InstallationTests(SynchronousTestCase):
    """Both ways of installing."""

    def assert_lists_both(self, python: Path, folder: Path) -> None:
        """`twistd --help` of a Python knows the server and the agent, and can show their options."""
        listed = output(python, TWISTD, "--help", cwd=folder)
        for plugin in ("cloudlb-mgmt", "cloudlb-agent"):
            self.assertRegex(listed, rf"(?m)^ +{plugin} ")
            self.assertIn("--config=", output(python, TWISTD, plugin, "--help", cwd=folder))

    def test_as_make_installs(self) -> None:
        """This very environment lists both plugins from any folder."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assert_lists_both(Path(sys.executable), folder)

    def test_pip_install(self) -> None:
        """`pip install .` carries every file that the program needs, and nothing of Twisted's own."""
        folder = Path(self.mktemp()).absolute()
        # pip builds in the source tree; a copy, so that the checkout stays as it is.
        source = folder / "source"
        source.mkdir(parents=True)
        for name in SOURCE_FILES:
            shutil.copy(ROOT / name, source)
        for name in SOURCE_FOLDERS:
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        venv.create(folder / "venv", with_pip=False)
        python = folder / "venv" / "bin" / "python"
        site = Path(output(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
        # Lent what is installed here, the new environment has to download neither dependencies nor what builds.
        (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        output(
            *(sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet"),
            *("--ignore-installed", "--no-deps", "--no-build-isolation", source),
            cwd=folder,
        )
        self.assertEqual(package_files(site), package_files(source))
        shutil.rmtree(source)
        self.assert_lists_both(python, folder)


class ConfigurationTests(SynchronousTestCase):
    """The files in etc/."""

    def test_every_key_of_mgmt_properties_is_there(self) -> None:
        """The file loads as it is, and names every key; those that are commented out show the default."""
        path = ROOT / "etc" / "mgmt.properties"
        config = load_server_config(path)
        text = path.read_text(encoding="utf-8")
        commented = dict(re.findall(r"(?m)^#([a-z.]+)=(.*)$", text))
        given = dict(re.findall(r"(?m)^([a-z.]+)=(.*)$", text))
        attributes = {attribute.metadata["key"]: attribute for attribute in fields(ServerConfig)}
        self.assertEqual(commented.keys() | given.keys(), attributes.keys())
        for key, value in commented.items():
            # Whether api.tls is on by default, the address decides.
            default = None if key == "api.tls" else attributes[key].default
            self.assertEqual(value, "" if default is None else str(default), key)
        self.assertEqual(config.address, given["address"])

    def test_units_start_the_daemons(self) -> None:
        """Each unit runs its plugin in the foreground and starts it again."""
        for name, plugin in (("cloudlb-mgmt.service", "cloudlb-mgmt"), ("cloudlb-agent@.service", "cloudlb-agent")):
            unit = configparser.ConfigParser(strict=False, interpolation=None)
            unit.read(ROOT / "etc" / name, encoding="utf-8")
            self.assertIn(f"twistd --nodaemon {plugin} --config ", unit["Service"]["ExecStart"])
            self.assertEqual(unit["Service"]["Restart"], "always")

    def test_the_image_runs_what_the_unit_runs(self) -> None:
        """The container file copies all that pip needs, and starts the server as systemd does."""
        text = (ROOT / "etc" / "Containerfile").read_text(encoding="utf-8")
        copied = {name for line in re.findall(r"(?m)^COPY ([^-\n]+) /source", text) for name in line.split()}
        self.assertEqual(copied, {*SOURCE_FILES, *SOURCE_FOLDERS})
        unit = (ROOT / "etc" / "cloudlb-mgmt.service").read_text(encoding="utf-8")
        (command,) = re.findall(r"(?m)^CMD (.+)$", text)
        (started,) = re.findall(r"(?m)^ExecStart=/opt/cloudlb/bin/(.+)$", unit)
        self.assertEqual(json.loads(command), started.split())


class DocumentationTests(SynchronousTestCase):
    """README and docs/."""

    pages: ClassVar[list[Path]] = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

    def test_pages_say_what_the_program_says(self) -> None:
        """What `make reference` writes of settings, properties and the API is what stands in the pages."""
        for name, make in runpy.run_path(str(ROOT / "docs" / "reference.py"))["PAGES"].items():
            page = (ROOT / "docs" / name).read_text(encoding="utf-8")
            self.assertEqual(page, make(page), f"docs/{name} is out of date: run make reference")

    def test_every_command_is_told_of(self) -> None:
        """The API's page says of each command once what it answers with."""
        page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
        overview = page.split("| commands | answer with |")[1].split("\n\n")[0]
        named = [name for line in overview.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
        self.assertEqual(sorted(named), sorted(COMMANDS))

    def test_generated_pages_follow_the_program(self) -> None:
        """A default that was changed by hand, a setting without a section and one that is gone are put right."""
        settings = runpy.run_path(str(ROOT / "docs" / "reference.py"))["PAGES"]["settings.md"]
        page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
        for wrong in (
            page.replace("Default `60`;", "Default `61`;"),
            page.replace("## `wait`\n", "## `gone`\n\nDefault `1`.\n\nProse.\n\n## `wait`\n"),
        ):
            self.assertNotEqual(wrong, page)
            self.assertEqual(settings(wrong), page)
        self.assertIn("\nDefault `1800`; global.", settings(page.replace("## `wait`\n", "## `gone`\n")))

    def test_servers_that_are_taken_away_are_stopped(self) -> None:
        """Units start again what has ended by itself, also one that is disabled: only a stop keeps it down."""
        for name in ("docs/upgrade.md", "docs/operations.md"):
            text = (ROOT / name).read_text()
            self.assertIn("systemctl disable --now cloudlb-mgmt", text, name)
            self.assertNotRegex(text, r"systemctl disable (?!--now)", name)

    def test_links_lead_somewhere(self) -> None:
        """A relative link of a page names a file of the checkout."""
        for page in self.pages:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
                self.assertTrue((page.parent / target).exists(), f"{page.name} links to {target}")
