// net/dns_files.h — the resolver's two files, read through a root directory when they change.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "net/dns.h"
#include "net/dns_config.h"

namespace mirrord::net {

// Remembers what a file looked like, so that it is read only after a change.
class WatchedFile {
 public:
  explicit WatchedFile(const char* path) : path_(path) {}
  // The new content if the file changed since the last call (a file that vanished is empty).
  // `root_fd` -1: this process's root.
  std::optional<std::string> read_if_changed(int root_fd);
  // Of the last attempt to open it: 0 or an errno.
  [[nodiscard]] int open_error() const { return open_error_; }

 private:
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = -1;
    timespec modified{}, changed{};
    bool operator==(const Stamp& other) const;
  };

  const char* path_;  // relative to the root
  std::optional<Stamp> stamp_;
  int open_error_ = 0;
};

struct Resolver::Files {
  Fd root;
  WatchedFile resolv_conf{"etc/resolv.conf"};
  WatchedFile hosts_file{"etc/hosts"};
  DnsSettings settings;
  HostsFile hosts;
};

}  // namespace mirrord::net
