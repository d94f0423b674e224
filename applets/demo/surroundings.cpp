// applets/demo/surroundings.cpp — the pod's environment and the names that its name server knows.
#include <array>

#include "applets/demo/pod.h"

namespace mirrord::demo {
namespace {

// clang-format off
constexpr std::array<const char*, 19> kEnvironment = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "HOSTNAME=shop-7d4b9c6f5-x2k8p",
    "APP_ENV=staging",
    "APP_CONFIG=/app/config.yaml",
    "API_TOKEN=demo-3f9c2a71d05b4e68",
    "CACHE_URL=redis://cache.demo.svc.cluster.local:6379/0",
    "DB_HOST=postgres.demo.svc.cluster.local",
    "DB_NAME=shop",
    "DB_PASSWORD=correct horse battery staple",
    "DB_PORT=5432",
    "DB_USER=shop",
    "GREETING=Grüße aus dem Pod",
    "KUBERNETES_SERVICE_HOST=10.96.0.1",
    "KUBERNETES_SERVICE_PORT=443",
    "OPTIONS=a=1;b=2",
    "PARTNER_URL=http://api.partner.example/",
    "SHOP_URL=http://shop/",
    "EMPTY=",
};

constexpr std::array<Name, 14> kNames = {{
    {"shop.demo.svc.cluster.local",           "10.96.12.34"},
    {"shop.demo.svc.cluster.local",           "fd00:96::12:34"},
    {"echo.demo.svc.cluster.local",           "10.96.12.35"},
    {"echo.demo.svc.cluster.local",           "fd00:96::12:35"},
    {"postgres.demo.svc.cluster.local",       "10.96.12.36"},
    {"cache.demo.svc.cluster.local",          "10.96.12.37"},
    {"headless.demo.svc.cluster.local",       "10.244.1.17"},
    {"headless.demo.svc.cluster.local",       "10.244.1.18"},
    {"headless.demo.svc.cluster.local",       "10.244.1.19"},
    {"six.demo.svc.cluster.local",            "fd00:96::12:34"},
    {"kube-dns.kube-system.svc.cluster.local", "10.96.0.10"},
    {"kubernetes.default.svc.cluster.local",  "10.96.0.1"},
    {"api.partner.example",                   "203.0.113.10"},
    {"api.partner.example",                   "2001:db8:113::10"},
}};

constexpr std::array<Alias, 2> kAliases = {{
    {"store.demo.svc.cluster.local", "shop.demo.svc.cluster.local"},
    {"www.partner.example",          "api.partner.example"},
}};
// clang-format on

}  // namespace

std::span<const char* const> pod_environment() {
  return kEnvironment;
}

std::span<const Name> pod_names() {
  return kNames;
}

std::span<const Alias> pod_aliases() {
  return kAliases;
}

}  // namespace mirrord::demo
