"""Packets written by hand: each shape that JSON takes on the wire, and the values that it stands for.

The fields of the header are given apart, so that a packet can be put together byte by byte (WireVector.packet).
"""

from __future__ import annotations

from attrs import frozen

from cloudlb.wire import (
    Answer,
    CheckHealthCommand,
    CheckNetworkAnswer,
    CheckNetworkCommand,
    CheckOnHostCommand,
    Command,
    CommandInfo,
    ConsoleAccessAuthenticationAnswer,
    GetHostStatsAnswer,
    HostAddresses,
    HostNetwork,
    HostStats,
    HostVmState,
    MaintainCommand,
    MigrateAgentConnectionCommand,
    Opaque,
    PhysicalNetworkSetupInfo,
    PingAnswer,
    PingCommand,
    PingRoutingCommand,
    PingStorageCommand,
    PingTestCommand,
    ReadyCommand,
    SetupCertificateCommand,
    SetupMSListCommand,
    ShutdownCommand,
    StartupAnswer,
    StartupProxyCommand,
    StartupRoutingCommand,
    StartupStorageCommand,
    StoragePoolInfo,
    TransferAgentCommand,
)

BASE = '"contextMap":{},"wait":0,"bypassHostMaintenance":false'
"""What every command and answer ends with unless it is set."""


@frozen(kw_only=True)
class WireVector:
    """One packet."""

    name: str
    header: str
    """The first 40 bytes but for the length of the body, which stands as ``........``, in hexadecimal."""
    body: str
    contents: list[Command | Answer | Opaque]

    @property
    def packet(self) -> bytes:
        """The whole message, not compressed."""
        body = self.body.encode()
        return bytes.fromhex(self.header.replace("........", f"{len(body):08x}")) + body


_FROM_AGENT = "........ ffffffffffffffff 0000000000000007 0000000000000007"
_FROM_SERVER = "........ 0000005056c00008 0000000000000007 0000000000000007"

VECTORS = [
    WireVector(
        name="startup of a host with a pool, unknown yet",
        header="00 00 0001 0000000000000000 ........ ffffffffffffffff ffffffffffffffff ffffffffffffffff",
        body='[{"com.cloud.agent.api.StartupRoutingCommand":{"cpus":8,"speed":2400,"memory":34359738368,'
        '"dom0MinMemory":1073741824,"poolSync":false,"supportsClonedVolumes":false,"caps":"hvm,snapshot",'
        '"hypervisorType":"KVM","hostDetails":{"Host.OS":"Debian"},"hostTags":["ssd"],"groupDetails":{},'
        '"gpuDevices":[{"busAddress":"00:02.0"}],"type":"Routing","dataCenter":"1","pod":"p","cluster":"c",'
        '"guid":"g-SimulatorResource","name":"agent-1","resourceName":"SimulatorResource",'
        f'"msHostList":"127.0.0.1,127.0.0.2@roundrobin","connectionTransferred":true,{BASE}}}}},'
        '{"com.cloud.agent.api.StartupStorageCommand":{"totalSize":9007199254740993,"poolInfo":{"uuid":"u",'
        '"poolType":"Filesystem","capacityBytes":9007199254740993,"availableBytes":1,"details":{"a":"b"}},'
        f'"hostDetails":{{}},"type":"Storage","id":7,"connectionTransferred":false,{BASE}}}}}]',
        contents=[
            StartupRoutingCommand(
                cpus=8,
                speed=2400,
                memory=32 * 2**30,
                dom0_min_memory=2**30,
                caps="hvm,snapshot",
                hypervisor_type="KVM",
                host_details={"Host.OS": "Debian"},
                host_tags=("ssd",),
                gpu_devices=({"busAddress": "00:02.0"},),
                data_center="1",
                pod="p",
                cluster="c",
                guid="g-SimulatorResource",
                name="agent-1",
                resource_name="SimulatorResource",
                ms_host_list="127.0.0.1,127.0.0.2@roundrobin",
                connection_transferred=True,
            ),
            StartupStorageCommand(
                total_size=2**53 + 1,
                pool_info=StoragePoolInfo(
                    uuid="u",
                    pool_type="Filesystem",
                    capacity_bytes=2**53 + 1,
                    available_bytes=1,
                    details={"a": "b"},
                ),
                host_id=7,
            ),
        ],
    ),
    WireVector(
        name="startup of a console proxy",
        header=f"00 00 0005 0000000000000000 {_FROM_AGENT}",
        body='[{"com.cloud.agent.api.StartupProxyCommand":{"proxyPort":443,"proxyVmId":9,"type":"ConsoleProxy",'
        f'"iqn":"NoIqn","connectionTransferred":false,{BASE}}}}}]',
        contents=[StartupProxyCommand(proxy_port=443, proxy_vm_id=9)],
    ),
    WireVector(
        name="refused startup",
        header=f"00 00 0020 0000000000000000 {_FROM_SERVER}",
        body='[{"com.cloud.agent.api.StartupAnswer":{"hostId":0,"pingInterval":0,"result":false,'
        f'"details":"zone \\u00279\\u0027 \\u0026 others",{BASE}}}}}]',
        contents=[StartupAnswer(result=False, details="zone '9' & others")],
    ),
    WireVector(
        name="ready with a list",
        header=f"00 00 0027 04d2000000000001 {_FROM_SERVER}",
        body='[{"com.cloud.agent.api.ReadyCommand":{"dcId":1,"hostId":7,"msHostList":["::1","b.example"],'
        '"avoidMsHostList":[],"lbAlgorithm":"rendezvous","lbCheckInterval":60,"enableHumanReadableSizes":true,'
        f"{BASE.replace(':0', ':60')}}}}}]",
        contents=[
            ReadyCommand(
                dc_id=1,
                host_id=7,
                ms_host_list=("::1", "b.example"),
                avoid_ms_host_list=(),
                lb_algorithm="rendezvous",
                lb_check_interval=60,
                enable_human_readable_sizes=True,
                wait=60,
            )
        ],
    ),
    WireVector(
        name="ready that refuses",
        header="00 00 0007 ffffffffffffffff ........ 0000005056c00008 ffffffffffffffff ffffffffffffffff",
        body=f'[{{"com.cloud.agent.api.ReadyCommand":{{"_details":"no",{BASE}}}}}]',
        contents=[ReadyCommand(details="no")],
    ),
    WireVector(
        name="ping",
        header=f"00 00 0003 0000000000000001 {_FROM_AGENT}",
        body='[{"com.cloud.agent.api.PingCommand":{"hostType":"Routing","hostId":7,"outOfBand":true,'
        f'"commandInfos":[{{"requestSeq":347340121260949505,"state":"COMPLETED","startTime":"Nov 21, 2026, 6:40:00 AM",'
        '"updateTime":"Nov 21, 2026, 6:40:09 AM","commandName":"com.cloud.agent.api.MigrateCommand","command":"{}",'
        '"timeout":600,"answerName":"com.cloud.agent.api.MigrateAnswer","answer":"{\\"result\\":true}"},'
        f'{{"requestSeq":0,"timeout":0,"id":"4b7e"}}],{BASE}}}}}]',
        contents=[
            PingCommand(
                host_type="Routing",
                host_id=7,
                out_of_band=True,
                command_infos=(
                    CommandInfo(
                        request_seq=347340121260949505,
                        state="COMPLETED",
                        start_time="Nov 21, 2026, 6:40:00 AM",
                        update_time="Nov 21, 2026, 6:40:09 AM",
                        command_name="com.cloud.agent.api.MigrateCommand",
                        command="{}",
                        timeout=600,
                        answer_name="com.cloud.agent.api.MigrateAnswer",
                        answer='{"result":true}',
                    ),
                    CommandInfo(id="4b7e"),
                ),
            )
        ],
    ),
    WireVector(
        name="ping with VMs",
        header=f"00 00 0003 0000000000000002 {_FROM_AGENT}",
        body='[{"com.cloud.agent.api.PingRoutingCommand":{"_hostVmStateReport":{"i-2-3-VM":{"state":"PowerOn",'
        '"host":"agent-1"}},"_gatewayAccessible":false,"_vnetAccessible":true,"hostHealthCheckResult":false,'
        f'"hostType":"Routing","hostId":7,"outOfBand":false,"commandInfos":[],{BASE}}}}}]',
        contents=[
            PingRoutingCommand(
                host_vm_state_report={"i-2-3-VM": HostVmState(state="PowerOn", host="agent-1")},
                gateway_accessible=False,
                host_health_check_result=False,
                host_type="Routing",
                host_id=7,
            )
        ],
    ),
    WireVector(
        name="ping of a storage host",
        header=f"00 00 0003 0000000000000003 {_FROM_AGENT}",
        body='[{"com.cloud.agent.api.PingStorageCommand":{"changes":{"pool":true},"hostId":7,"outOfBand":false,'
        f'"commandInfos":[],{BASE}}}}}]',
        contents=[PingStorageCommand(changes={"pool": True}, host_id=7)],
    ),
    WireVector(
        name="answer that quotes its ping",
        header=f"00 00 0022 0000000000000001 {_FROM_SERVER}",
        body=f'[{{"com.cloud.agent.api.PingAnswer":{{"_command":{{"hostId":7,"outOfBand":false,"commandInfos":[],{BASE}}},'
        f'"sendStartup":true,"avoidMsList":["127.0.0.2"],"reconcileCommands":[],"result":true,{BASE}}}}}]',
        contents=[
            PingAnswer(
                command={
                    "hostId": 7,
                    "outOfBand": False,
                    "commandInfos": [],
                    "contextMap": {},
                    "wait": 0,
                    "bypassHostMaintenance": False,
                },
                send_startup=True,
                avoid_ms_list=("127.0.0.2",),
            )
        ],
    ),
    WireVector(
        name="a new list",
        header=f"00 00 0023 7fff000000000002 {_FROM_SERVER}",
        body='[{"org.apache.cloudstack.agent.lb.SetupMSListCommand":{"msList":["b","a"],"avoidMsList":["c"],'
        f'"lbAlgorithm":"shuffle","lbCheckInterval":0,"triggerHostLb":true,{BASE}}}}}]',
        contents=[
            SetupMSListCommand(
                ms_list=("b", "a"),
                avoid_ms_list=("c",),
                lb_algorithm="shuffle",
                lb_check_interval=0,
                trigger_host_lb=True,
            )
        ],
    ),
    WireVector(
        name="move without hints",
        header=f"00 00 0023 7fff000000000003 {_FROM_SERVER}",
        body=f'[{{"com.cloud.agent.api.MigrateAgentConnectionCommand":{{"msList":["b"],{BASE}}}}}]',
        contents=[MigrateAgentConnectionCommand(ms_list=("b",))],
    ),
    WireVector(
        name="shutdown",
        header=f"00 00 0007 ffffffffffffffff {_FROM_AGENT}",
        body=f'[{{"com.cloud.agent.api.ShutdownCommand":{{"reason":"sig.kill","removeHost":false,{BASE}}}}}]',
        contents=[ShutdownCommand(reason="sig.kill")],
    ),
    WireVector(
        name="several commands, the wait of one set and a logging context",
        header=f"00 00 0027 7fff000000000004 {_FROM_SERVER}",
        body='[{"com.cloud.agent.api.CheckHealthCommand":{"contextMap":{"logid":"4f"},"wait":50,'
        '"bypassHostMaintenance":true}},'
        f'{{"com.cloud.agent.api.MaintainCommand":{{{BASE}}}}},'
        '{"com.cloud.agent.api.CheckNetworkCommand":{"networkInfoList":[{"physicalNetworkId":200,'
        f'"guestNetworkName":"cloudbr0"}}],{BASE}}}}}]',
        contents=[
            CheckHealthCommand(context_map={"logid": "4f"}, wait=50, bypass_host_maintenance=True),
            MaintainCommand(),
            CheckNetworkCommand(
                network_info_list=(PhysicalNetworkSetupInfo(physical_network_id=200, guest_network_name="cloudbr0"),)
            ),
        ],
    ),
    WireVector(
        name="questions about a neighbour",
        header=f"00 00 0023 7fff000000000005 {_FROM_SERVER}",
        body='[{"com.cloud.agent.api.CheckOnHostCommand":{"host":{"guid":"g","privateNetwork":{"ip":"10.0.0.2",'
        '"netmask":"255.0.0.0","mac":"02:00:00:00:00:01","isSecurityGroupEnabled":false},"storageNetwork1":'
        f'{{"isSecurityGroupEnabled":true}}}},"reportCheckFailureIfOneStorageIsDown":true,{BASE}}}}},'
        f'{{"com.cloud.agent.api.PingTestCommand":{{"_computingHostIp":"10.0.0.2",{BASE}}}}}]',
        contents=[
            CheckOnHostCommand(
                host=HostAddresses(
                    guid="g",
                    private_network=HostNetwork(ip="10.0.0.2", netmask="255.0.0.0", mac="02:00:00:00:00:01"),
                    storage_network1=HostNetwork(is_security_group_enabled=True),
                ),
                report_check_failure_if_one_storage_is_down=True,
            ),
            PingTestCommand(computing_host_ip="10.0.0.2"),
        ],
    ),
    WireVector(
        name="figures with fractions",
        header=f"00 00 0002 7fff000000000006 {_FROM_AGENT}",
        body='[{"com.cloud.agent.api.GetHostStatsAnswer":{"hostStats":{"hostId":7,"entityType":"host",'
        '"cpuUtilization":12.5,"averageLoad":0.0,"networkReadKBs":1.0E-5,"networkWriteKBs":3,'
        f'"totalMemoryKBs":1.6384E7,"freeMemoryKBs":0.0}},"result":true,{BASE}}}}}]',
        contents=[
            GetHostStatsAnswer(
                host_stats=HostStats(
                    host_id=7,
                    entity_type="host",
                    cpu_utilization=12.5,
                    network_read_kbs=0.00001,
                    network_write_kbs=3,
                    total_memory_kbs=16384000.0,
                )
            )
        ],
    ),
    WireVector(
        name="certificate",
        header=f"00 00 0023 7fff000000000007 {_FROM_SERVER}",
        body='[{"org.apache.cloudstack.ca.SetupCertificateCommand":{"certificate":"PEM\\n","privateKey":"",'
        f'"caCertificates":"CA\\u003d","handleByAgent":true,"accessDetails":{{}},{BASE}}}}}]',
        contents=[SetupCertificateCommand(certificate="PEM\n", ca_certificates="CA=")],
    ),
    WireVector(
        name="console and network answers with underscores",
        header=f"00 00 0022 0000000000000005 {_FROM_SERVER}",
        body='[{"com.cloud.agent.api.ConsoleAccessAuthenticationAnswer":{"_success":true,"_isReauthenticating":true,'
        f'"_host":"10.0.0.2","_port":5900,"_tunnelUrl":"t","_tunnelSession":"s","result":true,{BASE}}}}},'
        f'{{"com.cloud.agent.api.CheckNetworkAnswer":{{"_reconnect":true,"result":true,{BASE}}}}}]',
        contents=[
            ConsoleAccessAuthenticationAnswer(
                success=True,
                is_reauthenticating=True,
                host="10.0.0.2",
                port=5900,
                tunnel_url="t",
                tunnel_session="s",
            ),
            CheckNetworkAnswer(reconnect=True),
        ],
    ),
    WireVector(
        name="transfer between servers",
        header=f"00 00 0023 7fff000000000008 {_FROM_SERVER}",
        body='[{"com.cloud.agent.api.TransferAgentCommand":{"agentId":7,"futureOwner":345049434544,'
        f'"currentOwner":345049434543,"isConnectionTransfer":true,"event":"StartAgentRebalance",{BASE}}}}}]',
        contents=[
            TransferAgentCommand(
                agent_id=7,
                future_owner=345049434544,
                current_owner=345049434543,
                is_connection_transfer=True,
                event="StartAgentRebalance",
            )
        ],
    ),
    WireVector(
        name="unknown fields and an unknown class",
        header=f"00 00 0023 7fff000000000009 {_FROM_SERVER}",
        body=f'[{{"com.cloud.agent.api.Answer":{{"result":true,"later":{{"b":[1,null],"a":2.5}},{BASE}}}}},'
        '{"com.cloud.agent.api.StartCommand":{"vm":{"id":3,"vncPassword":"x"},"nothing":null}}]',
        contents=[
            Answer(extra={"later": {"b": [1, None], "a": 2.5}}),
            Opaque("com.cloud.agent.api.StartCommand", {"vm": {"id": 3, "vncPassword": "x"}, "nothing": None}),
        ],
    ),
]
