#!/usr/bin/env python3
"""The house rules that a compiler does not check. Prints one line per breach (file:line: rule: what to do instead); exit 1 if there is any.

  rooms      who may include whom, and which library may be seen from where (docs/architecture.md)
  banned     calls that block a scheduler thread, wait for ever, or sleep in a test
  heads      a header begins with what it owns and what it never does
  length     files and functions do not grow past their limit; what was longer when the rule came may only shrink (ratchet.json)
  marks      a TODO names the condition for its removal

Usage: tidy.py [--update-ratchet] [folder]
"""
import json
import re
import subprocess
import sys
from pathlib import Path

FILE_LINES = 420
FUNCTION_LINES = 70
TEST_FILE_LINES = 500

ALL = [""]
STORE, CONTROL, NET = "storage/store.hpp", "actors/control.hpp", "transport/net.hpp"
WEBHOOKS = "storage/webhook_store.hpp"
# Longest prefix wins. A room may include the prefixes listed, and itself.
ROOMS = {
    "core/": [],
    "protocol/sasl/": ["core/"],
    "protocol/imap/": ["core/", "protocol/sasl/"],
    "protocol/pop3/": ["core/", "protocol/sasl/"],
    "protocol/oauth2/": ["core/"],
    "protocol/mime/": ["core/"],
    "transport/": ["core/"],
    "storage/": ["core/"],
    "actors/": ["core/", "protocol/", STORE, WEBHOOKS, NET],
    "api/": ["core/", "protocol/mime/", STORE, WEBHOOKS, CONTROL],
    "node/": ALL,
    "tests/peers/": ["core/"],
    "tests/corpus/": ["core/"],
    "tests/": ALL,
    "tools/": ALL,
}
# Header prefix of a library -> rooms that may see it. What is not listed is free.
LIBRARIES = {
    "caf/": ["actors/", "node/", "tests/"],
    "pqxx": ["storage/", "tests/"],
    "libpq-fe.h": ["storage/", "tests/"],
    "boost/": ["transport/", "api/", "node/ctl/", "tests/"],
    "openssl/ssl.h": ["transport/", "tests/"],
    "openssl/": ["protocol/sasl/", "protocol/oauth2/", "protocol/pop3/", "transport/", "storage/", "actors/", "api/", "node/", "tests/", "tools/"],
    "librdkafka/": ["transport/", "tests/"],
    "curl/": ["transport/", "node/ctl/", "tests/", "tools/"],
    "gmime/": ["protocol/mime/", "tests/"],
    "prometheus/": ["node/", "tests/"],
    "spdlog/": ["node/", "tests/"],
    "sys/socket.h": ["transport/", "node/", "tests/", "tools/"],
}
BANNED = [
    (re.compile(r"\bcaf::infinite\b"), ["actors/", "node/"], "every request has a finite timeout"),
    (re.compile(r"\.await\("), ["actors/"], ".await blocks exit and down messages: use explicit states"),
    (re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep)\s*\("), ["actors/", "api/", "protocol/", "transport/", "core/", "tests/"],
     "nothing sleeps: wait for an event or move the clock"),
    (re.compile(r"\b(GTEST_SKIP|DISABLED_)\b"), ["tests/"], "no skipped test"),
    (re.compile(r"\b(std::)?system\s*\(\s*\""), ALL, "no shell"),
    (re.compile(r"\b(steady_clock|system_clock|mono_clock)::now\("), ["core/", "protocol/"], "engines and decisions are given the time"),
    (re.compile(r"\bstd::(cout|cerr)\b"), ["core/", "protocol/", "transport/", "storage/", "actors/", "api/"], "rooms report through their interfaces"),
    (re.compile(r"\b(strcpy|strcat|sprintf|gets|atoi|atol)\s*\("), [r for r in ROOMS if not r.startswith("tests/")], "use a bounded or checking function"),
]
# The one place where a test may wait by the clock: another process that cannot say when it is ready.
EXCEPTIONS = {("tests/peers/files.cpp", "nothing sleeps: wait for an event or move the clock")}
TODO = re.compile(r"\b(TODO|FIXME|XXX)\b(?!.*\bwhen\b)")
MACHINE_PATH = re.compile(r"(^|[^A-Za-z0-9_.$}/-])/(root|home)/[A-Za-z0-9._-]")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def room_of(path):
    return max((r for r in ROOMS if path.startswith(r)), key=len, default=None)


def within(path, prefixes):
    return any(path.startswith(p) for p in prefixes)


def functions(lines):
    """(first line, length) of each function body whose opening brace stands at the end of an unindented line."""
    start = None
    for n, line in enumerate(lines, 1):
        if start is None and re.match(r"^[A-Za-z_\[~:].*[)\w>]\s*(const|noexcept|override|final|->.*)*\s*\{$", line) and "namespace" not in line \
                and not re.match(r"^(class|struct|enum|union|extern)\b", line) and "=" not in line.split("(")[0]:
            start = n
        elif start is not None and line.startswith("}"):
            yield start, n - start + 1
            start = None


def check(root, files, ratchet):
    found, sizes = [], {}

    def breach(path, line, rule, text):
        found.append(f"{path}:{line}: {rule}: {text}")

    for path in files:
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()
        code = path.endswith((".cpp", ".hpp"))
        for n, line in enumerate(lines, 1):
            if MACHINE_PATH.search(line) and not path.endswith("tidy.py"):
                breach(path, n, "marks", "a path of one machine")
            if TODO.search(line) and not path.endswith("tidy.py"):
                breach(path, n, "marks", "a TODO says when it can go (\"... when ...\")")
        if not code:
            continue
        room = room_of(path)
        if room is None:
            breach(path, 1, "rooms", "this folder is no room: name it in tools/tidy/tidy.py and docs/architecture.md")
            continue
        for n, line in enumerate(lines, 1):
            found_include = INCLUDE.match(line)
            if found_include:
                name = found_include.group(2)
                if found_include.group(1) == '"' and "/" in name and not within(name, [room] + ROOMS[room]):
                    breach(path, n, "rooms", f"{room} must not know {name}")
                library = max((p for p in LIBRARIES if name.startswith(p)), key=len, default=None)
                if found_include.group(1) == "<" and library and not within(path, LIBRARIES[library]):
                    breach(path, n, "rooms", f"<{library}...> is not for {room}")
            bare = line.split("//")[0]
            for pattern, where, why in BANNED:
                if within(path, where) and pattern.search(bare) and (path, why) not in EXCEPTIONS:
                    breach(path, n, "banned", why)
        if path.endswith(".hpp"):
            if not lines or not lines[0].startswith("// "):
                breach(path, 1, "heads", "a header begins with a comment: what it is, what it owns, what it never does")
        limit = TEST_FILE_LINES if path.startswith("tests/") else FILE_LINES
        if len(lines) > limit:
            sizes[path] = len(lines)
            if len(lines) > ratchet.get(path, limit):
                breach(path, 1, "length", f"{len(lines)} lines, allowed are {ratchet.get(path, limit)}: split by what changes together")
        if path.startswith("tests/"):
            continue
        for first, length in functions(lines):
            if length <= FUNCTION_LINES:
                continue
            key = f"{path}#{re.sub(r'[^A-Za-z0-9_:~]+', ' ', lines[first - 1]).strip()[:80]}"
            sizes[key] = length
            if length > ratchet.get(key, FUNCTION_LINES):
                breach(path, first, "length", f"a function of {length} lines, allowed are {ratchet.get(key, FUNCTION_LINES)}")
    return found, sizes


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[2]
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=True)
    endings = (".cpp", ".hpp", ".py", ".sh", ".cmake", ".sql", ".md", ".yaml", ".yml", ".ts", ".tsx", ".mjs", ".txt")
    files = sorted(f for f in listed.stdout.decode().split("\0") if f.endswith(endings) and (root / f).is_file())
    where = Path(__file__).with_name("ratchet.json")
    ratchet = json.loads(where.read_text()) if where.exists() else {}
    found, sizes = check(root, files, ratchet)
    if "--update-ratchet" in sys.argv:
        where.write_text(json.dumps({k: min(v, ratchet.get(k, v)) for k, v in sorted(sizes.items())}, indent=1) + "\n")
        return 0
    # What became shorter must not grow back.
    for key, allowed in sorted(ratchet.items()):
        if sizes.get(key, 0) < allowed:
            found.append(f"tools/tidy/ratchet.json: length: {key} is below its {allowed} now: run tools/tidy/tidy.py --update-ratchet")
    print("\n".join(found) if found else f"{len(files)} files keep the house rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
