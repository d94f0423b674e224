#!/usr/bin/env python3
# tests/fuzz/make_corpus.py — writes seed files, from the golden vectors and of random choices: make_corpus.py DIRECTORY
import json
import random
import sys
from pathlib import Path

vectors = Path(__file__).resolve().parents[1] / "vectors"
out = Path(sys.argv[1])


def write(target, number, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{number:03}").write_bytes(data)


def bytes_of(vector):
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    return b"".join(bytes.fromhex(run) * count for run, count in vector["hex_rle"])


for file in ("client", "daemon", "malformed"):
    for number, vector in enumerate(json.loads((vectors / f"{file}.json").read_text())):
        side = "client" if vector["message"] == "ClientMessage" else "daemon"
        data = bytes_of(vector)
        if len(data) < 5000:
            write(f"{side}_message_fuzz", number + (1000 if file == "malformed" else 0), data)
for number, vector in enumerate(json.loads((vectors / "stream.json").read_text())):
    if vector["message"] == "DaemonMessage":
        write("stream_fuzz", number, bytes([0, 1, 2, 7, 30, 63, 200, 255]) + bytes_of(vector))

# Sessions: the inputs are choices, so any bytes are a conversation; these are the same every time.
choices = random.Random(1)
for target in ("agent_session_fuzz", "intproxy_session_fuzz", "local_packets_fuzz"):
    for number in range(60):
        size = choices.choice((30, 100, 300, 900))
        write(target, number, bytes(choices.choice((choices.randrange(256), choices.randrange(16)))
                                    for _ in range(size)))

# What an API server shows: a pod, a list of them, events, a workload; and a list in protobuf.
pod = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"},
       "spec": {"nodeName": "n", "containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 80}],
                                                 "livenessProbe": {"httpGet": {"port": "http"}}}]},
       "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}],
                  "conditions": [{"type": "Ready", "status": "True"}],
                  "containerStatuses": [{"name": "app", "ready": True, "state": {"running": {}},
                                         "containerID": "containerd://0123"}]}}
event = {"type": "Warning", "reason": "Failed", "message": "Failed to pull image",
         "involvedObject": {"fieldPath": "spec.containers{mirrord-agent}"}}
workload = {"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
    {"key": "t", "operator": "In", "values": ["x"]}]}}}
for number, value in enumerate((pod, {"kind": "PodList", "items": [pod, pod]}, event, workload)):
    write("cluster_objects_fuzz", number, json.dumps(value).encode())


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


condition = field(2, field(1, b"Ready") + field(2, b"True"))
item = field(1, field(1, b"a")) + field(2, field(2, field(1, b"app"))) + field(3, condition)
write("cluster_objects_fuzz", 10, b"k8s\0" + field(1, field(1, b"v1")) + field(2, field(2, item)))
write("cluster_objects_fuzz", 11, b"label/b=2,a=1/container/c")


def frame(payload, opcode=2):
    return bytes([0x80 | opcode, len(payload)]) + payload


# Port-forwards to port 8080, after the two bytes that choose the protocol and the pieces.
greeting = frame(b"\0\x90\x1f") + frame(b"\1\x90\x1f")
spdy = (b"\x80\3\0\2\0\0\0\4\0\0\0\1" + b"\x80\3\0\2\0\0\0\4\0\0\0\3" + b"\0\0\0\3\0\0\0\5hello" +
        b"\x80\3\0\6\0\0\0\4\0\0\0\2" + b"\0\0\0\1\0\0\0\4oops" + b"\0\0\0\3\1\0\0\0" + b"\0\0\0\1\1\0\0\0")
write("tunnel_fuzz", 0, b"\0\5" + greeting + frame(b"\0hello") + frame(b"ping", 9) + frame(b"\1refused") +
      frame(b"\3\xe8bye", 8))
write("tunnel_fuzz", 1, b"\1\7" + frame(spdy[:30]) + frame(spdy[30:]))
write("tunnel_fuzz", 2, b"\2\3" + spdy)
