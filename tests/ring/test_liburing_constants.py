"""Constants and structures are those of the installed liburing's header. What it does not know yet is left out."""

import functools
import re

import pytest

import ioring
import liburing_library as liburing
from ioring.ring import constants

PREFIXES = {
    "Op": ["IORING_OP_"],
    "SetupFlags": ["IORING_SETUP_"],
    "Features": ["IORING_FEAT_"],
    "SqeFlags": ["IOSQE_"],
    "CqeFlags": ["IORING_CQE_F_"],
    "AcceptFlags": ["IORING_ACCEPT_"],
    "RecvSendFlags": ["IORING_RECVSEND_", "IORING_RECV_", "IORING_SEND_"],
    "PollFlags": ["IORING_POLL_"],
    "TimeoutFlags": ["IORING_TIMEOUT_", "IORING_"],  # the latter for IORING_LINK_TIMEOUT_UPDATE
    "CancelFlags": ["IORING_ASYNC_CANCEL_"],
    "FsyncFlags": ["IORING_FSYNC_"],
    "NopFlags": ["IORING_NOP_"],
    "MsgRingFlags": ["IORING_MSG_RING_"],
    "FixedFdFlags": ["IORING_FIXED_FD_"],
    "BufferRingFlags": ["IOU_PBUF_RING_"],
    "SocketOp": ["SOCKET_URING_OP_"],
    "RegisterOp": ["IORING_REGISTER_", "IORING_"],  # the latter for IORING_UNREGISTER_*
    "RestrictionOp": ["IORING_RESTRICTION_"],
    "ResolveFlags": ["RESOLVE_"],
    "StatxMask": ["STATX_"],
    "FutexFlags": ["FUTEX2_"],
    "SpliceFlags": ["SPLICE_F_"],
    "RwFlags": ["RWF_"],
}
RENAMED = {"LINK_UPDATE": "LINK_TIMEOUT_UPDATE"}
ENUMERATIONS = {
    name: value
    for name, value in vars(constants).items()
    if isinstance(value, type) and value.__module__ == constants.__name__
}
OTHERS = {
    "FILE_INDEX_ALLOC": "IORING_FILE_INDEX_ALLOC",
    "FILES_SKIP": "(__u64)IORING_REGISTER_FILES_SKIP",
}

# Names in uring.h for which URING_x is not IORING_x.
IN_URING_H = {
    "URING_SQE_": "IOSQE_",
    "URING_CANCEL_": "IORING_ASYNC_CANCEL_",
    "URING_BLOCK_CMD_DISCARD": "BLOCK_URING_CMD_DISCARD",
    "URING_SPLICE_F_FD_IN_FIXED": "SPLICE_F_FD_IN_FIXED",
}
STRUCTURES = {  # ioring's name: (the header's name, its names of fields that are called otherwise)
    "uring_sqe": ("io_uring_sqe", {"op_flags": "rw_flags", "pad2": "__pad2"}),
    "uring_cqe": ("io_uring_cqe", {}),
    "uring_sq_offsets": ("io_sqring_offsets", {}),
    "uring_cq_offsets": ("io_cqring_offsets", {}),
    "uring_params": ("io_uring_params", {}),
    "uring_timespec": ("__kernel_timespec", {}),
    "uring_getevents_arg": ("io_uring_getevents_arg", {}),
    "uring_buf": ("io_uring_buf", {}),
    "uring_recvmsg_out": ("io_uring_recvmsg_out", {}),
}


@pytest.fixture(autouse=True)
def installed():
    liburing.need()


def in_header(enumeration, member):
    """The header's name of a member, or None."""
    name = RENAMED.get(member, member)
    return next((prefix + name for prefix in PREFIXES[enumeration] if prefix + name in liburing.names()), None)


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_python_constants(enumeration):
    known = {member: in_header(enumeration, member) for member in ENUMERATIONS[enumeration].__members__}
    known = {member: name for member, name in known.items() if name}
    if not known:
        pytest.skip("constants newer than the installed liburing")
    values = dict(zip(known, liburing.evaluate(known.values()), strict=True))
    assert {member: int(ENUMERATIONS[enumeration][member]) for member in known} == values


def test_other_python_constants():
    values = liburing.evaluate(OTHERS.values())
    assert [getattr(ioring, name) & 0xFFFFFFFFFFFFFFFF for name in OTHERS] == values


def names_of_uring_h():
    text = re.sub(r"/\*.*?\*/", "", liburing.URING_H.read_text(), flags=re.S)
    inside = "".join(re.findall(r"\benum\b[^{;]*\{(.*?)\}", text, re.S))
    return set(re.findall(r"\bURING_[A-Z0-9_]+\b", inside)) | set(re.findall(r"#define (URING_[A-Z0-9_]+) ", text))


def test_constants_of_the_core():
    pairs = {}
    for name in names_of_uring_h():
        prefix = max((p for p in IN_URING_H if name.startswith(p)), key=len, default="URING_")
        theirs = IN_URING_H.get(prefix, "IORING_") + name[len(prefix) :]
        if theirs in liburing.names():
            pairs[name] = theirs
    assert len(pairs) > 90
    ours = dict(zip(pairs, liburing.evaluate(pairs), strict=True))
    theirs = dict(zip(pairs, liburing.evaluate(pairs.values()), strict=True))
    assert ours == theirs


@functools.cache
def fields_of(structure):
    """Names of a structure's members in uring.h."""
    text = re.sub(r"/\*.*?\*/", "", liburing.URING_H.read_text(), flags=re.S)
    [body] = re.findall(rf"struct {structure} \{{(.*?)\}};", text, re.S)
    lists = re.findall(r"(?:struct )?\w+\s+([^;]+);", body)
    return [re.sub(r"\[\d+\]", "", name).strip() for names in lists for name in names.split(",")]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_structures_of_the_core(structure):
    theirs, renamed = STRUCTURES[structure]
    if theirs not in liburing.names():
        pytest.skip("structure newer than the installed liburing")
    pairs = {f"sizeof(struct {structure})": f"sizeof(struct {theirs})"}
    members = {name: renamed.get(name, name) for name in fields_of(structure)}
    known = liburing.members(theirs, members.values())
    assert len(known) >= len(members) - 3
    for name, member in members.items():
        if member in known:
            pairs[f"offsetof(struct {structure}, {name})"] = f"offsetof(struct {theirs}, {member})"
            pairs[f"sizeof(((struct {structure} *)0)->{name})"] = f"sizeof(((struct {theirs} *)0)->{member})"
    ours = dict(zip(pairs, liburing.evaluate(pairs), strict=True))
    expected = dict(zip(pairs, liburing.evaluate(pairs.values()), strict=True))
    assert ours == expected


def test_every_enumeration_is_compared():
    assert set(PREFIXES) == set(ENUMERATIONS)
