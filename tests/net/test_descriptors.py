"""The limit of descriptors."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.descriptors import raise_descriptor_limit


class DescriptorTests(SynchronousTestCase):
    """Raising it."""

    def test_as_many_as_the_system_allows(self) -> None:
        """The soft limit becomes the hard one, which stays; doing it twice is no error."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        for _ in range(2):
            raise_descriptor_limit()
            self.assertEqual((hard, hard), resource.getrlimit(resource.RLIMIT_NOFILE))
