// net/file.h — whole files and trees of them, with bounds.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

// All bytes of a file; an error (kConfig) if it is longer than `limit`.
Result<std::string> read_file(const std::string& path, std::size_t limit);

// What there is to read of a descriptor, up to an error or `limit` bytes.
std::string read_to_end(int fd, std::size_t limit);

// A new file of mode 0600, or the contents of one that is there. Follows no symbolic link.
Status write_private_file(const std::string& path, std::string_view text);

// The directories above a path, as far as they are missing and can be made: what cannot shows when the path is used.
void make_parent_directories(const std::string& path, mode_t mode);

// Paths of the directory's regular files (links to them too), sorted; empty if it is no directory that can be read.
std::vector<std::string> files_in(const std::string& directory);

// The directory and all below it, as far as it can be removed. Follows no symbolic link, enters no mount.
void remove_tree(const std::string& directory);

}  // namespace mirrord::net
