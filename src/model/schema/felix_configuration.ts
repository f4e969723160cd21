/**
 * Schema of FelixConfiguration: every setting that Calico's agent has, so that configurations that people have can be
 * judged whole. Most of them are alike, so they are tables of names by type.
 */

import { z } from "zod";
import { parseDscp, parsePort } from "../num_or_string.ts";
import { logLevel } from "./bgp_configuration.ts";
import { rulePort } from "./endpoint_port.ts";
import {
  checkCidr,
  checkInterface,
  type Complaint,
  integer,
  optionalDuration,
  optionalEnum,
  optionalIp4,
  optionalIp6,
  optionalSelector,
  optionalText,
  strict,
  text,
} from "./fields.ts";
import { problem } from "./issue.ts";

const TEXTS =
  `dataplaneDriver metadataAddr interfacePrefix interfaceExclude logFilePath endpointStatusPathPrefix healthHost
  prometheusMetricsCAFile prometheusMetricsCertFile prometheusMetricsKeyFile policySyncPathPrefix debugMemoryProfilePath
  debugHost cgroupV2Path flowLogsGoldmaneServer bpfCTLBLogFilter`;

const FLAGS = `useInternalDataplaneDriver ipv6Support ipipEnabled vxlanEnabled allowVXLANPacketsFromWorkloads
  allowIPIPPacketsFromWorkloads endpointReportingEnabled disableConntrackInvalidCheck healthEnabled prometheusMetricsEnabled
  prometheusGoMetricsEnabled prometheusProcessMetricsEnabled prometheusWireGuardMetricsEnabled usageReportingEnabled
  removeExternalRoutes debugDisableLogDropping sidecarAccelerationEnabled xdpEnabled genericXDPEnabled bpfEnabled
  bpfDisableUnprivileged bpfConnectTimeLoadBalancingEnabled bpfKubeProxyIptablesCleanupEnabled bpfHostConntrackBypass
  bpfIPFragmentReassemblyEnabled bpfPolicyDebugEnabled flowLogsCollectorDebugTrace routeSyncDisabled wireguardEnabled
  wireguardEnabledV6 wireguardThreadingEnabled wireguardHostEncryptionEnabled requireMTUFile`;

const DURATIONS = `dataplaneWatchdogTimeout routeRefreshInterval interfaceRefreshInterval iptablesRefreshInterval
  iptablesPostWriteCheckInterval iptablesLockProbeInterval ipsetsRefreshInterval xdpRefreshInterval netlinkTimeout
  reportingInterval reportingTTL endpointReportingDelay usageReportingInitialDelay usageReportingInterval
  debugSimulateCalcGraphHangAfter debugSimulateDataplaneHangAfter debugSimulateDataplaneApplyDelay nftablesRefreshInterval
  bpfIPFragTimeout bpfKubeProxyMinSyncPeriod flowLogsFlushInterval liveMigrationRouteConvergenceTime wireguardKeepAlive
  localSubnetL2ReachabilityRefreshInterval`;

const NUMBERS =
  `maxIpsetSize metadataPort ipipMTU vxlanMTU vxlanMTUV6 vxlanPort vxlanVNI healthPort prometheusMetricsPort
  deviceRouteProtocol bpfMapSizeNATFrontend bpfMapSizeNATBackend bpfMapSizeNATAffinity bpfMapSizeRoute bpfMapSizeConntrack
  bpfMapSizePerCpuConntrack bpfMapSizeIPSets bpfMapSizeIfState bpfExportBufferSizeMB wireguardMTU wireguardMTUV6`;

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  logActionRateLimitBurst: [0, 9999],
  iptablesMarkMask: [0, 0xffffffff],
  nftablesMarkMask: [0, 0xffffffff],
  debugPort: [0, 65535],
  bpfKubeProxyHealthzPort: [0, 65535],
  bpfExtToServiceConnmark: [0, 0xffffffff],
  bpfMapSizeConntrackCleanupQueue: [1, 0x7fffffff],
  ipv4NormalRoutePriority: [1, 2147483646],
  ipv4ElevatedRoutePriority: [1, 2147483646],
  ipv6NormalRoutePriority: [1, 2147483646],
  ipv6ElevatedRoutePriority: [1, 2147483646],
  wireguardListeningPort: [1, 65535],
  wireguardListeningPortV6: [1, 65535],
  wireguardRoutingRulePriority: [1, 32765],
  goGCThreshold: [-1, 0x7fffffff],
  goMemoryLimitMB: [-1, 0x7fffffff],
  goMaxProcs: [-1, 0x7fffffff],
  bpfMaglevMaxEndpointsPerService: [1, 3000],
  bpfMaglevMaxServices: [1, 3000],
};

const CHOICES: Readonly<Record<string, readonly [string, ...string[]]>> = {
  iptablesBackend: ["Legacy", "NFT", "Auto"],
  nftablesMode: ["Disabled", "Enabled", "Auto"],
  nftablesFlowTableOffload: ["All", "Disabled"],
  prometheusMetricsClientAuth: [
    "RequireAndVerifyClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "NoClientCert",
  ],
  natOutgoingExclusions: ["IPPoolsOnly", "IPPoolsAndHostIPs"],
  programClusterRoutes: ["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"],
  ipForwarding: ["Enabled", "Disabled"],
  bpfHostNetworkedNATWithoutCTLB: ["Enabled", "Disabled"],
  bpfRedirectToPeer: ["Enabled", "Disabled"],
  bpfProfiling: ["Enabled", "Disabled"],
  windowsManageFirewallRules: ["Enabled", "Disabled"],
  bpfOverlayHostSourceIP: ["TunnelAddress", "HostAddress"],
  bpfJITHardening: ["Auto", "Strict"],
  bpfConntrackLogLevel: ["Off", "Debug"],
  bpfConntrackMode: ["Auto", "Userspace", "BPFProgram"],
  bpfConnectTimeLoadBalancing: ["TCP", "Enabled", "Disabled"],
  istioAmbientMode: ["Enabled", "Disabled"],
  flowLogsPolicyEvaluationMode: ["None", "Continuous"],
  bpfAttachType: ["TC", "TCX", "Netkit"],
  flowLogsLocalReporter: ["Disabled", "Enabled"],
  awsSrcDstCheck: ["DoNothing", "Enable", "Disable"],
  serviceLoopPrevention: ["Drop", "Reject", "Disabled"],
  workloadSourceSpoofing: ["Disabled", "Any"],
  floatingIPs: ["Enabled", "Disabled"],
  localSubnetL2Reachability: ["Disabled", "PodsAndLoadBalancers"],
};

/** Words that Calico takes in any case. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  chainInsertMode: ["Insert", "Append"],
  defaultEndpointToHostAction: ["Drop", "Accept", "Return"],
  iptablesFilterAllowAction: ["Accept", "Return"],
  iptablesMangleAllowAction: ["Accept", "Return"],
  nftablesFilterAllowAction: ["Accept", "Return"],
  nftablesMangleAllowAction: ["Accept", "Return"],
  iptablesFilterDenyAction: ["Drop", "Reject"],
  nftablesFilterDenyAction: ["Drop", "Reject"],
  bpfLogLevel: ["Off", "Info", "Debug"],
  bpfExternalServiceMode: ["Tunnel", "DSR"],
  bpfMapSizeConntrackScaling: ["Disabled", "DoubleIfFull"],
  bpfEnforceRPF: ["Disabled", "Strict", "Loose"],
  routeSource: ["WorkloadIPs", "CalicoIPAM"],
};

const PATTERNS = `logDebugFilenameRegex nftablesFlowTableDataIfacePattern bpfDataIfacePattern bpfL3IfacePattern
  bpfDisableGROForIfaces mtuIfacePattern`;

/** The same schema for each of the names in a text. */
function each<Schema extends z.ZodType>(names: string, schema: Schema): Record<string, Schema> {
  return Object.fromEntries(names.split(/\s+/).map((name) => [name, schema]));
}

function mapped<Value, Schema extends z.ZodType>(
  table: Readonly<Record<string, Value>>,
  make: (value: Value) => Schema,
): Record<string, Schema> {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, make(value)]));
}

function anyCase(words: readonly string[]) {
  return optionalText((value) =>
    words.some((word) => word.toLowerCase() === value.toLowerCase())
      ? undefined
      : [`${JSON.stringify(value)} is not allowed`, { hint: `allowed: ${words.join(", ")}` }]
  );
}

const matching = (pattern: RegExp, hint: string) =>
  optionalText((value) => pattern.test(value) ? undefined : [`${JSON.stringify(value)} is not allowed`, { hint }]);

function checkPattern(value: string): Complaint {
  try {
    // Go's syntax knows (?i) in front, which JavaScript does not.
    return new RegExp(value.replace(/^\(\?[a-z]+\)/, "")) && undefined;
  } catch {
    return [`${JSON.stringify(value)} is not a regular expression`, { hint: "write it like eth.*" }];
  }
}

const port = z.int().min(0).max(65535);
const failsafePorts = z.array(strict({
  protocol: optionalText(),
  port,
  net: optionalText((value) => checkCidr(value, { mayBeAddress: true, mayHaveHostBits: true })),
})).optional();
const anyCidr = text((value) => checkCidr(value, { mayBeAddress: true, mayHaveHostBits: true }));
const interfacePattern = text((value) =>
  /^[a-zA-Z0-9:._+-]{1,15}$/.test(value)
    ? undefined
    : [`${JSON.stringify(value)} is not an interface name`, { hint: "a + at the end stands for any ending" }]
);
const portRange = z.union([z.number(), z.string()]).check((context) => {
  if (parsePort(context.value)) return;
  problem(context, `${JSON.stringify(context.value)} is not a port`, { hint: 'write 1 to 65535 or "low:high"' });
});
const numericPort = rulePort.check((context) => {
  const read = parsePort(context.value);
  if (read && "name" in read) problem(context, `${read.name} is a name`, { hint: "only numbers and ranges here" });
});
const timeout = matching(/^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$/, "a duration such as 20s, or Auto");
const tableRange = strict({ min: z.int(), max: z.int() });

/** Linux numbers routing tables with 32 bits; so many may be claimed. */
const MAX_TABLE = 0xffffffff, MAX_TABLES = 65535;

export const felixConfigurationSpec = strict({
  nodeSelector: optionalSelector,
  ...each(TEXTS, optionalText()),
  ...each(FLAGS, z.boolean().optional()),
  ...each(DURATIONS, optionalDuration),
  ...each(NUMBERS, z.int().optional()),
  ...each(PATTERNS, optionalText(checkPattern)),
  ...mapped(RANGES, ([min, max]) => integer(min, max).optional()),
  ...mapped(CHOICES, (words) => optionalEnum(words)),
  ...mapped(WORDS, anyCase),
  logSeverityFile: logLevel,
  logSeverityScreen: logLevel,
  logSeveritySys: logLevel,
  logPrefix: matching(/^[a-zA-Z0-9%: /_-]*$/, "letters, digits, blanks and % : / _ -"),
  logActionRateLimit: matching(/^[1-9]\d{0,3}\/(?:second|minute|hour|day)$/, "write it like 10/second"),
  featureDetectOverride: matching(
    /^([a-zA-Z0-9_-]+=(true|false|),)*([a-zA-Z0-9_-]+=(true|false|))?$/,
    "write A=true,B=false",
  ),
  featureGates: matching(/^([a-zA-Z0-9_-]+=([^=]+),)*([a-zA-Z0-9_-]+=([^=]+))?$/, "write A=value,B=value"),
  openstackRegion: matching(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, "lower-case letters, digits and dashes").refine(
    (value) => (value?.length ?? 0) <= 46,
    { error: "has more than 46 characters" },
  ),
  prometheusMetricsHost: matching(/^[a-zA-Z0-9:._+-]{1,64}$/, "an address or a host name"),
  natOutgoingAddress: optionalIp4,
  deviceRouteSourceAddress: optionalIp4,
  deviceRouteSourceAddressIPv6: optionalIp6,
  natPortRange: portRange.optional(),
  bpfPSNATPorts: portRange.optional(),
  kubeNodePortRanges: z.array(numericPort).max(7).optional(),
  failsafeInboundHostPorts: failsafePorts,
  failsafeOutboundHostPorts: failsafePorts,
  healthTimeoutOverrides: z.array(strict({
    name: text((value) => /^[a-zA-Z0-9_ -]+$/.test(value) ? undefined : `${JSON.stringify(value)} is not a name`),
    timeout: optionalDuration,
  })).optional(),
  externalNodesList: z.array(
    text((value) => checkCidr(value, { family: 4, mayBeAddress: true, mayHaveHostBits: true })),
  ).optional(),
  bpfDSROptoutCIDRs: z.array(anyCidr).optional(),
  bpfExcludeCIDRsFromNAT: z.array(anyCidr).optional(),
  bpfLogFilters: z.record(z.string(), z.string()).check((context) => {
    for (const key of Object.keys(context.value)) {
      const complaint = checkInterface(key);
      if (complaint) problem(context, `${JSON.stringify(key)} is not an interface name`, { path: [key], atKey: true });
    }
  }).optional(),
  bpfConntrackTimeouts: strict(
    each(
      "creationGracePeriod tcpSynSent tcpEstablished tcpFinsSeen tcpResetSeen udpTimeout genericTimeout icmpTimeout",
      timeout,
    ),
  ).optional(),
  bpfForceTrackPacketsFromIfaces: z.array(interfacePattern).optional(),
  iptablesNATOutgoingInterfaceFilter: optionalText((value) =>
    /^[a-zA-Z0-9:._+-]{1,15}$/.test(value) ? undefined : `${JSON.stringify(value)} is not an interface name`
  ),
  wireguardInterfaceName: optionalText((value) => checkInterface(value)),
  wireguardInterfaceNameV6: optionalText((value) => checkInterface(value)),
  istioDSCPMark: z.union([z.number(), z.string()]).check((context) => {
    if (parseDscp(context.value) === undefined) problem(context, `${context.value} is not a DSCP value`);
  }).optional(),
  routeTableRange: tableRange.check((context) => {
    const { min, max } = context.value;
    if (min >= 1 && max >= min && max <= 250) return;
    problem(context, `${min} to ${max} is not a range of tables`, { hint: "within 1 to 250" });
  }).optional(),
  routeTableRanges: z.array(tableRange.check((context) => {
    const { min, max } = context.value;
    if (min >= 1 && max >= min && max <= MAX_TABLE) return;
    problem(context, `${min} to ${max} is not a range of tables`, { hint: `within 1 to ${MAX_TABLE}` });
  })).check((context) => {
    const count = context.value.reduce((sum, { min, max }) => sum + max - min + 1, 0);
    if (count > MAX_TABLES) problem(context, `claims ${count} tables`, { hint: `at most ${MAX_TABLES} in all` });
  }).optional(),
}).check((context) => {
  if (context.value.routeTableRange && context.value.routeTableRanges) {
    problem(context, "cannot be set together with routeTableRanges", { path: ["routeTableRange"] });
  }
});
