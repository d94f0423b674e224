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

constexpr std::array<MailServer, 2> kMailServers = {{
    {"partner.example", 10, "mx1.partner.example"},
    {"partner.example", 20, "mx2.partner.example"},
}};

constexpr std::array<ServiceRecord, 2> kServiceRecords = {{
    {"_http._tcp.shop.demo.svc.cluster.local",     80,   "shop.demo.svc.cluster.local"},
    {"_pg._tcp.postgres.demo.svc.cluster.local",   5432, "postgres.demo.svc.cluster.local"},
}};
// clang-format on

// Longer than a datagram of DNS: asked for again over TCP.
constexpr char kTerms[] =
    "These terms are longer than the five hundred and twelve bytes that a name server may send in "
    "one datagram, so that whoever wants to read them has to come back over a stream connection. "
    "They say that the shop sells what it shows, that it shows what it has, and that it has what "
    "it sold yesterday less what was returned in the night. They also say that the partner may "
    "count on the answer being whole: a text that ends in the middle of a sentence is not the one "
    "that was asked for. Whoever has read this far has read more than most, and may stop here.";

constexpr std::array<Text, 2> kTexts = {{
    {"partner.example", "v=spf1 mx -all"},
    {"terms.partner.example", kTerms},
}};

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

std::span<const MailServer> pod_mail_servers() {
  return kMailServers;
}

std::span<const ServiceRecord> pod_service_records() {
  return kServiceRecords;
}

std::span<const Text> pod_texts() {
  return kTexts;
}

}  // namespace mirrord::demo
