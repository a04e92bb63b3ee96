#!/usr/bin/env python3
"""The world around a herd under test: a real Dovecot, mail that keeps coming, and the comparison of what was stored with what lies in the mailboxes.

Owns:   Dovecot (unprivileged, below its folder), the sender, all messages that the feed has shown so far.
Never:  knows how nodes are started or stopped: the drivers (k8s_test.py, upgrade_test.py) do that and ask here, by HTTP, what it did to the mail.
Runs:   `peer.py serve FOLDER` in a pod or on a developer's machine; `peer.py call PATH [JSON]` asks a running one. Standard library only.
"""
import concurrent.futures
import hashlib
import http.server
import imaplib
import json
import os
import pwd
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

IMAPS, POP3S, LMTP, CONTROL = (int(os.environ.get("PEER_PORT", "10993")) + n for n in (0, 1, 2, 3))
PASSWORD = "not-a-secret"


def dovecot_config(folder, certificate, key):
    me = pwd.getpwuid(os.geteuid()).pw_name
    group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
    text = f"""
protocols = imap pop3 lmtp
listen = *
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain login
auth_cache_size = 0
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%Lu
mail_max_userip_connections = 0
mail_fsync = never
mail_uid = {me}
mail_gid = {group}
default_internal_user = {me}
default_login_user = {me}
default_internal_group = {group}
default_client_limit = 20000
default_process_limit = 3000
first_valid_uid = 1
first_valid_gid = 1
stats_writer_socket_path =
hostname = mail.acme.test
postmaster_address = postmaster@acme.test
service imap-login {{
  chroot =
  service_count = 0
  client_limit = 6000
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {IMAPS}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  service_count = 0
  client_limit = 6000
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {POP3S}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 3000
}}
service auth {{
  client_limit = 20000
}}
service anvil {{
  chroot =
  client_limit = 20000
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service lmtp {{
  user = {me}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {LMTP}
  }}
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = allow_all_users=yes
}}
"""
    for part in ("run", "state", "mail"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "dovecot.conf").write_text(text)
    return folder / "dovecot.conf"


class Api:
    """The herd's API at whichever address answers."""

    def __init__(self, urls, token):
        self.urls, self.token = urls, token

    def try_once(self, turn):
        """Somebody who looks in now and then, without patience: what a roll-out does to callers."""
        request = urllib.request.Request(self.urls[turn % len(self.urls)] + "/v1/cluster", headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, patience=90):
        until, turn = time.time() + patience, 0
        while True:
            url = self.urls[turn % len(self.urls)]
            turn += 1
            request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                             headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=15) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as e:
                said = f"{e.code} {e.read().decode()}"
                if e.code < 500:
                    raise RuntimeError(f"{method} {path}: {said}") from e
            except OSError as e:
                said = str(e)
            if time.time() > until:
                raise RuntimeError(f"{method} {path}: no good answer for {patience} s, at last from {url}: {said}")
            time.sleep(0.2)


class World:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.lock = threading.Lock()
        self.boxes, self.tenants = [], {}          # address → ..., tenant id → {"after", "items"}
        self.rate, self.sent = 0.0, []             # (when, address)
        self.phase_from = 0.0
        self.api = None
        self.host = os.environ.get("PEER_HOST", "localhost")
        tls = self.folder / "tls"
        config = dovecot_config(self.folder, os.environ.get("PEER_CERTIFICATE", tls / "peer.crt"), os.environ.get("PEER_KEY", tls / "peer.key"))
        self.dovecot = subprocess.Popen(["dovecot", "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.asked = self.unanswered = 0
        threading.Thread(target=self.send_for_ever, daemon=True).start()
        threading.Thread(target=self.ask_for_ever, daemon=True).start()

    # ---- mail that keeps coming
    def send_for_ever(self):
        lmtp, n, due = None, 0, time.time()
        while True:
            if not self.rate or not self.boxes:
                time.sleep(0.05)
                due = time.time()
                continue
            due += 1 / self.rate
            time.sleep(max(0.0, due - time.time()))
            to = self.boxes[n % len(self.boxes)]["address"]
            now = time.time()
            text = (f"From: Customer <c{n % 97}@example.test>\r\nTo: <{to}>\r\nMessage-ID: <{n}.{now}@example.test>\r\nSubject: n={n} sent={now:.6f}\r\n"
                    f"\r\n" + f"Where is my order {n}?\r\n" * (1 + n % 40))
            try:
                if lmtp is None:
                    lmtp = smtplib.LMTP("127.0.0.1", LMTP, timeout=30)
                lmtp.sendmail("c@example.test", [to], text)
            except (OSError, smtplib.SMTPException):
                lmtp = None   # this one may have arrived or not: mailboxes are what is compared, not this list
                continue
            n += 1
            with self.lock:
                self.sent.append((now, to))

    def ask_for_ever(self):
        while True:
            time.sleep(0.25)
            if self.api is not None:
                good = self.api.try_once(self.asked)
                self.asked += 1
                self.unanswered += not good

    # ---- what the drivers ask for
    def setup(self, urls, token, channels, pop3=0, tenants=3):
        self.api = Api(urls, token)
        ids = [self.api.ask("POST", "/v1/tenants", {"name": f"Tenant {t}"})["id"] for t in range(tenants)]
        self.tenants = {t: {"after": None, "items": []} for t in ids}
        boxes = []
        for n in range(channels):
            address, tenant, protocol = f"box{n}@acme.test", ids[n % tenants], "pop3" if n < pop3 else "imap"
            incoming = {"protocol": protocol, "host": self.host, "port": POP3S if protocol == "pop3" else IMAPS, "tls": "implicit"}
            made = self.api.ask("POST", f"/v1/tenants/{tenant}/channels",
                                {"name": f"Box {n}", "address": address, "incoming": incoming, "start_from": "all",
                                 "auth": {"type": "basic", "username": address, "password": PASSWORD}})
            boxes.append({"address": address, "tenant": tenant, "channel": made["id"]})
        self.boxes = boxes
        return {"channels": len(boxes)}

    def traffic(self, rate):
        self.rate = rate
        return {"rate": rate}

    def phase(self):
        self.phase_from = time.time()
        self.asked = self.unanswered = 0
        return {"from": self.phase_from}

    def states(self):
        out = Counter()
        for tenant in self.tenants:
            after = ""
            while True:
                page = self.api.ask("GET", f"/v1/tenants/{tenant}/channels?limit=100" + (f"&after={after}" if after else ""))
                out.update(c["state"] for c in page["items"])
                after = page.get("next")
                if not after:
                    break
        return dict(out)

    def cluster(self):
        return self.api.ask("GET", "/v1/cluster")

    def read_feed(self):
        for tenant, seen in self.tenants.items():
            while True:
                after = f"&after={seen['after']}" if seen["after"] else ""
                page = self.api.ask("GET", f"/v1/tenants/{tenant}/messages?limit=200{after}")
                seen["items"] += page["items"]
                seen["after"] = page["next"] or seen["after"]
                if not page["items"]:
                    break

    def stored(self):
        return sum(len(t["items"]) for t in self.tenants.values())

    def settle(self, patience=120):
        """Waits until all that was sent is stored, then compares everything; delays are of what was sent since `phase`."""
        rate, self.rate = self.rate, 0.0   # what arrived while it compares would only look wrong
        time.sleep(0.5)
        with self.lock:
            want, since = len(self.sent), self.phase_from
        until = time.time() + patience
        while True:
            self.read_feed()
            if self.stored() >= want or time.time() > until:
                break
            time.sleep(0.2)
        out = self.compare()
        self.rate = rate
        delays = sorted(d for sent, d in self.delays() if sent >= since)
        at = lambda q: round(delays[min(len(delays) - 1, int(q * len(delays)))], 3) if delays else None
        out.update({"of_phase": len(delays), "p50": at(0.5), "p99": at(0.99), "max": at(1.0), "api_asked": self.asked, "api_unanswered": self.unanswered})
        return out

    def delays(self):
        from datetime import datetime
        for t in self.tenants.values():
            for m in t["items"]:
                sent = float(m["subject"].split("sent=")[1])
                yield sent, datetime.fromisoformat(m["received_at"].replace("Z", "+00:00")).timestamp() - sent

    def compare(self):
        by_channel = {}
        for t in self.tenants.values():
            for m in t["items"]:
                by_channel.setdefault(m["channel"], []).append(m)
        missing = doubled = other = gaps = mails = 0
        examples = []
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            boxes = list(pool.map(lambda b: digests(b["address"]), self.boxes))
        for box, there in zip(self.boxes, boxes):
            stored = by_channel.get(box["channel"], [])
            have = Counter(m["sha256"] for m in stored)
            mails += sum(there.values())
            missing += sum((there - have).values())
            doubled += sum(max(0, n - there[d]) for d, n in have.items() if d in there)
            other += sum(n for d, n in have.items() if d not in there)
            if sorted(m["sequence"] for m in stored) != list(range(1, len(stored) + 1)):
                gaps += 1
            if there != have and len(examples) < 5:
                examples.append(f"{box['address']} {box['channel']}: {sum(there.values())} in the mailbox, {sum(have.values())} stored")
        return {"mails": mails, "missing": missing, "doubled": doubled, "other": other, "gaps": gaps, "examples": examples}


def digests(address):
    """sha256 of every message in a mailbox, as the server gives it."""
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE   # our own server, at our own address
    with imaplib.IMAP4_SSL("127.0.0.1", IMAPS, ssl_context=trust) as imap:
        imap.login(address, PASSWORD)
        _, count = imap.select("INBOX", readonly=True)
        if count[0] == b"0":
            return Counter()
        _, parts = imap.fetch("1:*", "(BODY.PEEK[])")
        return Counter(hashlib.sha256(p[1]).hexdigest() for p in parts if isinstance(p, tuple))


def serve(folder):
    world = World(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            try:
                status, said = 200, getattr(world, self.path.strip("/"))(**given)
            except Exception as e:   # told to the driver, which decides
                status, said = 500, {"error": f"{type(e).__name__}: {e}"}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", CONTROL), Handler)
    import signal
    signal.signal(signal.SIGTERM, lambda *_: (world.dovecot.terminate(), world.dovecot.wait(10), os._exit(0)))
    server.serve_forever()


def call(path, given):
    request = urllib.request.Request(f"http://127.0.0.1:{CONTROL}/{path}", data=given.encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=900) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as e:
        print(e.read().decode())
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "{}"))
