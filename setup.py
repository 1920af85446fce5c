"""Packaging of cloudlb: the server (cloudlb), the agent (agent) and their two twistd plugins."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
# Read, not imported: the package's dependencies are not there yet.
_, version, _ = (here / "cloudlb" / "_version.py").read_text(encoding="utf-8").split('"')

setup(
    name="cloudlb",
    version=version,
    description="The agent plane of a cloud: management servers, hypervisor agents, no load balancer in front",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # Mapping the root makes an editable install a plain path entry. Without it setuptools installs an
    # import hook, and twistd, which looks for plugins in the folders of sys.path, finds none.
    package_dir={"": "."},
    # twisted/plugins has no __init__.py, here as everywhere: the folder belongs to Twisted.
    packages=[*find_packages(include=["cloudlb", "cloudlb.*", "agent", "agent.*"]), "twisted.plugins"],
    package_data={
        "cloudlb.storage": ["migrations/*.mako"],
        "cloudlb.dashboard": ["static/*"],
        "cloudlb": ["py.typed"],
        "agent": ["py.typed"],
    },
    install_requires=[
        "twisted>=24.11",
        "service-identity>=24.1",
        "pyopenssl>=24.3",
        "cryptography>=43",
        "attrs>=24.1",
        "cattrs>=24.1",
        "orjson>=3.10",
        "javaproperties>=0.8.2",
        "sqlalchemy>=2.0.36,<2.2",
        "alembic>=1.13",
        "argon2-cffi>=23.1",
        "click>=8.1",
        "rich>=13.7",
        "prometheus-client>=0.21",
        "cs>=3.2",
    ],
    extras_require={
        "postgres": ["psycopg[binary]>=3.3.9"],
        "kvm": ["libvirt-python>=9.0"],
        "dev": [
            "ansible-core>=2.18",
            "axe-playwright-python>=0.1.4",
            "hypothesis>=6.100",
            "import-linter>=2.1",
            "mypy>=1.13",
            "mypy-zope>=1.0.9",
            "playwright>=1.49",
            "ruff>=0.8",
            "setuptools>=77",
            "types-PyYAML>=6.0",
        ],
        "docs": ["furo>=2024.8", "myst-parser>=4.0", "sphinx>=8.1", "types-docutils>=0.21"],
    },
    entry_points={"console_scripts": ["cloudlb = cloudlb.cli.main:main"]},
)
