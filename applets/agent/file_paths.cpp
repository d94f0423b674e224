// applets/agent/file_paths.cpp — calls that act on names: access, links, directories, renames.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>

#include "applets/agent/file_calls.h"
#include "proto/errors.h"
#include "proto/text.h"

namespace mirrord::agent {
namespace {

std::unexpected<proto::ResponseError> failed(int error_number) {
  return std::unexpected(proto::from_errno(error_number));
}

// access(2) on an open O_PATH descriptor, with the effective ids.
int access_of(int fd, int mode) {
  const long result = ::syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS);
  if (result == 0 || (errno != ENOSYS && errno != EPERM))
    return static_cast<int>(result);
  std::array<char, 32> path;  // before Linux 5.8
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  return ::faccessat(AT_FDCWD, path.data(), mode, AT_EACCESS);
}

}  // namespace

FileCalls::Res<proto::AccessFileResponse> FileCalls::access(const proto::AccessFileRequest& request,
                                                            Attempt attempt) {
  const Fd found = open_path(root_, request.pathname.value, O_PATH, 0, attempt);
  if (!found || access_of(found.get(), request.mode) != 0)
    return failed(errno);
  return proto::AccessFileResponse{};
}

FileCalls::Res<proto::ReadLinkFileResponse> FileCalls::read_link(const std::string& path,
                                                                 Attempt attempt) {
  const Fd link = open_path(root_, path, O_PATH | O_NOFOLLOW, 0, attempt);
  if (!link)
    return failed(errno);
  std::array<char, PATH_MAX> text;
  const ssize_t size = ::readlinkat(link.get(), "", text.data(), text.size());
  if (size < 0)
    return failed(errno == ENOENT ? EINVAL : errno);  // ENOENT: not a link
  std::string target(text.data(), static_cast<std::size_t>(size));
  if (!proto::is_utf8(target))
    return failed(EILSEQ);  // the wire cannot carry it
  return proto::ReadLinkFileResponse{std::move(target)};
}

FileCalls::Res<proto::FsMetadataInternalV2> FileCalls::stat_fs(const std::string& path,
                                                               Attempt attempt) {
  Open place;
  place.fd = open_path(root_, path, O_PATH, 0, attempt);
  if (!place.fd)
    return failed(errno);
  return stat_fs(place, attempt);
}

FileCalls::Res<proto::Unit> FileCalls::make_dir(int base, const std::string& path,
                                                std::uint32_t mode, Attempt attempt) {
  const Place place = parent_of(base, path, attempt);
  if (!place.parent || would_block_)
    return failed(errno);
  if (::mkdirat(place.parent.get(), place.name.c_str(), mode & 07777) != 0)
    return failed(errno);
  return proto::Unit{};
}

FileCalls::Res<proto::Unit> FileCalls::remove(int base, const std::string& path, int flags,
                                              Attempt attempt) {
  const Place place = parent_of(base, path, attempt);
  if (!place.parent || would_block_)
    return failed(errno);
  if (::unlinkat(place.parent.get(), place.name.c_str(), flags) != 0)
    return failed(errno);
  return proto::Unit{};
}

FileCalls::Res<proto::Unit> FileCalls::unlink_at(const proto::UnlinkAtRequest& request,
                                                 Attempt attempt) {
  if ((request.flags & ~static_cast<std::uint32_t>(AT_REMOVEDIR)) != 0)
    return failed(EINVAL);
  int base = root_;
  if (request.dirfd) {
    const auto open = directory(*request.dirfd);
    if (!open)
      return std::unexpected(open.error());
    base = (*open)->fd.get();
  }
  return remove(base, request.pathname.value, static_cast<int>(request.flags), attempt);
}

FileCalls::Res<proto::Unit> FileCalls::rename(const proto::RenameRequest& request,
                                              Attempt attempt) {
  const Place from = parent_of(root_, request.old_path.value, attempt);
  if (!from.parent || would_block_)
    return failed(errno);
  const Place to = parent_of(root_, request.new_path.value, attempt);
  if (!to.parent || would_block_)
    return failed(errno);
  if (::renameat(from.parent.get(), from.name.c_str(), to.parent.get(), to.name.c_str()) != 0)
    return failed(errno);
  return proto::Unit{};
}

}  // namespace mirrord::agent
