#!/usr/bin/env python3
"""An operator's first hour with cloudlb, played in a minute: python docs/operators_hour.py [TRANSCRIPT.md]

A new deployment, three agents added, the algorithm changed after a plan, a server drained and returned, a host put into
maintenance and back: each step by the command line and then by the dashboard, in a real browser, on real daemons at
127.0.0.1 to 127.0.0.3. What the commands print and what the pages show is held against what should have come of it,
and written down; pictures of the pages go into the folder images beside the transcript. The exit status is 0 only if
every step did what it should.

Needs Chromium, and the Python that cloudlb is installed for with what its tests need (make test installs both).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

SERVERS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PORT, API_PORT = 18250, 18080
PORTS = ("--port", str(PORT), "--api-port", str(API_PORT))
PROGRAMS = Path(sys.executable).parent
WAIT = 60.0
"""Seconds for what should come of a step."""
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


class Transcript:
    """What was done, and what was seen."""

    def __init__(self, target: Path | None) -> None:
        self.scratch = ""
        """The folder of the deployment's folder, which is somewhere else every time."""
        self._target = target
        self._lines: list[str] = []

    def say(self, *lines: str) -> None:
        """Add paragraphs."""
        for line in lines:
            print(line, flush=True)
            self._lines += [line, ""]

    def block(self, command: str, output: str) -> None:
        """Add a command and what it printed."""
        shown = output.replace(self.scratch, "~") if self.scratch else output
        text = "\n".join(line.rstrip() for line in shown.rstrip().splitlines())
        print(f"$ {command}\n{text}\n", flush=True)
        self._lines += ["```text", f"$ {command}", text, "```", ""]

    def picture(self, page: Page, name: str, alt: str) -> None:
        """Add what a page looks like."""
        if self._target is None:
            return
        images = self._target.parent / "images"
        images.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=images / f"hour-{name}.png")
        self._lines += [f"![{alt}](images/hour-{name}.png)", ""]

    def write(self) -> None:
        """Write the file."""
        if self._target is not None:
            self._target.write_text("\n".join(self._lines).rstrip() + "\n", encoding="utf-8")


class Shell:
    """A terminal in the folder of the deployment."""

    def __init__(self, folder: Path, transcript: Transcript) -> None:
        self._folder = folder
        self._transcript = transcript

    def run(self, *command: str) -> str:
        """Run a command that has to succeed, and note it."""
        done = self._call(command)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self._transcript.block(" ".join(command), done.stdout)
        return done.stdout

    def wait(self, until: Callable[[str], bool], *command: str) -> None:
        """Run a command again and again until its output is as it should be, and note that."""
        end = time.monotonic() + WAIT
        while not until(self._call(command).stdout):
            if time.monotonic() > end:
                raise SystemExit(f"{' '.join(command)} still prints:\n{self._call(command).stdout}")
            time.sleep(0.2)
        self.run(*command)

    def _call(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        program = PROGRAMS / command[0]
        return subprocess.run(  # noqa: S603 - our own programs
            [program, *command[1:]], cwd=self._folder, capture_output=True, text=True, timeout=4 * WAIT, check=False
        )


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """Have a command run beside, and end it."""
    with (folder / f"{command[0]}-{command[1]}.log").open("w") as log:
        running = subprocess.Popen([PROGRAMS / command[0], *command[1:]], cwd=folder, stdout=log, stderr=log)  # noqa: S603 - as above
        try:
            yield
        finally:
            running.terminate()
            running.wait(WAIT)


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser of its own."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not installed")
    expect.set_options(timeout=WAIT * 1000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = running.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(WAIT * 1000)
        try:
            yield page
        finally:
            running.close()


def go(page: Page, view: str) -> None:
    """Go to a view of the dashboard."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", level=1, name=view)).to_be_visible()


def confirm(page: Page, verb: str) -> None:
    """Confirm the dialog that is open, and wait until it is done."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=verb).click()
    expect(dialog).to_have_count(0)


def deploy(shell: Shell, transcript: Transcript, folder: Path, page: Page) -> None:
    """A new deployment."""
    transcript.say(
        "## A new deployment",
        "The daemons run, by `cloudlb run .` in another terminal. No host is there yet.",
    )
    shell.wait(lambda shown: shown.count("Up") == len(SERVERS), "cloudlb", "servers")
    password = (folder / "admin-password").read_text().strip()
    page.goto(f"http://{SERVERS[0]}:{API_PORT}/")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".card")).to_have_count(len(SERVERS))
    transcript.say(
        f"The dashboard is at `http://{SERVERS[0]}:{API_PORT}/`, and at the other servers as well. The user is "
        "`admin`, the first password is in the file `admin-password`."
    )


def add_agents(shell: Shell, transcript: Transcript, page: Page) -> None:
    """Three agents."""
    transcript.say(
        "## Three agents",
        "An agent that has a certificate of the deployment's authority registers itself: `cloudlb init . --agents 3` "
        "has made the files of three, and `cloudlb agents .` runs them in another terminal.",
    )
    shell.wait(lambda shown: shown.count(" Up ") >= 3, "cloudlb", "hosts")
    expect(page.locator(".card").nth(0)).to_contain_text("3 Up")
    transcript.say("The dashboard shows each of them at the moment when it comes.")
    transcript.picture(page, "agents", "Three agents, all on the first server, as the algorithm static has it")


def change_algorithm(shell: Shell, transcript: Transcript, page: Page) -> None:
    """Another algorithm, after a plan."""
    transcript.say(
        "## Another algorithm, after a plan",
        "Under `static` all agents prefer the first server. What would `rendezvous` do?",
    )
    shell.run("cloudlb", "plan", "--algorithm", "rendezvous")
    shell.run("cloudlb", "set", "--yes", "indirect.agent.lb.algorithm", "rendezvous")
    transcript.say("The dashboard shows the plan in the dialog of the change, here for the way to `roundrobin`:")
    go(page, "Settings")
    page.get_by_role("button", name="Change indirect.agent.lb.algorithm").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New value").select_option("roundrobin")
    expect(dialog.get_by_role("button", name="Apply")).to_be_enabled()
    transcript.picture(page, "plan", "A change of the algorithm with its plan, before it is applied")
    confirm(page, "Apply")
    transcript.say("Moments later each agent is on the server that it prefers now:")
    shell.wait(is_even, "cloudlb", "hosts")


def is_even(hosts: str) -> bool:
    """Whether each server has one of three hosts."""
    return all(hosts.count(f" {address} ") == 1 for address in SERVERS)


def drain(shell: Shell, transcript: Transcript, page: Page) -> None:
    """A server is drained and returned."""
    drained, other = SERVERS[1], SERVERS[2]
    transcript.say("## A server drained, and returned", "By the command line:")
    shell.run("cloudlb", "drain", drained)
    shell.run("cloudlb", "servers")
    shell.run("cloudlb", "undrain", drained)
    shell.wait(is_even, "cloudlb", "hosts")
    transcript.say(
        f"And {other} by the dashboard, in the view Servers: **Maintenance**, and **Empty it** in the dialog."
    )
    go(page, "Servers")
    page.get_by_role("button", name=f"Maintenance {other}").click()
    confirm(page, "Empty it")
    back = page.get_by_role("button", name=f"Back to Up {other}")
    expect(page.locator(".drains")).to_contain_text("Ended")
    transcript.picture(page, "drain", "A server that was emptied, and how many of its agents moved")
    back.click()
    confirm(page, "Take it back")
    expect(page.get_by_role("button", name=f"Maintenance {other}")).to_be_visible()
    shell.wait(is_even, "cloudlb", "hosts")


def maintain(shell: Shell, transcript: Transcript, page: Page) -> None:
    """A host is put into maintenance and back."""
    transcript.say(
        "## A host in maintenance, and back",
        "A host is in maintenance when its agent has reported, at a ping, that no VM is left. So that nobody waits for "
        "a minute here, agents shall ping every five seconds; then, by the command line:",
    )
    shell.run("cloudlb", "set", "ping.interval", "5")
    shell.run("cloudlb", "maintenance", "prepare", "agent-1")
    shell.run("cloudlb", "maintenance", "cancel", "agent-1")
    transcript.say("And agent-2 by the dashboard, on the page of the host: **Maintenance**, later **End maintenance**.")
    go(page, "Hosts")
    page.get_by_role("link", name="agent-2").click()
    page.get_by_role("button", name="Maintenance").click()
    confirm(page, "Into maintenance")
    expect(page.locator("main .tag").get_by_text("Maintenance", exact=True)).to_be_visible()
    transcript.picture(page, "maintenance", "The page of a host in maintenance")
    page.get_by_role("button", name="End maintenance").click()
    confirm(page, "End maintenance")
    expect(page.locator("main .tag", has_text="Maintenance")).to_have_count(0)
    shell.run("cloudlb", "host", "agent-2")
    transcript.say("All of it is on record:")
    shell.run("cloudlb", "events")


def main() -> None:
    """Play the hour."""
    target = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    transcript = Transcript(target)
    transcript.say(
        "# An operator's first hour",
        "Three management servers and three agents on one machine, from nothing. Every command was run and every page "
        "was clicked by `docs/operators_hour.py`, which fails if one of them does not do what it says; this is its "
        "transcript.",
    )
    with tempfile.TemporaryDirectory(prefix="cloudlb-hour-") as scratch, browser() as page:
        folder, transcript.scratch = Path(scratch, "cloud"), scratch
        outside = Shell(Path(scratch), transcript)
        servers = [part for address in SERVERS for part in ("--server", address)]
        outside.run("cloudlb", "init", "cloud", *servers, *PORTS, "--check-interval", "5")
        shell = Shell(folder, transcript)
        with daemon(folder, "cloudlb", "run", "."):
            deploy(shell, transcript, folder, page)
            shell.run("cloudlb", "init", ".", "--agents", "3")
            with daemon(folder, "cloudlb", "agents", "."):
                add_agents(shell, transcript, page)
                change_algorithm(shell, transcript, page)
                drain(shell, transcript, page)
                maintain(shell, transcript, page)
    transcript.write()


if __name__ == "__main__":
    main()
