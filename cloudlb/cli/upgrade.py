"""`cloudlb upgrade`."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from cloudlb.cli.tables import counted
from cloudlb.config import InvalidConfiguration, load_server_config
from cloudlb.domain.ports import StoreUnavailable
from cloudlb.storage.backend import UnsupportedDatabase
from cloudlb.storage.migrate import SchemaMismatch, Upgrade, preview
from cloudlb.storage.migrate import upgrade as run_migrations


@click.command(short_help="Bring the database to the schema of this version.")
@click.argument("target", metavar="DIR|FILE|URL")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def upgrade(target: str, dry_run: bool) -> None:
    """Bring the database to the schema of this version; servers of the version before go on meanwhile.

    It is named by the folder of a deployment, a server's mgmt.properties or its URL. There is no way back but the
    back-up.
    """
    try:
        url = _database_url(target)
        found = preview(url)
        if found.before is None:
            raise click.ClickException("the database has no schema: cloudlb init makes it")
        done = found if dry_run else run_migrations(url)
    except (InvalidConfiguration, SchemaMismatch, StoreUnavailable, UnsupportedDatabase) as error:
        raise click.ClickException(str(error)) from error
    except SQLAlchemyError as error:
        raise click.ClickException(f"the database cannot be used: {getattr(error, 'orig', None) or error}") from error
    click.echo(_report(done, dry_run=dry_run))


def _database_url(target: str) -> str:
    path = Path(target)
    if path.is_dir():
        files = sorted(path.glob("servers/*/mgmt.properties")) or sorted(path.glob("mgmt.properties"))
        urls = {load_server_config(file).database_url for file in files}
        if len(urls) != 1:
            raise click.ClickException(f"{path} has {counted(len(urls), 'database')} in its mgmt.properties")
        return urls.pop()
    return target if "://" in target else load_server_config(path).database_url


def _report(upgrade: Upgrade, *, dry_run: bool) -> str:
    if not upgrade.steps:
        return f"The schema has revision {upgrade.after} already."
    would = "would go" if dry_run else "went"
    return "\n".join(
        [f"The schema {would} from revision {upgrade.before} to {upgrade.after}:"]
        + [f"  {step}" for step in upgrade.steps]
    )
