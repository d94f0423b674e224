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
