#!/usr/bin/env python3
"""The herd on a real Kubernetes: installed from deploy/'s demo overlay, mail flowing, while pods, versions and machines come and go.

After each event what was stored is compared with what lies in the mailboxes: every message once, sequences without gaps. Times are printed.
Started by `./dev k8s-test`, which builds the images. Uses only kubectl and the cluster that it points to; leaves nothing there (--keep: everything).

  KUBECTL      how to call kubectl                              (kubectl)
  NODE_KILL    command that takes the power from a machine, its name as last argument; without it that event is left out
  NODE_START   command that brings the machine back
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = shlex.split(os.environ.get("KUBECTL", "kubectl"))
NAMESPACE = "mailherd-test"
NODES = "app.kubernetes.io/component=node"
READY_WITHIN = 300


def run(command, given=None, check=True, timeout=600):
    done = subprocess.run(command, input=given, text=True, capture_output=True, timeout=timeout)
    if check and done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def kubectl(*words, given=None, check=True, timeout=600):
    return run([*KUBECTL, "-n", NAMESPACE, *words], given, check, timeout)


def get(*words):
    return json.loads(kubectl("get", *words, "-o", "json").stdout)


def peer(path, timeout=900, **given):
    done = kubectl("exec", "peers-0", "--", "python3", "/peer/peer.py", "call", path, json.dumps(given), check=False, timeout=timeout)
    if done.returncode != 0:
        raise SystemExit(f"{path}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


# ---- what is installed

PEERS = """
apiVersion: v1
kind: Service
metadata: {name: peers}
spec:
  clusterIP: None
  selector: {app: peers}
  ports:
    - {name: imaps, port: 10993}
    - {name: pop3s, port: 10994}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: peers}
spec:
  serviceName: peers
  selector: {matchLabels: {app: peers}}
  template:
    metadata: {labels: {app: peers}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: peers
          image: test
          imagePullPolicy: IfNotPresent
          command: [python3, /peer/peer.py, serve, /data]
          env:
            - {name: PEER_HOST, value: peers}
            - {name: PEER_CERTIFICATE, value: /tls/peer.crt}
            - {name: PEER_KEY, value: /tls/peer.key}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: peer, mountPath: /peer}
            - {name: tls, mountPath: /tls}
      volumes:
        - {name: data, emptyDir: {}}
        - {name: peer, configMap: {name: peer}}
        - {name: tls, secret: {secretName: peer-tls, defaultMode: 288}}
"""

OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [../demo, peers.yaml]
configMapGenerator:
  - {{name: peer, files: [peer.py]}}
  - {{name: authority, files: [ca.crt=tls/ca.crt]}}
  - name: mailherd-settings
    behavior: merge
    literals: [MAILHERD_PRIVATE_TARGETS=all, MAILHERD_CA_FILE=/run/authority/ca.crt, MAILHERD_POLL_INTERVAL=2s]
secretGenerator:
  - {{name: peer-tls, files: [tls/peer.crt, tls/peer.key]}}
images:
  - {{name: localhost/mailherd, newName: {name}, newTag: "{tag}"}}
  - {{name: docker.io/library/postgres, newName: {test_name}, newTag: "{test_tag}"}}
  - {{name: test, newName: {test_name}, newTag: "{test_tag}"}}
patches:
  - target: {{kind: Namespace}}
    patch: |-
      - {{op: replace, path: /metadata/name, value: {namespace}}}
  - target: {{kind: StatefulSet, name: mailherd}}
    patch: |-
      - {{op: add, path: /spec/template/spec/volumes/-, value: {{name: authority, configMap: {{name: authority}}}}}}
      - {{op: add, path: /spec/template/spec/containers/0/volumeMounts/-, value: {{name: authority, mountPath: /run/authority}}}}
      - {{op: replace, path: /spec/template/spec/containers/0/resources, value: {{requests: {{cpu: 50m, memory: 128Mi}}, limits: {{memory: 512Mi}}}}}}
{old}
  - target: {{kind: NetworkPolicy, name: mailherd}}
    patch: |-
      - {{op: add, path: /spec/egress/-, value: {{to: [{{podSelector: {{matchLabels: {{app: peers}}}}}}]}}}}
  # It stays where it is and ends with the test: no volume is used up.
  - target: {{kind: StatefulSet, name: database}}
    patch: |-
      - {{op: remove, path: /spec/volumeClaimTemplates}}
      - {{op: add, path: /spec/template/spec/volumes/-, value: {{name: data, emptyDir: {{}}}}}}
      - {{op: add, path: /spec/template/spec/nodeSelector, value: {{kubernetes.io/hostname: {database}}}}}
  - target: {{kind: StatefulSet, name: peers}}
    patch: |-
      - {{op: add, path: /spec/template/spec/nodeSelector, value: {{kubernetes.io/hostname: {peers}}}}}
"""

# A cluster older than 1.30 does not know these; what they do is then not tested.
WITHOUT_NEW_FIELDS = """      - {op: remove, path: /spec/template/spec/containers/0/lifecycle}
      - {op: remove, path: /spec/minReadySeconds}"""


def make_certificates(folder):
    folder.mkdir()
    def openssl(*words):
        run(["openssl", *words])
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=Test authority", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=peers", "-keyout", f"{folder}/peer.key", "-out", f"{folder}/peer.csr")
    (folder / "ext").write_text("subjectAltName=DNS:peers,DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", f"{folder}/peer.csr", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", f"{folder}/ext", "-out", f"{folder}/peer.crt")


class Herd:
    def __init__(self, work, options):
        self.work, self.options = work, options
        self.version = json.loads(run([*KUBECTL, "version", "-o", "json"]).stdout)["serverVersion"]
        minor = re.match(r"\d+", self.version["minor"])   # a cluster of somebody's own making may not say
        self.minor = int(minor[0]) if minor else 30 if "policy/v1\n" in run([*KUBECTL, "api-versions"]).stdout else 20
        machines = json.loads(run([*KUBECTL, "get", "nodes", "-o", "json"]).stdout)["items"]
        self.machines = sorted(m["metadata"]["name"] for m in machines)
        self.homes = {"database": self.machines[0], "peers": self.machines[-1]}   # these stay
        print(f"Kubernetes {self.version['gitVersion']}, machines {', '.join(self.machines)}; {self.homes}")
        shutil.copytree(ROOT / "deploy", work / "deploy", ignore=shutil.ignore_patterns("secrets"))
        self.overlay = work / "deploy/kubernetes/overlays/test"
        self.overlay.mkdir()
        run([str(work / "deploy/kubernetes/new-secrets"), str(work / "deploy/kubernetes/overlays/demo/secrets")])
        self.token = (work / "deploy/kubernetes/overlays/demo/secrets/admin-token").read_text().strip()
        make_certificates(self.overlay / "tls")
        (self.overlay / "peers.yaml").write_text(PEERS)
        shutil.copy(ROOT / "tests/rolling/peer.py", self.overlay)

    def apply(self, image):
        name, tag = image.rsplit(":", 1)
        test_name, test_tag = self.options.test_image.rsplit(":", 1)
        (self.overlay / "kustomization.yaml").write_text(OVERLAY.format(
            namespace=NAMESPACE, name=name, tag=tag, test_name=test_name, test_tag=test_tag, database=self.homes["database"], peers=self.homes["peers"], old=WITHOUT_NEW_FIELDS if self.minor < 30 else ""))
        manifests = run(["kubectl", "kustomize", str(self.overlay)]).stdout
        if self.minor < 21:
            manifests = re.sub(r"(?m)^apiVersion: policy/v1$", "apiVersion: policy/v1beta1", manifests)
        kubectl("apply", *(["--validate=false"] if self.minor < 30 else []), "-f", "-", given=manifests)

    def pods(self):
        return {p["metadata"]["name"]: p for p in get("pods", "-l", NODES)["items"]}

    def ready(self, wanted=3, uids_gone=()):
        """Seconds until so many nodes are ready, none of them one of `uids_gone`."""
        started = time.time()
        while time.time() < started + READY_WITHIN:
            pods = self.pods().values()
            good = [p for p in pods if "deletionTimestamp" not in p["metadata"] and p["metadata"]["uid"] not in uids_gone
                    and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]
            if len(good) >= wanted:
                return time.time() - started
            time.sleep(0.5)
        raise SystemExit(f"{wanted} nodes were not ready within {READY_WITHIN} s\n" + kubectl("get", "pods", "-o", "wide").stdout)

    def describe(self):
        print(kubectl("get", "pods", "-o", "wide", check=False).stdout)
        print(kubectl("get", "events", "--sort-by=.lastTimestamp", check=False).stdout[-3000:])
        for name in self.pods():
            print(f"--- {name}\n" + kubectl("logs", name, "--tail=30", check=False).stdout)


# ---- events: each returns a few words on what it measured

def uid(herd, pod):
    return herd.pods()[pod]["metadata"]["uid"]


def quiet(herd):
    time.sleep(15)
    return "no event"


def delete_pod(herd):
    gone = uid(herd, "mailherd-1")
    started = time.time()
    kubectl("delete", "pod", "mailherd-1", "--wait=true")
    ended = time.time() - started
    herd.ready(uids_gone=[gone])
    return f"gone after {ended:.1f} s, three ready again after {time.time() - started:.1f} s"


def kill_pod(herd):
    gone = uid(herd, "mailherd-2")
    started = time.time()
    # Without a shell or kill in the image: the signal comes from deleting without grace.
    kubectl("delete", "pod", "mailherd-2", "--grace-period=0", "--force")
    herd.ready(uids_gone=[gone])
    return f"three ready again after {time.time() - started:.1f} s"


def roll(herd):
    old = [p["metadata"]["uid"] for p in herd.pods().values()]
    started = time.time()
    herd.apply(herd.options.next_image)
    kubectl("rollout", "status", "statefulset/mailherd", f"--timeout={READY_WITHIN}s")
    herd.ready(uids_gone=old)
    images = {c["image"] for p in herd.pods().values() for c in p["spec"]["containers"]}
    assert len(images) == 1 and herd.options.next_image in images.pop(), "some pods still run the old image"
    return f"rolled to {herd.options.next_image.rsplit(':')[-1]} in {time.time() - started:.1f} s"


def machine_with_node(herd):
    """A machine that may go away, and the pods on it. If none has a pod any more, one is brought there: the scheduler spreads what starts anew."""
    for _ in range(4):
        pods = herd.pods()
        free = [p for p in pods.values() if p["spec"].get("nodeName") not in herd.homes.values()]
        if free:
            machine = free[0]["spec"]["nodeName"]
            return machine, [p["metadata"] for p in free if p["spec"]["nodeName"] == machine]
        if not set(herd.machines) - set(herd.homes.values()):
            break
        where = [p["spec"]["nodeName"] for p in pods.values()]
        crowded = next(p["metadata"] for p in pods.values() if where.count(p["spec"]["nodeName"]) > 1)
        kubectl("delete", "pod", crowded["name"])
        herd.ready(uids_gone=[crowded["uid"]])
    return None, []


def drain_machine(herd):
    machine, on_it = machine_with_node(herd)
    if machine is None:
        return "left out: no node runs on a machine besides those of database and mail server"
    started = time.time()
    run([*KUBECTL, "drain", machine, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s"])
    drained = time.time() - started
    herd.ready(uids_gone=[m["uid"] for m in on_it])
    back = time.time() - started
    run([*KUBECTL, "uncordon", machine])
    return f"{machine} with {len(on_it)} nodes: drained in {drained:.1f} s, three ready elsewhere after {back:.1f} s"


def evict_two(herd):
    version = "policy/v1" if herd.minor >= 22 else "policy/v1beta1"
    said, gone = [], []
    started = time.time()
    for pod in ("mailherd-0", "mailherd-1"):
        gone.append(uid(herd, pod))
        body = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
        done = kubectl("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", "-f", "-", given=json.dumps(body), check=False)
        said.append("let go" if done.returncode == 0 else "refused")
    assert said == ["let go", "refused"], f"the disruption budget did not hold: {said}"
    herd.ready(uids_gone=gone[:1])
    return f"first {said[0]}, second {said[1]}; three ready again after {time.time() - started:.1f} s"


def kill_machine(herd):
    kill, start = os.environ.get("NODE_KILL"), os.environ.get("NODE_START")
    machine, on_it = machine_with_node(herd)
    if not kill or not start or machine is None:
        return "left out: no NODE_KILL and NODE_START, or no node on a machine besides those of database and mail server"
    run([*shlex.split(kill), machine])
    time.sleep(45)   # longer than any lease: what the survivors do is measured by the mail
    away = peer("settle", patience=120)
    print(f"    while {machine} is away: {line(away)}")
    assert not wrong(away), "the survivors did not take over"
    started = time.time()
    run([*shlex.split(start), machine])
    herd.ready()
    return f"{machine} with {len(on_it)} nodes away for 45 s and more; three ready {time.time() - started:.1f} s after its return"


EVENTS = [quiet, delete_pod, kill_pod, roll, evict_two, drain_machine, kill_machine]


def line(r):
    return (f"{r['mails']} mails: {r['missing']} missing, {r['doubled']} doubled, {r['other']} unknown, {r['gaps']} gaps; of {r['of_phase']} sent meanwhile "
            f"p50 {r['p50']} s, p99 {r['p99']} s, max {r['max']} s; {r['api_unanswered']} of {r['api_asked']} API calls without an answer")


def wrong(r):
    return r["missing"] or r["doubled"] or r["other"] or r["gaps"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", required=True)
    parser.add_argument("--next-image", required=True)
    parser.add_argument("--test-image", required=True)
    parser.add_argument("--channels", type=int, default=60)
    parser.add_argument("--pop3", type=int, default=6)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--only", default="", help="names of events, with commas between")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    events = [e for e in EVENTS if not options.only or e.__name__ in options.only.split(",")]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="mailherd-k8s-") as work:
        herd = Herd(Path(work), options)
        run([*KUBECTL, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true"])
        try:
            started = time.time()
            herd.apply(options.image)
            kubectl("rollout", "status", "statefulset/database", "--timeout=300s")
            kubectl("rollout", "status", "statefulset/peers", "--timeout=300s")
            herd.ready()
            print(f"installed in {time.time() - started:.1f} s")
            peer("setup", urls=["http://mailherd"], token=herd.token, channels=options.channels, pop3=options.pop3)
            peer("phase")
            peer("traffic", rate=options.rate)
            time.sleep(10)
            first = peer("settle", patience=180)
            print(f"  {options.channels} channels; states {peer('states')}; {line(first)}")
            for event in events:
                owned = {n["name"]: n["channels"] for n in peer("cluster")["nodes"] if n["state"] != "lost"}
                peer("phase")
                measured = event(herd)
                result = peer("settle", patience=180)
                bad += bool(wrong(result))
                print(f"{'FAIL' if wrong(result) else 'ok  '} {event.__name__}: {measured}\n    channels before: {owned}\n    {line(result)}", flush=True)
                for example in result["examples"]:
                    print(f"    {example}")
        except BaseException:
            herd.describe()
            raise
        finally:
            if not options.keep:
                run([*KUBECTL, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"], check=False)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
