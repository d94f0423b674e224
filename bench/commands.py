# bench/commands.py — what the command line itself costs, as one table; see scripts/bench.
#
#   build     a real C project (busybox 1.35, some 600 files) made by `make -j2` under `mirrord exec` with everything local,
#             in turns with the bare build; --pairs N
#   start     user and system time of `mirrord --version`, and of verify-config with every key of the configuration set
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIRRORD = os.environ["MIRRORD"]
LOCAL = {"feature": {"fs": "local", "env": False, "network": {"incoming": "off", "outgoing": False, "dns": False}}}
RUNS = 50


def print_row(what, measured, beside, allowed, is_met):
    print("| %s | %s | %s | %s | %s |" % (what, measured, beside, allowed, "" if is_met else "**missed**"), flush=True)


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit("%s ended with %d:\n%s" % (" ".join(command), done.returncode, done.stdout[-4000:]))
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def timed_build(tree, *before):
    run("make", "-s", "clean", cwd=tree)
    os.sync()
    begin = time.monotonic()
    run(*before, "make", "-s", "-j2", cwd=tree)
    return time.monotonic() - begin


def bench_build(folder, pairs):
    tree = os.path.join(folder, "busybox")
    os.mkdir(tree)
    run(os.path.join(ROOT, "tests", "apps", "busybox"), "--source", tree)
    run("make", "-s", "defconfig", cwd=tree)
    # Needs names that newer kernels' headers no longer have.
    write(os.path.join(tree, ".config"), open(os.path.join(tree, ".config"), encoding="utf-8").read().replace(
        "CONFIG_TC=y", "# CONFIG_TC is not set").replace("CONFIG_FEATURE_TC_INGRESS=y\n", ""))
    subprocess.run("yes '' 2>/dev/null | make -s oldconfig", shell=True, cwd=tree, stdout=subprocess.DEVNULL, check=False)
    config = write(os.path.join(folder, "local.json"), json.dumps(LOCAL))
    with subprocess.Popen(["sleep", "3600"]) as target:
        try:
            under = [MIRRORD, "exec", "-t", "process/%d" % target.pid, "-f", config, "--"]
            bare, hooked = [], []
            for _ in range(pairs):
                bare.append(timed_build(tree))
                hooked.append(timed_build(tree, *under))
        finally:
            target.kill()
    ratio = statistics.median(h / b for h, b in zip(hooked, bare))
    objects = sum(name.endswith(".o") for _, _, names in os.walk(tree) for name in names)
    print_row("build of %d C files, everything local" % objects, "%.1f s" % statistics.median(hooked),
              "%.1f s (bare), ratio %.3f" % (statistics.median(bare), ratio), "≤ 1.05", ratio <= 1.05)


def full_configuration():
    """All parts of a configuration that people write, with long lists."""
    return {
        "target": {"path": "deployment/shop/container/main", "namespace": "staging"},
        "kube_context": "staging", "accept_invalid_certificates": False, "operator": False, "telemetry": False,
        "skip_processes": ["bash", "make"], "skip_build_tools": True, "key": "bench",
        "agent": {"namespace": "tools", "log_level": "mirrord=info", "ttl": 30, "ephemeral": False, "flush_connections": True,
                  "communication_timeout": 30, "startup_timeout": 60, "privileged": False, "labels": {"team": "shop"},
                  "annotations": {"cost": "dev"}, "tolerations": [{"operator": "Exists"}],
                  "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "200Mi"}},
                  "dns": {"timeout": 2, "attempts": 3}},
        "feature": {
            "env": {"include": ";".join("SHOP_%d_*" % i for i in range(40)),
                    "override": {"NAME_%d" % i: "value %d" % i for i in range(100)},
                    "mapping": {"^DB_%d_.*$" % i: "x" for i in range(20)}, "unset": ["AWS_PROFILE", "GITHUB_TOKEN"]},
            "fs": {"mode": "read", "read_only": ["^/etc/app/%d/.+\\.ya?ml$" % i for i in range(50)],
                   "read_write": ["^/data/%d/" % i for i in range(20)], "local": ["^/home/[^/]+/%d/" % i for i in range(50)],
                   "not_found": ["\\.%d$" % i for i in range(20)], "mapping": {"^/var/lib/%d/(.+)$" % i: "/srv/$1" for i in range(20)}},
            "network": {
                "incoming": {"mode": "steal", "ports": list(range(8000, 8050)), "ignore_ports": [],
                             "port_mapping": [[3000 + i, 9000 + i] for i in range(20)], "ignore_localhost": True,
                             "http_filter": {"all_of": [{"header": "^x-user: .*me.*$"}, {"path": "^/api/v[0-9]+/"},
                                                        {"method": "POST"}], "ports": [8000, 8001]},
                             "on_concurrent_steal": "override"},
                "outgoing": {"tcp": True, "udp": True, "filter": {
                    "remote": ["tcp://10.%d.0.0/16:5432" % i for i in range(100)] + ["shop-%d.example" % i for i in range(50)]}},
                "dns": {"enabled": True, "filter": {"local": ["corp-%d.example" % i for i in range(50)]}},
                "ipv6": True},
            "hostname": True},
        "internal_proxy": {"log_level": "info", "start_idle_timeout": 60, "idle_timeout": 5},
        "experimental": {"tcp_ping4_mock": True}}


def cpu_milliseconds(*command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(RUNS):
        run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000 / RUNS


def bench_start(folder):
    config = write(os.path.join(folder, "full.json"), json.dumps(full_configuration()))
    report = json.loads(run(MIRRORD, "verify-config", config))
    if report["type"] != "Success":
        sys.exit(("the full configuration is not right: %s" % report)[:2000])
    bare = "%.1f ms (/bin/true)" % cpu_milliseconds("/bin/true")
    for name, command in (("`mirrord --version`", ("--version",)),
                          ("`mirrord verify-config`, %d bytes" % os.path.getsize(config), ("verify-config", config))):
        spent = cpu_milliseconds(MIRRORD, *command)
        print_row(name + ": user and system time", "%.1f ms" % spent, bare, "< 5 ms", spent < 5)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench commands")
    parser.add_argument("--pairs", type=int, default=3, help="builds of each kind; 0: none")
    options = parser.parse_args()
    print("| what | measured | beside it | allowed | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mirrord-bench-") as folder:
        bench_start(folder)
        if options.pairs > 0:
            bench_build(folder, options.pairs)


if __name__ == "__main__":
    main()
