// hook/fts.cpp — fts of glibc for trees of the target: the same walk through the hooks. It never
// changes the working directory, so every fts_accpath is the whole path.
#include <fts.h>

#include "hook/guard.h"
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

using Compare = int (*)(const FTSENT**, const FTSENT**);
using CompareVoid = int (*)(const void*, const void*);

constexpr int kOurs = 1 << 30;  // in fts_options: a walk of ours

FTS* ours(void* walk) {
  auto* fts = static_cast<FTS*>(walk);
  return fts != nullptr && (fts->fts_options & kOurs) != 0 ? fts : nullptr;
}

// An entry, its status, its name and its path in one block.
FTSENT* make_entry(FTSENT* parent, const char* name) {
  const size_t base = parent->fts_level < 0 ? 0 : parent->fts_pathlen;
  const size_t name_size = strlen(name) + 1;
  const size_t path_size = base + 1 + name_size;
  if (path_size > 0xFFFF) {
    return nullptr;
  }
  constexpr size_t kAlignment = alignof(struct stat);
  const size_t head = (sizeof(FTSENT) + name_size + kAlignment - 1) & ~(kAlignment - 1);
  const Guard guard;
  auto* entry = static_cast<FTSENT*>(calloc(1, head + sizeof(struct stat) + path_size));
  if (entry == nullptr) {
    return nullptr;
  }
  entry->fts_statp = reinterpret_cast<struct stat*>(reinterpret_cast<char*>(entry) + head);
  entry->fts_path = reinterpret_cast<char*>(entry->fts_statp + 1);
  entry->fts_accpath = entry->fts_path;
  size_t at = base;
  __builtin_memcpy(entry->fts_path, parent->fts_path, base);
  if (base != 0 && entry->fts_path[base - 1] != '/') {
    entry->fts_path[at++] = '/';
  }
  __builtin_memcpy(entry->fts_path + at, name, name_size);
  __builtin_memcpy(entry->fts_name, name, name_size);
  entry->fts_pathlen = static_cast<unsigned short>(at + name_size - 1);
  entry->fts_namelen = static_cast<unsigned short>(name_size - 1);
  entry->fts_parent = parent;
  entry->fts_level = static_cast<short>(parent->fts_level + 1);
  entry->fts_instr = 0;
  return entry;
}

void free_list(FTSENT* entry) {
  const Guard guard;
  while (entry != nullptr) {
    FTSENT* next = entry->fts_link;
    free(entry);
    entry = next;
  }
}

unsigned short classify_directory(FTSENT* entry) {
  for (FTSENT* above = entry->fts_parent; above->fts_level >= 0; above = above->fts_parent) {
    if (above->fts_ino == entry->fts_ino && above->fts_dev == entry->fts_dev) {
      entry->fts_cycle = above;
      return FTS_DC;
    }
  }
  return FTS_D;
}

// Looks at the file: fts_info and what it is made from.
unsigned short inspect(const FTS* walk, FTSENT* entry, bool follows) {
  struct stat* status = entry->fts_statp;
  follows = follows || (walk->fts_options & FTS_LOGICAL) != 0 ||
            (entry->fts_level == 0 && (walk->fts_options & FTS_COMFOLLOW) != 0);
  if (follows ? hk_stat(entry->fts_path, status) != 0 : hk_lstat(entry->fts_path, status) != 0) {
    const int error = errno;
    if (follows && hk_lstat(entry->fts_path, status) == 0) {
      return FTS_SLNONE;
    }
    entry->fts_errno = error;
    *status = {};
    return FTS_NS;
  }
  entry->fts_ino = status->st_ino;
  entry->fts_dev = status->st_dev;
  entry->fts_nlink = status->st_nlink;
  if (S_ISDIR(status->st_mode)) {
    const bool is_dot = strcmp(entry->fts_name, ".") == 0 || strcmp(entry->fts_name, "..") == 0;
    return is_dot && entry->fts_level > 0 ? FTS_DOT : classify_directory(entry);
  }
  if ((walk->fts_options & FTS_NOSTAT) != 0 && entry->fts_level > 0) {
    return FTS_NSOK;
  }
  return S_ISLNK(status->st_mode) ? FTS_SL : S_ISREG(status->st_mode) ? FTS_F : FTS_DEFAULT;
}

// Orders a list of `count` entries as the program wants it.
FTSENT* sort(FTS* walk, FTSENT* first, size_t count) {
  if (walk->fts_compar == nullptr || count < 2) {
    return first;
  }
  const Guard guard;
  auto** array = static_cast<FTSENT**>(malloc(count * sizeof(FTSENT*)));
  if (array == nullptr) {
    return first;
  }
  size_t at = 0;
  for (FTSENT* entry = first; entry != nullptr; entry = entry->fts_link) {
    array[at++] = entry;
  }
  qsort(array, count, sizeof(FTSENT*), reinterpret_cast<CompareVoid>(walk->fts_compar));
  for (size_t i = 0; i < count; ++i) {
    array[i]->fts_link = i + 1 < count ? array[i + 1] : nullptr;
  }
  first = array[0];
  free(array);
  return first;
}

// The entries of a directory; nullptr with errno 0 when there are none.
FTSENT* read_children(FTS* walk, FTSENT* parent) {
  DIR* stream = hk_opendir(parent->fts_path);
  if (stream == nullptr) {
    return nullptr;
  }
  FTSENT* first = nullptr;
  FTSENT** tail = &first;
  size_t count = 0;
  while (const struct dirent* found = hk_readdir(stream)) {
    const bool is_dot = strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0;
    if (is_dot && (walk->fts_options & FTS_SEEDOT) == 0) {
      continue;
    }
    FTSENT* entry = make_entry(parent, found->d_name);
    if (entry == nullptr) {
      hk_closedir(stream);
      free_list(first);
      return fail_null(ENOMEM);
    }
    entry->fts_info = inspect(walk, entry, false);
    *tail = entry;
    tail = &entry->fts_link;
    ++count;
  }
  hk_closedir(stream);
  errno = 0;
  return sort(walk, first, count);
}

// Into the directory: its first entry, or itself again when there is none.
FTSENT* enter(FTS* walk, FTSENT* directory) {
  if ((walk->fts_options & FTS_NAMEONLY) != 0) {  // names only are not what is visited
    walk->fts_options &= ~FTS_NAMEONLY;
    free_list(walk->fts_child);
    walk->fts_child = nullptr;
  }
  FTSENT* child = walk->fts_child;
  walk->fts_child = nullptr;
  if (child == nullptr) {
    child = read_children(walk, directory);
    if (child == nullptr) {
      directory->fts_errno = errno;
      directory->fts_info = errno != 0 ? FTS_DNR : FTS_DP;
      return directory;
    }
  }
  walk->fts_cur = child;
  return child;
}

// Behind an entry: its next one, or its parent for the second time; nullptr at the end.
FTSENT* leave(FTS* walk, FTSENT* entry) {
  FTSENT* parent = entry->fts_parent;
  FTSENT* next = entry->fts_link;
  entry->fts_link = nullptr;
  free_list(entry);
  while (next != nullptr && next->fts_instr == FTS_SKIP) {
    FTSENT* behind = next->fts_link;
    next->fts_link = nullptr;
    free_list(next);
    next = behind;
  }
  if (next != nullptr) {
    walk->fts_cur = next;
    if (next->fts_level == 0) {
      walk->fts_dev = next->fts_dev;
    }
    if (next->fts_instr == FTS_FOLLOW) {
      next->fts_info = inspect(walk, next, true);
      next->fts_instr = 0;
    }
    return next;
  }
  walk->fts_cur = parent;
  if (parent->fts_level < 0) {
    errno = 0;
    return nullptr;
  }
  parent->fts_info = parent->fts_errno != 0 ? FTS_ERR : FTS_DP;
  return parent;
}

FTSENT* read_next(FTS* walk) {
  FTSENT* entry = walk->fts_cur;
  if (entry == nullptr || (walk->fts_options & FTS_STOP) != 0) {
    return nullptr;
  }
  if (entry->fts_level < 0) {  // before the first, or behind the last
    FTSENT* root = entry->fts_link;
    entry->fts_link = nullptr;
    if (root != nullptr) {
      walk->fts_cur = root;
      walk->fts_dev = root->fts_dev;
    }
    return root;
  }
  const unsigned short instruction = entry->fts_instr;
  entry->fts_instr = 0;
  if (instruction == FTS_AGAIN) {
    entry->fts_info = inspect(walk, entry, false);
    return entry;
  }
  if (instruction == FTS_FOLLOW && (entry->fts_info == FTS_SL || entry->fts_info == FTS_SLNONE)) {
    entry->fts_info = inspect(walk, entry, true);
    return entry;
  }
  if (entry->fts_info != FTS_D) {
    return leave(walk, entry);
  }
  if (instruction == FTS_SKIP ||
      ((walk->fts_options & FTS_XDEV) != 0 && entry->fts_dev != walk->fts_dev)) {
    free_list(walk->fts_child);
    walk->fts_child = nullptr;
    entry->fts_info = FTS_DP;
    return entry;
  }
  return enter(walk, entry);
}

// The last component, as the C library names a root.
void shorten_name(FTSENT* root) {
  const char* slash = strrchr(root->fts_name, '/');
  if (slash != nullptr && (slash != root->fts_name || slash[1] != '\0')) {
    const size_t length = strlen(slash + 1);
    memmove(root->fts_name, slash + 1, length + 1);
    root->fts_namelen = static_cast<unsigned short>(length);
  }
}

FTS* open_walk(char* const* paths, int options, Compare compare) {
  if ((options & ~FTS_OPTIONMASK) != 0) {
    return fail_null(EINVAL);
  }
  FTS* walk;
  FTSENT* above;
  {
    const Guard guard;
    walk = static_cast<FTS*>(calloc(1, sizeof(FTS)));
    above = static_cast<FTSENT*>(calloc(1, sizeof(FTSENT)));
    if (walk == nullptr || above == nullptr) {
      free(walk);
      free(above);
      return fail_null(ENOMEM);
    }
  }
  walk->fts_options = options | FTS_NOCHDIR | kOurs;
  walk->fts_compar = reinterpret_cast<decltype(walk->fts_compar)>(compare);
  walk->fts_cur = above;
  above->fts_level = FTS_ROOTPARENTLEVEL;
  FTSENT** tail = &above->fts_link;
  size_t count = 0;
  for (; *paths != nullptr; ++paths, ++count) {
    FTSENT* root = **paths != '\0' ? make_entry(above, *paths) : nullptr;
    if (root == nullptr) {
      const int error = **paths != '\0' ? ENOMEM : ENOENT;
      hk_fts_close(walk);
      return fail_null(error);
    }
    shorten_name(root);
    root->fts_info = inspect(walk, root, false);
    *tail = root;
    tail = &root->fts_link;
  }
  above->fts_link = sort(walk, above->fts_link, count);
  return walk;
}

}  // namespace

void* hk_fts_open(char* const* paths, int options, int (*compare)(const void**, const void**)) {
  for (char* const* path = paths; path != nullptr && *path != nullptr; ++path) {
    const Target target(*path, false);
    if (!target.is_local() || target.path() != *path) {  // remote, or mapped
      SavedErrno saved;
      FTS* walk = open_walk(paths, options, reinterpret_cast<Compare>(compare));
      if (walk == nullptr) {
        saved.set(errno);
      }
      return walk;
    }
  }
  return ORIGINAL(fts_open)(paths, options, compare);
}

void* hk_fts_read(void* walk) {
  FTS* fts = ours(walk);
  return fts != nullptr ? read_next(fts) : ORIGINAL(fts_read)(walk);
}

void* hk_fts_children(void* walk, int instruction) {
  FTS* fts = ours(walk);
  if (fts == nullptr) {
    return ORIGINAL(fts_children)(walk, instruction);
  }
  if (instruction != 0 && instruction != FTS_NAMEONLY) {
    return fail_null(EINVAL);
  }
  FTSENT* entry = fts->fts_cur;
  errno = 0;
  if (entry->fts_level < 0) {
    return entry->fts_link;
  }
  if (entry->fts_info != FTS_D) {
    return nullptr;
  }
  free_list(fts->fts_child);
  fts->fts_options = (fts->fts_options & ~FTS_NAMEONLY) | instruction;
  fts->fts_child = read_children(fts, entry);
  return fts->fts_child;
}

int hk_fts_close(void* walk) {
  FTS* fts = ours(walk);
  if (fts == nullptr) {
    return ORIGINAL(fts_close)(walk);
  }
  free_list(fts->fts_child);
  for (FTSENT* entry = fts->fts_cur; entry != nullptr;) {
    FTSENT* parent = entry->fts_parent;
    free_list(entry);
    entry = parent;
  }
  const Guard guard;
  free(fts);
  return 0;
}
