#!/usr/bin/env python3
# tests/unit/proto/wire_test.py — `mirrord wire` of the executable against the golden vectors.
import json
import os
import subprocess
import unittest
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


def wire(action, side, lines):
    return subprocess.run([os.environ["MIRRORD"], "wire", action, side], input="\n".join(lines) + "\n",
                          capture_output=True, text=True, timeout=60)


def vectors(file, side):
    name = {"client": "ClientMessage", "daemon": "DaemonMessage"}[side]
    return [v for v in json.loads((VECTORS / file).read_text()) if v["message"] == name]


def hexadecimal(vector):
    return vector["hex"] if "hex" in vector else "".join(h * n for h, n in vector["hex_rle"])


class Wire(unittest.TestCase):
    def test_decodes_every_vector_to_one_line_of_json(self):
        for side in ("client", "daemon"):
            all_vectors = vectors(side + ".json", side)
            result = wire("decode", side, [v["hex"] for v in all_vectors])
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            lines = result.stdout.splitlines()
            self.assertEqual(len(lines), len(all_vectors))
            for vector, line in zip(all_vectors, lines):
                self.assertEqual(json.loads(line), vector["value"], vector["name"])

    def test_encodes_every_vector_to_its_bytes(self):
        for side in ("client", "daemon"):
            ordered = [v for v in vectors(side + ".json", side) if not v.get("unordered")]
            result = wire("encode", side, [json.dumps(v["value"]) for v in ordered])
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertEqual(result.stdout.splitlines(), [v["hex"] for v in ordered])

    def test_gives_an_error_line_for_what_is_refused_or_cut_short(self):
        for side in ("client", "daemon"):
            malformed = vectors("malformed.json", side)
            result = wire("decode", side, [hexadecimal(v) for v in malformed])
            self.assertEqual(result.returncode, 1)
            lines = result.stdout.splitlines()
            self.assertEqual(len(lines), len(malformed))
            for vector, line in zip(malformed, lines):
                accepted = vector.get("ours", vector["verdict"]) == "accept"
                self.assertEqual(line.startswith("error: "), not accepted, (vector["name"], line))

    def test_notes_bytes_after_the_message(self):
        result = wire("decode", "client", ["0707"])
        self.assertEqual((result.returncode, result.stdout), (0, '"Ping"\n'))
        self.assertEqual(result.stderr, "line 1: 1 bytes after the message\n")

    def test_says_where_json_is_wrong(self):
        cases = {
            '{"Tcp": {"PortSubscribe": 70000}}':
                "error: Tcp.PortSubscribe: expected an integer from 0 to 65535",
            '{"Tcp": {"PortSubscibe": 1}}': 'error: Tcp: no case "PortSubscibe" in LayerTcp',
            '{"FileRequest": {"Close": {"df": 1}}}': 'error: FileRequest.Close: no field "df"',
            '{"Ping": ': "error: not JSON from column 9 on",
            '{"SwitchProtocolVersion": "1.2"}':
                "error: SwitchProtocolVersion: expected a semantic version",
            '{"TcpOutgoing": {"Write": {"connection_id": 1}}}':
                'error: TcpOutgoing.Write.bytes: expected {"bytes_hex": "…"}',
        }
        result = wire("encode", "client", cases)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout.splitlines(), list(cases.values()))

    def test_refuses_other_arguments_and_explains_itself(self):
        self.assertEqual(wire("decode", "server", []).returncode, 2)
        result = subprocess.run([os.environ["MIRRORD"], "wire", "--help"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0)
        self.assertIn("Usage: mirrord wire decode client|daemon", result.stdout)


if __name__ == "__main__":
    unittest.main()
