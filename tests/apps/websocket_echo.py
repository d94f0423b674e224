# tests/apps/websocket_echo.py — a WebSocket server and its client.
#
#   websocket_echo.py serve NAME PORT    prints "ready", ends with its input
#   websocket_echo.py ask PORT USER      sends messages of many sizes, prints who answered and whether all came back
import asyncio
import os
import sys

import websockets


async def serve(name, port):
    async def echo(socket):
        await socket.send(name)
        async for message in socket:
            await socket.send(message)
    async with websockets.serve(echo, "0.0.0.0", int(port), max_size=None):
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def ask(port, user):
    async with websockets.connect("ws://127.0.0.1:" + port, extra_headers={"X-User": user}, max_size=None) as socket:
        name = await socket.recv()
        is_same = True
        for size in (0, 1, 125, 126, 65535, 65536, 3_000_000):
            message = os.urandom(size)
            await socket.send(message)
            is_same = is_same and await socket.recv() == message
        await socket.send("text")
        print(name, is_same, await socket.recv())

asyncio.run(serve(*sys.argv[2:4]) if sys.argv[1] == "serve" else ask(*sys.argv[2:4]))
