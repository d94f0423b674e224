// applets/demo/tree.cpp — the pod's files: configuration, secrets, and a data directory of some size.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>

#include "applets/demo/pod.h"
#include "net/file.h"

namespace mirrord::demo {
namespace {

struct TextFile {
  const char* path;
  mode_t mode;
  const char* text;
};

// clang-format off
constexpr std::array kTextFiles = std::to_array<TextFile>({
    {"etc/hostname", 0644, "shop-7d4b9c6f5-x2k8p\n"},
    {"etc/hosts", 0644,
     "127.0.0.1 localhost\n"
     "::1 localhost ip6-localhost\n"
     "10.244.1.17 shop-7d4b9c6f5-x2k8p\n"
     "10.96.12.34 pinned.internal\n"},
    {"etc/resolv.conf", 0644,
     "search demo.svc.cluster.local svc.cluster.local cluster.local\n"
     "nameserver 10.96.0.10\n"
     "options ndots:5\n"},
    {"etc/os-release", 0644, "NAME=\"mirrord demo\"\nID=demo\nVERSION_ID=1\n"},
    {"etc/passwd", 0644, "root:x:0:0:root:/root:/bin/sh\nshop:x:1000:1000:shop:/app:/bin/sh\n"},
    {"etc/group", 0644, "root:x:0:\nshop:x:1000:\n"},
    {"app/config.yaml", 0644,
     "# Configuration of the shop, as it is in the pod.\n"
     "environment: staging\n"
     "database:\n"
     "  host: postgres.demo.svc.cluster.local\n"
     "  port: 5432\n"
     "features:\n"
     "  checkout: new\n"
     "  recommendations: false\n"},
    {"app/version", 0644, "2.14.0\n"},
    {"app/run", 0755, "#!/bin/sh\nexec /app/shop --config /app/config.yaml\n"},
    {"run/secrets/kubernetes.io/serviceaccount/token", 0600, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJkZW1vIn0.\n"},
    {"run/secrets/kubernetes.io/serviceaccount/namespace", 0644, "demo"},
    {"run/secrets/kubernetes.io/serviceaccount/ca.crt", 0644,
     "-----BEGIN CERTIFICATE-----\nZGVtbw==\n-----END CERTIFICATE-----\n"},
    {"data/README", 0644, "The data directory of the demo: every file here exists inside only.\n"},
    {"data/empty", 0644, ""},
    {"data/name with spaces.txt", 0644, "spaces\n"},
    {"data/grüße.txt", 0644, "Grüße\n"},
    {"data/no newline at the end", 0644, "no newline"},
    {"data/script", 0755, "#!/bin/sh\necho from inside\n"},
    {"data/deep/one/two/three/four/five/six/leaf.txt", 0644, "leaf\n"},
    {"var/log/shop.log", 0644, "started\n"},
});

struct Link {
  const char* path;
  const char* target;
};
constexpr std::array kLinks = std::to_array<Link>({
    {"var/run", "/run"},
    {"var/lock", "/run/lock"},
    {"data/links/absolute", "/app/config.yaml"},
    {"data/links/relative", "../README"},
    {"data/links/directory", "../catalog"},
    {"data/links/chain", "relative"},
    {"data/links/dangling", "/nowhere/at/all"},
    {"data/links/loop", "loop"},
    {"data/links/outside", "../../../../../../etc/hostname"},
});
// clang-format on

constexpr int kCatalogFolders = 16;
constexpr int kCatalogFiles = 20;  // in each folder
constexpr int kImages = 12;
constexpr std::size_t kArchiveBytes = 8 << 20;
// Files look as if they had been there before: the first day of 2024, with odd nanoseconds.
constexpr std::time_t kFileTime = 1'704'067'200;

// The same bytes on every run; not compressible, so that no mix-up goes unnoticed.
std::string noise(std::uint64_t seed, std::size_t size) {
  std::string bytes(size, '\0');
  std::uint64_t state = seed * 0x9E37'79B9'7F4A'7C15 + 1;
  for (char& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<char>(state >> 32);
  }
  return bytes;
}

Status write_file(const std::string& path, mode_t mode, std::string_view bytes) {
  net::make_parent_directories(path, 0755);
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.is_open())
    return fail_system("create " + path, errno);
  fchmod(file.get(), mode);
  while (!bytes.empty()) {
    const ssize_t count = write(file.get(), bytes.data(), bytes.size());
    if (count < 0)
      return fail_system("write " + path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  const auto odd = static_cast<long>(path.size()) * 1'234'567;
  const std::array<timespec, 2> times{timespec{kFileTime, odd}, timespec{kFileTime, odd + 1}};
  futimens(file.get(), times.data());
  return {};
}

std::string numbered(const char* format, int a, int b = 0) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, a, b);
  return text.data();
}

Status make_catalog() {
  for (int folder = 0; folder < kCatalogFolders; ++folder) {
    for (int file = 0; file < kCatalogFiles; ++file) {
      const int number = folder * kCatalogFiles + file;
      std::string text = numbered("{\"item\": %d, \"price\": %d, \"notes\": [", number, number * 7);
      for (int line = 0; line <= number * 37 % 230; ++line)
        text += numbered("\n  \"line %d of %d\",", line, number);
      text += "\n  \"end\"]}\n";
      MIRRORD_CHECK_STATUS(
          write_file(numbered("data/catalog/%02d/item-%02d.json", folder, file), 0644, text));
    }
  }
  return {};
}

Status make_big_files() {
  for (int image = 0; image < kImages; ++image) {
    const auto number = static_cast<std::uint64_t>(image) + 1;
    MIRRORD_CHECK_STATUS(write_file(numbered("data/images/photo-%02d.raw", image), 0644,
                                    noise(number, 31'003 * number)));
  }
  MIRRORD_CHECK_STATUS(write_file("data/archive.bin", 0644, noise(99, kArchiveBytes)));
  MIRRORD_CHECK_STATUS(write_file("data/sparse", 0644, "begin"));
  return truncate("data/sparse", 1 << 20) == 0 ? Status{} : fail_system("make a hole", errno);
}

// Device nodes cannot be made in a user namespace: the machine's own are put on empty files.
void make_devices() {
  for (const char* name : {"null", "zero", "full", "random", "urandom"}) {
    const std::string outside = std::string("/dev/") + name;
    const std::string inside = std::string("dev/") + name;
    const Fd place(open(inside.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    mount(outside.c_str(), inside.c_str(), nullptr, MS_BIND, nullptr);
  }
}

}  // namespace

Status make_tree() {
  umask(0);
  for (const char* folder : {"proc", "sys", "dev", "etc", "run", "run/lock", "run/shop", "root",
                             "var/empty", "data/links"}) {
    net::make_parent_directories(folder, 0755);
    mkdir(folder, 0755);
  }
  mkdir("tmp", 01777);
  chmod("tmp", 01777);
  for (const TextFile& file : kTextFiles)
    MIRRORD_CHECK_STATUS(write_file(file.path, file.mode, file.text));
  for (const Link& link : kLinks) {
    net::make_parent_directories(link.path, 0755);
    if (symlink(link.target, link.path) != 0)
      return fail_system(std::string("link ") + link.path, errno);
  }
  if (::link("data/README", "data/links/hard") != 0)
    return fail_system("link data/links/hard", errno);
  if (mkfifo("data/fifo", 0644) != 0)
    return fail_system("make data/fifo", errno);
  MIRRORD_CHECK_STATUS(make_catalog());
  MIRRORD_CHECK_STATUS(make_big_files());
  make_devices();
  umask(022);
  return {};
}

}  // namespace mirrord::demo
