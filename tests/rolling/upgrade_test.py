#!/usr/bin/env python3
"""Three nodes of an older build are replaced, one by one, by this build and then back again, on one PostgreSQL, while mail flows.

In between an old node is killed and must come back on the schema that the new one has made. Afterwards what was stored is compared with what lies in
the mailboxes: every message once, sequences without gaps. Real processes on this machine, loopback only, all of them below one temporary folder.

  upgrade_test.py --old PROGRAM --new PROGRAM [--back]      (./dev upgrade-test builds both)
"""
import argparse
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))
from k8s_test import line, make_certificates, wrong  # noqa: E402

PATIENCE = 90
# PostgreSQL and Dovecot refuse to be, or to be all, root.
USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_ports(n):
    """A run of n free ports, for what counts up from its first."""
    while True:
        first, held = free_port(), []
        try:
            for p in range(first, first + n):
                held.append(socket.create_server(("127.0.0.1", p)))
            return first
        except OSError:
            continue
        finally:
            for s in held:
                s.close()


def start(words, log, env=None):
    other = {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen([str(w) for w in words], stdout=open(log, "ab"), stderr=subprocess.STDOUT, env=env, **other)


def wait_for(what, so, patience=PATIENCE):
    until = time.time() + patience
    while not so():
        if time.time() > until:
            raise SystemExit(f"{what}: not within {patience} s")
        time.sleep(0.1)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as a:
            return a.status == 200
    except OSError:
        return False


class World:
    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.token, self.key = secrets.token_hex(32), None
        self.database = free_port()
        self.peer_port = free_ports(4)
        self.ports = [free_port() for _ in range(3)]
        make_certificates(folder / "tls")
        (folder / "pg").mkdir()
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, USER)
        bin_ = Path(subprocess.run(["bash", "-c", "ls -d /usr/lib/postgresql/*/bin | tail -1"], capture_output=True, text=True).stdout.strip())
        made = start([bin_ / "initdb", "-D", folder / "pg/data", "-U", "mailherd", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"], folder / "initdb.log")
        if made.wait(60) != 0:
            raise SystemExit((folder / "initdb.log").read_text())
        self.run([bin_ / "postgres", "-D", folder / "pg/data", "-p", self.database, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                  "-c", f"unix_socket_directories={folder}/pg", "-c", "max_connections=100"], "postgres.log")
        wait_for("PostgreSQL", lambda: subprocess.run([bin_ / "createdb", "-h", folder / "pg", "-p", str(self.database), "-U", "mailherd", "mailherd"],
                                                      capture_output=True).returncode == 0)
        # The system's Python and a copy, both of which every user can read.
        shutil.copy(ROOT / "tests/rolling/peer.py", folder)
        self.run(["/usr/bin/python3", "-B", folder / "peer.py", "serve", folder / "peer"], "peer.log",
                 dict(os.environ, PEER_PORT=str(self.peer_port), PEER_HOST="localhost", PEER_CERTIFICATE=f"{folder}/tls/peer.crt", PEER_KEY=f"{folder}/tls/peer.key"))
        self.nodes = [None, None, None]

    def run(self, words, log, env=None):
        process = start(words, self.folder / log, env)
        self.processes.append(process)
        return process

    def node(self, n, program):
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAILHERD_")}
        env |= {"MAILHERD_DATABASE_URL": f"postgresql://mailherd@127.0.0.1:{self.database}/mailherd", "MAILHERD_NODE_NAME": f"node-{n}",
                "MAILHERD_ADMIN_TOKEN": self.token, "MAILHERD_MASTER_KEY": self.key, "MAILHERD_LISTEN": f"127.0.0.1:{self.ports[n]}",
                "MAILHERD_METRICS_LISTEN": "none", "MAILHERD_PRIVATE_TARGETS": "all", "MAILHERD_CA_FILE": f"{self.folder}/tls/ca.crt",
                "MAILHERD_POLL_INTERVAL": "2s", "MAILHERD_LEASE_TTL": "6s"}
        self.nodes[n] = self.run([program, "node"], f"node-{n}.log", env)

    def wait_ready(self, n):
        def ready():
            if self.nodes[n].poll() is not None:
                raise SystemExit(f"node-{n} ended with {self.nodes[n].returncode}\n" + "\n".join((self.folder / f"node-{n}.log").read_text().splitlines()[-15:]))
            return answers(f"http://127.0.0.1:{self.ports[n]}/readyz")
        wait_for(f"node-{n}", ready)

    def replace(self, n, program):
        started = time.time()
        self.nodes[n].send_signal(signal.SIGTERM)
        status = self.nodes[n].wait(PATIENCE)
        stopped = time.time() - started
        self.node(n, program)
        self.wait_ready(n)
        ready = time.time() - started
        time.sleep(4)   # what it takes over signs in, and more mail comes
        return f"node-{n} stopped (status {status}) in {stopped:.1f} s, ready again after {ready:.1f} s"

    def peer(self, path, **given):
        request = urllib.request.Request(f"http://127.0.0.1:{self.peer_port + 3}/{path}", data=json.dumps(given).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as e:
            raise SystemExit(f"{path}: {e.read().decode()}") from e

    def versions(self):
        return {n["name"]: (n["state"], n["version"], n["channels"]) for n in self.peer("cluster")["nodes"] if n["state"] != "lost"}

    def end(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in reversed(self.processes):
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                p.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True)
    parser.add_argument("--new", required=True)
    parser.add_argument("--back", action="store_true", help="also all the way back, over the newer schema")
    parser.add_argument("--no-crash", action="store_true", help="no old node is killed: builds before schema_migrations.oldest refuse every newer schema")
    parser.add_argument("--channels", type=int, default=60)
    parser.add_argument("--pop3", type=int, default=6)
    parser.add_argument("--rate", type=float, default=10)
    o = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="mailherd-upgrade-") as folder:
        w = World(Path(folder))
        # Programs may lie where the unprivileged user cannot go.
        programs = {}
        for name in ("old", "new"):
            programs[name] = Path(folder) / f"mailherd-{name}"
            shutil.copy(getattr(o, name), programs[name])
            os.chmod(programs[name], 0o755)
        w.key = subprocess.run([programs["old"], "keys", "generate"], capture_output=True, text=True, check=True).stdout.strip()

        def phase(name, work):
            nonlocal bad
            w.peer("phase")
            measured = work()
            result = w.peer("settle", patience=120)
            bad += bool(wrong(result))
            print(f"{'FAIL' if wrong(result) else 'ok  '} {name}: {measured}\n    {line(result)}", flush=True)
            for example in result["examples"]:
                print(f"    {example}")

        def crash():
            started = time.time()
            w.nodes[0].kill()
            w.nodes[0].wait()
            w.node(0, programs["old"])
            w.wait_ready(0)
            return f"node-0, an old one, killed and ready again after {time.time() - started:.1f} s on the newer schema: {w.versions()}"

        try:
            for n in range(3):
                w.node(n, programs["old"])
            for n in range(3):
                w.wait_ready(n)
            w.peer("setup", urls=[f"http://127.0.0.1:{p}" for p in w.ports], token=w.token, channels=o.channels, pop3=o.pop3)
            w.peer("traffic", rate=o.rate)
            phase("before", lambda: (time.sleep(10), f"{w.versions()}; {w.peer('states')}")[1])
            phase("first new node", lambda: w.replace(2, programs["new"]))
            if not o.no_crash:
                phase("an old node crashes meanwhile", crash)
            phase("second new node", lambda: w.replace(1, programs["new"]))
            phase("third new node", lambda: w.replace(0, programs["new"]))
            phase("after", lambda: (time.sleep(5), f"{w.versions()}; {w.peer('states')}")[1])
            if o.back:
                for n in (2, 1, 0):
                    phase(f"back: node-{n}", lambda n=n: w.replace(n, programs["old"]))
        except BaseException:
            for log in sorted(Path(folder).glob("**/*.log")):
                print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-10:]))
            raise
        finally:
            w.end()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
