# tests/apps/probe.py — the program under test in Python: os.walk, pathlib, asyncio, multiprocessing.
import asyncio
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import threading
import zlib


def crc(path):
    with open(path, "rb") as file:
        return "%08x" % zlib.crc32(file.read())


def files(top):
    found = []
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append(path)
    for path in sorted(found):
        print(crc(path), os.path.getsize(path), path)


def pathlib_files(top):
    for path in sorted(str(p) for p in pathlib.Path(top).rglob("*") if p.is_file() and not p.is_symlink()):
        data = pathlib.Path(path).read_bytes()
        print("%08x" % zlib.crc32(data), len(data), path)


def stat(path):
    info = os.stat(path)
    print(info.st_size, "%o" % (info.st_mode & 0o7777), int(info.st_mtime))


def env(name):
    print(os.environ[name])


def resolve(name):
    print(*sorted({entry[4][0] for entry in socket.getaddrinfo(name, None)}))


def get(url):
    import urllib.request
    sys.stdout.write(urllib.request.urlopen(url, timeout=20).read().decode())


def requests_get(url):
    import requests
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(url, timeout=20)
        sys.stdout.write(answer.text)


def asyncio_get(*urls):
    async def one(url):
        host, path = url.split("/", 3)[2:]
        reader, writer = await asyncio.open_connection(host, 80)
        writer.write(("GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (path, host)).encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.split(b"\r\n\r\n", 1)[1].decode()

    async def all_of_them():
        return await asyncio.gather(*(one(url) for url in urls))

    for text in asyncio.run(all_of_them()):
        sys.stdout.write(text)


def asyncio_spawn(*command):
    async def run():
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        return (await child.communicate())[0]

    sys.stdout.write(asyncio.run(run()).decode())


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    with open(path, encoding="utf-8") as file:
        print(file.read())


def spawn(*command):
    sys.stdout.write(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def threads(count, path):
    results = []
    group = [threading.Thread(target=lambda: results.append(crc(path))) for _ in range(int(count))]
    for thread in group:
        thread.start()
    for thread in group:
        thread.join()
    print(len(set(results)), results[0])


def processes(method, count, path):
    context = multiprocessing.get_context(method)
    with context.Pool(4) as pool:
        results = pool.map(crc, [path] * int(count))
    print(len(set(results)), results[0])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
