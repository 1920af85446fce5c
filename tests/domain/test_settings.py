"""What settings accept, and which value is in force."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.domain.balancing import Algorithm
from cloudlb.domain.models import ClusterId
from cloudlb.domain.setting_checks import MAX_SECONDS
from cloudlb.domain.settings import (
    AUTH_STRICTNESS,
    COMMANDS_TIMEOUT,
    EVENT_PURGE_DELAY,
    HOST,
    INVESTIGATORS_ORDER,
    LB_ALGORITHM,
    LB_CHECK_INTERVAL,
    LB_WEIGHTS,
    METRICS_READERS,
    PING_INTERVAL,
    PING_TIMEOUT,
    SETTINGS,
    InvalidSetting,
    Scope,
    check_value,
    setting_named,
)
from cloudlb.domain.settings_in_force import Settings


class Values(SynchronousTestCase):
    """check_value."""

    def test_accepted(self) -> None:
        """Values are kept in one spelling."""
        for name, text, value in (
            (HOST, " A.Example , [0::1],127.0.0.1", "a.example,::1,127.0.0.1"),
            (LB_ALGORITHM, " RoundRobin ", "roundrobin"),
            (LB_ALGORITHM, "rendezvous", "rendezvous"),
            (LB_CHECK_INTERVAL, " 0 ", "0"),
            (LB_CHECK_INTERVAL, "-0", "0"),
            (LB_CHECK_INTERVAL, "007", "7"),
            (LB_CHECK_INTERVAL, str(MAX_SECONDS), str(MAX_SECONDS)),
            (PING_INTERVAL, "1", "1"),
            (AUTH_STRICTNESS, "TRUE", "true"),
            (AUTH_STRICTNESS, " false", "false"),
            (METRICS_READERS, " 127.0.0.1/32, 10.0.0.0/8,fd00::/8,::1,127.0.0.1", "127.0.0.1,10.0.0.0/8,fd00::/8,::1"),
            (METRICS_READERS, "", ""),
            (PING_TIMEOUT, " 3 ", "3"),
            (PING_TIMEOUT, "1.50", "1.50"),
            (
                COMMANDS_TIMEOUT,
                " CheckHealthCommand = 05 ,, CheckOnHostCommand=5 ",
                "CheckHealthCommand=5,CheckOnHostCommand=5",
            ),
            (LB_WEIGHTS, " A.Example = 02 ,, [0::1]=1", "a.example=2,::1=1"),
            (LB_WEIGHTS, " , ", ""),
            (INVESTIGATORS_ORDER, " KVMInvestigator, ", "KVMInvestigator"),
        ):
            self.assertEqual(check_value(name, text), value)

    def test_refused(self) -> None:
        """What would strand the fleet, or means nothing, is refused with the setting's name and the reason."""
        for name, text, reason in (
            (HOST, "", "empty"),
            (HOST, " , ", "address 1 of the list is empty"),
            (HOST, "a,a", "a stands twice"),
            (HOST, "a,b:8250", "address 2: 'b:8250'"),
            (HOST, "a@static", "address 1: 'a@static'"),
            (LB_ALGORITHM, "random", "unknown algorithm 'random'; known are static, roundrobin, shuffle, rendezvous"),
            (LB_ALGORITHM, "", "unknown algorithm ''"),
            (LB_CHECK_INTERVAL, "-1", "-1 is not between 0 and"),
            (LB_CHECK_INTERVAL, str(MAX_SECONDS + 1), "is not between 0 and"),
            (LB_CHECK_INTERVAL, "9" * 5000, ""),
            (LB_CHECK_INTERVAL, "1.5", "'1.5' is not a whole number of seconds"),
            (LB_CHECK_INTERVAL, "", "'' is not a whole number"),
            (LB_CHECK_INTERVAL, "--1", "not a whole number"),
            (LB_CHECK_INTERVAL, "+1", "not a whole number"),
            (LB_CHECK_INTERVAL, "1_000", "not a whole number"),
            (LB_CHECK_INTERVAL, "٣", "not a whole number"),
            (LB_CHECK_INTERVAL, "²", "not a whole number"),
            (LB_WEIGHTS, "10.0.0.1", "'10.0.0.1' has no weight"),
            (LB_WEIGHTS, "a=1,b=0", "0 is not between 1 and 1000 (a server's weight)"),
            (LB_WEIGHTS, "a=1001", "1001 is not between 1 and 1000"),
            (LB_WEIGHTS, "a=1.5", "'1.5' is not a whole number"),
            (LB_WEIGHTS, "a=1,A=2", "a stands twice"),
            (LB_WEIGHTS, "a=1,=2", "address 2 of the list is empty"),
            (PING_INTERVAL, "0", "0 is not between 1 and"),
            (PING_TIMEOUT, "1", "1 is not between 1.5 and 100"),
            (PING_TIMEOUT, "-2", "'-2' is not a number"),
            (PING_TIMEOUT, "nan", "'nan' is not a number"),
            (COMMANDS_TIMEOUT, "CheckHealthCommand", "'CheckHealthCommand' is not a command's name and seconds"),
            (COMMANDS_TIMEOUT, "A=1,B=0", "0 is not between 1 and"),
            (COMMANDS_TIMEOUT, "A=1,A=2", "A stands there twice"),
            (INVESTIGATORS_ORDER, "a,a", "a stands there twice"),
            (INVESTIGATORS_ORDER, "no name", "'no name' is not a name"),
            (EVENT_PURGE_DELAY, "-1", "-1 is not between 0 and 36500 days"),
            (AUTH_STRICTNESS, "yes", "'yes' is neither true nor false"),
            (METRICS_READERS, "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
            (METRICS_READERS, "prometheus", "'prometheus' is neither an address nor a network such as 10.0.0.0/8"),
        ):
            with self.assertRaises(InvalidSetting, msg=repr((name, text))) as caught:
                check_value(name, text)
            self.assertTrue(str(caught.exception).startswith(f"{name}: "), caught.exception)
            self.assertIn(reason, str(caught.exception))

    def test_unknown_name(self) -> None:
        """A setting that does not exist is named."""
        for look_up in (setting_named, lambda name: check_value(name, "1")):
            with self.assertRaisesRegex(InvalidSetting, "no setting named 'ping.intervall'"):
                look_up("ping.intervall")

    def test_scopes(self) -> None:
        """Only the check interval can be a cluster's own."""
        self.assertEqual(check_value(LB_CHECK_INTERVAL, "5", cluster=True), "5")
        self.assertEqual(setting_named(LB_CHECK_INTERVAL).scopes, (Scope.GLOBAL, Scope.CLUSTER))
        for name in set(SETTINGS) - {LB_CHECK_INTERVAL}:
            with self.assertRaisesRegex(InvalidSetting, f"{name} is global"):
                check_value(name, SETTINGS[name].default, cluster=True)

    def test_defaults(self) -> None:
        """Every default is a value that the setting accepts as it is."""
        for name, setting in SETTINGS.items():
            self.assertEqual((setting.name, check_value(name, setting.default)), (name, setting.default))

    @given(st.sampled_from(sorted(SETTINGS)), st.text(max_size=30) | st.from_regex(r"\A[-+ 0-9]{1,8}\Z"))
    @settings(max_examples=300)
    def test_any_text(self, name: str, text: str) -> None:
        """A value that was accepted is accepted again and stays as it is; the typed readers take it."""
        try:
            value = check_value(name, text)
        except InvalidSetting:
            return
        self.assertEqual(check_value(name, value), value)
        in_force = Settings({name: value})
        self.assertGreater(len(in_force.servers), 0)
        self.assertIn(in_force.algorithm, Algorithm)
        self.assertGreaterEqual(in_force.check_interval(None), 0)
        self.assertGreater(in_force.ping_interval, 0)
        self.assertTrue(all(1 <= weight <= 1000 for weight in in_force.weights.values()))
        self.assertIn(in_force.auth_strictness, (True, False))
        self.assertGreaterEqual(in_force.ping_timeout, 1.5)
        self.assertTrue(all(seconds > 0 for seconds in in_force.command_timeouts.values()))
        self.assertEqual(len(set(in_force.investigators)), len(in_force.investigators))


class InForce(SynchronousTestCase):
    """Settings: what holds for whom."""

    def test_defaults(self) -> None:
        """Without stored values the defaults hold."""
        defaults = Settings()
        self.assertEqual(defaults.servers, ("localhost",))
        self.assertEqual(defaults.algorithm, Algorithm.STATIC)
        self.assertEqual((defaults.check_interval(None), defaults.ping_interval), (0, 60))
        self.assertTrue(defaults.auth_strictness)

    def test_differences(self) -> None:
        """Values count, whether they are stored or defaults, and those of clusters."""
        before = Settings({PING_INTERVAL: "60", HOST: "a"}, {(ClusterId(1), LB_CHECK_INTERVAL): "5"})
        self.assertEqual([], before.differences(Settings({HOST: "a"}, {(ClusterId(1), LB_CHECK_INTERVAL): "5"})))
        after = Settings({HOST: "b"}, {(ClusterId(2), LB_CHECK_INTERVAL): "5"})
        self.assertEqual([HOST, LB_CHECK_INTERVAL], before.differences(after))

    def test_narrower_wins(self) -> None:
        """A cluster's value holds for its hosts alone, also where it is 0."""
        one, two = ClusterId(1), ClusterId(2)
        some = Settings({LB_CHECK_INTERVAL: "60"}, {(one, LB_CHECK_INTERVAL): "0"})
        self.assertEqual([some.check_interval(c) for c in (None, one, two)], [60, 0, 60])

    def test_read(self) -> None:
        """Lists are read into what they mean."""
        some = Settings({COMMANDS_TIMEOUT: "A=5,B=7", INVESTIGATORS_ORDER: "X,Y", PING_TIMEOUT: "3.5"})
        self.assertEqual(some.command_timeouts, {"A": 5, "B": 7})
        self.assertEqual((some.investigators, some.ping_timeout), (("X", "Y"), 3.5))
        self.assertEqual(Settings({LB_WEIGHTS: "::1=2,b=1"}).weights, {"::1": 2, "b": 1})
        self.assertEqual((Settings().command_timeouts, Settings({INVESTIGATORS_ORDER: ""}).investigators), ({}, ()))
