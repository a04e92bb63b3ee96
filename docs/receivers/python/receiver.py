#!/usr/bin/env python3
"""A minimal receiver of Mailherd's webhooks with nothing but Python's own library: verifies the signature, drops repeats, answers at once.

    WEBHOOK_SECRET=whsec_... PORT=3000 SEEN_FILE=seen.txt python3 receiver.py

What it takes is durable before it answers 204: an id stands in SEEN_FILE, one a line. In production that is your database, and the id and whatever you
make of the message are written in one transaction.
"""
import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
SEEN_FILE = Path(os.environ.get("SEEN_FILE", "seen.txt"))
TOLERANCE_SECONDS = 300
seen = set(SEEN_FILE.read_text().split()) if SEEN_FILE.exists() else set()
lock = Lock()


def verified(headers, body):
    """Is one of the signatures ours, over exactly these bytes, and not old? (Two are sent while the secret is being rotated.)"""
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    given = [s.removeprefix("v1,") for s in headers.get("webhook-signature", "").split() if s.startswith("v1,")]
    return any(hmac.compare_digest(wanted, s) for s in given)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are used again

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not verified(self.headers, body):
            return self.answer(401)
        event, event_id = json.loads(body), self.headers["webhook-id"]
        with lock:
            if event_id not in seen:
                if event["type"] == "message.received":
                    data = event["data"]
                    shown = {"id": event_id, "channel": data["channel"], "sequence": data["sequence"], "subject": data["subject"]}
                    # Says that no person wrote it (bounce, auto_reply, list ...): never answer such mail, or two robots write to each other for ever.
                    shown["automatic"] = data["automatic"] and data["automatic"]["kind"]
                    print(json.dumps(shown), flush=True)
                with SEEN_FILE.open("a") as f:
                    f.write(event_id + "\n")
                seen.add(event_id)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Receiver)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
