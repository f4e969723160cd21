/**
 * Numbers of nf_tables netlink, in the kernel's spelling (linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h), and of
 * nft's own user data, which the kernel stores without reading it (libnftnl/udata.h, nftables datatype.h).
 */

export const NFNL_SUBSYS_NFTABLES = 10;
export const NFNL_MSG_BATCH_BEGIN = 16, NFNL_MSG_BATCH_END = 17;
export const NFNL_BATCH_GENID = 1;
export const NFNLGRP_NFTABLES = 7;

/** Message types, with the subsystem in the upper byte. */
export const NFT_MSG_NEWTABLE = 0xa00, NFT_MSG_GETTABLE = 0xa01, NFT_MSG_DELTABLE = 0xa02;
export const NFT_MSG_NEWCHAIN = 0xa03, NFT_MSG_GETCHAIN = 0xa04, NFT_MSG_DELCHAIN = 0xa05;
export const NFT_MSG_NEWRULE = 0xa06, NFT_MSG_GETRULE = 0xa07, NFT_MSG_DELRULE = 0xa08;
export const NFT_MSG_NEWSET = 0xa09, NFT_MSG_GETSET = 0xa0a, NFT_MSG_DELSET = 0xa0b;
export const NFT_MSG_NEWSETELEM = 0xa0c, NFT_MSG_GETSETELEM = 0xa0d, NFT_MSG_DELSETELEM = 0xa0e;
export const NFT_MSG_NEWGEN = 0xa0f, NFT_MSG_GETGEN = 0xa10;

export const NFPROTO_UNSPEC = 0, NFPROTO_INET = 1, NFPROTO_IPV4 = 2, NFPROTO_ARP = 3, NFPROTO_IPV6 = 10;

/** NF_INET_* and NF_ARP_* hooks by name. */
export const hookNumbers = {
  inet: { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 },
  arp: { input: 0, output: 1 },
} as const;

export const NFTA_LIST_ELEM = 1;
export const NFTA_GEN_ID = 1;
export const NFTA_TABLE_NAME = 1, NFTA_TABLE_FLAGS = 2;

export const NFTA_CHAIN_TABLE = 1, NFTA_CHAIN_NAME = 3, NFTA_CHAIN_HOOK = 4, NFTA_CHAIN_POLICY = 5, NFTA_CHAIN_TYPE = 7;
export const NFTA_HOOK_HOOKNUM = 1, NFTA_HOOK_PRIORITY = 2;

export const NFTA_RULE_TABLE = 1, NFTA_RULE_CHAIN = 2, NFTA_RULE_HANDLE = 3, NFTA_RULE_EXPRESSIONS = 4;
export const NFTA_RULE_USERDATA = 7;
export const NFTNL_UDATA_RULE_COMMENT = 0;

export const NFTA_SET_TABLE = 1, NFTA_SET_NAME = 2, NFTA_SET_FLAGS = 3, NFTA_SET_KEY_TYPE = 4, NFTA_SET_KEY_LEN = 5;
export const NFTA_SET_DATA_TYPE = 6, NFTA_SET_DATA_LEN = 7, NFTA_SET_DESC = 9, NFTA_SET_ID = 10, NFTA_SET_USERDATA = 13;
/** How many members a set has; kernels before 6.16 do not say. */
export const NFTA_SET_COUNT = 20;
export const NFTA_SET_DESC_SIZE = 1, NFTA_SET_DESC_CONCAT = 2, NFTA_SET_FIELD_LEN = 1;
export const NFT_SET_ANONYMOUS = 1, NFT_SET_CONSTANT = 2, NFT_SET_INTERVAL = 4, NFT_SET_MAP = 8, NFT_SET_TIMEOUT = 16;
export const NFT_SET_CONCAT = 128;
export const NFT_DATA_VERDICT = 0xffffff00;

export const NFTA_SET_ELEM_LIST_TABLE = 1, NFTA_SET_ELEM_LIST_SET = 2, NFTA_SET_ELEM_LIST_ELEMENTS = 3;
export const NFTA_SET_ELEM_LIST_SET_ID = 4;
export const NFTA_SET_ELEM_KEY = 1, NFTA_SET_ELEM_DATA = 2, NFTA_SET_ELEM_FLAGS = 3, NFTA_SET_ELEM_KEY_END = 10;
export const NFT_SET_ELEM_INTERVAL_END = 1, NFT_SET_ELEM_CATCHALL = 2;

export const NFTA_DATA_VALUE = 1, NFTA_DATA_VERDICT = 2, NFTA_VERDICT_CODE = 1, NFTA_VERDICT_CHAIN = 2;
export const NF_DROP = 0, NF_ACCEPT = 1, NFT_JUMP = -3, NFT_GOTO = -4, NFT_RETURN = -5;

export const NFTA_EXPR_NAME = 1, NFTA_EXPR_DATA = 2;

/** Registers: the verdict, and the first of the four of 16 bytes. */
export const NFT_REG_VERDICT = 0, NFT_REG_1 = 1;

/** Keys of `meta load` and `ct load`. */
export const NFT_META_PROTOCOL = 1, NFT_META_MARK = 3, NFT_META_IIFNAME = 6, NFT_META_OIFNAME = 7, NFT_META_IIFTYPE = 8;
export const NFT_META_NFPROTO = 15, NFT_META_L4PROTO = 16, NFT_META_PKTTYPE = 19;
export const NFT_CT_STATE = 0, NFT_CT_DIRECTION = 1, NFT_CT_STATUS = 2, NFT_CT_MARK = 3, NFT_CT_PROTO_SRC = 11;
export const NFT_CT_PROTO_DST = 12, NFT_CT_SRC_IP = 19, NFT_CT_DST_IP = 20, NFT_CT_SRC_IP6 = 21, NFT_CT_DST_IP6 = 22;

export const NFT_PAYLOAD_LL_HEADER = 0, NFT_PAYLOAD_NETWORK_HEADER = 1, NFT_PAYLOAD_TRANSPORT_HEADER = 2;
export const NFT_CMP_EQ = 0, NFT_CMP_NEQ = 1, NFT_CMP_LTE = 3, NFT_CMP_GTE = 5;

export const NFTA_FIB_F_SADDR = 1,
  NFTA_FIB_F_DADDR = 2,
  NFTA_FIB_F_MARK = 4,
  NFTA_FIB_F_IIF = 8,
  NFTA_FIB_F_PRESENT = 32;
export const NFT_FIB_RESULT_OIF = 1, NFT_FIB_RESULT_ADDRTYPE = 3;

export const NF_NAT_RANGE_MAP_IPS = 1, NF_NAT_RANGE_PROTO_SPECIFIED = 2, NF_NAT_RANGE_PROTO_RANDOM = 4;
export const NF_NAT_RANGE_PERSISTENT = 8, NF_NAT_RANGE_PROTO_RANDOM_FULLY = 16;
