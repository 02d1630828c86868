"""Compiles filters of the runtime-spec with libseccomp, as runc does: JSON lines in, one JSON line out for each."""

import ctypes
import json
import os
import sys
import tempfile

lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)


class Condition(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    ]


lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_release.argtypes = [ctypes.c_void_p]
lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Condition),
]

ARCHES = {"SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X32": 0x4000003E}
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
ACTIONS = {
    "KILL": 0, "KILL_THREAD": 0, "KILL_PROCESS": 0x80000000, "TRAP": 0x30000, "LOG": 0x7FFC0000, "ALLOW": 0x7FFF0000,
}
UNKNOWN = -1
EEXIST = 17


def action(name, errno):
    name = name.removeprefix("SCMP_ACT_")
    if name in ACTIONS:
        return ACTIONS[name]
    return {"ERRNO": 0x50000, "TRACE": 0x7FF00000}[name] | (1 if errno is None else errno)


def check(result, what):
    if result < 0 and -result != EEXIST:
        raise OSError(-result, what)


def compile(spec):
    default = action(spec["defaultAction"], spec.get("defaultErrnoRet"))
    context = lib.seccomp_init(default)
    unknown = []
    for arch in spec.get("architectures", []):
        check(lib.seccomp_arch_add(context, ARCHES[arch]), arch)
    for rule in spec.get("syscalls", []):
        value = action(rule["action"], rule.get("errnoRet"))
        if value == default:
            continue
        conditions = [
            Condition(c["index"], 1 + OPERATORS.index(c["op"].removeprefix("SCMP_CMP_")), c["value"], c.get("valueTwo", 0))
            for c in rule.get("args", [])
        ]
        several = len({c.argument for c in conditions}) < len(conditions)
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number == UNKNOWN:
                unknown.append(name)
                continue
            for group in [[c] for c in conditions] if several else [conditions]:
                array = (Condition * len(group))(*group)
                check(lib.seccomp_rule_add_array(context, value, number, len(group), array), name)
    with tempfile.TemporaryFile() as out:
        check(lib.seccomp_export_bpf(context, out.fileno()), "export")
        out.seek(0)
        program = out.read()
    lib.seccomp_release(context)
    return {"unknown": unknown, "program": program.hex()}


for line in sys.stdin:
    print(json.dumps(compile(json.loads(line))), flush=True)
