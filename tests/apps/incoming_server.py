# tests/apps/incoming_server.py — accepts connections and says who answers, whom, and under which address.
#
#   incoming_server.py NAME PORT [WORKERS]    with workers: they accept on the inherited listener
#
# Each client gets "NAME PEER PORT OWN PORT\n", then everything it sends, then the end. What it has sent is
# printed when it has ended. After "again\n" on standard input the listener is closed and opened anew.
import ctypes
import os
import signal
import socket
import sys
import threading

name, port = sys.argv[1], int(sys.argv[2])
workers = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def listen():
    listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    return listener


def talk(connection, peer):
    with connection:
        own = connection.getsockname()
        connection.sendall(("%s %s %d %s %d\n" % (name, peer[0], peer[1], own[0], own[1])).encode())
        received = b""
        while data := connection.recv(65536):
            received += data if len(received) < 1000 else b""
            connection.sendall(data)
        print("got", received[:1000].decode(errors="replace"), flush=True)


def serve(listener):
    while True:
        try:
            connection, peer = listener.accept()
        except OSError:
            return
        threading.Thread(target=talk, args=(connection, peer), daemon=True).start()


listener = listen()
for _ in range(workers):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: workers end with the program
        serve(listener)
        os._exit(0)
if workers == 0:
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    if line == "again\n":
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        listener = listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        print("ready", flush=True)
